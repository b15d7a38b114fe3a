"""What is true of a world, as its job's log tells it, and what must never happen there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import apsw

from elsewhere.backends.base import Launch
from elsewhere.ledger.allocations import _BLAMED, Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.orders import Orders
from elsewhere.model.place import Allocation
from elsewhere.model.reports import Ended, Report
from elsewhere.model.states import AllocationState, Outcome, TaskState
from elsewhere.model.task import Delivery
from elsewhere.pool.reactor import DOUBT
from worlds.clockwork import TICK
from worlds.machine import IDLE, SILENCE, SWITCH, Machine

if TYPE_CHECKING:
    from worlds.seat import Seat
    from worlds.world import World

CRASHES, RETRIES = 3, 2
SOON = 25
"""Ticks within which what should end has ended, if somebody minds it all the time."""
PACE = 10
"""Ticks within which a controller has decided on what it saw."""
LOOKS = 12
"""Ticks within which it looks."""
ENOUGH = 120
"""Ticks in which somebody minds a mild world, and it has got everything done."""
RUNS = {"good": 1, "flaky1": 2, "flaky2": 3, "bad": RETRIES + 1}
"""How often each kind of task is run where nothing goes wrong."""
FINAL = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)


class Broken(AssertionError):
    """An invariant does not hold: `what` names it."""

    def __init__(self, what: str, story: str = "") -> None:
        super().__init__(what, story)
        self.what = what


class Judge:
    """Sees everything: the log, the cloud, the queues, all machines. `truth` is a ledger made of the log alone."""

    def __init__(self, world: World, truth: Ledger) -> None:
        self.world, self.truth = world, truth
        self.epoch = 0
        self.shown: dict[int, TaskState] = {}
        self.heeded: set[int] = set()
        self.handed: set[tuple[int, int]] = set()
        self.stops: set[str] = set()
        self.launches: set[str] = set()
        self.closing: set[int] = set()
        """Epochs whose controllers have decided to end."""
        self.held: dict[str, Allocation] = {}
        self.given_up: set[tuple[int, int]] = set()
        """(task, number) that an agent handed back or ended, and that no machine had when it crashed."""
        self.spent = 0.0
        self.unlooked = self.attended = 0
        """Ticks in which somebody minded the world: since the last look, and in all."""
        self._seen_events = 0
        self._wronged: Counter[tuple[int, int]] = Counter()
        self._nowhere: Counter[tuple[int, int]] = Counter()
        self._over: Counter[str] = Counter()
        self._mute: Counter[str] = Counter()
        self._unasked: Counter[str] = Counter()
        self._since = 0
        """When the newest controller began: it waits from then on."""
        self._words: dict[str, Launch] = {}
        self._useless: Counter[tuple[str, int]] = Counter()
        self._newest = 0
        """The highest epoch under which orders were published."""
        self._told: tuple[int, Orders] = (0, Orders(world.job))

    # --- what the log says ----------------------------------------------------------------------------------------

    def appended(self, seat: Seat, changes: bytes) -> None:
        """A segment was made: that is what is true from now on."""
        try:
            apsw.Changeset.apply(changes, self.truth.db)
        except apsw.Error as error:
            raise Broken("all copies of the job agree", str(error)) from error
        epoch = int(self.truth.get("epoch", 0))
        if epoch > self.epoch:
            self.epoch = seat.epoch = epoch
            self._since = self.world.now
        frontier = int(self.truth.get("frontier", 0))
        self.handed |= {(n, 1) for n in range(1, frontier + 1)}
        self.handed.update(self.truth._rows("SELECT n, attempt FROM open WHERE state = 1"))
        allocations = Holdings(self.truth).allocations()
        self.launches |= {a.launch for a in allocations}
        self.held = {a.native: a for a in allocations if a.native}
        for native, allocation in self.held.items():
            machine = self.world.cloud.machines.get(native)
            if allocation.state is AllocationState.LOST and machine is not None and machine.alive:
                raise Broken("who is booked as lost is gone", native)
        self.stops |= {a.native for a in self.held.values() if a.state >= AllocationState.STOPPING}
        rows = self.truth._rows("SELECT seq, kind, about FROM events WHERE seq > ?", (self._seen_events,))
        for seq, kind, about in rows:
            self._seen_events = seq
            if kind == "stranger":
                self.stops.add(about)
            elif kind == "closing":
                self.closing.add(epoch)

    def agree(self, ledger: Ledger) -> None:
        """A copy has come up to the end of the log."""
        if ledger.get("position", 0) == self.truth.get("position", 0) and _rows(ledger) != _rows(self.truth):
            raise Broken("all copies of the job agree", f"at {ledger.get('position', 0)}")

    # --- at the moment it happens ---------------------------------------------------------------------------------

    def old(self, seat: Seat, known: bool, what: str) -> None:
        """Somebody does this; `known`: it was decided in the log."""
        if seat.epoch < self.epoch and not known:
            raise Broken("an old epoch changes nothing", what)

    def tries(self, launch: Launch) -> None:
        """Somebody tries to ask for it."""
        self._unasked[launch.labels["launch"]] = 0

    def asks(self, launch: Launch) -> None:
        """A launch is asked for, perhaps again: then in the same words."""
        first = self._words.setdefault(launch.id, launch)
        if (first.offer, first.count) != (launch.offer, launch.count):
            raise Broken("a launch is asked for again in the same words", launch.id)

    def rests(self, launch: Launch, refused: int, decided: Collection[str]) -> None:
        """A launch is asked for; its offer was refused in tick `refused`, when these launches had been decided."""
        if refused == self.world.now and launch.labels["launch"] not in decided:
            raise Broken("what was refused rests", launch.id)

    def publishes(self, seat: Seat, orders: Orders) -> None:
        """Somebody is about to tell agents this."""
        self.old(seat, not orders.over or orders.epoch in self.closing, "says that all is over")
        for native, term in orders.terms.items():
            self.old(seat, native in self.held and term <= self.held[native].term, "buys time")

    def published(self, seat: Seat, orders: Orders) -> None:
        """They can read it now."""
        self._newest = max(self._newest, orders.epoch)
        if seat.epoch == self.epoch:
            self._told = (self.world.now, orders)

    def dooms(self, native: str, launch: str) -> bool:
        """Must this living machine be stopped: a stranger, or one whose stop is written down?"""
        held = self.held.get(native)
        if held is not None and not held.state.ended:
            return held.state is AllocationState.STOPPING
        return not any(a.launch == launch and not a.native for a in self._allocations())

    def heads(self, seat: Seat) -> bool:
        """Is its controller the newest? One that was overtaken may not know it yet: it owes nothing any more."""
        return seat.epoch == self.epoch

    def looks(self, seat: Seat) -> None:
        """A controller asks the place what there is."""
        if self.heads(seat):
            self.unlooked = 0

    def stopped(self, missed: set[str]) -> None:
        """A controller looks again; `missed`: what it saw the last time and did not stop."""
        if missed:
            raise Broken("what must not live on is stopped at once, and again until it is gone", sorted(missed)[0])

    def confirmed(self, report: Report) -> None:
        """A report was acknowledged: what it says is in the log, or can never count, or comes again."""
        if not isinstance(report, Ended):
            return
        state, attempt, _, _ = self.truth._current(report.n)
        pair = (report.n, report.attempt)
        recorded = self.truth._rows("SELECT value FROM attempts WHERE n = ? AND attempt = ?", pair)
        if state not in FINAL and recorded and recorded[0][0] == _BLAMED:
            raise Broken("nobody stays blamed who has reported", f"task {report.n} attempt {report.attempt}")
        echo = any(isinstance(i.body, Ended) and i.body[:2] == report[:2] for i in self.world.home.items.values())
        if state not in FINAL and attempt <= report.attempt and not recorded and not echo:
            raise Broken("nothing acknowledged is lost", f"task {report.n} attempt {report.attempt}")

    def show(self, ledger: Ledger) -> None:
        """A controller shows its ledger to people."""
        for n, state in ledger._rows("SELECT n, state FROM done"):
            if self.shown.setdefault(n, TaskState(state)) != state:
                raise Broken("an outcome is never undone", f"task {n}")
        missing = [n for n in self.shown if not ledger._rows("SELECT 1 FROM done WHERE n = ?", (n,))]
        if missing and int(ledger.get("epoch", 0)) == self.epoch:
            raise Broken("an outcome is never undone", f"task {missing[0]} is unfinished again")

    def heed(self, ledger: Ledger) -> None:
        cancelled = {n for (n,) in ledger._rows("SELECT n FROM done WHERE state = ?", (int(TaskState.CANCELLED),))}
        self.heeded |= self.world.wishes & cancelled

    def heeds(self, machine: Machine) -> None:
        """An agent has read orders."""
        if machine.hands.orders.epoch < self._newest:
            raise Broken("agents heed the newest orders", machine.native)

    def reports(self, machine: Machine, report: Report, holds: bool) -> None:
        """An agent is about to report."""
        if isinstance(report, Ended) and report.outcome != Outcome.INTERRUPTED and not holds:
            raise Broken("only who holds a claim reports", f"{machine.native} task {report.n}")

    def runs(self, machine: Machine, delivery: Delivery) -> None:
        """An agent begins a task, or tries it again."""
        if delivery[:2] in machine.over:
            raise Broken("what has ended on a machine is not begun there again", f"{machine.native} task {delivery.n}")

    def begins(self, machine: Machine) -> None:
        """A machine's agent begins to work."""
        if self.world.instant(self.world.now) > machine.start_by:
            raise Broken("nothing begins after its start-by date", machine.native)

    def term_ends(self, machine: Machine) -> None:
        """A machine ends because its time is up."""
        since, orders = self._told
        bought = orders.terms.get(machine.native, timedelta(0)).total_seconds() / TICK
        minded = machine.booted and machine.agent and machine.frozen < self.world.now - SWITCH
        if minded and self.world.now - since > SWITCH and bought > machine.switch / TICK + 1:
            raise Broken("time that was bought is used", machine.native)

    def minded(self) -> bool:
        """Is there a controller at work that was not overtaken?"""
        return any(seat.awake and seat.epoch == self.epoch for seat in self.world.seats)

    # --- after each tick ------------------------------------------------------------------------------------------

    def machines(self) -> None:
        world = self.world
        alive = [m for m in world.machines() if m.alive]
        self.spent += sum(m.cost() for m in alive)
        working = [m for m in alive if not world.late(m.start_by) or m.booted]
        if len(working) > world.bounds.most:
            raise Broken("never more machines than the most", f"{len(working)}")
        for shape in world.shapes:
            count = sum(m.offer == shape.offer for m in working)
            if shape.most is not None and count > shape.most:
                raise Broken("never more of a shape than its share", f"{count} of {shape.offer.key}")
        if world.hourly is not None and sum(m.offer.price for m in working) > world.hourly:
            raise Broken("the price per hour within its ceiling", f"{[m.offer.key for m in working]}")
        duds = Counter(m.launch.rpartition("-")[0] for m in world.machines() if world.barren)
        if duds and max(duds.values()) > world.bounds.duds + world.bounds.most:
            raise Broken("no more is bought where nothing boots", f"{max(duds.values())}")
        if self.spent > world.budget + 1e-6:
            raise Broken("money within the budget", f"{self.spent} of {world.budget}")
        minded = self.minded()
        self.unlooked = self.unlooked + 1 if minded else 0
        if self.unlooked > LOOKS * world.patience:
            raise Broken("the place is looked at")
        for m in alive:
            self._bounds(m)
            self._usefulness(m)
            over = minded and self.epoch == self._told[1].epoch and self._told[1].over and m.hidden < world.now
            self._count(self._over, m, over, "what is over is stopped soon")
            mute = minded and m.unarmed and world.now - max(m.started, self._since) > SILENCE and m.hidden < world.now
            mute = mute and not self._stopping(m)
            self._mute[m.native] = self._mute[m.native] + 1 if mute else 0
            if self._mute[m.native] > PACE * world.patience:
                raise Broken("what never speaks is stopped", m.native)
        self._whereabouts(minded)
        self._blame(minded)
        self._answers(minded)

    def _answers(self, minded: bool) -> None:
        """A launch that has no answer is asked for again, for as long as that may be."""
        soon, open_ = self.world.instant(self.world.now + 2), self._allocations() if minded else []
        waiting = {a.launch for a in open_ if not a.native and a.reason != DOUBT and a.until and a.until > soon}
        self._unasked = Counter({launch: self._unasked[launch] + 1 for launch in waiting})
        for launch, since in self._unasked.items():
            if since > 2 * LOOKS * self.world.patience:  # a look may fail
                raise Broken("what has no answer is asked for again", launch)

    def _stopping(self, m: Machine) -> bool:
        """That a stop is asked for until it is heeded is judged where it is asked for."""
        return m.native in self.held and self.held[m.native].state is AllocationState.STOPPING

    def _blame(self, minded: bool) -> None:
        """What an agent gave up or ended before its machine crashed was not the cause: known as soon as it is heard."""
        for pair in self.given_up:
            if pair[0] in self.shown:
                continue
            state = self.truth._current(pair[0])[0]
            blamed = self.truth._rows(
                "SELECT 1 FROM attempts WHERE n = ? AND attempt = ? AND value = ?", (*pair, _BLAMED)
            )
            wrong = minded and bool(blamed) and state not in FINAL
            self._wronged[pair] = self._wronged[pair] + 1 if wrong else 0
            if self._wronged[pair] > SOON * self.world.patience:
                raise Broken("nobody is blamed for what was given up or ended", f"task {pair[0]} attempt {pair[1]}")

    def _whereabouts(self, minded: bool) -> None:
        """What is handed out is on offer, in somebody's hands, or reported; or it is sent again."""
        world = self.world
        if not minded:
            self._nowhere.clear()
            return
        about = {item.body[:2] for item in world.out.items.values() if item.visible < float("inf")}
        about |= {i.body[:2] for i in world.home.items.values() if isinstance(i.body, Ended)}
        about |= {claim.delivery[:2] for m in world.machines() if m.alive for claim in m.hands.claims}
        for n, state, attempt in [(n, *self.truth._current(n)[:2]) for n in world.kinds]:
            lost = state is TaskState.HANDED_OUT and (n, attempt) not in about
            self._nowhere[n, attempt] = self._nowhere[n, attempt] + 1 if lost else 0
            if self._nowhere[n, attempt] > SOON * world.patience:
                raise Broken("what is handed out is somewhere", f"task {n} attempt {attempt}")

    def _count(self, ticks: Counter[str], m: Machine, so: bool, what: str) -> None:
        ticks[m.native] = ticks[m.native] + 1 if so else 0
        if ticks[m.native] > SOON * self.world.patience:
            raise Broken(what, m.native)

    def _allocations(self) -> list[Allocation]:
        return Holdings(self.truth).allocations(open_only=True)

    def _bounds(self, m: Machine) -> None:
        now = self.world.now
        bought = self.held[m.native].term.total_seconds() / TICK if m.native in self.held else m.bought
        if now - m.started > max(bought, m.bought) + 1:
            raise Broken("no machine outlives its term", m.native)
        if now > m.agent_died + SWITCH + 1:
            raise Broken("no machine outlives its agent for long", m.native)

    def _usefulness(self, m: Machine) -> None:
        """Living agents do not idle, nor work long on what the orders have ended."""
        now = self.world.now
        lives = m.booted and m.agent and m.frozen < now
        idle = lives and not m.hands.claims
        m.idle = m.idle + 1 if idle else 0
        if m.idle > IDLE + 3:
            raise Broken("no machine idles for long", m.native)
        orders = self._told[1]
        for n in m.work:
            useless = lives and orders.ended_task(n)
            key = (m.native, n)
            self._useless[key] = self._useless[key] + 1 if useless else 0
            if self._useless[key] > 4:
                raise Broken("work that was ended is stopped", f"{m.native} task {n}")

    def progress(self) -> None:
        world = self.world
        self.attended += self.minded()
        mild = world.evil == 0.3 and world.rough < 2 and world.budget == 1500 and world.violent == 1
        if mild and not world.barren and self.attended > ENOUGH * world.patience and len(self.shown) < len(world.kinds):
            raise Broken("progress in mild, rich worlds", f"{len(self.shown)} of {len(world.kinds)}")
        if world.kind and world.now > 150 and not world.closed:
            raise Broken("progress in kind worlds")

    # --- at the end -----------------------------------------------------------------------------------------------

    def still(self) -> bool:
        """Nothing moves any more, and nothing is on its way."""
        return not any(m.alive for m in self.world.machines()) and not self.world.cloud.flying

    def _still_blamed(self) -> None:
        """All that was sent has been heard, but what came after the job's end."""
        unheard = {i.body[:2] for i in self.world.home.items.values() if isinstance(i.body, Ended)}
        blamed = self.truth._rows("SELECT n, attempt FROM attempts WHERE value = ?", (_BLAMED,))
        for n, attempt in blamed:
            if (n, attempt) in self.given_up - unheard:
                raise Broken("nobody is blamed for what was given up or ended", f"task {n} attempt {attempt}")

    def end(self) -> None:
        world = self.world
        if any(m.alive for m in world.machines()):
            raise Broken("nothing of ours is left")
        if not world.closed:
            raise Broken("every task ends, and so the job")
        self._still_blamed()
        for n, kind in world.kinds.items():
            state = self.shown.get(n)
            if state not in FINAL:
                raise Broken("every task ends, and so the job", f"{n} {kind} {state}")
            if n in self.heeded and state != TaskState.CANCELLED:
                raise Broken("a cancelled task stays so", f"{n}")
            if kind[:4] in ("good", "flak") and state == TaskState.FAILED and world.deaths[n] < CRASHES:
                raise Broken("interruptions spend nothing", f"{n} {kind}")
            if world.kills[n] > 3 * CRASHES:
                raise Broken("a killer is stopped", f"{n} killed {world.kills[n]}")
            right = TaskState.FAILED if kind == "bad" else TaskState.SUCCEEDED
            if world.kind and (state != right or world.runs[n] != RUNS[kind]):
                raise Broken("kind worlds run each task as often as it needs", f"{n} {kind} {state} {world.runs[n]}")


def _rows(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """All that is in it, but for news that are in no log."""
    tables = [name for (name,) in ledger._rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    wanted = "SELECT * FROM {} {} ORDER BY 1, 2"
    return {name: ledger._rows(wanted.format(name, "WHERE key <> 'live'" if name == "job" else "")) for name in tables}
