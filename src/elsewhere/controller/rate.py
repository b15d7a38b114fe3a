"""How fast a job goes: attempts that end, per second."""

from __future__ import annotations

from collections.abc import Callable


class Rate:
    """How many attempts end per second: of the last seconds, the younger ones counting more."""

    def __init__(self, clock: Callable[[], float], over: float = 5.0) -> None:
        self.clock, self.over = clock, over
        self._value, self._at = 0.0, clock()
        self._since = 0

    def add(self, count: int) -> None:
        self._since += count

    def now(self) -> float:
        """Per second. A second or so old at most."""
        passed = self.clock() - self._at
        if passed >= 0.5:
            weight = min(1.0, passed / self.over)
            self._value += (self._since / passed - self._value) * weight
            self._at, self._since = self.clock(), 0
        return self._value
