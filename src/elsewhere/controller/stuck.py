"""Deliveries that lie with machines that are gone: whole portions travel, and a lease would hold them for minutes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

STUCK = 5.0
"""Seconds without a claim, though there are deliveries and slots for them, after which those are taken to be stuck."""
_LONGEST = 6
"""Twice as long each time, so often at the most."""


class Stuck:
    """When what nobody has taken is to be recalled, and handed out under its next number.

    Again, after twice as long, if nobody takes it: the last long poll of a machine that is gone may have done so.
    """

    def __init__(self, now: float, lost: bool) -> None:
        self._lost, self._since, self._tries = lost, now, 0
        self._alive, self._ready = frozenset[str](), 0
        self._recalls = 0

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

    def recall(self, epoch: int, numbers: Mapping[int, int]) -> Recall:
        self._recalls += 1
        return Recall(f"{epoch}.{self._recalls}", numbers)

    def freed(self, now: float) -> None:
        """What was stuck has been handed out again, or nothing was."""
        self._since, self._tries = now, min(self._tries + 1, _LONGEST)


class Recall:
    """Deliveries that seem to lie with machines that are gone. Somebody may have taken one and not be heard yet: so it
    is said that nobody shall begin them any more, and each says which of them it has. The others are in no hands.

    `name` is that of no other recall of the job, `numbers` are the attempts by their tasks; without both there is none.
    """

    def __init__(self, name: str = "", numbers: Mapping[int, int] = {}) -> None:
        self.name, self.numbers = name, numbers
        self._told: float | None = None
        self._heard = set[str]()

    def __bool__(self) -> bool:
        return bool(self.name)

    def told(self, now: float) -> None:
        """It can be read from now on. Twice: the first time counts."""
        self._told = now if self._told is None else self._told

    def heard(self, agent: str, name: str) -> None:
        """An agent has read of that recall, and what it has is written down."""
        if self and name == self.name:
            self._heard.add(agent)

    def over(self, asked: Collection[str], now: float, patience: float) -> bool:
        """Have all these answered, or had so many seconds to do so?"""
        if self._told is None:
            return False
        return self._heard.issuperset(asked) or now - self._told >= patience
