"""Now and then a copy of the ledger goes into the log of its job: another machine need not read all of it then.

It is made in a thread beside the controller's work, of what is committed, and nothing waits for it: a job goes on as
well without.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import apsw

from elsewhere.errors import ElsewhereError
from elsewhere.ledger import bases
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger

LOOK = 5.0
"""Seconds between two looks at how far the log has come."""


class Compaction:
    """Of one controller. `turn` it now and then, `close` it before the log is swept: it leaves nothing half made."""

    def __init__(self, ledger: Ledger, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self.ledger, self.journal, self.clock = ledger, journal, clock
        self._looked, self._next = clock(), bases.LEAST
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def turn(self) -> None:
        """Begin one, if the log has come far since the last, and none is under way."""
        if self.clock() - self._looked < LOOK or (self._thread is not None and self._thread.is_alive()):
            return
        self._looked, position = self.clock(), int(self.ledger.get("position", 0))
        if position >= self._next:
            self._next = position + bases.LEAST
            self._thread = threading.Thread(target=self._make, args=(position,), name="copy", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """What is under way is given up. Waits for a call to the store, at most. Twice: harmless."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._next = 1 << 62

    def _make(self, position: int) -> None:
        copies = self.journal.copies(self._stop.wait)
        with suppress(ElsewhereError, apsw.Error, OSError):  # no answer, a full disk, no log any more: another time
            head, _ = copies.newest()
            if not head.worth_another(position):
                return
            making = bases.Making(copies, self.ledger)
            try:
                self._walk(making)
            except Exception:
                making.withdraw()
                raise

    def _walk(self, making: bases.Making) -> None:
        for _ in making.steps():
            if self._stop.is_set():
                making.withdraw()
                return
