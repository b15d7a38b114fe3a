"""The crew of agents that are not ours: machines that a pool keeps alive, a channel to them, orders through a store.

Everything they say may come twice, late, or not at all; everything they are told rests on a commit that has returned.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

from elsewhere.channels.base import Channel, Receipt
from elsewhere.controller.line import Line
from elsewhere.errors import PlaceError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import Ranges
from elsewhere.model.reports import BootStep, Claimed, Ended, Heartbeat
from elsewhere.model.states import AllocationState
from elsewhere.model.task import Delivery
from elsewhere.observe.cost import Spending, cost
from elsewhere.pool.capacity import SURPLUS
from elsewhere.pool.pool import Pool

AHEAD = 5.0
"""Seconds of work, at the rate that was measured, that are handed out ahead of the agents."""
FIRST, MOST_AHEAD = 8, 20_000
"""Deliveries: for each slot while no rate is known; in all."""
STUCK = 5.0
"""Seconds without a claim, though there are deliveries and slots for them, after which those are taken to lie with a
machine that is gone: whole portions travel, and their lease would hold them for minutes."""
AGAIN = 2.0
"""Seconds that agents get to say what they have, before what seems to be in nobody's hands is sent again."""
LOOK, CALL = 1.0, 2.5
"""Seconds between two looks at the place, and where a look is a call to a cloud, which counts them; ten times as long
as the place took to answer, if that is more. What is asked for besides does not count: a launch takes seconds."""
OVERDUE = 30.0
"""Seconds after which the place is looked at even though reports keep coming in."""
TELL = 10.0
"""Seconds after which orders are published again though nothing changed."""
PATIENCE = 1200.0
"""Seconds that are waited for machines to be seen gone, after their stop was asked for; their terms end them anyway."""
INSIST = 60.0
"""Seconds for which what a job leaves at its place is removed: a busy place is no reason to leave it there."""
PUT_AWAY, TURN = "put away", "turn"
"""Facts of a ledger: that nothing of its job is left at its place, and how often that has been so."""
QUIET = (0.005, 0.2)
"""Seconds between two looks at a channel that does not call: at first, and when nothing has come for long."""


