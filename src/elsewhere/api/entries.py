"""What an entry of `jobs:` runs: a script by its suffix, a command, lines for a shell; one task, or one for each
combination of its matrix. Looked at before anything is made.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.config import matrix
from elsewhere.errors import UsageError
from elsewhere.model.task import NewTask

if TYPE_CHECKING:
    from elsewhere.config.load import JobEntry

PYTHON = ""
"""As the first word of a command: the interpreter that runs tasks."""
_BY_SUFFIX = {".py": (PYTHON,), ".jl": ("julia",), ".r": ("Rscript",), ".sh": ("sh",)}
_OPERATORS = frozenset("();<>|&")
_PLAIN = re.compile(r"[\w./:=@%+,-]*")
_SHELL = ("sh", "-ec")


@dataclass(frozen=True, slots=True)
class Work:
    """`words`: the command, with names of the matrix in it; empty: it is a task list. `own`: what its entry alone says
    of how it runs."""

    name: str
    directory: Path
    words: tuple[str, ...] = ()
    matrix: matrix.Matrix = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return matrix.size(self.matrix)

    @property
    def label(self) -> str:
        """For people: its first words."""
        return " ".join(self.words[1:3] if self.words[0] == PYTHON else self.words[:3])

    @property
    def varying(self) -> Mapping[str, str]:
        """Variables that differ from task to task."""
        return {name: text for name, text in self.own.get("env", {}).items() if self.matrix and matrix.varies(text)}

    def files(self, key: str) -> tuple[str, ...]:
        """`inputs` or `outputs` of all its tasks."""
        own = self.own.get(key, ())
        if not self.matrix:
            return tuple(own)
        found = {matrix.fill(text, values): None for values in matrix.combinations(self.matrix) for text in own}
        return tuple(found)

    def tasks(self, over: Collection[str] = (), env: Collection[str] = ()) -> Iterator[NewTask]:
        """Numbered from 1. `over`: keys that a call has said otherwise, and `env`: variables.

        UsageError: a value that was filled in is none of its key, or is not for a shell.
        """
        for number, values in enumerate(matrix.combinations(self.matrix), 1):
            row = {**self._terms(values, over), "command": list(self._filled(values))}
            told = {name: matrix.fill(text, values) for name, text in self.varying.items() if name not in env}
            yield NewTask(str(number), b"null", self._options({**row, "env": told or None}, values, over))

    def _terms(self, values: Mapping[str, str], over: Collection[str]) -> dict[str, Any]:
        """What is read only now, by the keys of a task list."""
        found: dict[str, Any] = {}
        for key in ("timeout", "resources", "retries"):
            own = self.own.get(key)
            for name, text in (own if isinstance(own, dict) else {key: own}).items():
                if name not in over and isinstance(text, matrix.Varying):
                    found.setdefault(key, {})[name] = matrix.typed(matrix.fill(text, values))
        return {key: given if key == "resources" else given.get(key) for key, given in found.items()}

    def _options(self, row: Mapping[str, Any], values: Mapping[str, str], over: Collection[str]) -> bytes:
        from elsewhere.config import rows

        problems: list[str] = []
        made = json.loads(rows.options(row, problems) or b"{}")
        if problems:
            with_these = ", ".join(f"{name} = {value}" for name, value in values.items())
            raise UsageError(f"job {self.name!r} with {with_these}: {'; '.join(problems)}", hint="Nothing was started.")
        if "outputs" not in over and any(matrix.varies(text) for text in self.own.get("outputs", ())):
            from elsewhere.ship import inputs

            made["outputs"] = inputs.globs([matrix.fill(text, values) for text in self.own["outputs"]])
        return json.dumps(made).encode()

    def _filled(self, values: Mapping[str, str]) -> tuple[str, ...]:
        if not self.matrix:
            return self.words
        if self.words[:2] == _SHELL:
            for name, value in values.items():
                if not _PLAIN.fullmatch(value) and f"{{{name}}}" in self.words[2]:
                    raise UsageError(
                        f"job {self.name!r}: {value!r} of {name} cannot stand in lines for a shell",
                        hint="Give it to a script or a command as a word of its own, or by `env:`.",
                    )
        return tuple(matrix.fill(word, values) for word in self.words)


def of(entry: JobEntry) -> Work:
    """UsageError: it says not what to run, says it twice, or its script is not there."""
    what = entry.what
    _refuse_later(entry)
    _refuse_unclear(entry)
    varied = what.get("matrix", {})
    work = Work(what.get("name") or entry.name, entry.directory, _words(entry), varied, entry.own)
    if work.words and "script" in what:
        for words in {work._filled(values) for values in matrix.combinations(varied)}:
            check_script(words, entry.directory, f"job {entry.name!r}")
    return work


def _words(entry: JobEntry) -> tuple[str, ...]:
    if "command" in entry.what:
        return tuple(entry.what["command"])
    text = entry.what.get("script", "")
    if not text.strip():
        return ()
    return script(text, entry.directory, f"job {entry.name!r}") or (*_SHELL, text)


def script(text: str, directory: Path, whose: str) -> tuple[str, ...]:
    """The command of a script and its words, by its suffix; empty: the first word is none.

    UsageError: what follows is for a shell.
    """
    try:
        words = shlex.split(text) if "\n" not in text.strip() else []
    except ValueError:
        words = []
    before = _BY_SUFFIX.get(Path(words[0]).suffix.lower()) if words else None
    if before is None:
        return ()
    for token in shlex.shlex(text, posix=True, punctuation_chars=True):
        if set(token) <= _OPERATORS:
            raise UsageError(
                f"{whose}: {token!r} is for a shell, and a script's words go through none",
                hint=f"Lines for a shell begin with a program, such as: sh {words[0]} ...",
            )
    file = f"./{words[0]}" if words[0].startswith("-") else words[0]
    return (*(before if before != ("sh",) else _shell_of(directory / words[0])), file, *words[1:])


def _shell_of(path: Path) -> tuple[str, ...]:
    """As its first line says."""
    try:
        with path.open("rb") as file:
            first = os.fsdecode(file.readline(200))
    except OSError:
        first = ""
    return tuple(first[2:].split()) if first.startswith("#!") and first[2:].split() else ("sh",)


def check_script(words: tuple[str, ...], directory: Path, whose: str) -> None:
    """UsageError: the file is not there, or not in the project, which is what travels."""
    if words[:2] == _SHELL:
        return
    file = next(word for word in words if Path(word).suffix.lower() in _BY_SUFFIX)
    path = Path(os.path.normpath(directory / file))
    if not path.is_relative_to(directory):
        raise UsageError(f"{whose}: the script {file} lies outside of {directory}",
                         hint="Only that directory travels.")  # fmt: skip
    if not path.is_file():
        there = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, there, 1)
        hint = f"Did you mean {near[0]}?" if near else "Nothing was started."
        raise UsageError(f"{whose}: there is no script {file}", hint=hint)


def _refuse_later(entry: JobEntry) -> None:
    """What is read and kept, but means nothing yet, must not be passed over in silence."""
    from elsewhere.config.settings import LATER

    if later := [key for key in entry.what if key in LATER]:
        raise UsageError(
            f"job {entry.name!r} has {' and '.join(later)}, which this version cannot do yet",
            hint="Nothing was started.",
        )


def _refuse_unclear(entry: JobEntry) -> None:
    ways = [key for key in ("tasks", "command", "script") if key in entry.what]
    if len(ways) != 1:
        said = "says not what to run" if not ways else f"has {' and '.join(ways)}; one of them is enough"
        hint = "A job has tasks: and entry:, or command:, or script:."
        raise UsageError(f"job {entry.name!r} {said}", hint=hint)
    if "matrix" in entry.what and (ways == ["tasks"] or "each_line" in entry.what):
        other = "tasks" if ways == ["tasks"] else "each-line"
        raise UsageError(f"job {entry.name!r} has matrix and {other}; one of them is enough",
                         hint="A matrix goes with command: or script:.")  # fmt: skip
