"""What a place sells: types of machines, where each can be had, and for how much. Columns, since there are many rows.

Plain data: fetched by a backend, chosen from by `choose`. Money is counted in whole millionths of a dollar here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class MachineType:
    """One type, as its cloud describes it. Memory and disks in bytes."""

    name: str
    cpus: int
    """vCPUs."""
    memory: int
    architecture: str = "x86_64"
    """x86_64 or arm64."""
    cpu_family: str = ""
    """The processor, as the cloud names it."""
    baseline: float = 1.0
    """The share of its vCPUs that may be used for ever; below 1 for burstable types."""
    gpus: int = 0
    gpu_type: str = ""
    gpu_memory: int = 0
    """Of one GPU."""
    local_disk: int = 0
    """Of all its local disks."""

    @property
    def family(self) -> str:
        """What stands before the size: `c7g` of `c7g.large`, `n2-standard` of `n2-standard-4`."""
        head, dot, _ = self.name.partition(".")
        return head if dot else self.name.rpartition("-")[0] or self.name


@dataclass(frozen=True, slots=True)
class Zone:
    name: str
    region: str


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine may start from."""

    name: str
    id: str = ""
    region: str = ""
    architecture: str = ""
    made: datetime | None = None


@dataclass(frozen=True, slots=True)
class Extras:
    """What a machine costs beside itself, in millionths of a dollar."""

    disk_gb_month: int = 0
    """A gigabyte (2^30 bytes) of boot disk for a month of 730 hours."""
    address_hour: int = 0
    """A public address for an hour."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All offers of some regions. Row i: `types[kind[i]]` in `zones[zone[i]]`, spot or not, at `price[i]` an hour."""

    taken: datetime
    types: tuple[MachineType, ...]
    zones: tuple[Zone, ...]
    kind: array[int] = field(default_factory=lambda: array("I"))
    zone: array[int] = field(default_factory=lambda: array("I"))
    spot: array[int] = field(default_factory=lambda: array("b"))
    price: array[int] = field(default_factory=lambda: array("q"))
    """Millionths of a dollar per hour."""
    extras: Mapping[str, Extras] = field(default_factory=dict)
    """By region."""
    unpriced: tuple[str, ...] = ()
    """Types that are offered there and for which no price was found: named, not dropped in silence."""

    def __len__(self) -> int:
        return len(self.price)

    def rows(self) -> Iterator[tuple[MachineType, Zone, bool, Decimal]]:
        """One by one, for people and tests; choosing reads the columns."""
        for kind, zone, spot, price in zip(self.kind, self.zone, self.spot, self.price, strict=True):
            yield self.types[kind], self.zones[zone], bool(spot), Decimal(price) / MILLION
