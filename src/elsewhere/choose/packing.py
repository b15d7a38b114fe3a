"""A sharper bound than that of bound.py, where shares of pools are small: machines stay whole within each pool. Pure.

Only the slots that are asked for are relaxed, at a price of `rate` each (a Lagrange multiplier: whatever it is, the
result is a bound). What then remains falls apart into pools, and each is solved exactly: the cheapest way to hold v
slots by whole machines, for every v up to its share. The best rate is found by halving: the bound is concave in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from elsewhere.choose.bound import DEARER, Bound, Goal, Prices

MOST = 40
"""Pools that are packed; rates at which more would take part are not tried."""
ROOM = 600
"""Slots of a share up to which packing is worth its time: above, a machine is a small part of it."""
STEPS = 14
_INFINITE = float("inf")


@dataclass(slots=True)
class Packed:
    """The bound, the price of a slot behind it, and for each pool in use the best that it does with so much room."""

    value: float
    rate: float
    best: dict[int, list[float]] = field(default_factory=dict)

    def reduced(self, goal: Goal, prices: Prices, number: int) -> float:
        """By how much at least a mix that holds this offer costs more than the bound."""
        market, size = goal.market, goal.market.slots[number]
        cost = market.price[number] + prices.per_machine + prices.per_cpu * market.cpus[number] - size * self.rate
        if (best := self.best.get(market.pool[number])) is None:
            return max(0.0, cost)
        room = goal.room(number)
        return max(0.0, cost + best[room - size] - best[room])


def packed(goal: Goal, numbers: Sequence[int], relaxed: Bound, prices: Prices, fixed: float) -> Packed | None:
    """The bound over `numbers`: every offer that may be in a best mix and costs less than a tenth more than the margin.

    `fixed`: what the limits of all machines take off, at these prices. None: the shares are too large for it to pay.
    """
    if not goal.share or max(goal.share[goal.market.family[k]] for k in numbers) > ROOM:
        return None
    market = goal.market
    pools: dict[int, list[tuple[int, float]]] = {}
    rates: dict[int, float] = {}
    top = relaxed.margin * DEARER
    for k in numbers:
        cost = market.price[k] + prices.per_machine + prices.per_cpu * market.cpus[k]
        pools.setdefault(market.pool[k], []).append((market.slots[k], cost))
        rates[market.pool[k]] = min(cost / market.slots[k], rates.get(market.pool[k], _INFINITE))
    near = sorted((rate, pool) for pool, rate in rates.items() if rate < top)
    if len(near) > MOST:
        top = near[MOST][0]
    rooms = {market.pool[k]: goal.room(k) for k in numbers}
    tables = {pool: _pack(pools[pool], rooms[pool]) for rate, pool in near[:MOST]}
    hulls = [_hull(table) for table in tables.values()]
    low, high = relaxed.margin * 0.9, top
    for _ in range(STEPS):
        middle = (low + high) / 2
        held = sum(min(hull, key=lambda at: at[1] - middle * at[0])[0] for hull in hulls)
        low, high = (middle, high) if held < goal.slots else (low, middle)
    value = low * goal.slots + sum(min(cost - low * slots for slots, cost in hull) for hull in hulls) - fixed
    best = {pool: _within(table, low) for pool, table in tables.items()}
    return Packed(value, low, best)


def _pack(offers: Sequence[tuple[int, float]], room: int) -> list[float]:
    """For each number of slots up to `room`, the least cost of whole machines that hold just so many."""
    table = [0.0] + [_INFINITE] * room
    for slots, cost in offers:
        for v in range(slots, room + 1):
            if (tried := table[v - slots] + cost) < table[v]:
                table[v] = tried
    return table


def _hull(table: Sequence[float]) -> list[tuple[int, float]]:
    """The points that some rate makes the best: the lower convex hull."""
    hull: list[tuple[int, float]] = []
    for v, cost in enumerate(table):
        if cost == _INFINITE:
            continue
        while len(hull) > 1 and _above(hull[-2], hull[-1], (v, cost)):
            hull.pop()
        hull.append((v, cost))
    return hull


def _above(a: tuple[int, float], b: tuple[int, float], c: tuple[int, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def _within(table: Sequence[float], rate: float) -> list[float]:
    """For each room, the least of cost less what its slots are worth."""
    best, least = [], 0.0
    for v, cost in enumerate(table):
        least = min(least, cost - rate * v)
        best.append(least)
    return best
