"""Where environments are kept that outlive the job that built them, here and on hosts: each under a mark of all that is
in it, built once under a lock, with a page that says what it is.

The layout is read by shell text, too (backends/sheds.py): `MARK/.whole`, `.about` (one line of JSON), `.jobs/JOB`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from elsewhere.model.job import JobSpec

WHOLE, ABOUT, JOBS = ".whole", ".about", ".jobs"
FOLDER = "environments"
_WORD = re.compile(r"[^\s\"'`;|&<>()=$]+")
_WRITES = re.compile(r">+\s*[^\s;|&<>()]+")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")


def mark(facts: Sequence[str]) -> str:
    """The name of an environment of which these are all the facts."""
    return sha256("\n".join(facts).encode()).hexdigest()[:32]


def mark_of(spec: JobSpec) -> str:
    """Of what a job's machines are to have; empty: nothing that jobs can share.

    Of setup lines the files count that they name, and variables; whether jobs can share what they make shows when they
    are run (agent/sharing.py).
    """
    if spec.setup and (spec.prefix or spec.julia is not None or not spec.setup_mark):
        return ""
    if not (spec.software or spec.conda or spec.setup):
        return ""
    facts = [spec.python_version, *spec.software, "", *spec.conda]
    if spec.setup:
        named = {name for line in spec.setup for name in _VARIABLE.findall(line)} - {*spec.secrets, *spec.hidden}
        facts += ["", spec.setup_mark, *(f"{name}={spec.env[name]}" for name in sorted(named & {*spec.env}))]
    return mark(facts)


def mark_of_lines(lines: Sequence[str], cwd: Path) -> str:
    """Of setup lines, with what they name below the directory in which they run, but not what they write there (`>`).
    Of none: empty."""
    if not lines:
        return ""
    from elsewhere.ship import bundle

    facts = list(lines)
    for word in sorted({word for line in lines for word in _WORD.findall(_WRITES.sub(" ", line))}):
        path = cwd / word
        if word.startswith("/") or not path.exists() or not path.resolve().is_relative_to(cwd.resolve()):
            continue
        files = bundle.tree(path, f"{word}/") if path.is_dir() else {word: path}
        facts += [f"{name} {sha256(file.read_bytes()).hexdigest()}" for name, file in sorted(files.items())]
    return mark(facts)


def beside(directory: str) -> str:
    """The way from an agent's directory, `BASE/jobs/JOB` or `BASE/JOB`, to where environments are kept."""
    return f"{'../..' if directory.rstrip('/').split('/')[-2:-1] == ['jobs'] else '..'}/{FOLDER}"


def folder_of(own: Path, name: str) -> Path:
    """That of an environment, on the machine on which an agent has this directory."""
    base = own.parent.parent if own.parent.name == "jobs" else own.parent
    return base / FOLDER / name


def is_whole(folder: Path) -> bool:
    return (folder / WHOLE).exists()


def built(folder: Path, about: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    """Made by whoever comes first; the others wait for it. What a builder that died has left is removed first."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(folder.with_name(f"{folder.name}.lock")):
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / ABOUT).write_text(json.dumps(about) + "\n")
            (folder / WHOLE).touch()
        os.utime(folder)  # its age is counted from its last use


def used(folder: Path, job: str) -> None:
    """By this job: as long as that has files there, the environment stays."""
    (folder / JOBS).mkdir(exist_ok=True)
    (folder / JOBS / job).touch()


def about(spec: JobSpec) -> dict[str, Any]:
    """The page of what a job's machines are to have."""
    return {"name": spec.environment, "python": spec.python_version, "pip": list(spec.software),
            "conda": names(spec.conda)}  # fmt: skip


def names(conda: Sequence[str]) -> list[str]:
    """Of packages by their addresses: the names of their files."""
    return [line.partition("#")[0].rpartition("/")[2] for line in conda]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
