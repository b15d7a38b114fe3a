"""What the reactor thinks about: the bounds and the state of a job's capacity, what may happen, what may be commanded.

Frozen data and folds over it; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from elsewhere.backends.base import NativeId, Sighting
from elsewhere.model.place import Allocation
from elsewhere.model.states import AllocationMove

_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the pool of one job may do, and what is true of its place."""

    job: str
    most: int = 1
    """Machines at any time, counting those that were asked for and those that were not seen gone."""
    least: int = 0
    slots: int = 1
    """Tasks at a time on one machine."""
    offer: str = ""
    price: Decimal = Decimal(0)
    """Dollars per machine and hour."""
    budget: Decimal | None = None
    """Dollars in all."""
    unattended: timedelta = timedelta(hours=12)
    """How long work goes on without a controller: no machine is given more time ahead than this."""
    shortest: timedelta = timedelta(minutes=10)
    """A launch that the budget cannot give this much time is not worth its boot."""
    step: timedelta = timedelta(minutes=10)
    """Terms grow by at least so much."""
    lag: timedelta = timedelta(0)
    """How long after a change the place may still list the old state."""
    flight: timedelta = timedelta(minutes=5)
    """How long a request whose reply was lost may still take effect."""
    asking: timedelta = timedelta(minutes=20)
    """How long a launch is asked for again under its id. Shorter than the place remembers ids, less `flight`."""
    boot: timedelta = timedelta(minutes=20)
    pause: timedelta = timedelta(seconds=2)
    """After a first refusal; doubled by each that follows, up to `longest_pause`."""
    longest_pause: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class State:
    """What is held and what is known. `allocations`: those that have not ended. What stands below is memory only."""

    bounds: Bounds
    epoch: int = 0
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    spent: Decimal = Decimal(0)
    """Dollars, for all that has ended."""
    serial: int = 0
    todo: int = 0
    """Unfinished tasks."""
    over: bool = False
    draining: bool = False
    absent: Mapping[str, datetime] = field(default_factory=dict)
    """Allocation -> when the first answer was asked for that did not show it."""
    fresh: frozenset[str] = frozenset()
    """Launches that were never asked for yet, by anybody."""
    alive: frozenset[NativeId] = frozenset()
    """Machines of ours in the last answer."""
    looked: bool = False
    refusals: int = 0
    resume: datetime | None = None
    """No launch before this."""
    trouble: str = ""
    hopeless: bool = False
    """The place will not say yes, however often it is asked."""


# --- what happens --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """How much work is left; `over`: there will be no more; `draining`: nothing more shall be begun."""

    todo: int
    over: bool = False
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The place's answer to `owned`, and when it was asked."""

    asked: datetime
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    launch: str
    natives: tuple[NativeId, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """`chance`, 0 to 1, is drawn by the caller: it spreads the next try. `hopeless`: asking again will not help."""

    launch: str
    why: str
    chance: float = 0.5
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A launch was asked for and no answer came: it may have had its effect, or have it yet."""

    launch: str


@dataclass(frozen=True, slots=True)
class Heard:
    """These machines' agents have reported something."""

    natives: tuple[NativeId, ...]


Event = Need | Listed | Accepted | Refused | Unanswered | Heard


# --- what is to be done --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """The allocation as it stands after `move` (None: a new one, or one whose terms changed)."""

    allocation: Allocation
    move: AllocationMove | None = None


@dataclass(frozen=True, slots=True)
class Condemn:
    """Write down that this machine, which bears our labels and is not in the ledger, will be stopped."""

    native: NativeId
    launch: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the place for a launch that is written down."""

    launch: str
    count: int
    term: timedelta
    start_by: datetime
    offer: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    natives: tuple[NativeId, ...]


Command = Write | Condemn | Ask | Stop


def begin(bounds: Bounds, epoch: int, allocations: Collection[Allocation]) -> State:
    """The state of a controller that has just begun, from all allocations its ledger knows."""
    held = {a.id: a for a in allocations if not a.state.ended}
    spent = sum((cost(a) for a in allocations if a.state.ended), Decimal(0))
    return State(bounds, epoch, held, spent)


def cost(allocation: Allocation) -> Decimal:
    """Dollars: of what it used once that is known, else of all that was bought for it."""
    time = allocation.term if allocation.used is None else allocation.used
    return allocation.price * Decimal(time.total_seconds()) / _HOUR


def booked(state: State) -> Decimal:
    """Dollars that are spent, or that what is open may still spend."""
    return state.spent + sum((cost(a) for a in state.allocations.values()), Decimal(0))


def settled(state: State) -> bool:
    """Nothing of ours is left: nothing held, nothing that may still come, nothing in the last answer."""
    return state.looked and not state.allocations and not state.alive
