"""The crew of this machine: the agent is a thread of the controller, or rather its other hand: they take turns."""

from __future__ import annotations

import selectors
from collections.abc import Collection, Sequence
from datetime import timedelta

from elsewhere.agent import verdicts
from elsewhere.agent.loop import Agent
from elsewhere.agent.runner import Slots
from elsewhere.channels.base import Receipt, Room
from elsewhere.channels.calls import Calls
from elsewhere.controller.share import Share
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery, NewTask


class Here:
    """Slots of this machine, fed by calls; their number follows this job's fair share."""

    sync = False
    patience = 0.010
    waits = ""

    def __init__(self, name: str, slots: Slots, selector: selectors.BaseSelector, share: Share | None = None) -> None:
        self.channel = Calls()
        self.agent = Agent(name, self.channel, slots)
        self.slots, self.selector, self.share = slots, selector, share
        self._size = share.want if share else 0

    @property
    def trouble(self) -> str:
        return self.slots.trouble

    @property
    def stopped(self) -> str:
        return ""

    @property
    def money(self) -> None:
        return None

    def room(self) -> int:
        return 0 if self.agent.draining else self.slots.room()

    def deposit(self, tasks: Sequence[NewTask]) -> bool:
        return True

    def turn(self, wait: float) -> None:
        if self.share is not None:
            part = self.share.part(self.slots.queued() + len(self.slots.running()))
            if part != self._size:
                self.slots.resize(part)
                self._size = part
        self.agent.turn(wait)

    def hear(self, receipts: Sequence[Receipt]) -> None:
        """Who has what is known here anyway."""

    def cancel(self, ns: Collection[int]) -> None:
        # What was sent and not yet claimed is meant too: the agent does not know of it, and would run it.
        sent, wanted = self._unclaimed(), frozenset(ns)
        self.channel.send([one for one in sent if one.n not in wanted])
        self.channel.report([verdicts.ended(one[:2], Outcome.CANCELLED) for one in sent if one.n in wanted])
        self.agent.cancel(ns)

    def drain(self) -> Sequence[Delivery]:
        # What was sent and not yet claimed goes back too: the agent claims nothing more, so it would wait for ever.
        return [*self._unclaimed(), *self.agent.drain()]

    def _unclaimed(self) -> list[Delivery]:
        """What was sent and not yet claimed; it is in the channel no more."""
        sent: list[Delivery] = []
        while claims := self.channel.claim(self.agent.name, Room(1 << 30, alone=True), timedelta(0)):
            sent += [claim.delivery for claim in claims]
        return sent

    def settled(self) -> None:
        self.slots.settled()

    def running(self) -> list[tuple[int, int, float]]:
        return self.slots.running()

    @property
    def pending(self) -> int:
        return self.slots.queued()

    @property
    def size(self) -> int:
        return self.slots.count

    def close(self, now: bool = False) -> None:
        self.agent.close(now)
        if self.share is not None:
            self.share.close()
