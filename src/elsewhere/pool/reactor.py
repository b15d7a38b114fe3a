"""Keeps the right capacity alive: which machines to ask for, how long each may live, which to stop. Pure.

No I/O, no clock, no chance but what is handed in. Every decision is a `Write`; whoever drives this makes all writes of
an answer durable before it carries out the first `Ask` or `Stop` of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from elsewhere.backends.base import Condition, NativeId, Sighting
from elsewhere.model.place import KEPT, Allocation
from elsewhere.model.states import AllocationMove, AllocationState
from elsewhere.pool import growth, kept, sizing
from elsewhere.pool.capacity import (
    SURPLUS,
    Accepted,
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
    Shape,
    State,
    Stop,
    Unanswered,
)
from elsewhere.pool.draft import Draft

_ZERO = timedelta(0)


def react(state: State, event: Event, now: datetime) -> tuple[State, tuple[Command, ...]]:
    """The state after `event`, and what is to be done: writes first. May be repeated with the same event."""
    draft = _Answer(state, now)
    match event:
        case Need():
            idle = {native: state.idle.get(native, now) for native in event.idle}
            draft.state = replace(state, todo=event.todo, over=event.over, draining=event.draining,
                                  pace=event.pace or state.pace, idle=idle)  # fmt: skip
        case Listed():
            draft.listed(event)
        case Accepted(launch, natives):
            draft.accepted(launch, natives)
        case CannotBoot(native, why, final):
            vain = why if final else state.vain
            draft.state = replace(state, broken={**state.broken, native: why}, vain=vain)
        case Failed(natives, left):
            draft.state = replace(state, failed=natives, left=left)
        case Said(words):
            draft.state = replace(state, words=words or state.words)
        case Refused():
            draft.refused(event)
        case Unanswered(launch):
            draft.forget(launch)
        case Heard(natives):
            draft.heard(natives)
    return draft.state, (*draft.writes, *draft.acts)


class _Answer(Draft):
    """To one event."""

    def heard(self, natives: Sequence[NativeId]) -> None:
        """What has spoken is there, and boots. The first word of one ends the row of those that did not."""
        state = self.state
        ours = {a.id: a for a in state.allocations.values() if a.native in natives}
        new = {a.native for a in ours.values() if a.spoke is None} - state.heard
        absent = {k: since for k, since in state.absent.items() if k not in ours}
        self.state = replace(state, absent=absent, heard=state.heard | new, duds=0 if new else state.duds)

    # --- answers to launches ---

    def accepted(self, launch: str, natives: Sequence[NativeId]) -> None:
        """Fewer is a partial yes; the rest was not made: there is no more of that shape just now."""
        self.forget(launch)
        planned = self.planned(launch)
        self._got(launch, natives, unknown=False)
        self.state = replace(self.state, refusals=0, resume=None, trouble="")
        if planned and len(natives) < len(planned):
            self._rest(planned[0], "there are no more of them just now", 1.0, Scope.SHAPE, ever=False)
            growth.grow(self)
        elif planned:
            kept = {key: rest for key, rest in self.state.rests.items() if key != planned[0].offer.key}
            self.state = replace(self.state, rests=kept)

    def _rest(self, allocation: Allocation, why: str, chance: float, scope: Scope, ever: bool) -> None:
        shape = Shape(allocation.offer)
        self.state = sizing.resting(self.state, shape, self.now, why, chance, scope, ever)

    def _got(self, launch: str, natives: Sequence[NativeId], unknown: bool) -> None:
        """`unknown`: what is missing may run, or have run, without our knowing: it stays booked in full."""
        for allocation in self._adopt(launch, natives):
            used, reason = (None, "unknown") if unknown else (_ZERO, "refused")
            self.write(allocation, AllocationMove.REFUSE, used=used, ended=self.now, reason=reason)

    def _adopt(self, launch: str, natives: Sequence[NativeId]) -> list[Allocation]:
        """These are of that launch, whatever its answer was; what is still missing of it."""
        planned, new = self.planned(launch), [native for native in natives if not self.knows(native)]
        for allocation, native in zip(planned, new, strict=False):
            self.write(allocation, AllocationMove.ACCEPT, native=native, reason="")
        return planned[len(new) :]

    def refused(self, event: Refused) -> None:
        """A refusal of a first ask is a refusal; of a later one it may be that of its echo: then the labels decide."""
        first = event.launch in self.state.fresh
        self.forget(event.launch)
        planned = self.planned(event.launch)
        for allocation in planned:
            if first:
                self.write(allocation, AllocationMove.REFUSE, used=_ZERO, ended=self.now, reason=event.why)
            elif allocation.reason != DOUBT:
                self.write(allocation, reason=DOUBT)
        self.state = replace(self.state, trouble=event.why)
        if event.scope is Scope.PLACE:
            bounds, times = self.bounds, min(self.state.refusals, 30)
            pause = min(bounds.pause * 2**times, bounds.longest_pause) * (0.5 + event.chance / 2)
            self.state = replace(self.state, refusals=times + 1, resume=self.now + pause)
        elif planned:
            self._rest(planned[0], event.why, event.chance, event.scope, event.hopeless)
            growth.grow(self)

    # --- an answer of the place ---

    def listed(self, event: Listed) -> None:
        ours = {s.native: s for s in event.sightings if s.labels.get("job", self.bounds.job) == self.bounds.job}
        alive = {native: s for native, s in ours.items() if s.condition in (Condition.PENDING, Condition.RUNNING)}
        self.state = replace(self.state, alive=frozenset(alive), looked=True, since=self.state.since or self.now)
        for allocation in list(self.state.allocations.values()):
            if allocation.native:
                self._look(allocation, ours.get(allocation.native), event.asked)
        for launch in sorted({a.launch for a in self.state.allocations.values() if not a.native}):
            self._pursue(launch, ours, event.asked)
        self._silent(alive)
        self._shrink(alive)
        self._stop(alive)
        if not self.state.over:
            growth.renew(self, alive)
            growth.grow(self)
            growth.warn(self)

    def _look(self, allocation: Allocation, seen: Sighting | None, asked: datetime) -> None:
        if seen is None:
            self._missed(allocation, asked)
        elif seen.condition in (Condition.PENDING, Condition.RUNNING):
            absent = {k: v for k, v in self.state.absent.items() if k != allocation.id}
            self.state = replace(self.state, absent=absent)
            self._met(allocation, seen)
        else:
            used = _used(allocation, seen)
            taken = seen.condition is Condition.PREEMPTED
            mute = allocation.spoke is None and allocation.native not in self.state.heard
            if mute and not taken and allocation.state is not AllocationState.STOPPING and not allocation.kept:
                self._dud(allocation, f"{allocation.native}: {seen.reason}" if seen.reason else "")
            if not mute and allocation.spoke is None:  # no look fell between its first word and its end
                allocation = self.write(allocation, spoke=min(self.now, seen.ended or self.now))
            self.write(allocation, AllocationMove.END, started=seen.started or allocation.started, ended=seen.ended,
                       used=used, reason=_why(self.state, allocation.native) or seen.reason or seen.condition.value,
                       reclaimed=taken,
                       crashed=seen.condition is Condition.FAILED, starved=seen.starved)  # fmt: skip

    def _met(self, allocation: Allocation, seen: Sighting) -> None:
        running = seen.condition is Condition.RUNNING
        if allocation.state is AllocationState.UNREACHABLE:
            allocation = self.write(allocation, AllocationMove.REGAIN)
        if allocation.state is AllocationState.PENDING and running:
            allocation = self.write(allocation, AllocationMove.START, started=seen.started or self.now)
        elif allocation.state is AllocationState.RUNNING and not running:
            allocation = self.write(allocation, AllocationMove.REQUEUE)
        if allocation.spoke is None and allocation.native in self.state.heard:
            self.write(allocation, spoke=self.now)

    def _missed(self, allocation: Allocation, asked: datetime) -> None:
        """Absent twice, in answers more than the lag apart, is gone; once is out of sight. When, between question and
        taking up, an answer was true is not known: the first is as young as can be, the second as old."""
        since = self.state.absent.get(allocation.id)
        if since is None:
            self.state = replace(self.state, absent={**self.state.absent, allocation.id: self.now})
            if allocation.state is AllocationState.RUNNING:
                self.write(allocation, AllocationMove.LOSE_CONTACT)
        elif asked - since > self.bounds.lag:
            self.write(allocation, AllocationMove.VANISH, ended=asked, reason="vanished")

    def _pursue(self, launch: str, ours: Mapping[NativeId, Sighting], asked: datetime) -> None:
        """A launch without an answer is asked for again, whole, while the place remembers it. What its labels show when
        it is not, or when they show all, is ours at once; what they do not show is decided late."""
        planned, bounds = self.planned(launch), self.bounds
        until = planned[0].until or self.now
        found = [key for key, s in ours.items() if s.labels.get("launch") == launch and not self.knows(key)]
        if asked > until + bounds.flight + bounds.lag:
            self._got(launch, found, unknown=True)
        elif planned[0].reason != DOUBT and self.now <= until and len(found) < len(planned):
            self.acts.append(self.ask(launch, planned))
        else:
            self._adopt(launch, found)

    # --- what never speaks, and what is not needed ---

    def _dud(self, allocation: Allocation, told: str = "") -> None:
        """`told`: why it ended, as its place has it; its own last words are better, if there are any."""
        why = self.state.broken.get(allocation.native, "")
        self.state = replace(self.state, duds=self.state.duds + 1, words=why or told)
        if not why:
            self.acts.append(Read(allocation.native))

    def _silent(self, alive: Mapping[NativeId, Sighting]) -> None:
        """One that says that it cannot boot is stopped at once, one that says nothing after its time."""
        state, since = self.state, self.state.since or self.now
        for allocation in list(state.allocations.values()):
            if allocation.native not in alive or allocation.state not in _STOPPABLE or allocation.kept:
                continue
            started = max(since, allocation.started or since)
            mute = allocation.spoke is None and allocation.native not in state.heard
            if allocation.native in state.broken:
                self._dud(allocation)
                self._let_go(allocation, _why(state, allocation.native))
            elif mute and allocation.started is not None and self.now - started > self.bounds.silence:
                self._dud(allocation)
                self._let_go(allocation, "it never spoke")

    def _let_go(self, allocation: Allocation, why: str) -> None:
        """One that could not boot is stopped, or kept to be looked at."""
        if self.bounds.keep and allocation.state is AllocationState.RUNNING:
            self._keep(allocation, f"{KEPT}: {why}")
        else:
            self.write(allocation, AllocationMove.STOP, reason=why)

    def _keep(self, allocation: Allocation, why: str = KEPT) -> None:
        """It takes nothing more, stays for its time and ends by itself; of its term no more is booked than that."""
        self.write(allocation, term=kept.term(self.state, allocation, self.now), reason=why)

    def _shrink(self, alive: Mapping[NativeId, Sighting]) -> None:
        """What is not needed is told to end; it hands back what has not begun. Stopped, if it does not heed that."""
        for allocation in list(self.state.allocations.values()):
            if allocation.native in self.state.left and not allocation.kept and kept.wanted(self.state, allocation):
                self._keep(allocation)
        if not self.state.over:
            for allocation in sizing.surplus(self.state, self.now):
                if kept.wanted(self.state, allocation):
                    self._keep(allocation)
                elif allocation.native in alive:
                    self.write(allocation, reason=SURPLUS)
        told = {a.id: self.state.told.get(a.id, self.now) for a in self.state.allocations.values()
                if a.reason == SURPLUS}  # fmt: skip
        self.state = replace(self.state, told=told)
        for key, since in told.items():
            allocation = self.state.allocations[key]
            patience = self.bounds.flight + self.bounds.lag
            if allocation.state in _STOPPABLE and allocation.native in alive and self.now - since > patience:
                self.write(allocation, AllocationMove.STOP)

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
            elif self._may_stay(allocation):
                continue
            elif self.state.over or allocation.kept:
                reason = "no longer kept" if allocation.kept else allocation.reason
                self.write(allocation, AllocationMove.STOP, reason=reason)
                stops.append(native)
        if stops:
            self.acts.append(Stop(tuple(stops)))

    def _may_stay(self, allocation: Allocation) -> bool:
        """Is it needed, or kept, or shall it be now that all is over?"""
        if allocation.kept:
            return kept.stays(self.state, allocation, self.now, growth.free_of(self.state))
        if self.state.over and kept.wanted(self.state, allocation):
            self._keep(allocation)
            return True
        return not self.state.over


_STOPPABLE = (AllocationState.PENDING, AllocationState.RUNNING, AllocationState.UNREACHABLE)
DOUBT = "doubt"
"""The reason of a planned allocation that was refused on a later ask: nobody knows what became of the first."""


def _why(state: State, native: NativeId) -> str:
    """Why a machine could not boot, as it said itself; empty: it said nothing of the kind."""
    return f"it could not boot: {state.broken[native]}" if native in state.broken else ""


def _used(allocation: Allocation, seen: Sighting) -> timedelta | None:
    """What the place says it lived; None, so the whole of its term, if it does not say."""
    started = seen.started or allocation.started
    if started is None or seen.ended is None:
        return None
    return max(_ZERO, seen.ended - started)
