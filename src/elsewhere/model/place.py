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
    startup_script: str = ""
    """A file: what machines boot for task lists that name no entry."""
    wants: Mapping[str, object] = field(default_factory=dict)
    """What is asked of its machines unless a job says otherwise: the keys of settings.Machines."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One machine shape that can be had there. `price` is dollars per hour; 0: it costs nothing."""

    name: str
    resources: Resources
    zone: str = ""
    price: Decimal = Decimal(0)
    spot: bool = False
    list_price: Decimal | None = None
    """What the same costs on demand, to tell what was saved; None: not known."""

    @property
    def key(self) -> str:
        """`c7g.large/us-east-1a/spot`: what tells it from the place's other offers."""
        return f"{self.name}/{self.zone}/{'spot' if self.spot else 'on-demand'}"


HERE = Offer("here", Resources())
"""Of a place whose machines are all alike and cost nothing."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An offer that was chosen: so many tasks at a time on one such machine, and at most so many machines of it."""

    offer: Offer
    slots: int = 1
    most: int | None = None
    """Its share: machines of it at any time; None: as many as the pool may have."""
    architecture: str = ""
    """Of its processors: x86_64 or arm64; empty: as here."""
    serves: int = 0
    """So many tasks one such machine does in all, and then it ends; 0: as many as it has time for."""
    abreast: int = 0
    """So many of those that were asked for together run at a time, which the place itself sees to; 0: all of them."""

    @property
    def does(self) -> int:
        """How many of the tasks that remain one of them is good for."""
        return self.serves or self.slots


def life(walltime: timedelta) -> timedelta:
    """What work may use of so long a life that cannot grow: the rest is for handing back what has not ended."""
    return walltime - min(timedelta(minutes=1), max(walltime / 20, timedelta(seconds=15)))


def ending(term: timedelta, grace: timedelta) -> timedelta:
    """So long before the end of a term that cannot grow tasks are told to end: they have their grace, and are heard."""
    return min(grace + timedelta(seconds=2), term / 4)


KEPT = "kept to be looked at"
"""The reason, or its beginning, of a machine on which something failed: it takes nothing more, and ends by itself."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """One piece of capacity asked for or held: a machine, a Slurm job, a managed run, an agent's process."""

    id: str
    launch: str
    state: AllocationState
    native: str = ""
    """The place's own name for it; empty before it was accepted."""
    offer: Offer = HERE
    """The whole of it, as it was when it was asked for: what is asked for again is the same, and costs the same."""
    slots: int = 1
    term: timedelta = timedelta(0)
    """Time bought for it, a length since its own start; booked in full until `used` is known."""
    until: datetime | None = None
    """Until when its launch may be asked for again under the same id."""
    started: datetime | None = None
    spoke: datetime | None = None
    """When the first word of its agent was heard of; None: it never spoke."""
    ended: datetime | None = None
    used: timedelta | None = None
    """What it has cost, as time; None: not known yet."""
    reason: str = ""
    crashed: bool = False
    """It died of itself: what ran on it may have killed it."""
    reclaimed: bool = False
    """The place took it back."""
    starved: bool = False
    """What ran on it used more memory than it had, and it ended for that."""

    @property
    def price(self) -> Decimal:
        """Dollars per hour."""
        return self.offer.price

    @property
    def kept(self) -> bool:
        """Is it there only to be looked at?"""
        return self.reason.startswith(KEPT)
