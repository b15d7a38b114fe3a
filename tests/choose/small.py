"""Small catalogs, made by hand or drawn, and the best mix found by trying all of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

from elsewhere.choose.bound import Goal
from elsewhere.choose.mix import Caps, Mix, keeps, mix_of
from elsewhere.model.catalog import Catalog, Extras, MachineType, Zone

GIB = 1 << 30
Row = tuple[int, int, int, int]
"""Type, zone, spot, millionths of a dollar an hour."""


def catalog(types: Sequence[MachineType], rows: Sequence[Row], zones: int = 4, **more: object) -> Catalog:
    places = tuple(Zone(f"east-{k}", "east") for k in range(zones))
    kind, zone, spot, price = zip(*rows, strict=True) if rows else ((), (), (), ())
    extras = {"east": Extras(**more)}  # type: ignore[arg-type]
    return Catalog(datetime(2026, 1, 1, tzinfo=UTC), tuple(types), places, array("I", kind), array("I", zone),
                   array("b", spot), array("q", price), extras)  # fmt: skip


def machine(name: str, cpus: int, memory: int = 0, **more: object) -> MachineType:
    return MachineType(name, cpus, (memory or 4 * cpus) * GIB, **more)  # type: ignore[arg-type]


def best(goal: Goal, caps: Caps) -> Mix | None:
    """The cheapest of all mixes that hold; None: there is none. For few offers and few slots."""
    market = goal.market
    most = max(goal.slots, caps.least_cpus)
    counts = [range(-(-most // slots) + caps.least_machines + 1) for slots in market.slots]
    found = None
    for tried in product(*counts):
        mix = mix_of(goal, dict(enumerate(tried)))
        if keeps(goal, mix, caps) and (found is None or mix.cost < found.cost):
            found = mix
    return found
