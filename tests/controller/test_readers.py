"""Who reads along what a task prints, or cancels it, is heard of by its machine within seconds, and by no other."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from elsewhere.channels.base import Receipt
from elsewhere.channels.calls import Calls
from elsewhere.controller.bell import PAUSE, Bell
from elsewhere.controller.distant import ATTEND, Crowd
from elsewhere.controller.readers import FRESH, Readers
from elsewhere.controller.stuck import Recall
from elsewhere.errors import AccessDenied, Unreachable
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.orders import EVERY_TASK, Orders
from elsewhere.model.place import Allocation
from elsewhere.model.reports import Claimed
from elsewhere.model.states import AllocationState
from elsewhere.model.task import NewTask
from elsewhere.pool.capacity import Bounds
from elsewhere.pool.pool import Pool
from elsewhere.testing.fake import FakeClock

ALIVE = {"i-1", "i-2"}


# --- who reads --------------------------------------------------------------------------------------------------------


def test_a_reader_counts_for_some_seconds_and_one_that_says_so_for_longer(tmp_path: Path) -> None:
    readers = Readers(tmp_path / "readers")
    assert readers.followed() == ()
    readers.read(7)
    readers.read()
    readers.read(3, ahead=3600)
    assert readers.followed() == (EVERY_TASK, 3, 7)
    past = time.time() - FRESH - 1
    os.utime(tmp_path / "readers" / "7", (past, past))
    readers.leave()
    readers.leave()
    assert readers.followed() == (3,)
    assert (tmp_path / "readers").stat().st_mode & 0o777 == 0o700


# --- the bell ---------------------------------------------------------------------------------------------------------


def bell(ring: Callable[[Collection[str]], None]) -> tuple[Bell, FakeClock]:
    clock = FakeClock()
    return Bell(ring, clock), clock


def test_a_call_is_made_at_once_and_the_next_ones_together_after_a_pause() -> None:
    rang: list[Collection[str]] = []
    made, clock = bell(rang.append)
    made.turn(ALIVE)
    made.call(["i-1", "i-9", ""])
    made.turn(ALIVE)
    made.call(["i-2"])
    made.turn(ALIVE)
    made.call(["i-1"])
    made.turn(ALIVE)
    assert rang == [{"i-1"}]
    clock.advance(PAUSE)
    made.turn(ALIVE)
    made.turn(ALIVE)
    assert rang == [{"i-1"}, ALIVE]


@pytest.mark.parametrize(("error", "calls"), [(Unreachable("no answer"), 2), (AccessDenied("no"), 1)])
def test_a_call_that_fails_is_no_matter_and_one_that_is_not_allowed_is_not_made_again(
    error: Exception, calls: int
) -> None:
    rang: list[Collection[str]] = []

    def ring(who: Collection[str]) -> None:
        rang.append(who)
        raise error

    made, clock = bell(ring)
    for _ in range(2):
        made.call(ALIVE)
        made.turn(ALIVE)
        clock.advance(PAUSE)
    assert len(rang) == calls


def test_where_a_place_has_no_way_nobody_is_called() -> None:
    made = Bell(None)
    made.call(ALIVE)
    made.turn(ALIVE)


# --- the crew ---------------------------------------------------------------------------------------------------------


class Scene:
    """A crew of two machines: i-1 has task 1, task 2 waits."""

    def __init__(self, tmp_path: Path, selector: selectors.BaseSelector) -> None:
        self.clock, self.told, self.rang = FakeClock(), list[Orders](), list[Collection[str]]()
        self.readers, self.home = Readers(tmp_path / "readers"), SimpleNamespace(urgent=False)
        ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "a:b")))
        with ledger.moving():
            ledger.add([NewTask("t1", b"{}"), NewTask("t2", b"{}")])
            ledger.take(2)
        self.ledger = ledger
        pool = Pool(cast(Any, None), ledger, Bounds("job-1"), 1, cast(Any, None))
        self.crew = Crowd(ledger, cast(Any, Calls()), pool, self.told.append, selector, 1, self.clock)
        self.crew.readers, self.crew.home = self.readers, self.home
        self.crew.bell = Bell(self.rang.append, self.clock)
        self.crew.journal = cast(Any, SimpleNamespace(check=lambda number, **within: None))
        self.claimed("i-1", 1)

    def claimed(self, agent: str, n: int) -> None:
        with self.ledger.moving():
            self.crew.hear([Receipt(Claimed(agent, ((n, 1),)), f"{n}")])

    def turn(self) -> None:
        self.clock.advance(max(ATTEND, PAUSE))
        self.crew._attend(ALIVE)
        self.crew.bell.turn(ALIVE)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with selectors.DefaultSelector() as selector:
        yield Scene(tmp_path, selector)


def test_the_machine_of_a_task_that_is_followed_is_told_and_called_and_no_other(scene: Scene) -> None:
    scene.turn()
    assert (scene.told, scene.rang) == ([], [])
    scene.readers.read(1)
    scene.turn()
    scene.turn()
    assert [orders.logs for orders in scene.told] == [(1,)] and scene.rang == [{"i-1"}]
    scene.readers.leave(1)
    scene.turn()
    assert [orders.logs for orders in scene.told] == [(1,), ()] and scene.rang == [{"i-1"}]


def test_who_takes_it_later_is_called_then_and_what_it_says_does_not_wait_for_company(scene: Scene) -> None:
    scene.clock.advance(6000)
    assert scene.crew.patience > 10
    scene.readers.read(2)
    scene.turn()
    assert scene.rang == [] and scene.crew.patience == 0
    scene.claimed("i-2", 2)
    scene.turn()
    assert scene.rang == [{"i-2"}] and scene.crew.patience > 10


def test_what_is_recalled_waits_for_no_company_and_nothing_is_copied_beside_its_queue(scene: Scene) -> None:
    scene.clock.advance(6000)
    assert scene.crew.patience > 10 and not scene.crew._have_said(6000)
    scene.crew._recall = Recall("1.1", {2: 1})
    assert scene.crew.patience == 0


def test_whoever_follows_all_of_a_job_is_heard_of_by_all(scene: Scene) -> None:
    scene.readers.read()
    scene.turn()
    scene.turn()
    assert scene.rang == [ALIVE]


def test_the_machine_of_a_task_that_is_cancelled_is_told_without_delay_and_called(scene: Scene) -> None:
    scene.told.clear()
    with scene.ledger.moving():
        gone = scene.ledger.cancel(["t1"])
    scene.crew.cancel(gone)
    assert scene.home.urgent and scene.told[-1].ended_task(1)
    scene.turn()
    assert scene.rang == [{"i-1"}]


def test_a_machine_that_has_spoken_before_the_place_has_shown_it_is_called(scene: Scene) -> None:
    pool, allocated = scene.crew.pool, Allocation("a-1", "l-1", AllocationState.PENDING, "i-1")
    pool.state = replace(pool.state, allocations={"a-1": allocated})
    assert pool.expected == {"i-1"} and not pool.there
    pool.heard(["i-1"])
    scene.readers.read(1)
    scene.clock.advance(ATTEND)
    scene.crew._attend(pool.there)
    scene.crew.bell.turn(pool.there)
    assert not pool.state.alive and scene.rang == [{"i-1"}]
