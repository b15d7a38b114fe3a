"""How often a place is looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from elsewhere.controller.pace import BRIEF, CALL, LOOK, Pace
from elsewhere.model.place import Allocation, Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationState
from elsewhere.pool.capacity import Bounds, State

AT_ONCE = timedelta(0)
WAITS = State(Bounds("job-1", seldom=timedelta(seconds=15)), todo=500,
              allocations={"a": Allocation("a", "l", AllocationState.PENDING, native="7")})  # fmt: skip


def looks(pace: Pace, state: State, count: int) -> list[float]:
    found = []
    for _ in range(count):
        pace.looked(state)
        found.append(pace.seconds(state, AT_ONCE))
    return found


def test_a_place_that_wants_it_is_asked_ever_more_seldom_while_nothing_changes() -> None:
    found = looks(Pace(), WAITS, 20)
    assert found[0] == LOOK and found[-1] == 15.0
    assert all(later >= earlier for earlier, later in pairwise(found))
    asked, seconds = 0, 0.0
    while seconds < 60:
        asked, seconds = asked + 1, seconds + found[-1]
    assert asked <= 6, "commands of a scheduler in a minute, however many jobs wait"


def test_what_changes_and_what_is_needed_besides_is_looked_at_at_once() -> None:
    pace = Pace()
    looks(pace, WAITS, 20)
    runs = replace(WAITS, allocations={"a": replace(WAITS.allocations["a"], state=AllocationState.RUNNING)})
    assert looks(pace, runs, 1) == [LOOK]
    looks(pace, runs, 20)
    pace.needs(501)
    assert pace.seconds(runs, AT_ONCE) == LOOK
    looks(pace, runs, 20)
    pace.needs(400)
    assert pace.seconds(runs, AT_ONCE) == 15.0


def test_while_something_is_to_be_asked_for_again_it_is_looked_at_often() -> None:
    assert looks(Pace(), replace(WAITS, allocations={}), 20)[-1] == LOOK


def test_the_first_calls_of_many_wait_a_moment_for_the_others_where_asking_is_dear() -> None:
    """All that a few machines share are asked for together; what fills them all, or finds one, is not held back."""
    shape = Shape(Offer("n", Resources(cpus=1)), 1)
    bounds = Bounds("job-1", most=3, shapes=(shape,), seldom=timedelta(seconds=15))
    none = State(bounds, todo=0)
    pace = Pace()
    assert pace.comes_in(none, 1, 10.0) and pace.comes_in(none, 2, 10.02)
    assert not pace.comes_in(none, 2, 10.02 + 2 * BRIEF), "no other has come"
    assert not Pace().comes_in(none, 3, 10.0), "all machines are wanted"
    assert not Pace().comes_in(replace(WAITS, bounds=bounds, todo=1), 2, 10.0), "one is there, or on its way"
    assert not Pace().comes_in(replace(none, bounds=replace(bounds, seldom=timedelta(0))), 1, 10.0)


def test_other_places_are_looked_at_as_ever() -> None:
    plain = replace(WAITS, bounds=Bounds("job-1"))
    assert looks(Pace(), plain, 20)[-1] == LOOK
    assert looks(Pace(), replace(plain, bounds=Bounds("job-1", lag=timedelta(seconds=5))), 20)[-1] == CALL
    assert Pace().seconds(plain, timedelta(seconds=1)) == 20.0
    assert (Pace.end(plain, 9), Pace.end(WAITS, 0), Pace.end(WAITS, 9)) == (0.1, 0.05, 1.0)
