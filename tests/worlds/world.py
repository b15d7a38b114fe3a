"""A seeded world: a job, a cloud, queues, seats and machines, and what must never happen in it.

A tick is a minute or so, a machine costs a dollar a tick. The truth of the job is what its log says.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import apsw

from elsewhere.backends.base import Launch
from elsewhere.controller import afar as afar_module
from elsewhere.controller import controller as controller_module
from elsewhere.ledger import Ledger
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.journal import Journal
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Ended, Report
from elsewhere.model.states import AllocationState, TaskState
from elsewhere.model.task import Delivery, NewTask, RetryPolicy
from elsewhere.pool.reactor import Bounds
from elsewhere.stores import MemoryStore
from worlds.clockwork import TICK
from worlds.cloud import FLIGHT, LAG, Cloud
from worlds.machine import BOOT, SLOTS, SWITCH, Machine
from worlds.queue import Queue
from worlds.seat import Seat

MOST, RETRIES, CRASHES, HORIZON, LIMIT = 4, 2, 3, 260, 560
T0 = datetime(2026, 1, 1, tzinfo=UTC)
_FINAL = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)


class Broken(AssertionError):
    """An invariant does not hold: `what` names it."""

    def __init__(self, what: str, story: str = "") -> None:
        super().__init__(what, story)
        self.what = what


class World:
    """One world. `play` it; Broken says what went wrong."""

    job = "job-1"

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.seed, self.now = seed, 0
        self.kind = seed % 5 == 0
        """No faults at all."""
        self.evil = 0.0 if self.kind else rng.choice([0.3, 1.0, 1.0])
        self.rough = rng.choice([0.3, 1.0, 2.0])
        names = ["good"] * 12 if self.kind else ["good"] * 8 + ["flaky1", "flaky2", "bad", "killer"]
        self.kinds = {n: rng.choice(names) for n in range(1, rng.randint(1, 14) + 1)}
        self.budget = 4000 if self.kind else rng.choice([60, 150, 400, 1500])
        delay = timedelta(seconds=rng.choice([10, 180]))
        """Short: agents try again by themselves. Long: the ledger hands out again."""
        retry = RetryPolicy(retries=RETRIES, delay=delay, factor=1.0)
        self.spec = JobSpec(self.job, "world", Entry("function", "a:b"), retry=retry)
        self.bounds = Bounds(
            self.job, most=MOST, slots=SLOTS, price=Decimal(60), budget=Decimal(self.budget),
            unattended=ticks(45), shortest=ticks(6), step=ticks(8), lag=ticks(LAG), flight=ticks(FLIGHT + 2),
            asking=ticks(30), boot=ticks(BOOT), pause=ticks(1), longest_pause=ticks(4),
        )  # fmt: skip
        self.cloud = Cloud(self)
        self.store = MemoryStore()
        self.out: Queue[Delivery] = Queue(self, int(8 * self.evil), 0.1 * self.evil)
        self.home: Queue[Report] = Queue(self, int(10 * self.evil), 0.15 * self.evil)
        self.truth = self._found()
        self.epoch = 0
        self.shown: dict[int, TaskState] = {}
        self.wishes: set[int] = set()
        self.heeded: set[int] = set()
        self._handed: set[tuple[int, int]] = set()
        self._stops: set[str] = set()
        self._seen_events = 0
        self.runs: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.kills: Counter[int] = Counter()
        self.spent = 0
        self.closed = self.broke = False
        self.seats = [Seat(self)]

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

    def instant(self, tick: int) -> datetime:
        return T0 + ticks(tick)

    def late(self, start_by: datetime) -> bool:
        return self.instant(self.now) > start_by

    def dice(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    def machine(self, native: str, launch: Launch) -> Machine:
        return Machine(self, native, launch)

    # --- what the log says ----------------------------------------------------------------------------------------

    def appended(self, seat: Seat, data: bytes) -> None:
        """A segment was made: that is what is true from now on."""
        apsw.Changeset.apply(data[16:], self.truth.db)
        epoch = int(self.truth.get("epoch", 0))
        if epoch > self.epoch:
            self.epoch = seat.epoch = epoch
        frontier = int(self.truth.get("frontier", 0))
        self._handed |= {(n, 1) for n in range(1, frontier + 1)}
        self._handed.update(self.truth._rows("SELECT n, attempt FROM open WHERE state = 1"))
        self._stops |= {a.native for a in self._allocations().values() if a.state >= AllocationState.STOPPING}
        rows = self.truth._rows("SELECT seq, kind, about FROM events WHERE seq > ?", (self._seen_events,))
        for seq, kind, about in rows:
            self._seen_events = seq
            if kind == "stranger":
                self._stops.add(about)

    def _allocations(self) -> dict[str, Any]:
        return {a.native: a for a in Holdings(self.truth).allocations() if a.native}

    def hands(self) -> set[tuple[int, int]]:
        return self._handed

    def stops_written(self) -> set[str]:
        return self._stops

    def launches_written(self) -> set[str]:
        return {a.launch for a in Holdings(self.truth).allocations()}

    # --- what must never happen -----------------------------------------------------------------------------------

    def check_old(self, seat: Seat, known: bool, what: str) -> None:
        if seat.epoch < self.epoch and not known:
            raise Broken("an old epoch changes nothing", what)

    def check_orders(self, seat: Seat, orders: Orders) -> None:
        held = self._allocations()
        for native, term in orders.terms.items():
            self.check_old(seat, native in held and term <= held[native].term, "orders")

    def confirmed(self, report: Report) -> None:
        """A report was acknowledged: what it says is in the log, or can never count, or comes again."""
        if not isinstance(report, Ended):
            return
        state, attempt, _, _ = self.truth._current(report.n)
        recorded = self.truth._rows("SELECT 1 FROM attempts WHERE n = ? AND attempt = ?", (report.n, report.attempt))
        echo = any(isinstance(i.body, Ended) and i.body[:2] == report[:2] for i in self.home.items.values())
        if state not in _FINAL and attempt <= report.attempt and not recorded and not echo:
            raise Broken("nothing acknowledged is lost", f"task {report.n} attempt {report.attempt}")

    def show(self, ledger: Ledger) -> None:
        for n, state in ledger._rows("SELECT n, state FROM done"):
            if self.shown.setdefault(n, TaskState(state)) != state:
                raise Broken("an outcome is never undone", f"task {n}")
        missing = [n for n in self.shown if not ledger._rows("SELECT 1 FROM done WHERE n = ?", (n,))]
        if missing and int(ledger.get("epoch", 0)) == self.epoch:
            raise Broken("an outcome is never undone", f"task {missing[0]} is unfinished again")

    def heed(self, ledger: Ledger) -> None:
        cancelled = {n for (n,) in ledger._rows("SELECT n FROM done WHERE state = ?", (int(TaskState.CANCELLED),))}
        self.heeded |= self.wishes & cancelled

    def _check_machines(self) -> None:
        alive = [m for m in self.cloud.machines.values() if m.alive]
        self.spent += len(alive)
        if len(alive) > MOST:
            raise Broken("never more machines than the most", f"{len(alive)}")
        if self.spent > self.budget:
            raise Broken("money within the budget", f"{self.spent} of {self.budget}")
        held = self._allocations() if alive else {}
        for m in alive:
            assert isinstance(m, Machine)
            bought = held[m.native].term / ticks(1) if m.native in held else m.bought
            if self.now - m.started > max(bought, m.bought) + 1:
                raise Broken("no machine outlives its term", m.native)
            if self.now > m.agent_died + SWITCH + 1:
                raise Broken("no machine outlives its agent for long", m.native)

    def _check_end(self) -> None:
        if any(m.alive for m in self.cloud.machines.values()):
            raise Broken("nothing of ours is left")
        if not self.closed:
            raise Broken("every task ends, and so the job")
        for n, kind in self.kinds.items():
            state = self.shown.get(n)
            if state not in _FINAL:
                raise Broken("every task ends, and so the job", f"{n} {kind} {state}")
            if n in self.heeded and state != TaskState.CANCELLED:
                raise Broken("a cancelled task stays so", f"{n}")
            if kind[:4] in ("good", "flak") and state == TaskState.FAILED and self.deaths[n] < CRASHES:
                raise Broken("interruptions spend nothing", f"{n} {kind}")
            if self.kills[n] > 3 * CRASHES:
                raise Broken("a killer is stopped", f"{n} killed {self.kills[n]}")
            if self.kind and (state != TaskState.SUCCEEDED or self.runs[n] != 1):
                raise Broken("kind worlds run each task once", f"{n} {state} {self.runs[n]}")

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
            if not seat.gone and self.now >= seat.wake:
                seat.play(rng.randint(8, 40))

    def _strike(self, seat: Seat, chance: float) -> None:
        if chance < 0.02:
            seat.kill()  # kill -9
        elif chance < 0.03:
            seat.wake = self.now + self.rng.randint(5, 110)  # a closed laptop, process and all
        elif chance < 0.035:
            seat.kill()
            seat.gone = True  # a stolen one
        elif chance < 0.043:
            self.seats.append(Seat(self))  # taken over from elsewhere, the other still there

    def _tick(self) -> None:
        self.now += 1
        self.cloud.tick()
        self._people()
        for machine in list(self.cloud.machines.values()):
            if machine.alive:
                assert isinstance(machine, Machine)
                machine.step()
        self._check_machines()

    def play(self) -> World:
        """From the first tick to the last. Broken: an invariant does not hold."""
        clock = Clock(self)
        patient = mock.patch.multiple(afar_module, PATIENCE=1e9, OVERDUE=5 * TICK)
        with mock.patch.object(controller_module, "time", clock), patient:
            try:
                while self.now < LIMIT and not (self.closed and not any(m.alive for m in self.cloud.machines.values())):
                    self._tick()
                    self._check_progress()
                self._check_end()
            finally:
                for seat in self.seats:
                    seat.kill()
        return self

    def _check_progress(self) -> None:
        mild = self.evil == 0.3 and self.rough < 2 and self.budget == 1500
        if mild and self.now == HORIZON and len(self.shown) < len(self.kinds):
            raise Broken("progress in mild, rich worlds")
        if self.kind and self.now > 150 and not self.closed:
            raise Broken("progress in kind worlds")


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
