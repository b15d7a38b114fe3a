"""The cheapest mix of machines for so many slots: by a sort where that is near enough, by the solver where not. Pure.

The solver is handed in. What it says is checked here, in whole numbers, before it is believed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from elsewhere.choose.bound import FREE, Bound, Goal, Prices, alike, bound, rates, reduced, widen
from elsewhere.choose.packing import packed

PRUNED = (80, 300)
"""Offers that are shown to the solver: few at first, since what it finds with those rules most others out."""
ENOUGH = 0.003
"""A mix this near to the bound, as a share of it, is not improved further."""
SOLVED = 0.001
"""How near the solver is to come to the best of what it is shown."""
STEPS = 10
_DEAR = 1e13
_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits of all machines together. Prices in millionths of a dollar an hour; None: no limit."""

    machines: int | None = None
    cpus: int | None = None
    price: int | None = None
    least_machines: int = 0
    least_cpus: int = 0
    least_price: int = 0

    @property
    def floors(self) -> bool:
        return bool(self.least_machines or self.least_cpus or self.least_price)


@dataclass(frozen=True, slots=True)
class Row:
    """One linear constraint: least <= sum of weight x count <= most. None: no bound."""

    weights: Mapping[int, int]
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """Counts, whole and not negative, that cost the least. Rows speak of them by their place in `costs`."""

    costs: Sequence[int]
    most: Sequence[int]
    rows: Sequence[Row]
    gap: float = SOLVED
    """How near to the best possible is near enough, as a share."""


@dataclass(frozen=True, slots=True)
class Solution:
    """`counts` may be empty: none was found in time. `bound`: nothing is cheaper than that."""

    counts: Sequence[int]
    bound: float


Solver = Callable[[Program], Solution | None]
"""None: there is no mix that meets every row."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Number of an offer -> how many machines of it; what that comes to; and what it cannot cost less than."""

    counts: Mapping[int, int]
    slots: int
    machines: int
    cpus: int
    cost: int
    bound: float = 0

    @property
    def gap(self) -> float:
        """How much more than the bound it costs, as a share of it."""
        return max(0.0, self.cost / self.bound - 1) if self.bound > 0 else 0.0


def mix_of(goal: Goal, counts: Mapping[int, int]) -> Mix:
    market = goal.market

    def total(column: Sequence[int]) -> int:
        return sum(column[number] * count for number, count in counts.items())

    kept = {number: count for number, count in counts.items() if count}
    return Mix(kept, total(market.slots), sum(counts.values()), total(market.cpus), total(market.price))


def keeps(goal: Goal, mix: Mix, caps: Caps) -> bool:
    """Every constraint holds: the slots, the limits, the shares of pools."""
    held: dict[int, int] = {}
    for number, count in mix.counts.items():
        pool = goal.market.pool[number]
        held[pool] = held.get(pool, 0) + count * goal.market.slots[number]
    return (
        mix.slots >= goal.slots
        and _within(mix.machines, caps.least_machines, caps.machines)
        and _within(mix.cpus, caps.least_cpus, caps.cpus)
        and _within(mix.cost, caps.least_price, caps.price)
        and all(held[goal.market.pool[number]] <= goal.room(number) for number in mix.counts)
    )


def _within(value: int, least: int, most: int | None) -> bool:
    return value >= least and (most is None or value <= most)


# --- by a sort ------------------------------------------------------------------------------------------------------


