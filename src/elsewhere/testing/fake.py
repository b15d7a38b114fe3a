"""Fakes that take orders and keep a log: a clock, a backend, a channel. Nothing in them waits.

They obey the contracts in full; what they are ordered to do wrong is what a real place does on a bad day.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Generic, TypeVar

from elsewhere.backends.base import Condition, Finding, Launch, NativeId, Sighting, Traits
from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.errors import NoCapacity, NotFound, PlaceError, Unreachable
from elsewhere.model.place import Offer
from elsewhere.model.reports import Report
from elsewhere.model.resources import Resources
from elsewhere.model.task import Delivery

T = TypeVar("T")


class FakeClock:
    """Time that passes when told to. Call it for seconds that only grow, as time.monotonic does."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start, self._passed = start, timedelta(0)

    def __call__(self) -> float:
        return self._passed.total_seconds()

    def now(self) -> datetime:
        return self._start + self._passed

    def advance(self, length: timedelta | float) -> None:
        """Seconds, if it is a number."""
        self._passed += length if isinstance(length, timedelta) else timedelta(seconds=length)


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """`most`: machines that the place has in all."""

    most: int = 1000


@dataclass
class _Machine:
    sighting: Sighting
    hidden_until: datetime
    boots_at: datetime
    text: bytes = b""


class FakeBackend:
    """A place without machines. `log` holds every call, in order, as (verb, what)."""

    Settings: ClassVar[type[FakeSettings]] = FakeSettings
    traits: ClassVar[Traits] = Traits(interruptible=True, outlives_client=True, channels=("fake",))

    def __init__(
        self, clock: FakeClock, settings: FakeSettings | None = None, *, boot: timedelta = timedelta(seconds=30)
    ) -> None:
        self.clock, self.settings, self.boot = clock, settings or FakeSettings(), boot
        self.log: list[tuple[str, object]] = []
        self._machines: dict[NativeId, _Machine] = {}
        self._launches: dict[str, list[NativeId]] = {}
        self._refusals: list[PlaceError] = []
        self._losses: list[str] = []

    # --- orders

    def refuse_next(self, error: PlaceError | None = None) -> None:
        """The next call that asks for anything is refused, and has no effect."""
        self._refusals.append(error or NoCapacity("there is none left"))

    def lose_reply_next(self, when: str = "after") -> None:
        """The reply to the next call is lost, `before` or `after` it had its effect."""
        if when not in ("before", "after"):
            raise ValueError("a reply is lost before or after the effect")
        self._losses.append(when)

    def preempt(self, native: NativeId, reason: str = "spot reclaimed") -> None:
        """The place takes the machine back."""
        self._end(native, Condition.PREEMPTED, reason)

    def crash(self, native: NativeId, reason: str = "crashed") -> None:
        self._end(native, Condition.FAILED, reason)

    def hide(self, native: NativeId, lag: timedelta) -> None:
        """The machine is missing from all answers for so long."""
        self._machines[native].hidden_until = self.clock.now() + lag

    def print(self, native: NativeId, text: bytes) -> None:
        """The machine prints this while it boots."""
        self._machines[native].text += text

    # --- the contract

    def offers(self, need: Resources) -> Sequence[Offer]:
        self.log.append(("offers", need))
        shape = Resources(cpus=64, memory=256 << 30)
        fits = need.cpus <= shape.cpus and (need.memory or 0) <= (shape.memory or 0) and not need.gpus
        return [Offer("fake.large", shape, "zone-a")] if fits else []

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        self._meet("submit", launch.id, "before")
        if launch.id not in self._launches:
            alive = sum(not m.sighting.ended for m in self._machines.values())
            count = min(launch.count, self.settings.most - alive)
            if count <= 0:
                raise NoCapacity("there is none left")
            self._launches[launch.id] = [self._make(launch, i) for i in range(count)]
        self._meet("submit", launch.id, "after")
        return list(self._launches[launch.id])

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        self._meet("status", tuple(ids), "before")
        self._meet("status", tuple(ids), "after")
        return {native: self._see(native) for native in ids if native in self._machines and self._shown(native)}

    def cancel(self, ids: Collection[NativeId]) -> None:
        self._meet("cancel", tuple(ids), "before")
        for native in ids:
            if native in self._machines:
                self._end(native, Condition.STOPPED, "stopped")
        self._meet("cancel", tuple(ids), "after")

    def owned(self) -> Iterable[Sighting]:
        self._meet("owned", "", "before")
        self._meet("owned", "", "after")
        return [self._see(native) for native in self._machines if self._shown(native)]

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        self.log.append(("logs", native_id))
        if native_id not in self._machines:
            raise NotFound(f"there is no machine {native_id}")
        return self._machines[native_id].text[start:]

    def check(self) -> Iterable[Finding]:
        self.log.append(("check", ""))
        return [Finding("the fake place", True)]

    # --- within

    def _meet(self, verb: str, what: object, when: str) -> None:
        """What was ordered for this call."""
        if when == "before":
            self.log.append((verb, what))
            if self._refusals:
                raise self._refusals.pop(0)
        if self._losses and self._losses[0] == when:
            self._losses.pop(0)
            raise Unreachable("no answer")

    def _make(self, launch: Launch, i: int) -> NativeId:
        native, now = f"{launch.id}.{i}", self.clock.now()
        sighting = Sighting(native, Condition.PENDING, {"launch": launch.id, **launch.labels})
        self._machines[native] = _Machine(sighting, now, now + self.boot)
        return native

    def _see(self, native: NativeId) -> Sighting:
        machine, now = self._machines[native], self.clock.now()
        if machine.sighting.condition is Condition.PENDING and now >= machine.boots_at:
            machine.sighting = replace(machine.sighting, condition=Condition.RUNNING, started=machine.boots_at)
        return machine.sighting

    def _shown(self, native: NativeId) -> bool:
        return self.clock.now() >= self._machines[native].hidden_until

    def _end(self, native: NativeId, condition: Condition, reason: str) -> None:
        seen = self._see(native)
        if not seen.ended:
            self._machines[native].sighting = replace(seen, condition=condition, ended=self.clock.now(), reason=reason)


