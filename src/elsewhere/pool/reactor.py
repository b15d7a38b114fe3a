"""Keeps the right capacity alive: which machines to ask for, how long each may live, which to stop. Pure.

No I/O, no clock, no chance but what is handed in. Every decision is a `Write`; whoever drives this makes all writes of
an answer durable before it carries out the first `Ask` or `Stop` of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from elsewhere.backends.base import Condition, NativeId, Sighting
from elsewhere.model.place import Allocation
from elsewhere.model.states import ALLOCATION_MOVES, AllocationMove, AllocationState, advance
from elsewhere.pool.capacity import (
    Accepted,
    Ask,
    Command,
    Condemn,
    Event,
    Heard,
    Listed,
    Need,
    Refused,
    State,
    Stop,
    Unanswered,
    Write,
    booked,
    cost,
)

NOW_OR_NEVER = Decimal(10) ** 12
"""Free money where there is no budget."""
_ZERO = timedelta(0)
_HOUR = Decimal(3600)


def react(state: State, event: Event, now: datetime) -> tuple[State, tuple[Command, ...]]:
    """The state after `event`, and what is to be done: writes first. May be repeated with the same event."""
    draft = _Draft(state, now)
    match event:
        case Need(todo, over, draining):
            draft.state = replace(state, todo=todo, over=over, draining=draining)
        case Listed():
            draft.listed(event)
        case Accepted(launch, natives):
            draft.accepted(launch, natives)
        case Refused():
            draft.refused(event)
        case Unanswered(launch):
            draft.forget(launch)
        case Heard(natives):
            heard = {a.id for a in state.allocations.values() if a.native in natives}
            absent = {k: since for k, since in state.absent.items() if k not in heard}
            draft.state = replace(state, absent=absent)
    return draft.state, (*draft.writes, *draft.acts)


class _Draft:
    """One answer in the making."""

    def __init__(self, state: State, now: datetime) -> None:
        self.state, self.now, self.bounds = state, now, state.bounds
        self.writes: list[Command] = []
        self.acts: list[Command] = []

    # --- moves ---

    def write(self, allocation: Allocation, move: AllocationMove | None = None, **changes: object) -> Allocation:
        state = allocation.state
        if move is not None:
            state = advance(ALLOCATION_MOVES, state, move, f"allocation {allocation.id} {allocation.reason}")
        after: Allocation = replace(allocation, state=state, **changes)  # type: ignore[arg-type]
        self.writes.append(Write(after, move))
        held, spent = dict(self.state.allocations), self.state.spent
        absent = {k: v for k, v in self.state.absent.items() if k != after.id or not state.ended}
        if state.ended:
            held.pop(after.id, None)
            spent += cost(after)
        else:
            held[after.id] = after
        self.state = replace(self.state, allocations=held, spent=spent, absent=absent)
        return after

    def planned(self, launch: str) -> list[Allocation]:
        return [a for a in self.state.allocations.values() if a.launch == launch and not a.native]

    def forget(self, launch: str) -> None:
        """It was asked for, by us or by who came before us."""
        self.state = replace(self.state, fresh=self.state.fresh - {launch})

    # --- answers to launches ---

    def accepted(self, launch: str, natives: Sequence[NativeId]) -> None:
        """Fewer is a partial yes; the rest was not made."""
        self.forget(launch)
        self._got(launch, natives, unknown=False)
        self.state = replace(self.state, refusals=0, resume=None, trouble="")

    def _got(self, launch: str, natives: Sequence[NativeId], unknown: bool) -> None:
        """`unknown`: what is missing may run, or have run, without our knowing: it stays booked in full."""
        planned = self.planned(launch)
        known = {a.native for a in self.state.allocations.values()}
        new = [native for native in natives if native not in known]
        for allocation, native in zip(planned, new, strict=False):
            self.write(allocation, AllocationMove.ACCEPT, native=native, reason="")
        for allocation in planned[len(new) :]:
            used, reason = (None, "unknown") if unknown else (_ZERO, "refused")
            self.write(allocation, AllocationMove.REFUSE, used=used, ended=self.now, reason=reason)

    def refused(self, event: Refused) -> None:
        """A refusal of a first ask is a refusal; of a later one it may be that of its echo: then the labels decide."""
        first = event.launch in self.state.fresh
        self.forget(event.launch)
        for allocation in self.planned(event.launch):
            if first:
                self.write(allocation, AllocationMove.REFUSE, used=_ZERO, ended=self.now, reason=event.why)
            elif allocation.reason != DOUBT:
                self.write(allocation, reason=DOUBT)
        bounds, times = self.bounds, min(self.state.refusals, 30)
        pause = min(bounds.pause * 2**times, bounds.longest_pause) * (0.5 + event.chance / 2)
        hopeless = self.state.hopeless or event.hopeless
        self.state = replace(self.state, refusals=times + 1, resume=self.now + pause, trouble=event.why,
                             hopeless=hopeless)  # fmt: skip

    # --- an answer of the place ---

    def listed(self, event: Listed) -> None:
        ours = {s.native: s for s in event.sightings if s.labels.get("job", self.bounds.job) == self.bounds.job}
        alive = {native: s for native, s in ours.items() if s.condition in (Condition.PENDING, Condition.RUNNING)}
        self.state = replace(self.state, alive=frozenset(alive), looked=True)
        for allocation in list(self.state.allocations.values()):
            if allocation.native:
                self._look(allocation, ours.get(allocation.native), event.asked)
        for launch in sorted({a.launch for a in self.state.allocations.values() if not a.native}):
            self._pursue(launch, ours, event.asked)
        self._stop(alive)
        if not self.state.over:
            self._renew(alive)
            if not self.state.draining:
                self._grow()

    def _look(self, allocation: Allocation, seen: Sighting | None, asked: datetime) -> None:
        if seen is None:
            self._missed(allocation, asked)
        elif seen.condition in (Condition.PENDING, Condition.RUNNING):
            absent = {k: v for k, v in self.state.absent.items() if k != allocation.id}
            self.state = replace(self.state, absent=absent)
            self._met(allocation, seen)
        else:
            used = _used(allocation, seen)
            self.write(allocation, AllocationMove.END, started=seen.started or allocation.started, ended=seen.ended,
                       used=used, reason=seen.reason or seen.condition.value,
                       crashed=seen.condition is Condition.FAILED)  # fmt: skip

    def _met(self, allocation: Allocation, seen: Sighting) -> None:
        running = seen.condition is Condition.RUNNING
        if allocation.state is AllocationState.UNREACHABLE:
            allocation = self.write(allocation, AllocationMove.REGAIN)
        if allocation.state is AllocationState.PENDING and running:
            self.write(allocation, AllocationMove.START, started=seen.started or self.now)
        elif allocation.state is AllocationState.RUNNING and not running:
            self.write(allocation, AllocationMove.REQUEUE)

    def _missed(self, allocation: Allocation, asked: datetime) -> None:
        """Absent twice, in answers asked for more than the lag apart, is gone; once is out of sight."""
        since = self.state.absent.get(allocation.id)
        if since is None:
            self.state = replace(self.state, absent={**self.state.absent, allocation.id: asked})
            if allocation.state is AllocationState.RUNNING:
                self.write(allocation, AllocationMove.LOSE_CONTACT)
        elif asked - since > self.bounds.lag:
            self.write(allocation, AllocationMove.VANISH, ended=asked, reason="vanished")

    def _pursue(self, launch: str, ours: Mapping[NativeId, Sighting], asked: datetime) -> None:
        """A launch without an answer: ask again while the place remembers it; after that its labels decide."""
        planned = self.planned(launch)
        until, bounds = planned[0].until or self.now, self.bounds
        if planned[0].reason != DOUBT and self.now <= until:
            self.acts.append(self._ask(launch, planned))
        elif asked > until + bounds.flight + bounds.lag:
            found = [native for native, s in ours.items() if s.labels.get("launch") == launch]
            self._got(launch, found, unknown=True)

    def _ask(self, launch: str, planned: Sequence[Allocation]) -> Ask:
        first, bounds = planned[0], self.bounds
        start_by = (first.until or self.now) + bounds.flight + bounds.boot
        return Ask(launch, len(planned), first.term, start_by, first.offer)

    def _stop(self, alive: Mapping[NativeId, Sighting]) -> None:
        """What is over, what was to stop and lives on, and strangers that bear our labels."""
        held = {a.native: a for a in self.state.allocations.values() if a.native}
        coming = {a.launch for a in self.state.allocations.values() if not a.native}
        stops: list[NativeId] = []
        for native, seen in alive.items():
            allocation = held.get(native)
            if allocation is None:
                launch = seen.labels.get("launch", "")
                if launch not in coming:
                    self.writes.append(Condemn(native, launch))
                    stops.append(native)
            elif allocation.state is AllocationState.STOPPING:
                stops.append(native)
            elif self.state.over:
                self.write(allocation, AllocationMove.STOP)
                stops.append(native)
        if stops:
            self.acts.append(Stop(tuple(stops)))

    # --- money, time, number ---

    def _free(self) -> Decimal:
        return NOW_OR_NEVER if self.bounds.budget is None else self.bounds.budget - booked(self.state)

    def _renew(self, alive: Mapping[NativeId, Sighting]) -> None:
        """Each that runs gets its share of what no open term may still spend, up to `unattended` ahead."""
        open_ = [a for a in self.state.allocations.values()
                 if a.native in alive and a.state is AllocationState.RUNNING and a.started is not None]  # fmt: skip
        free, left = self._free(), len(open_)
        for allocation in open_:
            assert allocation.started is not None
            ahead = self.now - allocation.started + self.bounds.unattended - allocation.term
            more = min(ahead, _time(free / left, allocation.price))
            left -= 1
            if more >= self.bounds.step:
                after = self.write(allocation, term=allocation.term + more)
                free -= cost(after) - cost(allocation)

    def _grow(self) -> None:
        """Ask for what the queue needs, within the bounds and the budget."""
        bounds, state, free = self.bounds, self.state, self._free()
        wanted = max(-(-state.todo // bounds.slots), bounds.least if state.todo else 0)
        room = min(bounds.most, wanted) - len(state.allocations)
        each = bounds.price * Decimal(bounds.shortest.total_seconds()) / _HOUR
        count = room if each == 0 else min(room, max(0, int(free / each)))
        if room > 0 and count <= 0 and not state.allocations:
            self.state = replace(state, trouble=f"the budget of ${bounds.budget} is spent")
        if count <= 0 or state.hopeless or (state.resume is not None and self.now < state.resume):
            return
        term = min(bounds.unattended, _time(free / count, bounds.price))
        launch = f"{bounds.job}-{state.epoch}-{state.serial + 1}"
        self.state = replace(state, serial=state.serial + 1, fresh=state.fresh | {launch})
        planned = [
            self.write(
                Allocation(f"{launch}-{k}", launch, AllocationState.PLANNED, offer=bounds.offer, term=term,
                           price=bounds.price, until=self.now + bounds.asking)
            )
            for k in range(1, count + 1)
        ]  # fmt: skip
        self.acts.append(self._ask(launch, planned))


DOUBT = "doubt"
"""The reason of a planned allocation that was refused on a later ask: nobody knows what became of the first."""


def _time(money: Decimal, price: Decimal) -> timedelta:
    """How long that much money lasts."""
    if price == 0:
        return timedelta(days=36500)
    return timedelta(seconds=int(max(Decimal(0), money) / price * _HOUR))


def _used(allocation: Allocation, seen: Sighting) -> timedelta | None:
    """What the place says it lived; None, so the whole of its term, if it does not say."""
    started = seen.started or allocation.started
    if started is None or seen.ended is None:
        return None
    return max(_ZERO, seen.ended - started)
