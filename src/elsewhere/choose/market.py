"""The rows of a catalog that are worth choosing among, at their true price. Pure; columns, since there are many.

A true price is that of the machine, its boot disk and its public address, in millionths of a dollar an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from elsewhere.choose.filter import Shape, Sifted, matcher
from elsewhere.choose.wants import Wants
from elsewhere.model.catalog import MILLION, Catalog, Extras
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

KEPT = 10
"""Zones of one type that stay at first: see `bound.widen` for when more are looked at."""
MONTH = 730
NO_LIMIT = 1 << 62
SHIFT = 24
_ROW = (1 << SHIFT) - 1
_GIB = 1 << 30


@dataclass(slots=True)
class Market:
    """Offers by number, those of one type together and its cheapest first."""

    catalog: Catalog
    shapes: Sequence[Shape | None]
    spot: bool = False
    row: list[int] = field(default_factory=list)
    """Where it stands in the catalog."""
    price: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)
    pool: list[int] = field(default_factory=list)
    """Machines of one family in one zone are lost together."""
    family: list[int] = field(default_factory=list)
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    """(family, zone) -> pool."""
    rank: list[int] = field(default_factory=list)
    """0: the cheapest zone of its type."""
    rest: dict[int, list[int]] = field(default_factory=dict)
    """Kind -> (true price, row) as one number each, of the offers that were left out of here."""
    rows: int = 0
    """Offers that do, also those that were left out."""
    families: dict[int, int] = field(default_factory=dict)
    """Kind -> number of its family, of the types that are sold."""

    def __len__(self) -> int:
        return len(self.price)

    def add(self, kind: int, coded: int, rank: int) -> int:
        """Take in one offer; its number."""
        row, shape, family = coded & _ROW, self.shapes[kind], self.families[kind]
        self.row.append(row)
        self.price.append(coded >> SHIFT)
        self.slots.append(shape.slots if shape else 0)
        self.cpus.append(self.catalog.types[kind].cpus)
        self.family.append(family)
        self.pool.append(self.numbers.setdefault((family, self.catalog.zone[row]), len(self.numbers)))
        self.rank.append(rank)
        return len(self.price) - 1

    def offer(self, number: int) -> Offer:
        """One of them as others know it, at its true price."""
        row = self.row[number]
        machine, found = self.catalog.types[self.catalog.kind[row]], self.shapes[self.catalog.kind[row]]
        has = Resources(machine.cpus, machine.memory, machine.gpus, machine.gpu_type, found.disk if found else None)
        zone = self.catalog.zones[self.catalog.zone[row]].name
        price = Decimal(self.price[number]) / MILLION
        return Offer(machine.name, has, zone, price, bool(self.catalog.spot[row]))

    def bare(self, number: int) -> Decimal:
        """What the machine alone costs an hour."""
        return Decimal(self.catalog.price[self.row[number]]) / MILLION


def open_zones(catalog: Catalog, wants: Wants) -> list[bool]:
    """For each zone of the catalog, whether it was asked for."""
    region, zone = matcher(wants.regions), matcher(wants.zones)
    return [region(one.region) and zone(one.name) for one in catalog.zones]


def market(sifted: Sifted, catalog: Catalog, *, spot: bool, duration: timedelta | None, kept: int = KEPT) -> Market:
    """The `kept` cheapest zones of every type that does. `duration`: of a task, for its price."""
    found = Market(catalog, sifted.shapes, spot)
    families: dict[str, int] = {}
    for kind, rows in enumerate(_by_kind(sifted, catalog, spot, duration)):
        if not rows:
            continue
        rows.sort()
        found.rows += len(rows)
        found.families[kind] = families.setdefault(catalog.types[kind].family, len(families))
        for rank, coded in enumerate(rows[:kept]):
            found.add(kind, coded, rank)
        if len(rows) > kept:
            found.rest[kind] = rows[kept:]
    return found


def _by_kind(sifted: Sifted, catalog: Catalog, spot: bool, duration: timedelta | None) -> list[list[int]]:
    """For each type, (true price, row) of what is sold of it, as one number each: sorting pairs would take longer."""
    found: list[list[int]] = [[] for _ in catalog.types]
    good = [shape is not None for shape in sifted.shapes]
    disk = [-(-shape.disk // _GIB) if shape is not None else 0 for shape in sifted.shapes]
    most = [_most(sifted.wants, shape, duration) for shape in sifted.shapes]
    extras = [catalog.extras.get(zone.region, Extras()) for zone in catalog.zones]
    per_gb = [one.disk_gb_month / MONTH for one in extras]
    address = [one.address_hour for one in extras]
    there = open_zones(catalog, sifted.wants)
    wanted = int(spot)
    columns = zip(catalog.kind, catalog.zone, catalog.spot, catalog.price, strict=True)
    for row, (kind, zone, is_spot, price) in enumerate(columns):
        if is_spot == wanted and good[kind] and there[zone]:
            true = price + address[zone] + int(disk[kind] * per_gb[zone] + 0.5)
            if true <= most[kind]:
                found[kind].append(true << SHIFT | row)
    return found


def _most(wants: Wants, shape: Shape | None, duration: timedelta | None) -> int:
    """What a machine may cost an hour, by the price of a task."""
    if wants.price_per_task is None or duration is None or shape is None or not duration:
        return NO_LIMIT
    hours = Decimal(duration.total_seconds()) / 3600
    return int(wants.price_per_task * shape.slots / hours * MILLION)
