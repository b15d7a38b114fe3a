"""Who reads along what tasks print: for each task that is followed, a file that its readers touch now and then."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from elsewhere.hosts import private_directory
from elsewhere.model.orders import EVERY_TASK

FRESH = 30.0
"""Seconds for which a touch holds."""


class Readers:
    """Of one job. Any process of its user may read, and look who does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, n: int = EVERY_TASK, ahead: float = 0.0) -> None:
        """Somebody reads along what task `n` prints, now, or for so many seconds. Twice: harmless."""
        private_directory(self._directory)
        path = self._directory / str(n)
        path.touch(mode=0o600)
        if ahead:
            os.utime(path, (time.time() + ahead,) * 2)

    def leave(self, n: int = EVERY_TASK) -> None:
        """Nobody does any more. Not there: harmless."""
        (self._directory / str(n)).unlink(missing_ok=True)

    def followed(self) -> tuple[int, ...]:
        """The numbers of the tasks that are followed."""
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            since = time.time() - FRESH
            return tuple(sorted(int(e.name) for e in entries if e.name.isdigit() and e.stat().st_mtime >= since))
        return ()
