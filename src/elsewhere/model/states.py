"""How tasks and allocations live: two tables, one function that moves, one that chooses the move.

A move is made by name and only from a state that allows it. The diagrams in docs/ are drawn from these tables.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from elsewhere.errors import InvalidMove


class TaskState(enum.IntEnum):
    READY = 0
    HANDED_OUT = 1
    WAITING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def ended(self) -> bool:
        return self >= TaskState.SUCCEEDED


class TaskMove(enum.Enum):
    TAKE = "take"
    SUCCEED = "succeed"
    RETRY = "retry"
    INTERRUPT = "interrupt"
    FAIL = "fail"
    CANCEL = "cancel"
    FALL_DUE = "fall due"
    REQUEUE = "requeue"


class AllocationState(enum.IntEnum):
    PLANNED = 0
    PENDING = 1
    RUNNING = 2
    UNREACHABLE = 3
    STOPPING = 4
    STOPPED = 5
    FAILED = 6
    LOST = 7

    @property
    def ended(self) -> bool:
        return self >= AllocationState.STOPPED


class AllocationMove(enum.Enum):
    ACCEPT = "accept"
    REFUSE = "refuse"
    START = "start"
    LOSE_CONTACT = "lose contact"
    REGAIN = "regain"
    REQUEUE = "requeue"
    STOP = "stop"
    END = "end"
    VANISH = "vanish"


_T, _M, _A, _N = TaskState, TaskMove, AllocationState, AllocationMove

TASK_MOVES: Mapping[tuple[TaskState, TaskMove], TaskState] = {
    (_T.READY, _M.TAKE): _T.HANDED_OUT,
    (_T.HANDED_OUT, _M.SUCCEED): _T.SUCCEEDED,
    (_T.HANDED_OUT, _M.RETRY): _T.WAITING,
    (_T.HANDED_OUT, _M.INTERRUPT): _T.READY,
    (_T.HANDED_OUT, _M.FAIL): _T.FAILED,
    (_T.WAITING, _M.FALL_DUE): _T.READY,
    (_T.READY, _M.CANCEL): _T.CANCELLED,
    (_T.HANDED_OUT, _M.CANCEL): _T.CANCELLED,
    (_T.WAITING, _M.CANCEL): _T.CANCELLED,
    (_T.FAILED, _M.REQUEUE): _T.READY,
}

ALLOCATION_MOVES: Mapping[tuple[AllocationState, AllocationMove], AllocationState] = {
    (_A.PLANNED, _N.ACCEPT): _A.PENDING,
    (_A.PLANNED, _N.REFUSE): _A.FAILED,
    (_A.PENDING, _N.START): _A.RUNNING,
    (_A.PENDING, _N.STOP): _A.STOPPING,
    (_A.PENDING, _N.END): _A.STOPPED,
    (_A.PENDING, _N.VANISH): _A.LOST,
    (_A.RUNNING, _N.LOSE_CONTACT): _A.UNREACHABLE,
    (_A.RUNNING, _N.REQUEUE): _A.PENDING,
    (_A.RUNNING, _N.STOP): _A.STOPPING,
    (_A.RUNNING, _N.END): _A.STOPPED,
    (_A.RUNNING, _N.VANISH): _A.LOST,
    (_A.UNREACHABLE, _N.REGAIN): _A.RUNNING,
    (_A.UNREACHABLE, _N.STOP): _A.STOPPING,
    (_A.UNREACHABLE, _N.END): _A.STOPPED,
    (_A.UNREACHABLE, _N.VANISH): _A.LOST,
    (_A.STOPPING, _N.END): _A.STOPPED,
    (_A.STOPPING, _N.VANISH): _A.LOST,
}

State = TypeVar("State", TaskState, AllocationState)
Move = TypeVar("Move", TaskMove, AllocationMove)


def advance(table: Mapping[tuple[State, Move], State], state: State, move: Move, story: str = "") -> State:
    """The state after `move`; InvalidMove, with the story of the thing, if `state` does not allow it."""
    try:
        return table[state, move]
    except KeyError:
        allowed = ", ".join(m.value for s, m in table if s == state) or "none"
        raise InvalidMove(
            f"cannot {move.value} from {state.name.lower()} (allowed: {allowed})" + (f": {story}" if story else "")
        ) from None


class Outcome(enum.IntEnum):
    """How an attempt ended. The numbers stand in files and on wires: they are never given a new meaning."""

    SUCCEEDED = 0
    ERRORED = 1
    """It raised, or its process ended with a status or a signal of its own making."""
    TIMED_OUT = 2
    OUT_OF_MEMORY = 3
    INTERRUPTED = 4
    """Not its fault: preempted, drained, its machine or its controller gone."""
    ASKED_AGAIN = 5
    CANCELLED = 6
    REJECTED = 7
    """It can never succeed as it is: `Fail(...)`, or an argument that cannot be read."""
    COULD_NOT_BOOT = 8
    COULD_NOT_PULL = 9
    LOST = 10
    """Its process was killed from outside while the machine lived on."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How often a task may be tried again, by cause. None: without end."""

    errors: int = 0
    timeouts: int | None = None
    """None: `errors` counts for timeouts too."""
    memory: int | None = None
    """None: `errors` counts for want of memory too."""
    losses: int = 3
    asks: int | None = 10
    crashes: int = 3
    """So many machines may die under a task that had them to itself."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What has been spent of the budget."""

    errors: int = 0
    timeouts: int = 0
    memory: int = 0
    losses: int = 0
    asks: int = 0
    deaths: int = 0
    suspect: bool = False
    """A machine died while it ran there: it is run alone from now on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The move that an outcome leads to, the tally after it, and how many times this cause had struck before."""

    move: TaskMove
    tally: Tally
    strikes: int = 0


