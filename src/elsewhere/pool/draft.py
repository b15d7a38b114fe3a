"""One answer of the reactor in the making: the state as it becomes, and what is to be written and done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from elsewhere.backends.base import NativeId
from elsewhere.model.place import Allocation
from elsewhere.model.states import ALLOCATION_MOVES, AllocationMove, advance
from elsewhere.pool import sizing
from elsewhere.pool.capacity import Ask, Command, State, Write, cost


class Draft:
    """What was decided so far: later decisions rest on it."""

    def __init__(self, state: State, now: datetime) -> None:
        self.state, self.now, self.bounds = state, now, state.bounds
        self.writes: list[Command] = []
        self.acts: list[Command] = []

    def write(self, allocation: Allocation, move: AllocationMove | None = None, **changes: object) -> Allocation:
        state = allocation.state
        if move is not None:
            state = advance(ALLOCATION_MOVES, state, move, f"allocation {allocation.id} {allocation.reason}")
        after: Allocation = replace(allocation, state=state, **changes)  # type: ignore[arg-type]
        self.writes.append(Write(after, move))
        held, spent, ended = dict(self.state.allocations), self.state.spent, self.state.ended
        absent = {k: v for k, v in self.state.absent.items() if k != after.id or not state.ended}
        if state.ended:
            held.pop(after.id, None)
            spent, ended = spent + cost(after), ended | {after.native}
        else:
            held[after.id] = after
        self.state = replace(self.state, allocations=held, spent=spent, ended=ended, absent=absent)
        return after

    def planned(self, launch: str) -> list[Allocation]:
        return [a for a in self.state.allocations.values() if a.launch == launch and not a.native]

    def knows(self, native: NativeId) -> bool:
        return native in self.state.ended or any(a.native == native for a in self.state.allocations.values())

    def forget(self, launch: str) -> None:
        """It was asked for, by us or by who came before us."""
        self.state = replace(self.state, fresh=self.state.fresh - {launch})

    def ask(self, launch: str, planned: Sequence[Allocation]) -> Ask:
        first, bounds = planned[0], self.bounds
        start_by = (first.until or self.now) + bounds.flight + bounds.boot
        shape = sizing.shape_of(self.state, first)
        return Ask(launch, len(planned), first.term, start_by, first.offer, first.slots, shape.serves, shape.abreast)
