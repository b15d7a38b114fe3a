"""Where environments are kept that outlive the job that built them, here and on hosts: each under a mark of all that is
in it, built once under a lock, with a page that says what it is.

The layout is read by shell text, too (backends/sheds.py): `MARK/.whole`, `.about` (one line of JSON), `.jobs/JOB`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from elsewhere.model.job import JobSpec

WHOLE, ABOUT, JOBS = ".whole", ".about", ".jobs"
FOLDER = "environments"


def mark(facts: Sequence[str]) -> str:
    """The name of an environment of which these are all the facts."""
    return sha256("\n".join(facts).encode()).hexdigest()[:32]


def mark_of(spec: JobSpec) -> str:
    """Of what a job's machines are to have; empty: nothing that jobs can share.

    Setup lines may change what they find, so that what they have seen is the job's own.
    """
    if spec.setup or not (spec.software or spec.conda):
        return ""
    return mark([spec.python_version, *spec.software, "", *spec.conda])


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
