"""How fast a job goes: attempts that end, per second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

SHORTEST = 0.001
"""Seconds: less is nothing that can be told apart."""


class Rate:
    """How many attempts end per second: of the last seconds, the younger ones counting more. Before that is known, by
    how long the first have taken: what is short need not be handed out by small parts."""

    def __init__(self, clock: Callable[[], float], over: float = 5.0) -> None:
        self.clock, self.over = clock, over
        self._value, self._at = 0.0, clock()
        self._since = 0
        self._each: float | None = None
        self._known = False

    def add(self, took: Sequence[float]) -> None:
        """So many seconds have these taken that ended just now."""
        self._since += len(took)
        if took and not self._known:
            self._each = max(sum(took) / len(took), SHORTEST)

    def now(self, slots: int) -> float:
        """Per second. A second or so old at most."""
        passed = self.clock() - self._at
        if passed >= 0.5:
            weight = min(1.0, passed / self.over)
            self._value += (self._since / passed - self._value) * weight
            self._known = self._known or self._since > 0
            self._at, self._since = self.clock(), 0
        return self._value if self._known or self._each is None else slots / self._each
