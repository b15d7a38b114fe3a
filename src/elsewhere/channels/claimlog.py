"""Who holds which delivery of a spool's segment: a pure fold over its numbered claims. No I/O, no clock.

A claim is an object made if absent under the next number. Its writer has read all lower ones, so that whatever it says
was true when it was written: of two who want the same delivery, one finds the number taken and reads again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from elsewhere.model.ranges import Ranges, numbers, ranges

FREE, DONE = 0, -1
"""A delivery's holder is the number of the claim that took it, which is 1 or more; or one of these."""


class Claiming(msgspec.Struct, frozen=True, omit_defaults=True):
    """One numbered claim: what this agent takes of the segment, what it has done, and what it hands back."""

    agent: str
    lease: float = 0.0
    """Seconds."""
    take: Ranges = ()
    done: Ranges = ()
    free: Ranges = ()
    after: float = 0.0
    """Seconds for which what is handed back shall rest."""
    nonce: str = ""
    """Tells its writer, who lost the reply, that it is its own."""


class ClaimLog:
    """The claims of one segment of `count` deliveries, as far as they have been read."""

    def __init__(self, count: int) -> None:
        self.read = 0
        """The number of the last claim that was read."""
        self._holder = [FREE] * count
        self._resting: dict[int, float] = {}
        self._agents: dict[int, tuple[str, float]] = {}
        self._left = count

    def apply(self, claiming: Claiming, now: float) -> None:
        """Read the next claim, seen by this reader at `now` (its own monotonic clock)."""
        self.read += 1
        holder, count = self._holder, len(self._holder)
        for start, stop in _within(claiming.done, count):
            self._left -= stop - start - holder[start:stop].count(DONE)
            holder[start:stop] = [DONE] * (stop - start)
        for i in numbers(_within(claiming.free, count)):
            if holder[i] > 0 and self._agents[holder[i]][0] == claiming.agent:
                holder[i] = FREE
                self._resting[i] = now + claiming.after
        if claiming.take:
            self._agents[self.read] = (claiming.agent, claiming.lease)
            for start, stop in _within(claiming.take, count):
                holder[start:stop] = [DONE if one == DONE else self.read for one in holder[start:stop]]

    @property
    def finished(self) -> bool:
        """Every delivery is done: nobody needs the segment any more."""
        return self._left == 0

    def free(self, now: float, limit: int) -> list[int]:
        """Up to `limit` deliveries that nobody holds and that do not rest."""
        resting = self._resting
        found = [i for i, holder in enumerate(self._holder) if holder == FREE]
        if resting:
            found = [i for i in found if resting.get(i, now) <= now]
        return found[:limit]

    def exhausted(self) -> bool:
        """Nothing is free, nor will be by waiting alone: only a lapse or a hand-back can change that."""
        return FREE not in self._holder

    def holders(self) -> dict[str, float]:
        """The agents that hold something, and the longest lease of each, in seconds."""
        found: dict[str, float] = {}
        for claim in set(self._holder):
            if claim > 0:
                agent, lease = self._agents[claim]
                found[agent] = max(lease, found.get(agent, 0.0))
        return found

    def held_by(self, agents: Iterable[str], limit: int) -> list[int]:
        """Up to `limit` deliveries that one of these agents holds."""
        names = set(agents)
        claims = {claim for claim, (agent, _) in self._agents.items() if agent in names}
        return [i for i, holder in enumerate(self._holder) if holder in claims][:limit]

    def holds(self, claim: int, i: int) -> bool:
        """Is delivery `i` still held under this claim?"""
        return 0 <= i < len(self._holder) and self._holder[i] == claim

    def kept(self, claim: int, items: Iterable[int]) -> list[int]:
        """Those of these deliveries that are still held under this claim."""
        holder, count = self._holder, len(self._holder)
        return [i for i in items if 0 <= i < count and holder[i] == claim]

    def agent(self, claim: int) -> str:
        """Who made this claim; "" if nobody took anything by it."""
        return self._agents.get(claim, ("", 0.0))[0]


def taking(agent: str, lease: float, items: Sequence[int], nonce: str) -> Claiming:
    """The claim by which an agent takes these deliveries."""
    return Claiming(agent, lease, take=ranges(items), nonce=nonce)


def _within(parts: Ranges, count: int) -> Ranges:
    """What of these is in a segment of so many: a claim is another's word."""
    return tuple((max(start, 0), min(stop, count)) for start, stop in parts if max(start, 0) < min(stop, count))
