"""How much capacity, and for how long: what the queue needs, within the bounds and the money that is left. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from elsewhere.backends.base import NativeId, Sighting
from elsewhere.model.place import Allocation
from elsewhere.model.states import AllocationState
from elsewhere.pool import kept, sizing
from elsewhere.pool.capacity import SURPLUS, Shape, State, Warn, booked, cost, only_kept, spent
from elsewhere.pool.draft import Draft

NOW_OR_NEVER = Decimal(10) ** 12
"""Free money where there is no budget."""
_HOUR = Decimal(3600)
_CENTURY = timedelta(days=36500)
_WARN = Decimal("0.8")


def free_of(state: State) -> Decimal:
    """What no open term may still spend."""
    return NOW_OR_NEVER if state.bounds.budget is None else state.bounds.budget - booked(state)


def renew(draft: Draft, alive: Mapping[NativeId, Sighting]) -> None:
    """Each that runs gets its share of what no open term may still spend, up to `unattended` ahead.

    Who gets half a step is renewed with who gets a whole one: what is written down together is billed once.
    """
    open_ = [a for a in draft.state.allocations.values()
             if a.native in alive and a.state is AllocationState.RUNNING and a.started is not None
             and a.spoke is not None and a.reason != SURPLUS and not a.kept]  # fmt: skip
    free, left = free_of(draft.state), len(open_)
    gets: list[tuple[Allocation, timedelta]] = []
    for allocation in open_:
        assert allocation.started is not None
        ahead = draft.now - allocation.started + draft.bounds.unattended - allocation.term
        if draft.bounds.longest is not None:
            ahead = min(ahead, draft.bounds.longest - allocation.term)
        more = min(ahead, _time(free / left, allocation.price))
        left -= 1
        if more >= draft.bounds.step / 2:
            gets.append((allocation, more))
            free -= cost(replace(allocation, term=allocation.term + more)) - cost(allocation)
    if any(more >= draft.bounds.step for _, more in gets):
        for allocation, more in gets:
            draft.write(allocation, term=allocation.term + more)


def grow(draft: Draft) -> None:
    """Ask for what the queue needs, within the bounds and the budget: of each shape that is not resting."""
    state, now, free = draft.state, draft.now, free_of(draft.state)
    if state.over or state.draining or not state.looked:
        return
    why = _halted(draft, free)
    if why or not state.todo:
        if not state.allocations or only_kept(state):
            draft.state = replace(state, stopped=why, trouble=why or state.trouble)
        return
    if state.resume is not None and now < state.resume:
        return
    found = sizing.picks(state, now, free)
    rate = sum((shape.offer.price * count for shape, count in found), Decimal(0))
    full = sum(shape.slots * count for shape, count in sizing.picks(state, now, free, rested=True))
    got = sum(shape.slots * count for shape, count in found)
    share = free * min(got, full) / max(full, 1)  # what rests just now keeps its part of the money
    most = min(draft.bounds.unattended, draft.bounds.longest or draft.bounds.unattended)
    term = min(most, max(_time(share, rate), min(draft.bounds.shortest, _time(free, rate))))
    for shape, count in found:
        _launch(draft, shape, count, term)


def _halted(draft: Draft, free: Decimal) -> str:
    """Why nothing is asked for any more, for people; empty: it is."""
    bounds, state = draft.bounds, draft.state
    if state.vain:
        return f"no machine can boot: {state.vain}"
    if state.duds >= bounds.duds:
        last = f"; the last one said: {state.words}" if state.words else ""
        return f"none of the last {state.duds} machines could boot{last}"
    if why := sizing.hopeless(state):
        return why
    if state.duds and kept.leave_no_room(state, draft.now, free):
        last = f"; the last one said: {state.words}" if state.words else ""
        return f"beside the machines that could not boot and are kept there is no room for another{last}"
    each = min(shape.offer.price for shape in bounds.shapes) * Decimal(bounds.shortest.total_seconds()) / _HOUR
    if free < each:
        return f"the budget of ${bounds.budget} is spent"
    return ""


def _launch(draft: Draft, shape: Shape, count: int, term: timedelta) -> None:
    bounds, state = draft.bounds, draft.state
    launch = f"{bounds.job}-{state.epoch}-{state.serial + 1}"
    draft.state = replace(state, serial=state.serial + 1, fresh=state.fresh | {launch})
    planned = [
        draft.write(
            Allocation(f"{launch}-{k}", launch, AllocationState.PLANNED, offer=shape.offer, slots=shape.slots,
                       term=term, until=draft.now + bounds.asking)
        )
        for k in range(1, count + 1)
    ]  # fmt: skip
    draft.acts.append(draft.ask(launch, planned))


def warn(draft: Draft) -> None:
    """Once, when four fifths of the budget are spent."""
    budget, so_far = draft.bounds.budget, spent(draft.state, draft.now)
    if budget and not draft.state.warned and so_far >= budget * _WARN:
        draft.state = replace(draft.state, warned=True)
        draft.writes.append(Warn(so_far))


def _time(money: Decimal, price: Decimal) -> timedelta:
    """How long that much money lasts."""
    seconds = _CENTURY.total_seconds() if price == 0 else max(Decimal(0), money) / price * _HOUR
    return timedelta(seconds=min(int(seconds), int(_CENTURY.total_seconds())))