@dataclass
class _Item(Generic[T]):
    body: T
    visible: float
    taken: int = 0
    last: str = ""


class _Queue(Generic[T]):
    """Like a cloud's: at least once, late, in any order; who takes an item hides it for a while."""

    def __init__(self, clock: FakeClock, chance: random.Random, duplicates: float, delay: timedelta) -> None:
        self.clock, self.chance, self.duplicates, self.delay = clock, chance, duplicates, delay.total_seconds()
        self.items: dict[int, _Item[T]] = {}
        self._serial = 0

    def send(self, body: T) -> None:
        for _ in range(1 + (self.chance.random() < self.duplicates)):
            self._serial += 1
            self.items[self._serial] = _Item(body, self.clock() + self.chance.random() * self.delay)

    def take(self, limit: int, seconds: float, fits: Callable[[T], bool] = lambda _: True) -> list[tuple[str, T]]:
        now = self.clock()
        seen = [k for k, item in self.items.items() if item.visible <= now and fits(item.body)]
        self.chance.shuffle(seen)
        for k in seen[:limit]:
            self.items[k].taken += 1
            self.items[k].visible = self.clock() + seconds
        return [(f"{k}/{self.items[k].taken}", self.items[k].body) for k in seen[:limit]]

    def held(self, token: str) -> _Item[T] | None:
        """The item, if this token is its newest and its time is not over."""
        k, _, taken = token.partition("/")
        item = self.items.get(int(k))
        return item if item is not None and item.taken == int(taken) and item.visible > self.clock() else None

    def delete(self, token: str) -> None:
        self.items.pop(int(token.partition("/")[0]), None)


class FakeChannel:
    """Both ends of a channel whose service sends twice and late, as seeded. `log` holds every call."""

    address = "fake:"
    watch: int | None = None

    def __init__(
        self,
        clock: FakeClock,
        seed: int = 0,
        *,
        duplicates: float = 0.0,
        delay: timedelta = timedelta(0),
        hold: timedelta = timedelta(seconds=30),
    ) -> None:
        """`duplicates`: the share of what comes twice. `hold`: how long a collected report stays hidden."""
        self.clock, self._hold = clock, hold.total_seconds()
        chance = random.Random(seed)
        self.log: list[tuple[str, object]] = []
        self._out: _Queue[Delivery] = _Queue(clock, chance, duplicates, delay)
        self._home: _Queue[Report] = _Queue(clock, chance, duplicates, delay)
        self._losses: list[tuple[str, str]] = []

    def lose_reply_next(self, verb: str, when: str = "after") -> None:
        """The reply to the next call of this verb is lost, `before` or `after` it had its effect."""
        self._losses.append((verb, when))

    def create(self) -> None:
        self._meet("create", "", "before")
        self._meet("create", "", "after")

    def send(self, deliveries: Sequence[Delivery]) -> None:
        self._meet("send", tuple(deliveries), "before")
        for delivery in deliveries:
            self._out.send(delivery)
        self._meet("send", "", "after")

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        self._meet("claim", agent, "before")
        seconds = lease.total_seconds()
        got = self._out.take(1, seconds, lambda d: d.alone) if room.alone and room.tasks > 0 else []
        got = got or self._out.take(room.tasks, seconds, lambda d: not d.alone)
        self._meet("claim", agent, "after")
        return [Claim(delivery, token) for token, delivery in got]

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        self._meet("renew", tuple(claims), "before")
        kept = []
        for claim in claims:
            item = self._out.held(claim.receipt)
            if item is not None:
                item.visible = self.clock() + lease.total_seconds()
                kept.append(claim)
        self._meet("renew", "", "after")
        return kept

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        self._meet("release", tuple(claims), "before")
        for claim in claims:
            item = self._out.held(claim.receipt)
            if item is not None:
                item.visible = self.clock() + after.total_seconds()
                item.taken += 1  # the receipt has had its use
        self._meet("release", "", "after")

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        self._meet("report", tuple(reports), "before")
        for report in reports:
            self._home.send(report)
        for claim in done:
            self._out.delete(claim.receipt)
        self._meet("report", "", "after")

    def collect(self, limit: int) -> Sequence[Receipt]:
        self._meet("collect", limit, "before")
        got = self._home.take(limit, self._hold)
        self._meet("collect", limit, "after")
        return [Receipt(report, token) for token, report in got]

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        self._meet("confirm", tuple(receipts), "before")
        for receipt in receipts:
            self._home.delete(receipt.token)
        self._meet("confirm", "", "after")

    def destroy(self) -> None:
        self._meet("destroy", "", "before")
        self._out.items.clear()
        self._home.items.clear()
        self._meet("destroy", "", "after")

    def _meet(self, verb: str, what: object, when: str) -> None:
        if when == "before":
            self.log.append((verb, what))
        if (verb, when) in self._losses:
            self._losses.remove((verb, when))
            raise Unreachable("no answer")
