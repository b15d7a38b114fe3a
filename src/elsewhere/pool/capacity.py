"""What the reactor thinks about: the bounds and the state of a job's capacity, what may happen, what may be commanded.

Frozen data and folds over it; nothing here decides.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from elsewhere.backends.base import NativeId, Sighting
from elsewhere.model.place import HERE, Allocation, Offer
from elsewhere.model.place import Shape as Shape
from elsewhere.model.states import AllocationMove

_HOUR = Decimal(3600)


SURPLUS = "no longer needed"
"""The reason of one that is told to take nothing more, hand back what has not begun, and end."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the pool of one job may do, and what is true of its place."""

    job: str
    most: int = 1
    """Machines at any time, counting those that were asked for and those that were not seen gone."""
    least: int = 0
    shapes: tuple[Shape, ...] = (Shape(HERE),)
    """What may be asked for, in order of preference."""
    cpus: float | None = None
    """CPUs of all that is held."""
    price_per_hour: Decimal | None = None
    """Dollars per hour of all that is held."""
    budget: Decimal | None = None
    """Dollars in all."""
    unattended: timedelta = timedelta(hours=12)
    """How long work goes on without a controller: no machine is given more time ahead than this."""
    longest: timedelta | None = None
    """Of no machine is the term ever longer; None: it may grow."""
    shortest: timedelta = timedelta(minutes=10)
    """A launch that the budget cannot give this much time is not worth its boot."""
    step: timedelta = timedelta(minutes=10)
    """Terms grow by at least so much, or half of it where another one does."""
    lag: timedelta = timedelta(0)
    """How long after a change the place may still list the old state."""
    seldom: timedelta = timedelta(0)
    """How seldom the place wants to be asked while nothing changes."""
    flight: timedelta = timedelta(minutes=5)
    """How long a request whose reply was lost may still take effect."""
    asking: timedelta = timedelta(minutes=20)
    """How long a launch is asked for again under its id. Shorter than the place remembers ids, less `flight`."""
    boot: timedelta = timedelta(minutes=20)
    silence: timedelta = timedelta(minutes=25)
    """A machine whose agent has said nothing so long after its start is stopped: `boot`, and some time for a word."""
    duds: int = 4
    """After so many machines in a row that never spoke, or said that they cannot boot, no other is asked for."""
    worth: timedelta = timedelta(0)
    """A slot is worth a machine if this much work remains for it, where it is known how long tasks take."""
    linger: timedelta = timedelta(seconds=60)
    """How long a machine that is not needed stands idle before it is told to end, or ends by itself."""
    pause: timedelta = timedelta(seconds=2)
    """After a first refusal; doubled by each that follows, up to `longest_pause`."""
    longest_pause: timedelta = timedelta(minutes=5)
    keep: timedelta = timedelta(0)
    """How long a machine on which something failed stays when it has no more work; 0: it does not."""


class Scope(enum.Enum):
    """What a refusal is of."""

    SHAPE = "shape"
    MARKET = "market"
    """All that is spot, or all that is not: a quota."""
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Rest:
    """A shape that was refused is not asked for before `until`; None: never again."""

    times: int
    until: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class State:
    """What is held and what is known. `allocations`: those that have not ended. What stands below is memory only."""

    bounds: Bounds
    epoch: int = 0
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    spent: Decimal = Decimal(0)
    """Dollars, for all that has ended."""
    ended: frozenset[NativeId] = frozenset()
    """Machines of ours that the place may still show."""
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
    rests: Mapping[str, Rest] = field(default_factory=dict)
    """By the key of the offer."""
    refusals: int = 0
    """Of the place itself, in a row."""
    resume: datetime | None = None
    """No launch before this."""
    trouble: str = ""
    stopped: str = ""
    """Why nothing is held and nothing will be asked for any more, however long one waits."""
    since: datetime | None = None
    """When this controller looked first."""
    heard: frozenset[NativeId] = frozenset()
    """Machines that have spoken."""
    broken: Mapping[NativeId, str] = field(default_factory=dict)
    """Machines that said that they cannot boot, and why."""
    duds: int = 0
    """In a row, as this controller saw them: whoever resumes wants it tried again."""
    words: str = ""
    """The last that a machine said which did not boot."""
    vain: str = ""
    """Why no other machine would boot either."""
    idle: Mapping[NativeId, datetime] = field(default_factory=dict)
    """Since when a machine has had nothing in hand."""
    told: Mapping[str, datetime] = field(default_factory=dict)
    """Since when a surplus allocation has been told to end."""
    pace: timedelta | None = None
    """How long a task takes; None: not known."""
    warned: bool = False
    failed: frozenset[NativeId] = frozenset()
    """Machines on which a task failed for good."""
    left: frozenset[NativeId] = frozenset()
    """Those of them whose agents have left, and that stay."""
    inherited: frozenset[str] = frozenset()
    """Allocations that were kept when this controller began: whoever goes on with the job has done looking."""


