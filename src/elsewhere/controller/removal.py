"""The end of a job's files: has all of it ended, is anything of it left at its place; and its removal."""

from __future__ import annotations

import contextlib

from elsewhere.controller import directory
from elsewhere.controller.files import JobFiles
from elsewhere.controller.lock import Lock
from elsewhere.errors import UnknownJob, UsageError

ENDING = 15.0
"""Seconds for which a controller is waited for whose job is over."""


def remove(files: JobFiles) -> None:
    """Remove a job and all its files. JobHeld: it is running, or not over and another host's. Twice: harmless.

    When it is over, its controller may be putting things away yet: that is waited for, some seconds.
    """
    if not files.directory.exists():
        return
    if files.is_away and not is_over(files):
        files.require_here()
    with contextlib.suppress(UnknownJob), Lock(files.lock, patience=_ending(files)):
        directory.remove(files)


def _ending(files: JobFiles) -> float:
    """Seconds for which the controller of a job is waited for that shall go."""
    try:
        return ENDING if is_over(files) else 0.0
    except UsageError:  # it cannot be read
        return 0.0


def is_over(files: JobFiles) -> bool:
    """Has every task of it ended, as far as can be read here?"""
    with contextlib.closing(files.open()) as ledger:
        return ledger.count().over


def is_put_away(files: JobFiles) -> bool:
    """Is nothing of the job left at its place? Its ledger says so once all was seen gone."""
    from elsewhere.controller.drive import is_far
    from elsewhere.controller.ending import PUT_AWAY

    with contextlib.closing(files.open()) as ledger:
        begun = int(ledger.get("epoch", 0)) > 0
        return not (begun and is_far(ledger.spec)) or bool(ledger.get(PUT_AWAY, False))
