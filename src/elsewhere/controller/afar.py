"""The crew of agents that are not ours: machines that a pool keeps alive, a channel to them, orders through a store.

Everything they say may come twice, late, or not at all; everything they are told rests on a commit that has returned.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from elsewhere.channels.base import Channel, Receipt
from elsewhere.controller.ending import Ending
from elsewhere.controller.line import Line
from elsewhere.controller.muster import Muster
from elsewhere.controller.pace import Pace
from elsewhere.controller.rate import Rate
from elsewhere.controller.stuck import Recall, Stuck
from elsewhere.ledger.allocations import Failures
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import Ranges, merged
from elsewhere.model.reports import BootStep, Claimed, Ended, Heartbeat
from elsewhere.model.states import AllocationState
from elsewhere.model.task import Delivery, NewTask
from elsewhere.observe.cost import Spending, cost
from elsewhere.pool.capacity import SURPLUS
from elsewhere.pool.pool import Pool

AHEAD = 5.0
"""Seconds of work, at the rate that was measured, that are handed out ahead of the agents."""
FIRST, MOST_AHEAD = 8, 20_000
"""Deliveries: for each slot at the least, and while nothing has ended; in all."""
AGAIN = 2.0
"""Seconds that agents get to say what they have, before what seems to be in nobody's hands is sent again."""
HEARING = 45.0
"""Seconds that agents get to hear that they shall take nothing more, and to say what they have, before what seems to be
in nobody's hands is taken back. They look at their orders each half minute at the least."""
OVERDUE = 30.0
"""Seconds for which a look that is due is put off while reports keep coming in."""
TELL = 10.0
"""Seconds after which orders are published again though nothing changed."""
COMPANY = 0.010
"""Seconds that reports wait for company: a commit costs much the same for 1 or 500."""
JUDGE = 1.0
"""Seconds between two looks at what lies with machines that are gone: the ledger is asked, no place is."""
QUIET = (0.005, 0.2, 1.1)
"""Seconds between two looks at a channel that does not call: at first, and when nothing has come for long; each so many
times as long as the last, so that what comes is seen a tenth later than it might be."""


