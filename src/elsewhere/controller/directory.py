"""The directory of all jobs: what they are called, how one is found, how a new one is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elsewhere.config.home import home, is_network
from elsewhere.controller.files import JobFiles, local_directory, local_disk
from elsewhere.errors import UnknownJob
from elsewhere.hosts import sync_directory
from elsewhere.ledger.views import SEAT


def jobs() -> Path:
    path = home() / "jobs"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def names() -> Path:
    path = home() / "names"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def seat() -> dict[str, Any] | None:
    """What this machine is, if it was hired for a controller (controller/sitter.py)."""
    try:
        found: dict[str, Any] = json.loads((home() / SEAT).read_bytes())
    except FileNotFoundError:
        return None
    return found


def files_of(job: str) -> JobFiles:
    """Where the job of this whole id is, or would be."""
    return JobFiles(job, jobs() / job)


@contextlib.contextmanager
def fresh(job: str) -> Iterator[JobFiles]:
    """The files of a new job, under another name until the block has ended; on any error nothing of it is left."""
    draft = JobFiles(job, jobs() / f".new-{job}")
    if draft.directory.exists():
        _discard(draft)
    draft.directory.mkdir(mode=0o700)
    try:
        yield draft
        draft.directory.rename(jobs() / job)
    except BaseException:
        _discard(draft)
        raise
    sync_directory(jobs())


def new_ledger(files: JobFiles) -> Path:
    """Where the ledger of a new job goes: beside its files, or, if those lie on a network, on this host's own disk."""
    if not is_network(files.directory):
        return files.directory / "ledger.db"
    path = local_directory(files.id)
    (path / "of").write_text(str(jobs() / files.id))
    files.point(path)
    return path / "ledger.db"


def call(job: str, name: str) -> None:
    """The newest job of a name answers to it."""
    link = names() / f".{job}"
    link.symlink_to(job)
    link.replace(names() / name)


def remove(files: JobFiles) -> None:
    """Its files, and its names. Whoever calls holds its lock."""
    gone = JobFiles(files.id, files.directory.with_name(f".gone-{files.id}"))
    files.directory.rename(gone.directory)
    _discard(gone)
    for name in names().glob("*"):
        if name.is_symlink() and name.readlink().name == files.id:
            name.unlink(missing_ok=True)


def sweep_disk() -> None:
    """Remove from this host's own disk the ledgers of jobs that were removed on another host."""
    import shutil

    for pointer in local_disk().glob("job-*/of") if is_network(jobs()) else ():
        job = Path(pointer.read_text())
        draft = job.with_name(f".new-{job.name}")
        if job.parent == jobs() and not job.exists() and not draft.exists():
            shutil.rmtree(pointer.parent, ignore_errors=True)


def listing() -> list[JobFiles]:
    """All jobs, the newest first."""
    return [JobFiles(path.name, path) for path in sorted(jobs().glob("job-*"), reverse=True) if path.is_dir()]


def find(ref: str = "@last") -> JobFiles:
    """The job of that name, of that unique beginning of an id, or the newest (`@last`). UnknownJob: the nearest."""
    if ref in ("@last", ""):
        for files in listing():
            return files
        raise UnknownJob("there is no job yet", hint="make one with `elsewhere run`")
    named = names() / ref
    if "/" not in ref and named.is_symlink():
        target = jobs() / named.readlink().name
        if target.is_dir():
            return JobFiles(target.name, target)
    for start in (ref, f"job-{ref}"):
        found = [path for path in jobs().glob(f"{_literal(start)}*") if path.is_dir()]
        if len(found) == 1:
            return JobFiles(found[0].name, found[0])
        if found:
            raise UnknownJob(
                f"{len(found)} jobs begin with {ref!r}", hint="give more of the id; `elsewhere jobs` lists them"
            )
    import difflib

    known = [path.name for path in names().glob("*")] + [files.id for files in listing()]
    nearest = difflib.get_close_matches(ref, known, 1)
    hint = f"did you mean {nearest[0]}?" if nearest else "`elsewhere jobs` lists them"
    raise UnknownJob(f"there is no job {ref!r}", hint=hint)


def _discard(files: JobFiles) -> None:
    """Also the part of a job's files that lies on this host's own disk, its directory being on a network."""
    import shutil

    where = files.elsewhere()
    linked = {path.resolve().parent for path in files.directory.glob("*") if path.is_symlink()}
    shutil.rmtree(files.directory, ignore_errors=True)
    for directory in linked:
        if directory.name == files.id:
            shutil.rmtree(directory, ignore_errors=True)
    if where is not None and where[0] == socket.gethostname():
        shutil.rmtree(where[1], ignore_errors=True)


def _literal(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
