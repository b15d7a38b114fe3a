"""A channel that keeps its temper: what the far side of it refuses for now is kept and tried again, and told of.

No error of a place leaves this room, so that a network that is away for an hour pauses a job and does not end it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from elsewhere.channels.base import Channel, Claim, Receipt, Room
from elsewhere.errors import PlaceError, StateError
from elsewhere.model.reports import Report
from elsewhere.model.task import Delivery


class Line:
    """The controller's end of a channel. `trouble` says what the last call met; `news` that something waits to be
    recorded, `fresh` that it has just come."""

    def __init__(self, channel: Channel, clock: Callable[[], float]) -> None:
        self.inner, self.address, self.watch = channel, channel.address, channel.watch
        self._trouble = self._full = ""
        self.news = self.fresh = False
        self.silent = False
        """All has ended: nothing is expected, and nobody is asked."""
        self._clock, self._listened = clock, float("-inf")
        self._unsent: list[Delivery] = []
        self._unconfirmed: list[Receipt] = []
        self._collected: dict[str, Receipt] = {}

    def since(self) -> float:
        """Seconds since it was listened to."""
        return self._clock() - self._listened

    @property
    def trouble(self) -> str:
        """Why it cannot go on just now. Where there was no room to write, none is until something was written: that
        the same place is read all the time says nothing of it."""
        return self._full or self._trouble

    def attempt(self, call: Callable[[], object], writes: bool = False) -> bool:
        """Make a call; False, and `trouble`, if it must be made again. What asking again cannot mend is raised."""
        try:
            call()
        except StateError as error:
            self._full = error.notice
            return False
        except PlaceError as error:
            if not error.transient:
                raise
            self._trouble = error.notice
            return False
        self._trouble = ""
        self._full = "" if writes else self._full
        return True

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    @property
    def unrecorded(self) -> int:
        """Reports that were collected and not confirmed."""
        return len(self._collected)

    def push(self) -> None:
        """Try again what could not be sent or confirmed."""
        if self._unsent:
            self.send(())
        if self._unconfirmed:
            self.confirm(())

    def create(self) -> None:
        self.inner.create()

    def send(self, deliveries: Sequence[Delivery]) -> None:
        self._unsent.extend(deliveries)
        sent = self._unsent
        if self.attempt(lambda: self.inner.send(sent), writes=bool(sent)):
            self._unsent = []

    def collect(self, limit: int) -> Sequence[Receipt]:
        """What was collected and not confirmed comes again at once, also from a service that would hold it back."""
        found: list[Receipt] = []
        self._listened = self._clock()  # an answer is as old as its question
        if len(self._collected) < limit and not self.silent:
            self.attempt(lambda: found.extend(self.inner.collect(limit)))
        known = len(self._collected)
        self._collected.update([(receipt[1], receipt) for receipt in found])
        self.fresh = self.fresh or len(self._collected) > known
        self.news = self.news or bool(found)
        return list(self._collected.values())

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self._collected.pop(receipt.token, None)
        self._unconfirmed.extend(receipts)
        waiting = self._unconfirmed
        if self.attempt(lambda: self.inner.confirm(waiting)):
            self._unconfirmed = []

    def destroy(self) -> None:
        self.inner.destroy()

    def close(self) -> None:
        """Let go of descriptors, where the channel has any; what waits in it stays there. Twice: harmless."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            close()

    # the far end's verbs, so that this is a channel; nobody calls them here

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        return self.inner.claim(agent, room, lease)

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        return self.inner.renew(claims, lease)

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        self.inner.release(claims, after)

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        self.inner.report(reports, done)