# --- what happens --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """How much work is left; `over`: there will be no more; `draining`: nothing more shall be begun.

    `pace`: how long a task takes, if that is known. `idle`: machines that have nothing in hand.
    """

    todo: int
    over: bool = False
    draining: bool = False
    pace: timedelta | None = None
    idle: frozenset[NativeId] = frozenset()


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
    scope: Scope = Scope.SHAPE


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A launch was asked for and no answer came: it may have had its effect, or have it yet."""

    launch: str


@dataclass(frozen=True, slots=True)
class Heard:
    """These machines' agents have reported something."""

    natives: tuple[NativeId, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Tasks failed for good on these machines. The agents of those that `left` have done so: they are kept."""

    natives: frozenset[NativeId]
    left: frozenset[NativeId] = frozenset()


@dataclass(frozen=True, slots=True)
class CannotBoot:
    """A machine said so itself. `final`: it would be the same on any other."""

    native: NativeId
    why: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """The end of what a machine printed that never spoke."""

    words: str


Event = Need | Listed | Accepted | Refused | Unanswered | Heard | Failed | CannotBoot | Said


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
    offer: Offer = HERE
    slots: int = 1
    serves: int = 0
    abreast: int = 0
    """As of a Shape."""


@dataclass(frozen=True, slots=True)
class Stop:
    natives: tuple[NativeId, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for what this machine printed while booting: `Said`."""

    native: NativeId


@dataclass(frozen=True, slots=True)
class Warn:
    """Write down that so much of the budget is spent."""

    spent: Decimal


Command = Write | Condemn | Ask | Stop | Read | Warn


def begin(bounds: Bounds, epoch: int, allocations: Collection[Allocation]) -> State:
    """The state of a controller that has just begun, from all allocations its ledger knows."""
    held = {a.id: a for a in allocations if not a.state.ended}
    over = [a for a in allocations if a.state.ended]
    spent = sum((cost(a) for a in over), Decimal(0))
    ended = frozenset(a.native for a in over if a.native)
    return State(bounds, epoch, held, spent, ended, inherited=frozenset(k for k, a in held.items() if a.kept))


def only_kept(state: State) -> bool:
    """Is nothing of ours left but machines that are kept, and will end by themselves?"""
    kept = {a.native for a in state.allocations.values() if a.kept}
    return state.looked and len(kept) == len(state.allocations) and state.alive <= kept


def cost(allocation: Allocation) -> Decimal:
    """Dollars: of what it used once that is known, else of all that was bought for it."""
    time = allocation.term if allocation.used is None else allocation.used
    return allocation.price * Decimal(time.total_seconds()) / _HOUR


def booked(state: State) -> Decimal:
    """Dollars that are spent, or that what is open may still spend."""
    return state.spent + sum((cost(a) for a in state.allocations.values()), Decimal(0))


def spent(state: State, now: datetime) -> Decimal:
    """Dollars for all that has ended, and so far for what runs."""
    running = [a for a in state.allocations.values() if a.started is not None]
    return state.spent + sum((so_far(a, now) for a in running), Decimal(0))


def so_far(allocation: Allocation, now: datetime) -> Decimal:
    """Dollars: what an allocation has cost up to now, never more than was bought."""
    if allocation.used is not None or allocation.state.ended:
        return cost(allocation)
    if allocation.started is None:
        return Decimal(0)
    lived = max(timedelta(0), min(now - allocation.started, allocation.term))
    return allocation.price * Decimal(lived.total_seconds()) / _HOUR


def settled(state: State) -> bool:
    """Nothing of ours is left: nothing held, nothing that may still come, nothing in the last answer."""
    return state.looked and not state.allocations and not state.alive
