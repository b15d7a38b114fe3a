"""A seeded world: a job, a cloud, queues, seats and machines, and what must never happen in it.

A tick is a minute or so, a machine costs about a dollar a tick. The truth of the job is what its log says.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest import mock

from elsewhere.backends.base import Launch
from elsewhere.controller import afar as afar_module
from elsewhere.controller import controller as controller_module
from elsewhere.controller import ending
from elsewhere.controller import looks as looks_module
from elsewhere.controller import pace as pace_module
from elsewhere.controller import stuck as stuck_module
from elsewhere.ledger import bases
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Offer
from elsewhere.model.reports import Report
from elsewhere.model.resources import Resources
from elsewhere.model.task import Delivery, NewTask, RetryPolicy
from elsewhere.pool import pool as pool_module
from elsewhere.pool.capacity import Bounds, Shape
from elsewhere.stores import MemoryStore
from worlds.clockwork import TICK
from worlds.cloud import FLIGHT, LAG, Cloud
from worlds.judge import RETRIES, Broken, Judge
from worlds.machine import BOOT, SILENCE, SLOTS, Machine
from worlds.post import Queue
from worlds.seat import Seat

MOST, HORIZON, LIMIT = 4, 260, 560
DUDS = 6
NAMES = ["good"] * 8 + ["flaky1", "flaky2", "bad", "killer"]
"""What tasks are like: flaky ones fail once or twice, a killer takes its machine with it."""
T0 = datetime(2026, 1, 1, tzinfo=UTC)
COPY = 8
"""Segments from one copy of the ledger to the next."""
SLOW = timedelta(seconds=5 * TICK)
"""What takes longer is no answer."""


def mix(kind: bool, rng: random.Random) -> tuple[Shape, ...]:
    """Where all is well one shape; else two zones of spot machines, each with its share, and dearer ones on demand."""
    if kind:
        return (Shape(Offer("plain", Resources(), "a", Decimal(60)), SLOTS),)
    return (
        Shape(Offer("plain", Resources(), "a", Decimal(40), spot=True), SLOTS, rng.choice([1, 2, 4])),
        Shape(Offer("plain", Resources(), "b", Decimal(50), spot=True), SLOTS, rng.choice([2, None])),
        Shape(Offer("large", Resources(cpus=2), "a", Decimal(100)), 2 * SLOTS),
    )


class World:
    """One world. `play` it; Broken says what went wrong."""

    job = "job-1"

    def __init__(self, seed: int, aside: bool = False) -> None:
        rng = self.rng = random.Random(seed)
        self.seed, self.now, self.aside = seed, 0, aside
        """`aside`: controllers go on while the cloud is asked, and it may take long to answer."""
        self.patience = 4 if aside else 1
        """So much longer may last there what waits for answers."""
        self.kind = seed % 5 == 0
        """No faults at all."""
        self.barren = seed % 40 == 17
        """No machine boots here."""
        self.evil = 0.0 if self.kind else rng.choice([0.3, 1.0, 1.0])
        self.rough = rng.choice([0.3, 1.0, 2.0])
        self.violent = rng.choice([1, 1, 4])
        """How often controllers are killed and laptops closed."""
        self.presses = self._presses(random.Random(f"Ctrl-C {seed}"))
        """Ticks in which somebody presses Ctrl-C, to go on later."""
        self.slips = random.Random(f"slip {seed}")
        self.slippery = 0.15 * self.evil if self.slips.random() < 0.3 else 0.0
        """How often a machine dies before it has said what it has just taken."""
        self.copies = seed // 100 % 4 == 2
        """Are copies of the ledger put into the log on the way?"""
        self.nap = range(0)
        """Also where all is well a laptop may be closed for a while."""
        if self.kind and self.slips.random() < 0.5:
            begin = self.slips.randint(5, 20)
            self.nap = range(begin, begin + self.slips.randint(20, 60))
        self.portion = 4 if self.nap else 20
        """So many reports come at a time."""
        names = ["good"] * 9 + ["flaky1", "flaky2", "bad"] if self.kind else NAMES
        self.kinds = {n: rng.choice(names) for n in range(1, rng.randint(1, 14) + 1)}
        self.budget = 4000 if self.kind else rng.choice([60, 150, 400, 1500])
        delay = timedelta(seconds=rng.choice([10, 180]))
        """Short: agents try again by themselves. Long: the ledger hands out again."""
        retry = RetryPolicy(retries=RETRIES, delay=delay, factor=1.0)
        self.spec = JobSpec(self.job, "world", Entry("function", "a:b"), retry=retry)
        shapes = self.shapes = mix(self.kind, rng)
        self.hourly = rng.choice([None, None, Decimal(150)])
        self.bounds = Bounds(
            self.job, most=MOST, shapes=shapes, price_per_hour=self.hourly, budget=Decimal(self.budget),
            silence=ticks(SILENCE), duds=DUDS, linger=ticks(2),
            unattended=ticks(45), shortest=ticks(6), step=ticks(8), lag=ticks(LAG), flight=ticks(FLIGHT + 2),
            asking=ticks(30), boot=ticks(BOOT), pause=ticks(1), longest_pause=ticks(4),
        )  # fmt: skip
        self.cloud = Cloud(self)
        self.store = MemoryStore()
        self.out: Queue[Delivery] = Queue(self, int(8 * self.evil), 0.1 * self.evil)
        slow = 2 if self.presses else 0
        self.home: Queue[Report] = Queue(self, int(10 * self.evil) or slow, 0.15 * self.evil)
        self.judge = Judge(self, self._found())
        self.wishes: set[int] = set()
        self.runs: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.kills: Counter[int] = Counter()
        self.closed = self.broke = False
        self.seats = [Seat(self)]

    def _presses(self, chance: random.Random) -> frozenset[int]:
        if chance.random() < 0.6:
            return frozenset()
        return frozenset([chance.randint(2, 15), *([] if self.kind else [chance.randint(20, 80)])])

    def _found(self) -> Ledger:
        """The job as it was submitted: its spec and its tasks, in the log."""
        ledger = Ledger.create(":memory:", self.spec, self.seconds)
        journal = Journal(self.store)
        journal.found(ledger)
        journal.attach(ledger)
        with ledger.moving():
            ledger.add(NewTask(f"t{n}", b"{}") for n in self.kinds)
            ledger.complete()
        ledger.journal = None
        return ledger

    # --- time and chance ------------------------------------------------------------------------------------------

    def seconds(self) -> float:
        return T0.timestamp() + self.now * TICK

    def instant(self, tick: float) -> datetime:
        return T0 + ticks(tick)

    def late(self, start_by: datetime) -> bool:
        return self.instant(self.now) > start_by

    def dice(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    def machines(self) -> list[Machine]:
        return [m for m in self.cloud.machines.values() if isinstance(m, Machine)]

    def machine(self, native: str, launch: Launch) -> Machine:
        return Machine(self, native, launch)

    # --- what happens ---------------------------------------------------------------------------------------------

    def _people(self) -> None:
        rng, calm = self.rng, self.kind or self.now > HORIZON
        if not self.kind and rng.random() < 0.02:
            self.wishes.add(rng.randint(1, len(self.kinds)))
        if self.now > HORIZON or self.broke:
            self.wishes |= set(self.kinds)
        for seat in list(self.seats):
            if not seat.gone and not calm:
                self._strike(seat, rng.random() / self.evil)
        if all(seat.gone for seat in self.seats) and not self.closed:
            self.seats.append(Seat(self, self.now + (0 if calm else rng.randint(1, 20))))
        for seat in self.seats:
            if seat.awake and self.now in self.presses:
                seat.stop.asked = 1
            if self.now in self.nap:
                seat.wake = self.nap.stop
            if not seat.gone and self.now >= seat.wake:
                seat.play(rng.randint(8, 40))

    def _strike(self, seat: Seat, chance: float) -> None:
        if chance < 0.02 * self.violent:
            seat.kill()  # kill -9
        elif chance < 0.03 * self.violent:
            seat.wake = self.now + self.rng.randint(5, 110)  # a closed laptop, process and all
        elif chance < 0.03 * self.violent + 0.005:
            seat.kill()
            seat.gone = True  # a stolen one
        elif chance < 0.03 * self.violent + 0.013:
            self.seats.append(Seat(self))  # taken over from elsewhere, the other still there

    def _tick(self) -> None:
        self.now += 1
        self.cloud.tick()
        self._people()
        for machine in self.machines():
            if machine.alive:
                machine.step()
        self.judge.machines()

    def play(self) -> World:
        """From the first tick to the last. Broken: an invariant does not hold."""
        clock = Clock(self)
        heard = mock.patch.object(afar_module, "HEARING", 8 * TICK)
        busy = mock.patch.object(looks_module, "OVERDUE", 5 * TICK)
        patient = mock.patch.object(ending, "PATIENCE", 1e9)
        seldom = mock.patch.object(pace_module, "SELDOM", 5 * TICK)
        stuck = mock.patch.object(stuck_module, "STUCK", 10 * TICK)
        late = mock.patch.object(pool_module, "LATE", SLOW)
        small = mock.patch.multiple(bases, PART=16 << 10, INLINE=0, LEAST=COPY, SEGMENT=1 << 20)
        with mock.patch.object(controller_module, "time", clock), heard, busy, patient, seldom, stuck, late, small:
            try:
                while self.now < LIMIT and not (self.closed and self.judge.still()):
                    self._tick()
                    self.judge.progress()
                self.judge.end()
            finally:
                for seat in self.seats:
                    seat.kill()
        return self


class Clock:
    """`time`, as the controller's loop sees it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def monotonic(self) -> float:
        return self.world.seconds()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits for a full disk here")


def ticks(count: float) -> timedelta:
    return timedelta(seconds=count * TICK)


__all__ = ["Broken", "World"]
