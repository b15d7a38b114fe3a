"""Deliveries that lie with machines that are gone: whole portions travel, and a lease would hold them for minutes."""

from __future__ import annotations

STUCK = 5.0
"""Seconds without a claim, though there are deliveries and slots for them, after which those are taken to be stuck."""
_LONGEST = 6
"""Twice as long each time, so often at the most."""


class Stuck:
    """When what nobody has taken is to be handed out again, under its next number.

    Again, after twice as long, if nobody takes it: the last long poll of a machine that is gone may have done so.
    """

    def __init__(self, now: float, lost: bool) -> None:
        self._lost, self._since, self._tries = lost, now, 0
        self._alive, self._ready = frozenset[str](), 0

    def claimed(self, now: float) -> None:
        """Somebody took something, or ended it."""
        self._since, self._tries = now, 0

    def seen(self, alive: frozenset[str], ready: int, now: float) -> None:
        """Machines, and the slots of those that have spoken: who is new has only just begun to ask for something."""
        if self._alive - alive:
            self._lost = True
        if self._alive - alive or ready > self._ready:
            self._since = now
        self._alive, self._ready = alive, ready

    def due(self, now: float) -> bool:
        """Has a machine gone, and nobody claimed anything for long?"""
        return self._lost and now - self._since >= STUCK * 2**self._tries

    def freed(self, now: float) -> None:
        self._since, self._tries = now, min(self._tries + 1, _LONGEST)
