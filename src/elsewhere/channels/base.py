"""CARRY: the contract of a channel. At least once, in any order, late: the ledger is made for that.

Every verb may be repeated. None is ever asked what it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Protocol

from elsewhere.model.reports import Report
from elsewhere.model.task import Delivery


@dataclass(frozen=True, slots=True)
class Room:
    """What an agent can take: at most `tasks` deliveries; `alone`: the machine is empty, so a suspect may come.

    `stock`: so many more it would have done before long, should nobody be heard of meanwhile; a channel may ignore it.
    """

    tasks: int
    alone: bool = False
    stock: int = 0


class Claim(NamedTuple):
    """A delivery in an agent's hands, under a lease. `receipt` is the channel's own; a newer one ends the older."""

    delivery: Delivery
    receipt: str = ""


class Receipt(NamedTuple):
    """A report as it was collected; `token` is the channel's own, given back by `confirm`."""

    report: Report
    token: str = ""


class Channel(Protocol):
    """One object at each end; `address` is all that the far end needs to join (`channels.join(address)`)."""

    address: str
    watch: int | None
    """A file descriptor that becomes readable when something has come for this end; None: ask now and then."""

    def create(self) -> None:
        """Make what must exist before anyone may send. Twice: harmless. Already there: success. Waits until usable."""
        ...

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """Controller to agents: each (n, attempt) is offered at least once. Twice: harmless. Lost reply: send again.

        Does not wait for an agent. StateError when there is no room: nothing, or a part, was sent; send again.
        """
        ...

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        """Take up to `room.tasks` deliveries nobody else holds, for `lease`. Does not wait: may be empty.

        Twice: more, never the same again while they are held. Lost reply: they lapse, and are offered again.
        A delivery that wants to be alone comes only when `room.alone`, and then nothing comes with it.
        """
        ...

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        """Hold on to these for another `lease`; what is missing from the answer has lapsed: drop it, do not report it.

        Twice: harmless. Lost reply (Unreachable): ask again; until it is answered the old lease holds.
        """
        ...

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        """Hand back unfinished deliveries; they are offered again after `after`. Twice, or lapsed: harmless."""
        ...

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        """Agent to controller. The reports are durable before the claims are acknowledged. Lost reply: report again."""
        ...

    def collect(self, limit: int) -> Sequence[Receipt]:
        """Up to `limit` reports that were not confirmed, oldest first as far as is known. Does not wait: may be empty.

        Twice: the same ones may come again; after a restart of the controller all that were not confirmed do.
        """
        ...

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        """Forget these; only after the ledger has synced them. Twice: harmless. Lost reply: they come again."""
        ...

    def destroy(self) -> None:
        """Remove everything that create made. Twice, or already gone: success."""
        ...
