"""Clean up from labels alone: what runs at a place under our full signature and should not. Lists before it stops.

It needs no ledger: that of a lost laptop is gone too.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from elsewhere.backends.base import Backend, Condition, Sighting

SIGNATURE = ("job", "launch", "owner", "expiry")
"""The labels that every machine of ours bears from its creation; what lacks one is left alone."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """A machine that may be stopped, and why."""

    sighting: Sighting
    why: str


def me() -> str:
    """Whose machines those are that this user launches from here: the label `owner`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def labels(job: str, launch: str, owner: str, expiry: datetime) -> dict[str, str]:
    """What is set in the call that creates a machine."""
    return {"job": job, "launch": launch, "owner": owner, "expiry": expiry.isoformat()}


def find(
    sightings: Iterable[Sighting],
    now: datetime,
    owner: str | None,
    *,
    jobs: Collection[str] = (),
    all_of_mine: bool = False,
) -> list[Doomed]:
    """What may be stopped: past its expiry; of these jobs; or all of this owner's. Pure; nothing is touched.

    `owner`: None: anybody's.
    """
    found = []
    for sighting in sightings:
        if sighting.condition not in (Condition.PENDING, Condition.RUNNING):
            continue
        if not all(sighting.labels.get(name) for name in SIGNATURE):
            continue
        if owner is not None and sighting.labels["owner"] != owner:
            continue
        if why := _why(sighting, now, jobs, all_of_mine):
            found.append(Doomed(sighting, why))
    return found


def _why(sighting: Sighting, now: datetime, jobs: Collection[str], all_of_mine: bool) -> str:
    if sighting.labels["job"] in jobs:
        return f"of job {sighting.labels['job']}"
    expiry = _instant(sighting.labels["expiry"])
    if expiry is not None and expiry < now:
        return f"expired at {expiry:%Y-%m-%d %H:%M} UTC"
    return f"of {sighting.labels['owner']}" if all_of_mine else ""


def reap(backend: Backend, doomed: Sequence[Doomed]) -> None:
    """Stop what was listed, and nothing else. Twice: harmless. Returns when asked, not when gone."""
    if doomed:
        backend.cancel([d.sighting.native for d in doomed])


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
