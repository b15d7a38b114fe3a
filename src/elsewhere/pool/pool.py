"""The thin loop around the reactor: tells it what the place says, writes its decisions down, carries them out.

The order is the rule of this room: an answer's writes are durable before its first ask or stop is made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
    ) -> None:
        self.backend, self.ledger, self.order, self.now = backend, ledger, order, now
        self.holdings = Holdings(ledger)
        self.chance = chance or random.Random()
        state = begin(bounds, epoch, self.holdings.allocations())
        self.state: State = replace(state, warned=bool(ledger.get("warned", False)))
        self._busy, self._again = 0, now()
        self.urgent = False
        """A machine is gone, and reports wait to be recorded that may be its own: they come first."""
        self._slept = False
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
        self._tell(Need(todo, over, draining, pace, frozenset(idle)))

    def failed(self, natives: Iterable[NativeId], left: Iterable[NativeId] = ()) -> None:
        """Tasks failed for good on these, of all that ever were; and the agents of those that `left` are gone."""
        self._tell(Failed(frozenset(natives), frozenset(left)))

    def cannot_boot(self, native: NativeId, why: str, final: bool = False) -> None:
        """Its agent said so; it is stopped at the next look. `final`: so would any other."""
        self._tell(CannotBoot(native, why, final))

    def heard(self, natives: Iterable[NativeId]) -> None:
        """Their agents reported something just now."""
        self._tell(Heard(tuple(natives)))

    def begins(self) -> None:
        """The first look of a job that has just been made: nothing of it can be at its place, so that is not asked."""
        self._tell(Listed(self.now(), ()))

    def look(self, unheard: bool = False) -> None:
        """Ask the place what there is of ours, decide, write down, act. Waits for the place's answers.

        `unheard`: reports wait to be recorded; if a machine is found gone, nothing is decided before (`urgent`).
        """
        asked = self.now()
        if asked < self._again:
            return
        try:
            sightings = tuple(self.backend.owned())
            sightings += self._recalled(sightings)
        except PlaceError as error:
            self.silence = error.notice
            if isinstance(error, AccessDenied) and not self.state.looked:
                self.barred = _whole(error)
            if not isinstance(error, Unreachable):  # asked too often, or refused: less often from here on
                self._busy += 1
                bounds = self.state.bounds
                longest = _LOGIN if isinstance(error, CredentialsExpired) else bounds.longest_pause
                pause = min(bounds.pause * 2 ** min(self._busy, 30), longest)
                self._again = asked + pause * (0.5 + self.chance.random() / 2)
            return
        self.silence, self._busy, self.took = "", 0, self.now() - asked
        self._slept = not self._slept and self.now() - asked > LATE
        if self._slept:
            return  # what agents said meanwhile is heard before the place is asked again
        self.waits = self._said_of_waiting(sightings)
        self.urgent = unheard and self._has_lost(sightings)
        if not self.urgent:
            self._tell(Listed(asked, sightings))

    def _recalled(self, sightings: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
        """What the place's books say of machines that it does not list any more."""
        seen = {s.native for s in sightings}
        missing = [a.native for a in self.state.allocations.values() if a.native and a.native not in seen]
        return tuple(self.backend.recall(missing).values()) if missing and isinstance(self.backend, Recalls) else ()

    def _said_of_waiting(self, sightings: tuple[Sighting, ...]) -> str:
        ours = [s for s in sightings if s.native in self.state.alive]
        waiting = [s.reason for s in ours if s.condition is Condition.PENDING and s.reason]
        return waiting[0] if waiting and not any(s.condition is Condition.RUNNING for s in ours) else ""

    def _has_lost(self, sightings: tuple[Sighting, ...]) -> bool:
        seen = {s.native for s in sightings if s.condition in (Condition.PENDING, Condition.RUNNING)}
        return any(a.native and a.native not in seen for a in self.state.allocations.values())

    def _tell(self, event: Event) -> None:
        state, commands = react(self.state, event, self.now())
        self._write([c for c in commands if isinstance(c, Write | Condemn | Warn)])
        self.state = state
        for command in commands:
            if isinstance(command, Ask):
                self._tell(self._ask(command))
            elif isinstance(command, Stop):
                self._stop(command)
            elif isinstance(command, Read):
                self._tell(Said(self._read(command.native)))

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

    def _ask(self, ask: Ask) -> Event:
        try:
            return Accepted(ask.launch, tuple(self.backend.submit(self.order(ask))))
        except (Unreachable, StateError) as error:  # StateError: this machine has no room for another just now
            self.silence = error.notice
            return Unanswered(ask.launch)
        except PlaceError as error:
            scope = _scope(error)
            lasting = not error.transient and (not isinstance(error, QuotaExceeded) or not self.ever)
            why = _whole(error) if lasting else error.message  # a quota that lets no machine be had lets none
            return Refused(ask.launch, why, self.chance.random(), lasting, scope)

    def _stop(self, stop: Stop) -> None:
        try:
            self.backend.cancel(stop.natives)
        except PlaceError as error:
            self.silence = error.notice  # asked again at the next look, until each is seen gone

    def _read(self, native: NativeId) -> str:
        """The last line that a machine printed; empty if the place does not say."""
        try:
            text = (self.said(native) or self.backend.logs(native))[-_TAIL:].decode("utf-8", "replace")
        except PlaceError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
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