class Afar(Ending):
    """What a controller sees of them. One thread; `open` it once before the first turn."""

    sync = True
    ahead: float = AHEAD
    quiet = QUIET

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
        self.line = Line(channel, clock)
        self.draining = self.over = False
        self._publish, self._told, self._orders = publish, float("-inf"), Orders("", -1)
        self._looked = self._judged = float("-inf")
        self._pace = Pace()
        self._put_off: float | None = None
        """Since when a look is due."""
        self._muster = Muster()
        self._rate = Rate(clock)
        self._quiet = self.quiet[0]
        self._floor = 0
        self._money = self._paid()
        self._opened, self._orphans = clock(), set[tuple[int, int]]()
        self._drained: float | None = None
        """Since when agents can read that they shall take nothing more."""
        self._taken_back = False
        self._stuck = Stuck(clock(), lost=epoch > 1)  # a controller before us may have lost some machines
        self._recall = Recall()
        self._failures, self.stayed = Failures(ledger), set[str]()
        self._ghosts = set[str]()
        """Machines that are gone, as their place has it, and speak: they shall take nothing more."""

    def open(self) -> None:
        """Make the channel, and note what was handed out before us and is in nobody's hands as far as we know.

        Of a job that is over nothing is made: only what may be left of it is put away.
        """
        if self.ledger.counts.over:
            self.line.silent = True
        else:
            self._begin()
        now = self._opened = self.clock()
        for n, attempt, agent in self.pool.holdings.held():
            self._muster.took(agent, [(n, attempt)], now)
        self._orphans = {d[:2] for page in self.pool.holdings.unclaimed() for d in page}
        if self.line.watch is not None:
            self.selector.register(self.line.watch, selectors.EVENT_READ, _nothing)

    # --- what a controller sees -----------------------------------------------------------------------------------

    @property
    def channel(self) -> Channel:
        return self.line

    @property
    def patience(self) -> float:
        return COMPANY

    @property
    def trouble(self) -> str:
        return self.line.trouble or self.pool.trouble

    @property
    def waits(self) -> str:
        return self.pool.waits if self.pool.state.todo else ""

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
        ahead = min(max(FIRST * slots, int(self._rate.now(slots) * self.ahead)), MOST_AHEAD)
        out = self.ledger.counts.handed_out
        return ahead - out if out <= ahead // 2 else 0

    def deposit(self, tasks: Sequence[NewTask]) -> bool:
        return True

    def turn(self, wait: float) -> None:
        self.line.push()
        if self._orphans and not self.line.news and self._have_said(self.clock() - self._opened):
            self._send_again()
        if self._drained is not None and not self._taken_back and self._all_is_heard(self.clock() - self._drained):
            self._take_back()
        self._tend()
        if self.clock() - self._judged >= JUDGE and self._is_quiet:
            self._judge()
        if self.line.watch is None:
            first, most, times = self.quiet
            self._quiet = first if self._is_busy() else min(self._quiet * times, most)
            wait = min(wait, self._quiet)
        self.line.news = self.line.fresh = False
        due = self._looked + self.pace
        for key, _ in self.selector.select(max(0.0, min(wait, due - self.clock()))):
            key.data()

    def hear(self, receipts: Sequence[Receipt]) -> None:
        """Within the commit that records them: who has what, who lives, and what a late word changes."""
        reports = [receipt[0] for receipt in receipts]
        holdings, now = self.pool.holdings, self.clock()
        ended = [report for report in reports if isinstance(report, Ended)]
        others = [report for report in reports if not isinstance(report, Ended)]
        speak, over = {report.agent for report in reports}, {report[:2] for report in ended} if others else set()
        self._ghosts |= speak & self.pool.state.ended
        for report in others:
            if isinstance(report, Claimed):
                open_ = tuple(pair for pair in report.deliveries if pair not in over)
                self._muster.took(report.agent, holdings.claimed(replace(report, deliveries=open_)), now)
                self._recall.heard(report.agent, report.heard)
            elif isinstance(report, Heartbeat):
                if report.draining:
                    has = holdings.claimed(Claimed(report.agent, report.running))
                    self._muster.took(report.agent, has, now)
                self._muster.beat(report, now)
            elif isinstance(report, BootStep) and report.error:
                self.pool.cannot_boot(report.agent, f"{report.step}: {report.error}", report.final)
        if ended or any(isinstance(report, Claimed) and report.deliveries for report in others):
            self._stuck.claimed(now)
        if self.pool.state.bounds.keep:
            self._failures.heard(ended)
        holdings.heard(ended)
        self._muster.ended(ended)
        self._rate.add([report.took for report in ended])
        broken = {report.agent for report in others if isinstance(report, BootStep) and report.error}
        self.pool.heard(speak - broken - {""})

    def settled(self) -> None:
        """Nothing needs to be done: the line forgets what was confirmed."""

    def cancel(self, ns: Collection[int]) -> None:
        self._muster.gone(ns)
        self._tell()

    def drain(self) -> Sequence[Delivery]:
        """Agents are told to take nothing more. Nothing comes back at once: what they have taken is heard of first."""
        if not self.draining:
            self.draining, self._orphans, self._recall = True, set(), Recall()
            self._tell()
        return []

    def running(self) -> list[tuple[int, int, float]]:
        """None, once nothing is handed out: what else there is was ended, and will hear of it."""
        return self._muster.running(self._slots(), self.clock()) if self.ledger.counts.handed_out else []

    def _slots(self) -> dict[str, int]:
        return {a.native: a.slots for a in self.pool.state.allocations.values() if a.native}

    @property
    def pending(self) -> int:
        return max(0, self.ledger.counts.handed_out - len(self.running()))

    @property
    def size(self) -> int:
        return self.pool.slots

    @property
    def pace(self) -> float:
        """Seconds between two looks."""
        return self._pace.seconds(self.pool.state, self.pool.took)

    def _have_said(self, waited: float) -> bool:
        """Have agents had the time to say what they have of what was handed out before us?"""
        return waited >= AGAIN

    def _send_again(self) -> None:
        """What a controller before us handed out and nobody has, now that what agents had to say has been heard."""
        for page in self.pool.holdings.unclaimed():
            self.line.send([d for d in page if d[:2] in self._orphans])
        self._orphans = set()

    def _all_is_heard(self, waited: float) -> bool:
        """Has every agent said what it has, since it takes nothing more, and is that written down? One that never spoke
        may just begin: it reads its orders before it takes anything, so only what it took before is waited for."""
        silent = [a for a in self.pool.state.allocations.values() if not self._muster.takes_nothing(a.native)]
        spoke = any(a.spoke is not None or self._muster.has_spoken(a.native) for a in silent)
        return not self.line.unrecorded and waited >= (HEARING if spoke else AGAIN if silent else 0.0)

    def _take_back(self) -> None:
        """What nobody has, under its next number: deliveries of the old one that still come to light are stale."""
        found = [delivery.n for page in self.pool.holdings.unclaimed() for delivery in page]
        if found:
            with self.ledger.moving():
                self.ledger.interrupt(found)
            self._tell()
        self._taken_back = True

    # --- what it does between -------------------------------------------------------------------------------------

    def _tend(self) -> None:
        """Now and then: what is needed, what the place says, and what agents are told of it.

        What agents have said is heard before what became of them: else what they have reported would be done again. So
        who has just come, or has slept, listens first.
        """
        now, counts = self.clock(), self.ledger.counts
        todo = counts.total - counts.ended
        self._pace.needs(todo)
        if now - self._looked < self.pace and not self._begins():
            return
        if not counts.complete and self._pace.comes_in(self.pool.state, todo, now):
            return
        if self._has_nothing():
            self._looked = now
            return
        if self._put_off is None or self.line.since() > OVERDUE:
            self._put_off = now
        if self._is_quiet or now - self._put_off >= OVERDUE:
            self._put_off = None
            todo = counts.handed_out if self.draining else todo
            self.pool.need(todo, draining=self.draining, idle=self._idle())
            self._note_failures()
            self._look()
            self._muster.keep(self._slots())
            self._judge()
            if self._word() != self._orders or now - self._told >= TELL:
                self._tell()
            self._money = self._paid()
            self._pace.looked(self.pool.state)
            self._looked = self.clock()

    def _has_nothing(self) -> bool:
        """A job that has just been made and waits for its first task: nothing is at its place."""
        state, counts = self.pool.state, self.ledger.counts
        return self.epoch == 1 and not (state.looked or state.allocations or counts.total or self.over)

    def _begins(self) -> bool:
        """Is there work, where there was none, and no machine for it? Whoever asked for it waits."""
        state, counts = self.pool.state, self.ledger.counts
        return not (state.todo or state.allocations or self.draining) and counts.ended < counts.total

    def _note_failures(self) -> None:
        """Where machines are kept on failure: which those are. Who has cancelled the whole job wants none of them."""
        if self.pool.state.bounds.keep:
            self.pool.failed(self._failures.machines(), self.stayed)
        if self.over and any(event.kind == "cancelled" and not event.about for event in self.ledger.events()):
            self.pool.release()

    @property
    def _is_quiet(self) -> bool:
        """Has everything been heard that was said until a moment ago?"""
        return not self._is_busy() and self.line.since() <= OVERDUE

    def _is_busy(self) -> bool:
        """Is there more to hear at once?"""
        return self.line.news

    def _judge(self) -> None:
        """What nobody has begun, and nobody is known to have: not with each look alone, which may be far between."""
        self._judged = self.clock()
        self._stuck.seen(self.pool.state.alive, self.pool.ready, self._judged)
        if self._recall:
            self._end_recall(self._recall)
        else:
            self._recall_the_stuck(self._judged)

    def _recall_the_stuck(self, now: float) -> None:
        """A machine went, and what it had not begun seems to be in nobody's hands."""
        if self.draining or not self._stuck.due(now):
            return
        held = len(self.pool.holdings.held())
        if held >= self.pool.ready or held >= self.ledger.counts.handed_out:
            return
        found = (d for page in self.pool.holdings.unclaimed() for d in page)
        if stuck := {d.n: d.attempt for d in found if not d.alone or not held}:
            self._recall = self._stuck.recall(self.epoch, stuck)
            self._tell()
        else:
            self._stuck.freed(now)

    def _end_recall(self, recall: Recall) -> None:
        """What it turns out that nobody has is handed out again, under its next number."""
        state = self.pool.state
        asked = [a.native for a in state.allocations.values() if a.native in state.alive
                 and (a.spoke is not None or self._muster.has_spoken(a.native))]  # fmt: skip
        if not recall.over(asked, self.clock(), HEARING):
            return
        self._recall = Recall()
        found = (d for page in self.pool.holdings.unclaimed() for d in page)
        if stuck := [d.n for d in found if recall.numbers.get(d.n) == d.attempt]:
            with self.ledger.moving():
                self.ledger.note("taken back", tasks=self.ledger.interrupt(stuck))
        self._stuck.freed(self.clock())
        self._tell()

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
        return self._muster.idle() - busy

    def _word(self) -> Orders:
        """What agents are told: all of it rests on what is written down."""
        held = [a for a in self.pool.state.allocations.values() if a.native]
        gone = [a for a in held if a.state is AllocationState.STOPPING or a.reason == SURPLUS or a.kept]
        ending = {a.native for a in gone}
        draining = sorted({a.native for a in held if self.draining or a.native in ending} | self._ghosts)
        terms: dict[str, timedelta] = {a.native: a.term for a in held}
        return Orders(self.ledger.spec.id, self.epoch, self._ended(), dict(self.pool.holdings.current()), terms,
                      tuple(draining), over=self.over, recall=self._recall.name,
                      recalled=self._recall.numbers)  # fmt: skip

    def _tell(self) -> None:
        word = self._word()
        if self.line.attempt(lambda: self._publish(word), writes=True):
            if self.draining and self._drained is None:
                self._drained = self.clock()
            self._recall.told(self.clock())
            self._orders, self._told = word, self.clock()

    def _ended(self) -> Ranges:
        """The numbers of finished tasks; those below the first unfinished one are one range and read once."""
        rows = self.pool.holdings.ended(self._floor)
        parts = list(merged(rows, self._floor))
        if parts and parts[0][0] == 1:
            self._floor = parts[0][1] - 1
        return tuple(parts)


def _nothing() -> None:
    """The channel is read after each turn anyway."""