_CAUSES: Mapping[Outcome, str] = {
    Outcome.ERRORED: "errors",
    Outcome.TIMED_OUT: "timeouts",
    Outcome.OUT_OF_MEMORY: "memory",
    Outcome.LOST: "losses",
    Outcome.ASKED_AGAIN: "asks",
    Outcome.COULD_NOT_BOOT: "losses",
    Outcome.COULD_NOT_PULL: "losses",
}


def next_move(outcome: Outcome, tally: Tally, budget: Budget) -> Verdict:
    """What becomes of a handed-out task whose attempt ended so. Pure.

    An interruption spends nothing. Everything else that is not a success spends the budget of its cause.
    """
    if outcome is Outcome.SUCCEEDED:
        return Verdict(TaskMove.SUCCEED, tally)
    if outcome is Outcome.CANCELLED:
        return Verdict(TaskMove.CANCEL, tally)
    if outcome is Outcome.INTERRUPTED:
        return Verdict(TaskMove.INTERRUPT, tally)
    cause = _CAUSES.get(outcome)
    if cause is None:
        return Verdict(TaskMove.FAIL, tally)
    limit = _limit(budget, cause)
    spent = getattr(tally, cause)
    if cause in ("timeouts", "memory") and getattr(budget, cause) is None:
        spent = tally.errors + tally.timeouts * (budget.timeouts is None) + tally.memory * (budget.memory is None)
    elif cause == "errors":
        spent += tally.timeouts * (budget.timeouts is None) + tally.memory * (budget.memory is None)
    after = replace(tally, **{cause: getattr(tally, cause) + 1})
    if limit is not None and spent >= limit:
        return Verdict(TaskMove.FAIL, after, spent)
    return Verdict(TaskMove.RETRY, after, spent)


def _limit(budget: Budget, cause: str) -> int | None:
    if cause == "asks":
        return budget.asks
    own: int | None = getattr(budget, cause)
    return budget.errors if own is None else own


def after_death(tally: Tally, alone: bool, budget: Budget) -> Verdict:
    """What becomes of a task whose machine died under it: it counts only if the task had the machine to itself."""
    after = replace(tally, suspect=True, deaths=tally.deaths + alone)
    return Verdict(TaskMove.FAIL if after.deaths >= budget.crashes else TaskMove.INTERRUPT, after)


def story(moves: Mapping[tuple[State, Move], State]) -> str:
    """The table as a Graphviz digraph, for the documentation."""
    lines = [f'  {s.name} -> {t.name} [label="{m.value}"];' for (s, m), t in moves.items()]
    return "digraph {\n" + "\n".join(lines) + "\n}\n"
