"""A place that sells thirty types of machines and has none: for commands that show prices, and for their tests.

Its prices are round numbers, the same at every call.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from elsewhere.backends.base import Traits
from elsewhere.errors import NotFound
from elsewhere.model.catalog import Catalog, Extras, Image, MachineType, Zone
from elsewhere.testing.fake import FakeBackend, FakeClock

_GIB = 1 << 30
_FAMILIES = (
    # name, GiB per CPU, millionths of a dollar per CPU and hour, architecture, baseline
    ("b1", 4, 20_000, "x86_64", 0.2),
    ("c1", 2, 40_000, "x86_64", 1.0),
    ("c2g", 2, 32_000, "arm64", 1.0),
    ("m1", 4, 48_000, "x86_64", 1.0),
    ("r1", 8, 60_000, "x86_64", 1.0),
    ("g1", 4, 200_000, "x86_64", 1.0),
)
_SIZES = (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16), ("8xlarge", 32))
_ZONES = (Zone("east-a", "east"), Zone("east-b", "east"), Zone("west-a", "west"), Zone("west-b", "west"))


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """`region`: the place's own."""

    region: str = "east"


def thirty() -> Catalog:
    """Thirty types in four zones of two regions, on demand and spot; `x9.metal` has no price."""
    types, rows = [], []
    for name, per_cpu, price, architecture, baseline in _FAMILIES:
        for size, cpus in _SIZES:
            gpus = max(1, cpus // 8) if name == "g1" else 0
            types.append(MachineType(f"{name}.{size}", cpus, cpus * per_cpu * _GIB, architecture, "", baseline, gpus,
                                     "t4" if gpus else "", 16 * _GIB if gpus else 0))  # fmt: skip
            for zone in range(len(_ZONES)):
                dear = 100 + 10 * (zone // 2)
                rows.append((len(types) - 1, zone, 0, price * cpus * dear // 100))
                rows.append((len(types) - 1, zone, 1, price * cpus * (dear - 60 + 2 * zone) // 100))
    kind, zones, spot, prices = zip(*rows, strict=True)
    extras = {"east": Extras(73_000, 5_000), "west": Extras(73_000, 5_000)}
    return Catalog(datetime(2026, 1, 1, tzinfo=UTC), tuple(types), _ZONES, array("I", kind), array("I", zones),
                   array("b", spot), array("q", prices), extras, ("x9.metal",))  # fmt: skip


class FakeMarket(FakeBackend):
    """A backend with an inventory; as an entry point it needs nothing but its settings."""

    Settings: ClassVar[type[MarketSettings]] = MarketSettings  # type: ignore[assignment]
    traits: ClassVar[Traits] = Traits(prices=True, interruptible=True, outlives_client=True, channels=("fake",))

    def __init__(self, settings: MarketSettings | None = None) -> None:
        super().__init__(FakeClock())
        self.region = (settings or MarketSettings()).region

    def regions(self) -> Sequence[str]:
        return ["east", "west"]

    def catalog(self, regions: Sequence[str], fresh: bool = False) -> Catalog:
        self.log.append(("catalog", (tuple(regions), fresh)))
        wanted = list(regions) or [self.region]
        for region in wanted:
            if region not in self.regions():
                raise NotFound(f"there is no region {region}", hint="There are: east, west.")
        return only(thirty(), wanted)

    def images(self) -> Sequence[Image]:
        return [
            Image("plain-linux", "img-1", self.region, "x86_64"),
            Image("plain-linux", "img-2", self.region, "arm64"),
        ]


def only(catalog: Catalog, regions: Sequence[str]) -> Catalog:
    """The rows of these regions."""
    columns = zip(catalog.kind, catalog.zone, catalog.spot, catalog.price, strict=True)
    rows = [row for row in columns if catalog.zones[row[1]].region in regions]
    kind, zone, spot, price = zip(*rows, strict=True)
    return Catalog(catalog.taken, catalog.types, catalog.zones, array("I", kind), array("I", zone),
                   array("b", spot), array("q", price), catalog.extras, catalog.unpriced)  # fmt: skip
