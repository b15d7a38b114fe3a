"""A pool whose calls are made by somebody else: what is decided when an answer comes, and what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from elsewhere.backends.base import Launch
from elsewhere.errors import Unreachable
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationState
from elsewhere.pool.calls import make
from elsewhere.pool.capacity import Ask, Bounds, booked
from elsewhere.pool.pool import Pool
from elsewhere.testing.fake import FakeBackend, FakeClock

SHAPES = tuple(Shape(Offer(name, Resources(), "a", Decimal(6)), 1, 1) for name in ("one", "two"))


class InTurn:
    """Calls that are made, and answered, when the test says so."""

    watch = None

    def __init__(self) -> None:
        self.asked: list[tuple[Callable[[], Any], Future[Any]]] = []

    def ask(self, call: Callable[[], Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        self.asked.append((call, answer))
        return answer

    def answer(self) -> None:
        make(*self.asked.pop(0))

    def wait(self, answer: Future[Any], seconds: float) -> None:
        """The time is over at once."""

    def heard(self) -> None: ...

    def close(self) -> None: ...


class Scene:
    def __init__(self) -> None:
        self.clock, self.calls = FakeClock(), InTurn()
        self.place = FakeBackend(self.clock, boot=timedelta(0))
        self.ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "m:f")))
        self.pool = self.again(1)

    def again(self, epoch: int) -> Pool:
        """A controller's."""
        bounds = Bounds("job-1", most=2, shapes=SHAPES, budget=Decimal(20), flight=timedelta(seconds=5))
        return Pool(self.place, self.ledger, bounds, epoch, self._order, self.clock.now, calls=self.calls)

    def _order(self, ask: Ask) -> Launch:
        labels = {"job": "job-1", "launch": ask.launch}
        return Launch(ask.launch, ask.count, "", Resources(), ask.term, ask.start_by, labels, ask.offer)

    def take_up(self) -> None:
        self.calls.answer()
        self.pool.go_on()

    @property
    def launches(self) -> list[object]:
        return [what for verb, what in self.place.log if verb == "submit"]

    @property
    def states(self) -> list[AllocationState]:
        return [a.state for a in self.pool.holdings.allocations()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_decided_rests_on_what_is_needed_when_the_answer_is_there(scene: Scene) -> None:
    scene.pool.need(2)
    scene.pool.look()
    scene.pool.look()  # nothing: one is under way
    assert len(scene.calls.asked) == 1 and scene.pool.listing and not scene.pool.answered
    scene.pool.need(0)
    scene.take_up()
    assert not scene.pool.looking and scene.calls.asked == [] and scene.launches == []


def test_launches_are_asked_for_one_after_the_other_and_all_are_booked_before_the_first_has_an_answer(
    scene: Scene,
) -> None:
    scene.pool.need(2)
    scene.pool.look()
    scene.take_up()
    assert not scene.pool.listing and len(scene.calls.asked) == 1 and scene.launches == []
    assert scene.states == [AllocationState.PLANNED] * 2
    assert booked(scene.pool.state) == Decimal(20) and scene.pool.expected == frozenset()
    scene.take_up()
    assert scene.launches == ["job-1-1-1"] and scene.pool.expected == {"job-1-1-1.0"}
    scene.take_up()
    assert scene.launches == ["job-1-1-1", "job-1-1-2"] and not scene.pool.looking


@pytest.mark.parametrize(("todo", "over", "draining"), [(2, True, False), (2, False, True), (0, False, False)])
def test_what_had_to_wait_for_its_turn_and_is_not_needed_any_more_is_not_asked_for(
    scene: Scene, todo: int, over: bool, draining: bool
) -> None:
    scene.pool.need(2)
    scene.pool.look()
    scene.take_up()
    scene.pool.need(todo, over=over, draining=draining)
    scene.take_up()
    assert scene.launches == ["job-1-1-1"] and not scene.pool.looking
    assert scene.states == [AllocationState.PENDING, AllocationState.FAILED]
    assert booked(scene.pool.state) == Decimal(10), "what was not asked for costs nothing"


def test_a_launch_whose_controller_went_before_it_was_answered_is_asked_for_again_under_its_id(scene: Scene) -> None:
    scene.pool.need(1)
    scene.pool.look()
    scene.take_up()
    (call, _), = scene.calls.asked  # fmt: skip
    call()  # it has its effect, and nobody hears of it
    scene.calls.asked.clear()
    scene.pool = scene.again(2)
    scene.pool.need(1)
    scene.pool.look()
    scene.take_up()
    if scene.calls.asked:
        scene.take_up()
    assert set(scene.launches) == {"job-1-1-1"} and scene.pool.expected == {"job-1-1-1.0"}
    assert len(list(scene.place.owned())) == 1 and not scene.pool.looking


def test_who_waits_for_a_place_that_does_not_answer_does_so_for_a_time_only(scene: Scene) -> None:
    scene.pool.look()
    with pytest.raises(Unreachable):
        scene.pool.status(["m1"], timedelta(seconds=1))
    scene.calls.answer()
    assert scene.pool.answered, "what came meanwhile is still to be taken up"


def test_an_error_of_the_place_is_taken_up_like_an_answer(scene: Scene) -> None:
    scene.place.refuse_next(Unreachable("no answer of the place"))
    scene.pool.need(1)
    scene.pool.look()
    scene.take_up()
    assert scene.pool.silence.startswith("no answer of the place") and not scene.pool.looking
