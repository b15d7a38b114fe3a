"""What no mix can be cheaper than, and the price of a slot behind it: the exact optimum of the relaxed choice. Pure.

The choice: cover `slots` by whole machines at the least cost, no pool above its share, within so many machines and
CPUs. Relaxed: parts of machines are allowed, and the two limits are priced into each machine (Lagrange multipliers;
whatever they are, the result is a bound). That is solved by filling pools in the order of the best price per slot that
each has, up to its share: moving a slot to a pool that comes earlier never costs more. Every offer takes part.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from elsewhere.choose.market import KEPT, SHIFT, Market

QUARTER = 4
"""Pools among which spot risk is spread; also the part of all slots that one pool may hold."""
DEARER = 1.1
"""Rates up to so many times the margin are looked at for a sharper bound (packing.py)."""
DEAR = 2
"""A pool counts among those that spot risk is spread over if a slot costs at most so many times the cheapest."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What the limits cost in the relaxed choice: added to each machine, and to each of its CPUs."""

    per_machine: float = 0
    per_cpu: float = 0


FREE = Prices()


@dataclass(frozen=True, slots=True)
class Bound:
    """`value`: millionths of a dollar an hour. `margin`: the price of one more slot. `front`: that of pools in use."""

    value: float
    margin: float
    front: dict[int, float]
    machines: float = 0
    """Machines, and below CPUs, in the relaxed mix; they may overrun limits that are priced too low."""
    cpus: float = 0


@dataclass(slots=True)
class Goal:
    """So many slots, from these offers. `share`: the slots that a pool may hold, by family; empty: any number."""

    market: Market
    slots: int
    spread: bool
    share: list[int]
    open: list[int]
    """Numbers of the offers that a relaxed mix may need."""

    def room(self, number: int) -> int:
        """Slots that the pool of an offer may hold."""
        return self.share[self.market.family[number]] if self.share else 1 << 62

    def at(self, slots: int) -> Goal:
        """The same for fewer slots."""
        return _goal(self.market, slots, self.spread)


def goal(market: Market, slots: int, spread: bool) -> Goal:
    """`spread`: no pool may hold more than a quarter, to the next whole machine of its family's smallest.

    Where four pools qualify this can always be met: each holds a quarter. A mix of fewer than four slots, or one to be
    chosen from fewer than four pools, is not spread.
    """
    return _goal(market, slots, spread and _enough_pools(market))


def _goal(market: Market, slots: int, spread: bool) -> Goal:
    if not spread or slots < QUARTER:
        return Goal(market, slots, spread, [], undominated(market))
    smallest: dict[int, int] = {}
    for family, size in zip(market.family, market.slots, strict=True):
        if size < smallest.get(family, size + 1):
            smallest[family] = size
    quarter = -(-slots // QUARTER)
    share = [-(-quarter // least) * least for _, least in sorted(smallest.items())]
    columns = zip(market.slots, market.family, market.rank, strict=True)
    # Of more zones than there are pools to fill, one has room: the relaxed mix needs the cheapest only.
    open_ = [k for k, (size, family, rank) in enumerate(columns) if rank < QUARTER and size <= share[family]]
    return Goal(market, slots, spread, share, open_)


def undominated(market: Market) -> list[int]:
    """Where pools may hold any number: the offers than which none has as many slots, as few CPUs and as low a price."""
    best = alike(market)
    found: list[int] = []
    for (slots, cpus), k in sorted(best.items(), key=lambda item: (market.price[item[1]], -item[0][0], item[0][1])):
        if not any(market.slots[other] >= slots and market.cpus[other] <= cpus for other in found):
            found.append(k)
    return found


def alike(market: Market) -> dict[tuple[int, int], int]:
    """(slots, CPUs) -> the cheapest of all offers that have just those: any other could be it, at a higher price."""
    best: dict[tuple[int, int], int] = {}
    for k, (slots, cpus, rank) in enumerate(zip(market.slots, market.cpus, market.rank, strict=True)):
        if not rank and ((slots, cpus) not in best or market.price[k] < market.price[best[slots, cpus]]):
            best[slots, cpus] = k
    return best


def _enough_pools(market: Market) -> bool:
    best: dict[int, float] = {}
    for pool, price, slots in zip(market.pool, market.price, market.slots, strict=True):
        rate = price / slots
        if rate < best.get(pool, rate + 1):
            best[pool] = rate
    least = min(best.values(), default=0)
    return sum(rate <= DEAR * least for rate in best.values()) >= QUARTER


def rates(goal: Goal, prices: Prices = FREE) -> list[tuple[float, int]]:
    """(price per slot with the limits priced in, number) of every offer that is open; in no order."""
    price, slots, cpus = goal.market.price, goal.market.slots, goal.market.cpus
    if prices == FREE:
        return [(price[k] / slots[k], k) for k in goal.open]
    each, per_cpu = prices.per_machine, prices.per_cpu
    return [((price[k] + each + per_cpu * cpus[k]) / slots[k], k) for k in goal.open]


def bound(goal: Goal, machines: int | None, cpus: int | None, prices: Prices = FREE) -> Bound | None:
    """No mix of this goal within the limits costs less. None: not even parts of machines would do."""
    queue = rates(goal, prices)
    heapq.heapify(queue)
    left, value, margin, count, used = goal.slots, 0.0, 0.0, 0.0, 0.0
    front: dict[int, float] = {}
    pool = goal.market.pool
    while left > 0:
        if not queue:
            return None
        margin, number = heapq.heappop(queue)
        if pool[number] in front:
            continue
        taken = min(left, goal.room(number))
        front[pool[number]] = margin
        part = taken / goal.market.slots[number]
        value, count, used = value + taken * margin, count + part, used + part * goal.market.cpus[number]
        left -= taken
    value -= prices.per_machine * (machines or 0) + prices.per_cpu * (cpus or 0)
    return Bound(value, margin, front, count, used)


def reduced(goal: Goal, found: Bound, prices: Prices, number: int) -> float:
    """By how much at least a mix that holds this offer costs more than the bound (its reduced cost)."""
    market = goal.market
    rate = min(found.margin, found.front.get(market.pool[number], found.margin))
    price = market.price[number] + prices.per_machine + prices.per_cpu * market.cpus[number]
    return price - market.slots[number] * rate


def widen(goal: Goal, found: Bound, prices: Prices, slack: float) -> list[int]:
    """The offers that a mix less than `slack` above the bound may hold; those of further zones are taken in.

    Uncapped, the undominated do. With shares, a machine of at most half a share has room in one of the zones that were
    kept (were ten pools more than half full, the mix would hold machines that could be sent home); for larger machines,
    every zone counts.
    """
    market = goal.market
    if not goal.share:
        return goal.open
    for kind, rows in market.rest.items():
        family, shape, cpus = market.families[kind], market.shapes[kind], market.catalog.types[kind].cpus
        if shape is None or not goal.share[family] // 2 < shape.slots <= goal.share[family]:
            continue
        top = slack + shape.slots * found.margin * DEARER - prices.per_machine - prices.per_cpu * cpus
        near = [coded for coded in rows if coded >> SHIFT <= top]
        for rank, coded in enumerate(near, KEPT):
            market.add(kind, coded, rank)
        market.rest[kind] = rows[len(near) :]
    return [k for k, (size, family) in enumerate(zip(market.slots, market.family, strict=True))
            if size <= goal.share[family]]  # fmt: skip