class Afar:
    """What a controller sees of them. One thread; `open` it once before the first turn."""

    sync = True

    def __init__(
        self,
        ledger: Ledger,
        channel: Channel,
        pool: Pool,
        publish: Callable[[Orders], None],
        selector: selectors.BaseSelector,
        epoch: int,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.ledger, self.pool, self.selector, self.epoch = ledger, pool, selector, epoch
        self.clock, self.pause = clock, pause
        self.line = Line(channel)
        self.draining = self.over = False
        self._publish, self._told, self._orders = publish, float("-inf"), Orders("", -1)
        self._looked = float("-inf")
        self._held: dict[int, tuple[int, float]] = {}
        self._running: dict[str, frozenset[tuple[int, int]]] = {}
        self._rate = Rate(clock)
        self._quiet = QUIET[0]
        self._floor = 0
        self._money = self._paid()
        self._closed = False
        self._opened, self._orphans = clock(), set[tuple[int, int]]()
        self._alive, self._lost, self._claimed = frozenset[str](), False, clock()

    def open(self) -> None:
        """Make the channel, and note what was handed out before us and is in nobody's hands as far as we know.

        Of a job that is over nothing is made: only what may be left of it is put away.
        """
        if self.ledger.counts.over:
            self.line.silent = True
        else:
            if self.ledger.get(PUT_AWAY, False):
                with self.ledger.moving():
                    self.ledger.set(PUT_AWAY, False)
            self._create()
        now = self._opened = self.clock()
        self._held = {n: (attempt, now) for n, attempt, _ in self.pool.holdings.held()}
        self._orphans = {d[:2] for page in self.pool.holdings.unclaimed() for d in page}
        if self.line.watch is not None:
            self.selector.register(self.line.watch, selectors.EVENT_READ, _nothing)

    def _create(self) -> None:
        """Whole or, as long as no machine knows it, not at all."""
        try:
            self.line.create()
        except PlaceError:
            if not self.pool.ever:
                with suppress(PlaceError):
                    self.line.destroy()
            raise

    # --- what a controller sees -----------------------------------------------------------------------------------

    @property
    def channel(self) -> Channel:
        return self.line

    @property
    def trouble(self) -> str:
        return self.line.trouble or self.pool.trouble

    @property
    def stopped(self) -> str:
        return self.pool.stopped

    @property
    def money(self) -> Spending | None:
        return self._money

    def room(self) -> int:
        """Enough for some seconds ahead; nothing until half of that is used up, so that segments are not slivers."""
        if self.draining or self.line.unsent:
            return 0
        slots = max(self.size, self.pool.state.bounds.shapes[0].slots)
        ahead = min(max(FIRST * slots, int(self._rate.now() * AHEAD)), MOST_AHEAD)
        out = self.ledger.counts.handed_out
        return ahead - out if out <= ahead // 2 else 0

    def turn(self, wait: float) -> None:
        self.line.push()
        if self._orphans and not self.line.news and self.clock() - self._opened >= AGAIN:
            self._send_again()
        self._tend()
        if self.line.watch is None:
            self._quiet = QUIET[0] if self.line.news else min(self._quiet * 1.5, QUIET[1])
            wait = min(wait, self._quiet)
        self.line.news = False
        due = self._looked + self.pace
        for key, _ in self.selector.select(max(0.0, min(wait, due - self.clock()))):
            key.data()

    def hear(self, receipts: Sequence[Receipt]) -> None:
        """Within the commit that records them: who has what, who lives, and what a late word changes."""
        reports = [receipt.report for receipt in receipts]
        holdings, now = self.pool.holdings, self.clock()
        for report in reports:
            if isinstance(report, Claimed):
                holdings.claimed(report)
                self._held.update({n: (attempt, now) for n, attempt in report.deliveries})
            elif isinstance(report, Heartbeat):
                self._running[report.agent] = frozenset((n, attempt) for n, attempt in report.running)
            elif isinstance(report, BootStep) and report.error:
                self.pool.cannot_boot(report.agent, f"{report.step}: {report.error}")
        ended = [report for report in reports if isinstance(report, Ended)]
        if ended or any(isinstance(report, Claimed) for report in reports):
            self._claimed = now
        holdings.heard(ended)
        for report in ended:
            self._held.pop(report.n, None)
        self._rate.add(len(ended))
        broken = {report.agent for report in reports if isinstance(report, BootStep) and report.error}
        self.pool.heard({report.agent for report in reports if report.agent} - broken)

    def settled(self) -> None:
        """Nothing needs to be done: the line forgets what was confirmed."""

    def cancel(self, ns: Collection[int]) -> None:
        for n in ns:
            self._held.pop(n, None)
        self._tell()

    def drain(self) -> Sequence[Delivery]:
        """Agents take nothing more; what nobody has in hand as far as is known comes back, under its next number."""
        if self.draining:
            return []
        self.draining = True
        self._tell()
        return [delivery for page in self.pool.holdings.unclaimed() for delivery in page]

    def running(self) -> list[tuple[int, int, float]]:
        now, held = self.clock(), self._held
        found = {pair for pairs in self._running.values() for pair in pairs}
        return [(n, attempt, now - held[n][1]) for n, attempt in found if n in held and held[n][0] == attempt]

    @property
    def pending(self) -> int:
        return max(0, self.ledger.counts.handed_out - len(self.running()))

    @property
    def size(self) -> int:
        return self.pool.slots

    def close(self, now: bool = False) -> None:
        """Stop every machine and wait, within bounds, until each is seen gone. Twice: harmless."""
        if self._closed:
            return
        self._closed = self.over = True
        try:
            self._end()
        finally:
            self.line.close()

    def _end(self) -> None:
        with self.ledger.moving():  # who was overtaken finds out here, and stops nothing
            self.ledger.note("closing", machines=len(self.pool.state.allocations))
        deadline = self.clock() + PATIENCE
        self.pool.need(0, over=True)
        self._tell()
        while self.clock() < deadline:
            self.pool.look()
            if self.pool.settled or self.pool.barred:
                break
            self.pause(0.1)
        self.fetch()
        left = 0 if self.pool.settled else max(len(self.pool.state.allocations), len(self.pool.state.alive))
        with self.ledger.moving():
            self.ledger.note("settled" if self.pool.settled else "left running", machines=left)
        if not left and (self.ledger.counts.over or not self.pool.ever):
            self._tidy()

    def _put_away(self) -> bool:
        """The channel goes: all has ended, and no machine is left that would ask it. Whether it is gone."""
        return self._insist(self.line.destroy, INSIST)

    def _insist(self, call: Callable[[], object], length: float) -> bool:
        """Make a call again, for so many seconds, until it has been made. Whether it was."""
        deadline = self.clock() + length
        while not self.line.attempt(call):
            if self.clock() >= deadline:
                return False
            self.pause(0.5)
        return True

    def _tidy(self) -> None:
        """Whoever resumes a job of which something is left has that to do, though it is over."""
        done = self._put_away()
        with self.ledger.moving():
            if done:
                self.ledger.set(PUT_AWAY, True)
                self.ledger.set(TURN, int(self.ledger.get(TURN, 0)) + 1)
            else:
                self.ledger.note("left behind", why=self.line.trouble)

    @property
    def pace(self) -> float:
        """Seconds between two looks."""
        return max(CALL if self.pool.state.bounds.lag else LOOK, 10 * self.pool.took.total_seconds())

    def fetch(self) -> None:
        """What lies with the machines' store and is wanted here comes now: it may go the next moment."""

    def _send_again(self) -> None:
        """What a controller before us handed out and nobody has, now that what agents had to say has been heard."""
        for page in self.pool.holdings.unclaimed():
            self.line.send([d for d in page if d[:2] in self._orphans])
        self._orphans = set()

    # --- what it does between -------------------------------------------------------------------------------------

    def _tend(self) -> None:
        """Now and then: what is needed, what the place says, and what agents are told of it.

        What agents have said is heard before what became of them: else what they have reported would be done again.
        """
        now = self.clock()
        passed = now - self._looked
        if passed >= self.pace and (not self.line.news or passed >= OVERDUE):
            counts = self.ledger.counts
            todo = counts.handed_out if self.draining else counts.total - counts.ended
            self.pool.need(todo, draining=self.draining, idle=self._idle())
            self.pool.look()
            self._forget_the_gone()
            self._free_the_stuck(now)
            if self._word() != self._orders or now - self._told >= TELL:
                self._tell()
            self._money = self._paid()
            self._looked = self.clock()

    def _forget_the_gone(self) -> None:
        alive = self.pool.state.alive
        if self._alive - alive:
            self._lost, self._claimed = True, self.clock()
        self._alive = alive
        self._running = {agent: pairs for agent, pairs in self._running.items() if agent in alive}

    def _free_the_stuck(self, now: float) -> None:
        """A machine went, and what it had not begun is in nobody's hands: handed out again, under its next number."""
        if not self._lost or self.draining or now - self._claimed < STUCK:
            return
        held = len(self.pool.holdings.held())
        if held < self.pool.ready and held < self.ledger.counts.handed_out:
            self._lost = False
            pages = list(self.pool.holdings.unclaimed())
            with self.ledger.moving():
                given = sum(self.ledger.interrupt([d.n for d in page]) for page in pages)
                self.ledger.note("taken back", tasks=given)

    def _paid(self) -> Spending | None:
        state, now = self.pool.state, self.pool.now()
        if not state.spent and not any(shape.offer.price for shape in state.bounds.shapes):
            return None
        held = [a for a in state.allocations.values() if a.native]
        spent = sum((cost(a, now) for a in held), state.spent)
        return Spending(len(held), spent, sum((a.price for a in held), Decimal(0)), state.bounds.budget)

    def _idle(self) -> set[str]:
        """Machines whose last word was that nothing runs there, and that have nothing in hand as far as is known."""
        busy = {agent for _, _, agent in self.pool.holdings.held()}
        return {agent for agent, pairs in self._running.items() if not pairs} - busy

    def _word(self) -> Orders:
        """What agents are told: all of it rests on what is written down."""
        held = [a for a in self.pool.state.allocations.values() if a.native]
        ending = {a.native for a in held if a.state is AllocationState.STOPPING or a.reason == SURPLUS}
        draining = sorted(a.native for a in held if self.draining or a.native in ending)
        terms: dict[str, timedelta] = {a.native: a.term for a in held}
        return Orders(self.ledger.spec.id, self.epoch, self._ended(), dict(self.pool.holdings.current()), terms,
                      tuple(draining), over=self.over)  # fmt: skip

    def _tell(self) -> None:
        word = self._word()
        if self.line.attempt(lambda: self._publish(word)):
            self._orders, self._told = word, self.clock()

    def _ended(self) -> Ranges:
        """The numbers of finished tasks; those below the first unfinished one are one range and read once."""
        rows = self.pool.holdings.ended(self._floor)
        parts = list(_merged(rows, self._floor))
        if parts and parts[0][0] == 1:
            self._floor = parts[0][1] - 1
        return tuple(parts)


class Rate:
    """How many attempts end per second: of the last seconds, the younger ones counting more."""

    def __init__(self, clock: Callable[[], float], over: float = 5.0) -> None:
        self.clock, self.over = clock, over
        self._value, self._at = 0.0, clock()
        self._since = 0

    def add(self, count: int) -> None:
        self._since += count

    def now(self) -> float:
        """Per second. A second or so old at most."""
        passed = self.clock() - self._at
        if passed >= 0.5:
            weight = min(1.0, passed / self.over)
            self._value += (self._since / passed - self._value) * weight
            self._at, self._since = self.clock(), 0
        return self._value


def _merged(rows: Iterator[tuple[int, int]], floor: int) -> Iterator[tuple[int, int]]:
    """`1..floor`, then what follows; ranges that touch become one."""
    start, stop = 1, floor + 1
    for first, last in rows:
        if first == stop:
            stop = last
        else:
            if stop > start:
                yield start, stop
            start, stop = first, last
    if stop > start:
        yield start, stop


def _nothing() -> None:
    """The channel is read after each turn anyway."""
