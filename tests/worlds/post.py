"""A channel like a cloud's queue: at least once, in any order, late; a claim is a receipt that lapses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.model.reports import Report
from elsewhere.model.task import Delivery
from worlds.clockwork import TICK

if TYPE_CHECKING:
    from worlds.seat import Seat
    from worlds.world import World

T = TypeVar("T")


@dataclass
class Item(Generic[T]):
    body: T
    visible: float
    taken: int = 0


class Queue(Generic[T]):
    """The service itself. Times are ticks."""

    def __init__(self, world: World, late: int, dup: float) -> None:
        self.world, self.late, self.dup = world, late, dup
        self.items: dict[int, Item[T]] = {}
        self.serial = 0
        self.exclusive = self.lapses = True

    def send(self, body: T) -> None:
        rng = self.world.rng
        for _ in range(1 + (rng.random() < self.dup)):
            self.serial += 1
            self.items[self.serial] = Item(body, self.world.now + rng.randint(0, self.late))

    def take(self, limit: int, hold: float, fits: Callable[[T], bool] = lambda _: True) -> list[tuple[str, T]]:
        seen = [k for k, item in self.items.items() if item.visible <= self.world.now and fits(item.body)]
        self.world.rng.shuffle(seen)
        for k in seen[:limit]:
            item = self.items[k]
            item.taken += 1
            if self.exclusive:
                item.visible = self.world.now + hold if self.lapses else float("inf")
        return [(f"{k}/{self.items[k].taken}", self.items[k].body) for k in seen[:limit]]

    def _find(self, token: str) -> tuple[int, Item[T] | None, bool]:
        """The item of a receipt, and whether no later one was given out for it."""
        k, _, taken = token.partition("/")
        item = self.items.get(int(k))
        return int(k), item, item is not None and item.taken == int(taken)

    def renew(self, token: str, hold: float) -> bool:
        _, item, current = self._find(token)
        if item is None or not current or item.visible <= self.world.now:
            return False
        item.visible = max(item.visible, self.world.now + hold)
        return True

    def holds(self, token: str) -> bool:
        """Is this receipt good, or the item done already?"""
        _, item, current = self._find(token)
        return item is None or (current and item.visible > self.world.now)

    def release(self, token: str) -> None:
        _, item, current = self._find(token)
        if item is not None and current:
            item.visible = self.world.now

    def done(self, token: str) -> None:
        """A receipt that lapsed deletes sometimes, and sometimes not."""
        k, item, current = self._find(token)
        if item is not None and (current or self.world.rng.random() < 0.5):
            del self.items[k]


class Post:
    """A Channel over two queues, as one seat's controller reaches it, or (seat None) an agent."""

    address = "queue:"
    watch: int | None = None

    def __init__(self, world: World, seat: Seat | None = None) -> None:
        self.world, self.seat = world, seat
        self.out, self.home = world.out, world.home

    def _step(self) -> None:
        if self.seat is not None:
            self.seat.step()

    def create(self) -> None:
        self._step()

    def send(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._step()
            if self.seat is not None:
                judge = self.world.judge
                judge.old(self.seat, (delivery.n, delivery.attempt) in judge.handed, "send")
            self.out.send(delivery)

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        hold = lease.total_seconds() / TICK
        if room.alone and (got := self.out.take(1, hold, lambda d: d.alone)):
            return [Claim(got[0][1], got[0][0])]
        return [Claim(d, token) for token, d in self.out.take(room.tasks, hold, lambda d: not d.alone)]

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        hold = lease.total_seconds() / TICK
        return [claim for claim in claims if self.out.renew(claim.receipt, hold)]

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        for claim in claims:
            self.out.release(claim.receipt)

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        for report in reports:
            self.home.send(report)
        for claim in done:
            self.out.done(claim.receipt)

    def collect(self, limit: int) -> Sequence[Receipt]:
        self._step()
        found = [Receipt(report, token) for token, report in self.home.take(min(limit, self.world.portion), 5)]
        self._step()
        return found

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self._step()
            self.home.done(receipt.token)
            self.world.judge.confirmed(receipt.report)

    def destroy(self) -> None:
        self._step()
