"""EXECUTE: an agent takes deliveries from a channel, runs them in slots, and sends reports home.

This is the whole of it for a place whose channel cannot lapse; agents in processes of their own add leases to it
(agent/join.py). It knows no ledger and no place.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from elsewhere.agent.runner import Slots
from elsewhere.channels.base import Channel, Claim, Room
from elsewhere.model.task import Delivery

FOR_EVER = timedelta(days=365)


class Agent:
    """One agent, one turn at a time; whoever owns it decides how long a turn may wait."""

    def __init__(self, name: str, channel: Channel, slots: Slots) -> None:
        self.name, self.channel, self.slots = name, channel, slots
        self.draining = False
        self._claims: dict[int, Claim] = {}

    def turn(self, wait: float) -> int:
        """Claim what fits, run, report. Waits up to `wait` seconds for something to happen; how many attempts ended."""
        if not self.draining and (room := self.slots.room()):
            claims = self.channel.claim(self.name, Room(room, not self._claims), FOR_EVER)
            if claims:
                self._claims.update([(claim[0][0], claim) for claim in claims])
                self.slots.put([claim[0] for claim in claims])
        ended = self.slots.turn(wait)
        if ended:
            pop = self._claims.pop
            done = [claim for claim in [pop(report[0], None) for report in ended] if claim is not None]
            self.channel.report(ended, done)
        return len(ended)

    def drain(self) -> list[Delivery]:
        """Claim nothing more and hand back what has not begun; those deliveries. Twice: the second finds none."""
        self.draining = True
        withdrawn = self.slots.withdraw()
        self.channel.release([self._claims.pop(d.n) for d in withdrawn if d.n in self._claims])
        return withdrawn

    def cancel(self, ns: Collection[int]) -> None:
        """Stop these tasks wherever they are; each still ends with a report."""
        self.slots.cancel(ns)

    @property
    def idle(self) -> bool:
        return not self._claims

    def close(self, now: bool = False) -> None:
        """End the slots and everything that runs in them. Twice: harmless."""
        self.slots.close(now)
