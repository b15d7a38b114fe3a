"""The thin loop around the reactor: tells it what the place says, writes its decisions down, carries them out.

The order is the rule of this room: an answer's writes are durable before its first ask or stop is made.

What is told between a question and its answer is taken up at once: decisions rest on how things stand when the answer
is there. What was asked for by then is booked already, since it was written down before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from elsewhere.backends.base import Backend, Condition, Launch, NativeId, Recalls, Sighting
from elsewhere.errors import (
    AccessDenied,
    CredentialsExpired,
    NoCapacity,
    PlaceError,
    QuotaExceeded,
    StateError,
    Unreachable,
)
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.place import Allocation
from elsewhere.model.states import AllocationState
from elsewhere.pool.calls import Answered, AtOnce, Call, Calls, Course, Steps
from elsewhere.pool.capacity import (
    Accepted,
    Ask,
    Bounds,
    CannotBoot,
    Command,
    Condemn,
    Event,
    Failed,
    Heard,
    Listed,
    Need,
    Read,
    Refused,
    Said,
    Scope,
    State,
    Stop,
    Unanswered,
    Warn,
    Write,
    begin,
    only_kept,
    settled,
)
from elsewhere.pool.reactor import react

LATE = timedelta(seconds=60)
"""An answer that took longer (a laptop was closed meanwhile) is not acted upon; of two in a row the second is."""


def utc() -> datetime:
    return datetime.now(UTC)


class Pool:
    """The machines of one job at one place. `order` makes the place's request out of what the reactor asks for.

    `calls` makes what is asked of the place. Where that takes its time, a look that was begun is `looking`, until
    `go_on` has taken up the last of its answers.

    Errors of the ledger (StateError, JobHeld) pass through: nothing that rests on what was not written is done.
    """

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger,
        bounds: Bounds,
        epoch: int,
        order: Callable[[Ask], Launch],
        now: Callable[[], datetime] = utc,
        chance: random.Random | None = None,
        calls: Calls | None = None,
    ) -> None:
        self.backend, self.ledger, self.order, self.now = backend, ledger, order, now
        self.holdings = Holdings(ledger)
        self.chance, self.calls = chance or random.Random(), calls or AtOnce()
        self._course = Course(self.calls)
        state = begin(bounds, epoch, self.holdings.allocations())
        self.state: State = replace(state, warned=bool(ledger.get("warned", False)))
        self._busy, self._again = 0, now()
        self.listing = False
        """The place is being asked what there is: before the answer is taken up all that was said is to be heard."""
        self.urgent = False
        """A machine is gone, and reports wait to be recorded that may be its own: they come first."""
        self._slept, self._taking = False, timedelta(0)
        self.took = timedelta(0)
        """How long the place took to say what there is, the last time it did."""
        self.silence = ""
        """Why the place does not answer, or empty."""
        self.said: Callable[[NativeId], bytes] = lambda native: b""
        """What a machine's boot has said, where it does not take the place to tell."""
        self.waits = ""
        """What the place says of machines that have not begun, where none has."""
        self.barred = ""
        """Why it does not let us look, and has never done so; empty: it does, or may."""

    @property
    def trouble(self) -> str:
        """Why there is no machine just now, for people; empty while there is one, or none is needed."""
        if self.state.alive or not self.state.todo:
            return ""
        return self.silence or self.state.trouble

    @property
    def stopped(self) -> str:
        """Why there is no machine and will be none, however long one waits; empty: there is, or may be."""
        none = not self.state.allocations or only_kept(self.state)
        return self.barred or (self.state.stopped if self.state.todo and none else "")

    @property
    def ever(self) -> bool:
        """Was there ever a machine of this job?"""
        return any(a.native for a in self.holdings.allocations())

    @property
    def slots(self) -> int:
        """Of the machines that were seen in the last answer."""
        return sum(a.slots for a in self._working())

    def _working(self) -> list[Allocation]:
        return [a for a in self.state.allocations.values() if a.native in self.state.alive and not a.kept]

    @property
    def expected(self) -> frozenset[NativeId]:
        """Machines that were in the last answer, and those that the place has promised since: they may speak first."""
        held = self.state.allocations.values()
        return self.state.alive | {a.native for a in held if a.native and a.state is AllocationState.PENDING}

    @property
    def there(self) -> frozenset[NativeId]:
        """Machines that were in the last answer, and those that have spoken since."""
        return self.state.alive | (self.expected & self.state.heard)

    @property
    def ready(self) -> int:
        """Slots of the machines among them whose agents have spoken."""
        return sum(a.slots for a in self._working() if a.spoke is not None or a.native in self.state.heard)

    @property
    def settled(self) -> bool:
        """Nothing of ours is left there."""
        return settled(self.state) or (bool(self.barred) and not self.state.allocations)

    @property
    def kept(self) -> list[Allocation]:
        """Machines that are there only to be looked at, and end by themselves."""
        return [a for a in self.state.allocations.values() if a.kept]

    @property
    def rests(self) -> bool:
        """Nothing of ours is left there but those."""
        return only_kept(self.state)

    def release(self) -> None:
        """Nobody wants to look: what would be kept ends like the others."""
        self.state = replace(self.state, bounds=replace(self.state.bounds, keep=timedelta(0)))

    def need(
        self,
        todo: int,
        over: bool = False,
        draining: bool = False,
        pace: timedelta | None = None,
        idle: Iterable[NativeId] = (),
    ) -> None:
        """How much work is left, and who has none; acted upon at the next look."""
        self._told(Need(todo, over, draining, pace, frozenset(idle)))

    def failed(self, natives: Iterable[NativeId], left: Iterable[NativeId] = ()) -> None:
        """Tasks failed for good on these, of all that ever were; and the agents of those that `left` are gone."""
        self._told(Failed(frozenset(natives), frozenset(left)))

    def cannot_boot(self, native: NativeId, why: str, final: bool = False) -> None:
        """Its agent said so; it is stopped at the next look. `final`: so would any other."""
        self._told(CannotBoot(native, why, final))

    def heard(self, natives: Iterable[NativeId]) -> None:
        """Their agents reported something just now."""
        self._told(Heard(tuple(natives)))

    # --- looking ---

    @property
    def looking(self) -> bool:
        """Is there a look of which not all has been taken up?"""
        return self._course.under_way

    @property
    def answered(self) -> bool:
        """Has the place answered what was asked last, so that there is something to take up?"""
        return self._course.answered

    def begins(self) -> None:
        """The first look of a job that has just been made: nothing of it can be at its place, so that is not asked."""
        self._course.begin(self._act(Listed(self.now(), ())))

    def look(self, unheard: Callable[[], bool] = lambda: False) -> None:
        """Ask the place what there is of ours, decide, write down, act. Nothing while another look is under way.

        `unheard`: do reports wait to be recorded? If a machine is found gone, nothing is decided before (`urgent`).
        """
        if not self.looking and self.now() >= self._again:
            self.listing = True
            self._course.begin(self._look(unheard))

    def go_on(self) -> None:
        """Take up what the place has answered, and ask for what follows from it."""
        self._course.go_on()

    def finish(self, length: timedelta) -> None:
        """Wait for all that follows from the look that was begun, and take it up; no longer than that."""
        until = self.now() + length
        while self.looking and self.now() < until:
            self._course.wait((until - self.now()).total_seconds())
            self._course.go_on()

    def status(self, natives: Collection[NativeId], length: timedelta) -> Mapping[NativeId, Sighting]:
        """What the place shows of these. Waits for it, so long; PlaceError: it did not say."""
        answer = self.calls.ask(lambda: self.backend.status(natives))
        self.calls.wait(answer, length.total_seconds())
        if not answer.done():
            raise Unreachable("the place gives no answer", hint="it is asked again")
        found: Mapping[NativeId, Sighting] = answer.result()
        return found

    def _look(self, unheard: Callable[[], bool]) -> Steps:
        asked, self._taking = self.now(), timedelta(0)
        try:
            sightings = yield self._timed(lambda: tuple(self.backend.owned()))
            sightings += yield from self._recalled(sightings)
        except PlaceError as error:
            self._met(error, asked)
            return
        finally:
            self.listing = False
        self.silence, self._busy, self.took = "", 0, self._taking
        self._slept = not self._slept and self.now() - asked > LATE
        if self._slept:
            return  # what agents said meanwhile is heard before the place is asked again
        self.waits = self._said_of_waiting(sightings)
        self.urgent = unheard() and self._has_lost(sightings)
        if not self.urgent:
            yield from self._act(Listed(asked, sightings))

    def _timed(self, call: Call) -> Call:
        def timed() -> Any:
            began = self.now()
            found = call()
            self._taking += self.now() - began
            return found

        return timed

    def _met(self, error: PlaceError, asked: datetime) -> None:
        """The place did not let us look."""
        self.silence = error.notice
        if isinstance(error, AccessDenied) and not self.state.looked:
            self.barred = _whole(error)
        if not isinstance(error, Unreachable):  # asked too often, or refused: less often from here on
            self._busy += 1
            bounds = self.state.bounds
            longest = _LOGIN if isinstance(error, CredentialsExpired) else bounds.longest_pause
            pause = min(bounds.pause * 2 ** min(self._busy, 30), longest)
            self._again = asked + pause * (0.5 + self.chance.random() / 2)

    def _recalled(self, sightings: tuple[Sighting, ...]) -> Answered[tuple[Sighting, ...]]:
        """What the place's books say of machines that it does not list any more."""
        seen, place = {s.native for s in sightings}, self.backend
        missing = [a.native for a in self.state.allocations.values() if a.native and a.native not in seen]
        if not missing or not isinstance(place, Recalls):
            return ()
        found: tuple[Sighting, ...] = yield self._timed(lambda: tuple(place.recall(missing).values()))
        return found

    def _said_of_waiting(self, sightings: tuple[Sighting, ...]) -> str:
        ours = [s for s in sightings if s.native in self.state.alive]
        waiting = [s.reason for s in ours if s.condition is Condition.PENDING and s.reason]
        return waiting[0] if waiting and not any(s.condition is Condition.RUNNING for s in ours) else ""

    def _has_lost(self, sightings: tuple[Sighting, ...]) -> bool:
        seen = {s.native for s in sightings if s.condition in (Condition.PENDING, Condition.RUNNING)}
        return any(a.native and a.native not in seen for a in self.state.allocations.values())

    # --- deciding and acting ---

    def _told(self, event: Event) -> list[Command]:
        """The state after that, written down; and what is to be asked of the place."""
        state, commands = react(self.state, event, self.now())
        self._write([c for c in commands if isinstance(c, Write | Condemn | Warn)])
        self.state = state
        return [c for c in commands if isinstance(c, Ask | Stop | Read)]

    def _act(self, event: Event) -> Steps:
        """What follows from that is asked, one after the other, and so is what follows from its answers."""
        for command in self._told(event):
            if isinstance(command, Ask):
                yield from self._act((yield from self._ask(command)))
            elif isinstance(command, Stop):
                yield from self._stop(command)
            elif isinstance(command, Read):
                yield from self._act(Said((yield from self._read(command.native))))

    def _write(self, commands: list[Command]) -> None:
        if not commands:
            return
        with self.ledger.moving():
            for command in commands:
                if isinstance(command, Write):
                    self.holdings.write(command.allocation, command.move)
                elif isinstance(command, Condemn):
                    self.ledger.note("stranger", command.native, launch=command.launch)
                elif isinstance(command, Warn):
                    self.ledger.set("warned", True)
                    self.ledger.note("budget", spent=f"{command.spent:.2f}", of=str(self.state.bounds.budget))

    def _ask(self, ask: Ask) -> Answered[Event]:
        state = self.state
        if ask.launch in state.fresh and (state.over or state.draining or not state.todo):
            return Refused(ask.launch, "it was not needed any more", scope=Scope.PLACE)  # it had to wait for its turn
        try:
            launch = self.order(ask)
            return Accepted(ask.launch, tuple((yield lambda: self.backend.submit(launch))))
        except (Unreachable, StateError) as error:  # StateError: this machine has no room for another just now
            self.silence = error.notice
            return Unanswered(ask.launch)
        except PlaceError as error:
            scope = _scope(error)
            lasting = not error.transient and (not isinstance(error, QuotaExceeded) or not self.ever)
            why = _whole(error) if lasting else error.message  # a quota that lets no machine be had lets none
            return Refused(ask.launch, why, self.chance.random(), lasting, scope)

    def _stop(self, stop: Stop) -> Steps:
        try:
            yield lambda: self.backend.cancel(stop.natives)
        except PlaceError as error:
            self.silence = error.notice  # asked again at the next look, until each is seen gone

    def _read(self, native: NativeId) -> Answered[str]:
        """The last line that a machine printed; empty if the place does not say."""
        try:
            told: bytes = self.said(native) or (yield lambda: self.backend.logs(native))
        except PlaceError:
            return ""
        lines = [line.strip() for line in told[-_TAIL:].decode("utf-8", "replace").splitlines() if line.strip()]
        return f"{native}: {lines[-1]}" if lines else ""


_TAIL = 4000
_LOGIN = timedelta(seconds=10)
"""Between two looks while somebody is expected to log in again: who has done so shall not wait."""


def _whole(error: PlaceError) -> str:
    """With what to do next: nothing goes on by itself."""
    return f"{error.message}. {error.hint}" if error.hint else error.message


def _scope(error: PlaceError) -> Scope:
    """Quotas and rights are of a market, want of capacity of a shape; what passes by itself is of the place."""
    if isinstance(error, QuotaExceeded | AccessDenied):
        return Scope.MARKET
    if error.transient and not isinstance(error, NoCapacity):
        return Scope.PLACE
    return Scope.SHAPE
