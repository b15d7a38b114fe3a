"""Where work may run: places as users name them, what they offer, and what we hold of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationState


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings of a place. None: none."""

    machines: int | None = None
    price_per_hour: Decimal | None = None
    budget: Decimal | None = None
    """Dollars in all."""
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A target that the user named: a backend, its settings, its limits."""

    name: str
    backend: str
    settings: Mapping[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Offer:
    """One machine shape that can be had there. `price` is dollars per hour; 0: it costs nothing."""

    name: str
    resources: Resources
    zone: str = ""
    price: Decimal = Decimal(0)
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """An offer that was chosen: so many tasks at a time on one such machine, and at most so many machines of it."""

    offer: Offer
    slots: int
    most: int | None = None
    architecture: str = ""
    """Of its processors: x86_64 or arm64; empty: as here."""
    list_price: Decimal = Decimal(0)
    """What the same machine costs on demand, dollars per hour."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """One piece of capacity asked for or held: a machine, a Slurm job, a managed run, an agent's process."""

    id: str
    launch: str
    state: AllocationState
    native: str = ""
    """The place's own name for it; empty before it was accepted."""
    offer: str = ""
    term: timedelta = timedelta(0)
    """Time bought for it, a length since its own start; booked in full until `used` is known."""
    price: Decimal = Decimal(0)
    """Dollars per hour."""
    until: datetime | None = None
    """Until when its launch may be asked for again under the same id."""
    started: datetime | None = None
    ended: datetime | None = None
    used: timedelta | None = None
    """What it has cost, as time; None: not known yet."""
    reason: str = ""
    crashed: bool = False
    """It died of itself: what ran on it may have killed it."""
