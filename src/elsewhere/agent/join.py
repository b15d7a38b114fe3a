"""An agent in a process of its own: joins a channel by its address, and lives until there is no more work for it.

What it decides is in claims.py; here its decisions are carried out, in their order. One thread.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.agent.claims import Hands, Steps, Ways, handed_on
from elsewhere.agent.meeting import FarChannel
from elsewhere.agent.runner import Slots
from elsewhere.channels.base import Claim
from elsewhere.errors import PlaceError, StateError
from elsewhere.hosts import write_whole
from elsewhere.model.orders import Orders
from elsewhere.model.reports import BootStep, Ended, Heartbeat, Notice, Report
from elsewhere.model.states import Outcome
from elsewhere.ship.marks import KEPT, SWITCH

if TYPE_CHECKING:
    from elsewhere.agent.outflow import InTurns, Outflow

GATHER = 0.1
"""Seconds for which reports are gathered while slots are busy, so that a report is not an object for each task. A
channel whose every message is billed asks for more (`gather`)."""
GATHERED = 2000
AGAIN = 1.0
"""Seconds after which what could not be said is said again."""
POLL = (0.02, 0.5)
"""Seconds between two looks at a channel that does not call: at first, and when nothing has come for long."""
IDLE = 3.0
"""Seconds between two looks at the orders while a slot has nothing to do, or work that takes long, or nothing more is
to be taken; where a look costs, channels have some of their own, and what is pushed is read as it comes."""
FEW = 5
"""Tasks that must have ended before it is said how long they take."""
FIRST = 1 / 64
"""Seconds after which an agent shows its first sign of life: what it takes at once is one, and somebody waits for that.
Until then the switch stands where the boot text has set it."""
LONG = 120.0
"""Seconds; who does shorter tasks reads orders with each claim, and a request more for each would cost too much."""
LAST = 15.0
"""Seconds before a machine is taken away at which what still runs is given up, so that its report is not late."""
GRACE = 4.0
"""Seconds that running tasks are given after SIGTERM: less than a place waits before it kills."""


class Process:
    """The agent. `stop` may be called from a signal: once to finish quickly, twice to leave at once."""

    def __init__(
        self,
        ways: Ways,
        channel: FarChannel,
        slots: Slots,
        directory: Path,
        age: Callable[[], float],
        chance: random.Random | None = None,
    ) -> None:
        self.ways, self.channel, self.slots, self.directory, self.age = ways, channel, slots, directory, age
        self.hands = Hands(ways, age())
        self._chance = chance or random.Random()
        self._renewed = self._gathered_at = age()
        self._beat = age() - self._between + FIRST
        self._asked = age()
        self._gathered: list[Ended] = []
        self._unsaid: list[tuple[Sequence[Report], Collection[Claim]]] = []
        self._unheard = float("-inf")
        """When something could last not be said."""
        self._poll = POLL[0]
        self._took: float | None = None
        self._tooks = deque[float](maxlen=100)
        self._serial = 0
        self._stops = 0
        self._stop_at = 0.0
        self._drained = self._told_trouble = self._noticed = self._called = self._heeded = self._warned = False
        self._notice: Notice | None = None
        self.outflow: Outflow | InTurns | None = None
        self.between: list[Callable[[], None]] = []
        """What else is done in each turn."""
        self.after: list[Callable[[], None]] = []
        """What is done when it has ended, while its channel is there."""

    def notice(self, why: str, left: timedelta) -> None:
        """The machine will be taken away in `left`. From any thread; the first word counts."""
        if self._notice is None:
            until = self.age() + max(0.0, left.total_seconds() - LAST)
            self._stop_at = min(self._stop_at or float("inf"), until)
            self._notice = Notice(self.ways.name, why, datetime.now(UTC) + left)

    def call(self) -> None:
        """There are orders that shall not wait for the next look at them. From any thread."""
        self._called = True

    def stop(self) -> None:
        self._stops += 1
        self._stop_at = min(self._stop_at or float("inf"), self.age() + GRACE)

    def run(self) -> str:
        """Live; why it ended."""
        try:
            while True:
                self.turn()
                if why := self._ends():
                    return why
        finally:
            self.slots.close(now=True)

    # --- a turn ---------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Renew, claim, run, report: whatever is due. Waits a little if nothing is."""
        now = self.age()
        if now - self._beat >= self._between:
            self._renew()
        if self._called:
            self._called, self._asked = False, now
            self._ask("told_now")
        elif getattr(self.channel, "pushed", False):
            self._asked = now
            self._ask("told")
        elif now - self._asked >= IDLE:
            self._asked = now
            if self.hands.empty or self._takes_long() or len(self.slots.running()) < self.slots.count:
                self._ask("told_soon")
        self._drain()
        self.slots.put(self.hands.due(now))
        news = self._claim()
        ended = self.slots.turn(self._wait(news))
        for report in ended[-100:]:  # what was before these weighs nothing any more
            self._took = report.took if self._took is None else self._took + (report.took - self._took) / 8
            self._tooks.append(report.took)
        self._gathered += map(handed_on, ended) if self._warned or self._noticed or self._stops else ended
        self._report()
        self._trouble()
        if self.outflow is not None and self._heeded:
            self.outflow.follow(self.hands.followed)
        if self.outflow is not None and ended:
            self.outflow.hurry()
        for step in self.between:
            step()

    @property
    def _between(self) -> float:
        """Seconds between two signs of life: half a lease, or less where they cost nothing."""
        return min(self.ways.lease / 2, float(getattr(self.channel, "beat", self.ways.lease)))

    def _takes_long(self) -> bool:
        """Whether what runs here is, as far as is known, no short work: nothing has ended yet, or it took its time."""
        if self._took is None or self._took >= LONG:
            return True
        return any(seconds >= LONG for _, _, seconds in self.slots.running())

    def _lasting(self) -> float | None:
        """How long nearly all of the tasks have taken that ended here lately; None: too few have."""
        return sorted(self._tooks)[-1 - len(self._tooks) // 20] if len(self._tooks) >= FEW else None

    def _ask(self, how: str) -> None:
        """Read the orders, in this way if the channel has it."""
        with suppress(PlaceError, StateError):
            self._heed(getattr(self.channel, how, self.channel.told)())

    def _heed(self, orders: Orders) -> None:
        self._do(self.hands.told(orders))
        self._heeded = True

    def _wait(self, news: bool) -> float:
        self._poll = POLL[0] if news else min(self._poll * 1.5, POLL[1])
        wait = max(GATHER, min(self._poll, self._gather)) if self._gathered else self._poll
        end = self.ways.ends if self._warned else self.ways.warns
        due = min(end, self.hands.next_due() or end)
        return max(0.0, min(wait, due - self.age()))

    def _claim(self) -> bool:
        stock = self.slots.stock(float(getattr(self.channel, "stock", 0.0)))
        room = self.hands.room(self.slots.room(), stock) if not self._stops else None
        if room is None:
            return False
        with suppress(PlaceError, StateError):
            claims = self.channel.claim(self.ways.name, room, timedelta(seconds=self.ways.lease))
            if claims:
                with suppress(PlaceError):  # orders are read before a delivery is run; old ones hold if they cannot be
                    self._heed(self.channel.told())
                self._do(self.hands.took(claims))
                return True
        return False

    def _renew(self) -> None:
        """Twice a lease, and before a report that comes later than that: an agent whose claim lapsed says nothing."""
        now, claims = self.age(), self.hands.claims
        self._beat = now
        self._move_switch()
        try:
            self._heed(self.channel.told())
            self.channel.report([self._heartbeat()])
            kept = self.channel.renew(claims, timedelta(seconds=self.ways.lease))
        except (PlaceError, StateError):
            self._beat = now - self._between + 1.0  # again in a second; the old lease holds until it is over
            return
        self._renewed = now
        self._do(self.hands.renewed(claims, kept))

    def _heartbeat(self) -> Heartbeat:
        running = tuple((n, attempt) for n, attempt, _ in self.slots.running())
        free = max(0, self.slots.count - len(running))
        if self._drained:
            running = tuple(claim.delivery[:2] for claim in self.hands.claims)
        return Heartbeat(self.ways.name, datetime.now(UTC), running, free, draining=self._drained)

    def _report(self) -> None:
        now = self.age()
        if not self._gathered:
            self._gathered_at = now
            self._say_again()
        elif now - self._gathered_at >= self._gather or len(self._gathered) >= GATHERED or not self.slots.running():
            if now - self._renewed > self.ways.lease:
                self._renew()
                if now - self._renewed > self.ways.lease:
                    return  # nobody can say whether these are still ours
            gathered, self._gathered, self._gathered_at = self._gathered, [], now
            steps = self.hands.ended(gathered, now, self._delay)
            self._mark()
            self._do(steps)
        else:
            self._say_again()
        if not self._gathered and not self._unsaid and self._is_safe():
            self.slots.settled()

    def _is_safe(self) -> bool:
        """Need slots keep no more what they wrote? What a channel says is on the disk, or recorded, when it says so."""
        with suppress(StateError):
            return bool(getattr(self.channel, "safe", True))
        return False

    @property
    def _gather(self) -> float:
        """Not at all when the end is near: what was not reported by then would be done again."""
        asked = float(getattr(self.channel, "gather", GATHER))
        return asked if not self._stops and self.age() + asked < self.hands.term else 0.0

    def _delay(self, strikes: int) -> float:
        return self.ways.retry.wait(strikes, self._chance).total_seconds()

    def _trouble(self) -> None:
        trouble = self.slots.trouble
        if trouble and not self._told_trouble:
            self._told_trouble = True
            self._unsaid.append(([BootStep(self.ways.name, "slots", trouble)], ()))
            self._say()

    # --- doing ----------------------------------------------------------------------------------------------------

    def _do(self, steps: Steps) -> None:
        if steps.stop:
            self.slots.cancel(steps.stop)
        if steps.reports or steps.done:
            self._unsaid.append((steps.reports, steps.done))
            self._say()
        if steps.release:
            with suppress(PlaceError, StateError):
                self.channel.release(steps.release)  # or they lapse
        if steps.run:
            self.slots.put(steps.run)

    def _say(self) -> None:
        """What could not be said is said again, in its order, until it is."""
        while self._unsaid:
            try:
                self.channel.report(*self._unsaid[0])
            except (PlaceError, StateError):
                self._unheard = self.age()
                return
            del self._unsaid[0]

    def _say_again(self) -> None:
        """Also where nothing more ends here: nobody else would say it."""
        if self._unsaid and self.age() - self._unheard >= AGAIN:
            self._say()

    def _drain(self) -> None:
        """What has not begun goes back at once; what runs is finished, unless the machine is told to go."""
        if self._notice is not None and not self._noticed:
            self._noticed = self.hands.draining = True
            self.slots.notice()
            self._unsaid.append(([self._notice], ()))
            self._say()
        if self._stops:
            self.hands.draining = True
            self.slots.notice()
        if self.ways.final:
            self._near_the_end()
        if self.hands.draining and not self._drained:
            self._drained = True
            withdrawn = [delivery.n for delivery in self.slots.withdraw()]
            self._do(self.hands.give_up(withdrawn, time.time()))
            self._unsaid.append(([self._heartbeat()], ()))
            self._say()
        if self._stops > 1 or (self._stop_at and self.age() >= self._stop_at):
            self._report()
            self._do(self.hands.give_up([claim.delivery.n for claim in self.hands.claims], time.time()))

    def _near_the_end(self) -> None:
        """Of a term that will not grow: nothing more is begun, tasks that ask are told, then they are ended, and what
        they still say counts: so a task may hand on where it stood."""
        age = self.age()
        self.hands.in_time(age, self._lasting())
        if age >= self.ways.warns and not self._warned:
            self._warned = True
            self.slots.notice()
        if age < self.ways.ends or self.hands.empty:
            return
        self.slots.close(within=min(self.ways.grace, self.ways.term - self.ways.ends - 1.0))
        ended = self.slots.turn(0)
        cut = {report.n: report.took for report in ended if report.outcome == Outcome.INTERRUPTED}
        self._gathered += [handed_on(report) for report in ended if report.n not in cut]
        self._report()
        self._do(self.hands.give_up([claim.delivery.n for claim in self.hands.claims], time.time(), cut))

    def _ends(self) -> str:
        if self._gathered or (self._unsaid and self.age() - self._renewed < self.ways.lease):
            return ""
        why = self.hands.leaves(self.age(), heard=getattr(self.channel, "settled", True))
        if why and self.hands.claims:  # its time is up in the middle of work
            lived = {n: seconds for n, _, seconds in self.slots.running()}
            self._do(self.hands.give_up([claim.delivery.n for claim in self.hands.claims], time.time(), lived))
        return why

    def _move_switch(self) -> None:
        self._serial += 1
        left = max(0, int(self.hands.switch(self.age()) - self.age()))
        with suppress(OSError):
            write_whole(self.directory / SWITCH, f"{left} {self._serial}\n".encode())
        self._mark()

    def _mark(self) -> None:
        """Where machines are kept on failure the boot text looks whether this one is to be, and what its term is."""
        if self.hands.failed:
            with suppress(OSError):
                write_whole(self.directory / KEPT, f"{int(self.hands.term)}\n".encode())
