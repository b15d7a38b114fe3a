"""What is remembered here of jobs whose controllers sit on another machine. Light: `jobs` and `status` read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from elsewhere.config.home import home, location
from elsewhere.controller import directory
from elsewhere.errors import UnknownJob


@dataclass(frozen=True, slots=True)
class Away:
    """Where the controller of a job sits. `settings`: those of the place, by which its host is reached."""

    host: str
    place: str
    backend: str
    settings: Mapping[str, Any]
    directory: str
    we: str
    """The folder of the version of us that is there."""
    work: str
    """The name of the directory that the job is run from."""
    env: tuple[str, ...] = ()
    """Names of variables that were sent along, secrets among them: who goes on with the job sends them again."""
    seat: str = ""
    """Of a machine that was hired for it (hired.py): its id; empty: the host was there before, and stays."""
    store: str = ""
    """The corner in which such a machine is asked."""
    kept: str = ""
    """Where the job's log lies, if it has one."""
    job: str = ""
    name: str = ""
    created: float = 0.0


def keep(away: Away, job: str, name: str, created: float) -> Away:
    """From now on the job is known here."""
    from elsewhere.hosts import private_directory, write_whole

    known = replace(away, job=job, name=name, created=created)
    path = _record(job)
    private_directory(path.parent)
    write_whole(path, json.dumps(asdict(known)).encode())
    return known


def forget(job: str) -> None:
    """Twice: harmless."""
    _record(job).unlink(missing_ok=True)


def folder() -> Path:
    """Where the records are, if there are any."""
    return location() / "away"


def records() -> list[Away]:
    """Of all jobs whose controllers sit elsewhere, the newest first."""
    return [Away(**json.loads(path.read_bytes())) for path in sorted(folder().glob("job-*"), reverse=True)]


def find(ref: str) -> Away | None:
    """As directory.find; None: no such job answers to it, or one that is here and newer does. UnknownJob: several."""
    known = records()
    found = known[:1] if ref in ("", "@last") else [one for one in known if one.name == ref][:1]
    found = found or [one for one in known if ref and one.job.startswith((ref, f"job-{ref}"))]
    if len(found) > 1:
        raise UnknownJob(f"{len(found)} jobs begin with {ref!r}", hint="give more of the id; see `elsewhere jobs`")
    if not found:
        return None
    try:
        return found[0] if found[0].job > directory.find(ref).id else None
    except UnknownJob:
        return found[0]


def _record(job: str) -> Path:
    return home() / "away" / job
