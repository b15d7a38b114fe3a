"""Looks again, now and then, for what was not there at a cluster's start."""

from __future__ import annotations

import threading
from collections.abc import Callable

AGAIN = 60.0
"""Seconds between two looks."""


class Late:
    """`look`: takes in who has come. It is called by a thread of its own."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look, self._over = look, threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Somebody is missing. Twice: harmless."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="elsewhere cluster late", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Nobody is waited for any more. Twice: harmless. Does not wait."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(AGAIN):
            self._look()