class _Basket:
    """A mix in the making: what was taken, and what may still be."""

    def __init__(self, goal: Goal, caps: Caps) -> None:
        self.goal, self.market = goal, goal.market
        self.counts: dict[int, int] = {}
        self.rooms: dict[int, int] = {}
        self.left = goal.slots
        self.machines = _NO_LIMIT if caps.machines is None else caps.machines
        self.cpus = _NO_LIMIT if caps.cpus is None else caps.cpus
        self.price = _NO_LIMIT if caps.price is None else caps.price
        self.cost = 0

    def most(self, number: int) -> int:
        """How many more of it the limits allow."""
        market = self.market
        room = self.rooms.get(market.pool[number])
        room = self.goal.room(number) if room is None else room
        return min(room // market.slots[number], self.machines, self.cpus // market.cpus[number],
                   self.price // max(1, market.price[number]))  # fmt: skip

    def take(self, number: int, count: int) -> None:
        market, pool = self.market, self.market.pool[number]
        self.counts[number] = self.counts.get(number, 0) + count
        self.rooms[pool] = self.rooms.get(pool, self.goal.room(number)) - count * market.slots[number]
        self.left -= count * market.slots[number]
        self.machines -= count
        self.cpus -= count * market.cpus[number]
        self.price -= count * market.price[number]
        self.cost += count * market.price[number]


def greedy(goal: Goal, caps: Caps, prices: Prices = FREE) -> Mix:
    """By price per slot, as many of each as fit into what is left; the last gap by whatever closes it most cheaply.

    Stops short of the goal's slots where the limits do.
    """
    basket, market = _Basket(goal, caps), goal.market
    queue = rates(goal, prices)
    heapq.heapify(queue)
    closing: tuple[int, dict[int, int]] | None = None
    while queue and basket.left > 0:
        _, number = heapq.heappop(queue)
        size = market.slots[number]
        if closing is not None and basket.cost >= closing[0]:
            break
        count = basket.left // size
        if count and (count := min(count, basket.most(number))):
            basket.take(number, count)
        if 0 < basket.left <= size:
            cost = basket.cost + market.price[number]
            if (closing is None or cost < closing[0]) and basket.most(number):
                closing = cost, {**basket.counts, number: basket.counts.get(number, 0) + 1}
    if closing is not None and (basket.left > 0 or closing[0] < basket.cost):
        return mix_of(goal, closing[1])
    return mix_of(goal, basket.counts)


def _corners(caps: Caps) -> list[Prices]:
    """Nothing is scarce; machines are; CPUs are: those of them that may be."""
    machines = [Prices(per_machine=_DEAR)] * (caps.machines is not None)
    return [FREE, *machines, *[Prices(per_cpu=_DEAR)] * (caps.cpus is not None)]


def reach(goal: Goal, caps: Caps) -> Goal:
    """The same goal with as many slots as were found to be within the limits; 0: none."""
    while goal.slots:
        most = 0
        for corner in _corners(caps):
            most = max(most, greedy(goal, caps, corner).slots)
            if most >= goal.slots:
                return goal
        goal = goal.at(most)
    return goal


def by_sort(goal: Goal, caps: Caps) -> tuple[Mix, Prices]:
    """The cheapest that sorting finds, and the prices of the limits at which the bound is the highest found."""
    best, top, at = greedy(goal, caps), bound(goal, caps.machines, caps.cpus), FREE
    for corner in _corners(caps)[1:]:
        if top is None or _kept(top, caps):
            break
        for prices in _between(goal, caps, corner):
            found, value = greedy(goal, caps, prices), bound(goal, caps.machines, caps.cpus, prices)
            if found.slots >= goal.slots and (best.slots < goal.slots or found.cost < best.cost):
                best = found
            if value is not None and value.value > top.value:
                top, at = value, prices
    return best, at


def _kept(relaxed: Bound, caps: Caps) -> bool:
    """Does the relaxed mix keep the limits of itself?"""
    return not (
        (caps.machines is not None and relaxed.machines > caps.machines)
        or (caps.cpus is not None and relaxed.cpus > caps.cpus)
    )


def _between(goal: Goal, caps: Caps, corner: Prices) -> list[Prices]:
    """Prices of a limit around the least at which the relaxed mix keeps it, found by halving; and as dear as can be."""
    low, high = 0.0, 2.0 * max(goal.market.price[k] for k in goal.open)

    def prices(value: float) -> Prices:
        return Prices(value, 0) if corner.per_machine else Prices(0, value / 8)

    for _ in range(STEPS):
        middle = (low + high) / 2
        relaxed = bound(goal, caps.machines, caps.cpus, prices(middle))
        low, high = (low, middle) if relaxed is not None and _kept(relaxed, caps) else (middle, high)
    return [prices(low), prices(high), prices(1.3 * high), corner]


def _floored(goal: Goal, caps: Caps, mix: Mix) -> Mix:
    """With machines added until the least that was asked for is there; as it is where that cannot be."""
    if not caps.floors or mix.slots < goal.slots:
        return mix
    basket, market = _Basket(goal, caps), goal.market
    for number, count in mix.counts.items():
        basket.take(number, count)
    wants = ((caps.least_machines, lambda k: market.price[k]), (caps.least_price, lambda k: market.price[k]),
             (caps.least_cpus, lambda k: market.price[k] / market.cpus[k]))  # fmt: skip
    for least, key in wants:
        if not least:
            continue
        for number in sorted(goal.open, key=key):
            while not keeps(goal, now := mix_of(goal, basket.counts), caps) and basket.most(number):
                basket.take(number, 1)
            if keeps(goal, now, caps):
                return now
    return mix_of(goal, basket.counts)


# --- by the solver --------------------------------------------------------------------------------------------------


def cheapest(goal: Goal, caps: Caps, solver: Solver | None = None) -> Mix:
    """The cheapest mix that was found for a goal that is within reach, with a bound that holds over all offers."""
    free = replace(caps, least_machines=0, least_cpus=0, least_price=0)
    mix = _cheapest(goal, free, solver)
    if keeps(goal, mix, caps) or mix.slots < goal.slots:
        return mix
    # What holds without the least that was asked for holds with it too.
    floor = max(mix.bound, _least(goal, caps))
    mix = _floored(goal, caps, mix)
    if solver is not None:
        shown = goal.open if goal.share else list(alike(goal.market).values())
        answer = solver(program(goal, caps, shown))
        mix = _answered(goal, caps, mix, answer, shown)
        if answer is not None and not goal.share and not caps.least_price:
            floor = max(floor, answer.bound)
    return replace(mix, bound=min(floor, mix.cost))


def _cheapest(goal: Goal, caps: Caps, solver: Solver | None) -> Mix:
    mix, prices = by_sort(goal, caps)
    relaxed = bound(goal, caps.machines, caps.cpus, prices)
    if relaxed is None or mix.slots < goal.slots:
        return mix
    value = relaxed.value
    if sum(mix.counts.values()) == 1:  # whatever does it is at least one machine
        value = max(value, min(goal.market.price[k] for k in goal.open))
    mix = replace(mix, bound=min(value, mix.cost))
    if solver is None or mix.gap <= ENOUGH:
        return mix
    return _solved(goal, caps, mix, relaxed, prices, solver)


def _least(goal: Goal, caps: Caps) -> float:
    """What the least that was asked for costs by itself."""
    market = goal.market
    per_machine = min(market.price)
    per_cpu = min(price / cpus for price, cpus in zip(market.price, market.cpus, strict=True))
    return max(caps.least_machines * per_machine, caps.least_cpus * per_cpu, caps.least_price)


def _solved(goal: Goal, caps: Caps, mix: Mix, relaxed: Bound, prices: Prices, solver: Solver) -> Mix:
    """The better of `mix` and what the solver finds among the offers that may be in anything better.

    An offer whose reduced cost is more than what `mix` lies above the bound is in no better mix: leaving it out loses
    nothing. Where more are left than the solver is shown, the bound is at most that of a mix that holds the next one.
    """
    numbers = widen(goal, relaxed, prices, mix.cost - relaxed.value)
    fixed = prices.per_machine * (caps.machines or 0) + prices.per_cpu * (caps.cpus or 0)
    sharper = packed(goal, numbers, relaxed, prices, fixed)
    if sharper is not None and sharper.value > relaxed.value:
        value, near = sharper.value, [(sharper.reduced(goal, prices, k), k) for k in numbers]
    else:
        value, near = relaxed.value, [(reduced(goal, relaxed, prices, k), k) for k in numbers]
    for most in PRUNED:
        mix = replace(mix, bound=min(max(mix.bound, value), mix.cost))
        if mix.gap <= ENOUGH:
            break
        slack = mix.cost - value
        near = heapq.nsmallest(PRUNED[-1] + 1, ((cost, k) for cost, k in near if cost <= slack))
        shown = [k for _, k in near[:most]]
        hidden = near[most][0] if len(near) > most else slack
        answer = solver(program(goal, caps, shown))
        best = _answered(goal, caps, mix, answer, shown)
        floor = value + hidden if answer is None else min(answer.bound, value + hidden)
        mix = replace(best, bound=min(max(mix.bound, floor), best.cost))
        if len(near) <= most:
            break
    return mix


def _answered(goal: Goal, caps: Caps, mix: Mix, answer: Solution | None, shown: Sequence[int]) -> Mix:
    """The solver's mix, if it is one, holds, and is better."""
    if answer is None or len(answer.counts) != len(shown):
        return mix
    found = mix_of(goal, {k: round(n) for k, n in zip(shown, answer.counts, strict=True)})
    better = found.cost < mix.cost or not keeps(goal, mix, caps)
    return found if better and keeps(goal, found, caps) else mix


def program(goal: Goal, caps: Caps, shown: Sequence[int]) -> Program:
    """The choice among these offers, for a solver."""
    market = goal.market
    cost, slots, cpus = ([column[k] for k in shown] for column in (market.price, market.slots, market.cpus))
    everything = range(len(shown))
    rows = [Row(dict(enumerate(slots)), least=goal.slots)]
    for column, least, most in (([1] * len(shown), caps.least_machines, caps.machines),
                                (cpus, caps.least_cpus, caps.cpus), (cost, caps.least_price, caps.price)):  # fmt: skip
        if least or most is not None:
            rows.append(Row(dict(enumerate(column)), least or None, most))
    if goal.share:
        pools: dict[int, dict[int, int]] = {}
        for place in everything:
            pools.setdefault(market.pool[shown[place]], {})[place] = slots[place]
        rows += [Row(weights, most=goal.room(shown[next(iter(weights))]))
                 for weights in pools.values() if len(weights) > 1]  # fmt: skip
    floor = max(goal.slots, caps.least_machines, caps.least_cpus)
    extra = floor if caps.floors else goal.slots
    most_each = [
        min(-(-extra // (1 if caps.floors else slots[k])), goal.room(shown[k]) // slots[k]) for k in everything
    ]
    return Program(cost, most_each, rows)
