"""A working directory for each attempt of a job with inputs or outputs.

What the job's directory has, and the inputs, are links in it; what the task leaves under its declared names is kept
when it has succeeded.

Danger: a link is followed by whoever writes, so nothing that may be an output is ever linked.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from elsewhere.slot import wire
from elsewhere.slot.directories import remove

if TYPE_CHECKING:
    from typing import Any

_GLOB = "*?["


class Workplace:
    """Of one slot. `enter` before an attempt, `leave` after it; both may be called again."""

    def __init__(self, words: dict[str, Any]) -> None:
        self._cwd = words["cwd"]
        self._inputs = [(name, path) for name, path in words["inputs"]]
        self._outputs = list(words["outputs"])
        self._base = os.path.join(words["scratch"], f"{os.path.basename(words['directory'])}.{words['slot']}.work")
        self._kept = words["collected"]

    def enter(self) -> None:
        """Made anew, and this process is in it. OSError: it cannot be."""
        remove(self._base)
        os.makedirs(self._base, mode=0o700)
        parts = [tuple(pattern.split("/")) for pattern in self._outputs]
        inner = [tuple(name.split("/")) for name, _ in self._inputs if "/" in name]
        _mirror(self._cwd, self._base, parts, inner)
        for name, path in self._inputs:
            target = os.path.join(self._base, *name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.lexists(target):
                os.unlink(target)
            os.symlink(path, target)
        os.chdir(self._base)

    def leave(self, delivery: Any, told: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
        """The outcome, which is an error if the task succeeded and something that it declares is not there."""
        try:
            os.chdir(self._cwd)
            outputs = self._of(delivery)
            if told[0] == wire.SUCCEEDED and outputs:
                found = {pattern: self._found(pattern) for pattern in outputs}
                lacking = [pattern for pattern in outputs if not found[pattern]]
                if lacking:
                    said = f"it left no {' and no '.join(lacking)}, which its outputs name"
                    told = wire.ERRORED, wire.FAILURE, wire.failure("MissingOutput", said)
                else:
                    self._keep({name for names in found.values() for name in names}, f"{delivery[0]}.{delivery[1]}")
        except OSError as error:
            said = f"its outputs could not be kept: {error}"
            told = wire.ERRORED, wire.FAILURE, wire.failure("MissingOutput", said)
        remove(self._base)
        return told

    def _of(self, delivery: Any) -> list[str]:
        """Its own, or none, where tasks of a job differ in them; those of the job hold all of them."""
        if delivery[4] is None or b'"outputs"' not in delivery[4]:
            return self._outputs
        from json import loads

        return list(loads(delivery[4]).get("outputs", self._outputs))

    def _found(self, pattern: str) -> list[str]:
        """The files that it means, relative; of a directory all that is in it. Links are not what the task has made."""
        from glob import escape, glob

        found = []
        for path in glob(os.path.join(escape(self._base), pattern), recursive=True):
            if os.path.islink(path):
                continue
            if not os.path.isdir(path):
                found.append(os.path.relpath(path, self._base))
                continue
            for folder, _, names in os.walk(path):
                whole = [os.path.join(folder, name) for name in names]
                found += [os.path.relpath(one, self._base) for one in whole if not os.path.islink(one)]
        return found

    def _keep(self, names: set[str], under: str) -> None:
        from shutil import move

        target = os.path.join(self._kept, under)
        draft = os.path.join(self._kept, f".{under}")
        remove(draft)
        remove(target)
        for name in sorted(names):
            path = os.path.join(draft, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            move(os.path.join(self._base, name), path)
        os.rename(draft, target)


def _mirror(source: str, target: str, outputs: list[tuple[str, ...]], inner: list[tuple[str, ...]]) -> None:
    """Links to all that `source` has, but for what may be an output; where one may come inside, a real directory."""
    outputs = outputs + [path[1:] for path in outputs if path[0] == "**"]
    with os.scandir(source) as entries:
        for entry in entries:
            if any(len(path) == 1 and fnmatchcase(entry.name, path[0]) for path in outputs):
                continue
            below = [path if path[0] == "**" else path[1:] for path in outputs if _leads(path, entry.name)]
            within = [path[1:] for path in inner if len(path) > 1 and path[0] == entry.name]
            if (below or within) and entry.is_dir(follow_symlinks=False):
                os.mkdir(os.path.join(target, entry.name), 0o700)
                _mirror(entry.path, os.path.join(target, entry.name), below, within)
            else:
                os.symlink(entry.path, os.path.join(target, entry.name))


def _leads(path: tuple[str, ...], name: str) -> bool:
    return len(path) > 1 and (path[0] == "**" or fnmatchcase(name, path[0]))
