"""How many slots the work needs, and which shapes shall give them. Pure: folds over a State; nothing here commands."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from elsewhere.model.place import Allocation
from elsewhere.model.states import AllocationState
from elsewhere.pool.capacity import SURPLUS, Rest, Scope, Shape, State

_HOUR = Decimal(3600)
_MANY = 10**9


def wanted(state: State) -> int:
    """Slots: one for each task that remains; fewer, if a machine's part of their work would not be worth it."""
    worth = state.bounds.worth
    if state.pace is None or not worth or not state.todo:
        return state.todo
    return min(state.todo, max(1, -(-state.todo * state.pace // worth)))


def staying(state: State) -> list[Allocation]:
    """What gives slots, or will."""
    return [a for a in state.allocations.values()
            if a.state is not AllocationState.STOPPING and a.reason != SURPLUS and not a.kept]  # fmt: skip


def shape_of(state: State, allocation: Allocation) -> Shape:
    """As what it was asked for; what is not among the shapes any more serves as it can."""
    key = allocation.offer.key
    found = next((shape for shape in state.bounds.shapes if shape.offer.key == key), None)
    return replace(found or Shape(allocation.offer), slots=allocation.slots)


def picks(state: State, now: datetime, free: Decimal, rested: bool = False) -> list[tuple[Shape, int]]:
    """What to ask for now: machines of each shape, within all bounds. `rested`: as if no shape were resting."""
    bounds, held, found = state.bounds, list(state.allocations.values()), []
    stay = staying(state)
    missing = wanted(state) - sum(shape_of(state, a).does for a in stay)
    least = bounds.least - len(stay) if state.todo else 0
    machines = bounds.most - len(held)
    hourly = None if bounds.price_per_hour is None else bounds.price_per_hour - sum(a.price for a in held)
    cpus = None if bounds.cpus is None else bounds.cpus - sum(a.offer.resources.cpus for a in held)
    for shape in bounds.shapes:
        if not rested and rests(state, shape, now):
            continue
        offer = shape.offer
        each = offer.price * Decimal(bounds.shortest.total_seconds()) / _HOUR
        count = min(max(-(-missing // shape.does), least), machines, _share(shape, held), _fit(free, each),
                    _fit(hourly, offer.price), _fit(cpus, offer.resources.cpus))  # fmt: skip
        if count > 0:
            found.append((shape, count))
            missing, least, machines = missing - count * shape.does, least - count, machines - count
            free -= each * count
            hourly = None if hourly is None else hourly - offer.price * count
            cpus = None if cpus is None else cpus - offer.resources.cpus * count
    return found


def _share(shape: Shape, held: Collection[Allocation]) -> int:
    if shape.most is None:
        return _MANY
    return shape.most - sum(a.offer.key == shape.offer.key for a in held)


def _fit(room: Decimal | float | None, each: Decimal | float) -> int:
    """How many of them have room."""
    return _MANY if room is None or not each else max(0, int(room / each))  # type: ignore[operator]


# --- shapes that rest ----------------------------------------------------------------------------------------------


def rests(state: State, shape: Shape, now: datetime) -> bool:
    rest = state.rests.get(shape.offer.key)
    return rest is not None and (rest.until is None or now < rest.until)


def resting(state: State, shape: Shape, now: datetime, why: str, chance: float, scope: Scope, ever: bool) -> State:
    """After a refusal: this shape, or its whole market, waits twice as long as the last time; chance spreads it."""
    found, bounds = dict(state.rests), state.bounds
    for other in {shape.offer.key: shape, **{s.offer.key: s for s in bounds.shapes}}.values():
        key = other.offer.key
        if key == shape.offer.key or (scope is Scope.MARKET and other.offer.spot == shape.offer.spot):
            times = min(found[key].times, 30) if key in found else 0
            pause = min(bounds.pause * 2**times, bounds.longest_pause) * (0.5 + chance / 2)
            gone = key in found and found[key].until is None
            found[key] = Rest(times + 1, None if ever or gone else now + pause, why)
    return replace(state, rests=found)


def hopeless(state: State) -> str:
    """Why no shape will ever be had; empty: one may be."""
    kept = [state.rests.get(shape.offer.key) for shape in state.bounds.shapes]
    whys = [rest.why for rest in kept if rest is not None and rest.until is None]
    return whys[0] if len(whys) == len(kept) and whys else ""


def surplus(state: State, now: datetime) -> list[Allocation]:
    """Idle machines that the rest can do without, the dearest first: never one that would be asked for again."""
    stay, bounds = staying(state), state.bounds
    spare, number = sum(a.slots for a in stay) - wanted(state), len(stay)
    found = []
    for allocation in sorted(stay, key=lambda a: (-a.price / a.slots, a.id)):
        since = state.idle.get(allocation.native)
        ripe = since is not None and now - since >= bounds.linger
        if ripe and allocation.slots <= spare and number > bounds.least:
            found.append(allocation)
            spare, number = spare - allocation.slots, number - 1
    return found
