"""The sandbox's clock, which may run faster than ours, and what it is to do at which moment.

Bills, prices, notices and the lag of answers go by it; whatever a program times by its own clock does not.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Seconds since 1970, `speed` of them to each of ours, beginning at the true time."""

    def __init__(self, speed: float = 1.0, ticks: Callable[[], float] = time.monotonic) -> None:
        self.speed, self._ticks = speed, ticks
        self._start, self._began = time.time(), ticks()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._wake = threading.Condition()
        self._over = False
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        return self._start + (self._ticks() - self._began) * self.speed

    def true(self, moment: float) -> float:
        """When, by everybody's clock, the sandbox's will show `moment`."""
        return self._start + (moment - self._start) / self.speed

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Do this then, on the clock's own thread: it must not take long."""
        with self._wake:
            heapq.heappush(self._due, (moment, next(self._number), act))
            if self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._turn, name="clock", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        with self._wake:
            self._over = True
            self._due.clear()
            self._wake.notify()

    def _turn(self) -> None:
        while True:
            with self._wake:
                if self._over:
                    return
                left = (self._due[0][0] - self.now()) / self.speed if self._due else None
                if left is None or left > 0:
                    self._wake.wait(left)
                    continue
                act = heapq.heappop(self._due)[2]
            act()


def stamp(moment: float) -> str:
    """As AWS writes a moment: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
