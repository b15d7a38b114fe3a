"""Setup lines: run once on each machine, and where machines stay, once for all jobs that would run the same ones.

What lines do is not known before. So the first job runs them in an environment of its own, and it is looked at what
came of it: lines that have changed nothing in the job's own code, and have put nothing into the environment that points
there, are then run once for all (`MARK.shared`, beside the environments); others again for each job, as those must be
that build in place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from elsewhere.agent.steps import take
from elsewhere.model.job import JobSpec
from elsewhere.ship import kept

_NOTE = ".shared"
_MOST = 1 << 20
"""Bytes of a file that may point somewhere: paths stand in scripts, in `.pth` files and the like."""
Seen = Mapping[str, tuple[int, int]]


def may_be(folder: Path) -> bool:
    """May what these lines make be shared, as an earlier job has shown? `folder`: of the environment, by its mark."""
    note = _note(folder)
    if note.exists():
        os.utime(note)
    return note.exists()


def run(spec: JobSpec, own: Path, env: Mapping[str, str]) -> None:
    """The lines, where they belong. CannotFurnish: one failed."""
    told = {**os.environ, **env, **spec.env}
    take("setup", ["/bin/sh", "-ex"], told, str(_where(spec, own)), "\n".join(spec.setup) + "\n")


def seen(spec: JobSpec, own: Path) -> Seen:
    """The job's code as it is: the size of each file, and when it was written. What Python has compiled is left out."""
    found = {}
    for path in _where(spec, own).rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            about = path.stat()
            found[str(path)] = about.st_size, about.st_mtime_ns
    return found


def learn(spec: JobSpec, own: Path, made: Path, before: Seen) -> None:
    """Look at what the lines have done to the code, and to the environment that was `made`."""
    if (name := kept.mark_of(spec)) and seen(spec, own) == before and not _points(made, str(_where(spec, own))):
        note = _note(kept.folder_of(own, name))
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.touch()


def _points(folder: Path, to: str) -> bool:
    for path in folder.rglob("*"):
        if path.is_symlink():
            if to in os.fspath(path.readlink()):
                return True
        elif path.is_file() and path.stat().st_size <= _MOST and os.fsencode(to) in path.read_bytes():
            return True
    return False


def _where(spec: JobSpec, own: Path) -> Path:
    return Path(spec.cwd) if spec.cwd else own


def _note(folder: Path) -> Path:
    return folder.with_name(folder.name + _NOTE)
