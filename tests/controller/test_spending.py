"""What a crew of machines says of money while it goes on, and of what is left when it ends; on a place without any."""

from __future__ import annotations

import selectors
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from elsewhere.backends.base import Launch
from elsewhere.controller.afar import Afar
from elsewhere.controller.controller import Controller
from elsewhere.controller.stop import Stop
from elsewhere.errors import Unreachable
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.task import NewTask
from elsewhere.observe.cost import Spending, broke
from elsewhere.pool.capacity import Ask, Bounds
from elsewhere.pool.pool import Pool
from elsewhere.testing.fake import FakeBackend, FakeChannel, FakeClock


class Deaf(FakeBackend):
    """A place that ends nothing that it is told to end."""

    def cancel(self, natives: object) -> None: ...


class Scene:
    """A crew with a pool on a fake place whose machines cost six dollars an hour; its clock moves when told."""

    def __init__(self, backend: type[FakeBackend] = FakeBackend, price: Decimal = Decimal(6)) -> None:
        self.clock = FakeClock()
        self.ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "m:f")))
        with self.ledger.moving():
            self.ledger.add([NewTask("t1", b"{}"), NewTask("t2", b"{}")])
            self.ledger.complete()
        shape = Shape(Offer("dear", Resources(), "a", price), 1)
        bounds = Bounds("job-1", most=2, shapes=(shape,), budget=Decimal(5), flight=timedelta(seconds=5))
        self.backend = backend(self.clock, boot=timedelta(0))
        self.pool = Pool(self.backend, self.ledger, bounds, 1, self._order, self.clock.now)
        self.crew = Afar(self.ledger, FakeChannel(self.clock), self.pool, lambda orders: None,
                         selectors.DefaultSelector(), 1, self._seconds, self._pause)  # fmt: skip
        self.crew.open()

    def _order(self, ask: Ask) -> Launch:
        labels = {"job": "job-1", "launch": ask.launch}
        return Launch(ask.launch, ask.count, "", Resources(), ask.term, ask.start_by, labels, ask.offer)

    def _seconds(self) -> float:
        return self.clock.now().timestamp()

    def _pause(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=max(seconds, 10)))

    def turn(self, minutes: float = 0) -> None:
        self.clock.advance(timedelta(minutes=minutes, seconds=2))
        self.crew.line.collect(1)  # as the controller does in each of its turns
        self.crew.turn(0)

    def ends(self) -> list[tuple[str, dict[str, object]]]:
        kinds = ("closing", "settled", "left running")
        return [(event.kind, event.detail) for event in self.ledger.events() if event.kind in kinds]


def test_what_it_shows_of_money_follows_its_machines() -> None:
    scene = Scene()
    assert scene.crew.money == Spending(0, Decimal(0), Decimal(0), Decimal(5))
    scene.turn()
    scene.turn()
    assert scene.crew.money == Spending(2, Decimal("0.2"), Decimal(12), Decimal(5)), "a minute of each at least"
    scene.turn(minutes=10)
    money = scene.crew.money
    assert money is not None and money.spent == pytest.approx(Decimal("2.0"), abs=Decimal("0.02"))
    assert not money.near


def test_a_place_without_prices_shows_no_money() -> None:
    scene = Scene(price=Decimal(0))
    scene.turn()
    assert scene.crew.money is None


def test_it_writes_down_that_nothing_is_left_only_when_all_were_seen_gone() -> None:
    scene = Scene()
    scene.turn()
    scene.turn()
    scene.crew.close()
    assert scene.ends()[-1] == ("settled", {"machines": 0})


class Mute(FakeBackend):
    """A place that says nothing of what there is, while that is so."""

    mute = False

    def owned(self) -> Any:
        if self.mute:
            raise Unreachable("Unable to contact slurm controller")
        return super().owned()


def test_a_place_that_gives_no_answer_for_five_minutes_is_asked_for_nothing_and_loses_nothing() -> None:
    scene = Scene(Mute, Decimal(0))
    scene.turn()
    scene.turn()
    held, began = dict(scene.pool.state.allocations), len(scene.backend.log)
    assert len(held) == 2 and scene.pool.state.alive
    scene.backend.mute = True  # type: ignore[attr-defined]
    for _ in range(150):
        scene.turn()
    assert scene.pool.silence == "Unable to contact slurm controller"
    assert dict(scene.pool.state.allocations) == held
    scene.backend.mute = False  # type: ignore[attr-defined]
    for _ in range(3):
        scene.turn()
    assert {verb for verb, _ in scene.backend.log[began:]} <= {"owned"} and not scene.pool.silence
    assert {a.native for a in scene.pool.state.allocations.values()} == {a.native for a in held.values()}


def test_machines_that_do_not_end_are_written_down() -> None:
    scene = Scene(Deaf)
    scene.turn()
    scene.turn()
    scene.crew.close()
    assert scene.ends()[-1] == ("left running", {"machines": 2})


def test_when_the_budget_is_spent_the_job_stops_and_keeps_its_queue() -> None:
    scene = Scene()
    stop = Stop()
    controller = Controller(scene.ledger, scene.crew, stop)
    while not scene.pool.state.alive:
        assert controller.turn()
        scene.clock.advance(timedelta(seconds=2))
    scene.clock.advance(timedelta(minutes=26))  # two machines, twenty cents a minute
    assert controller.turn(), "who has slept listens first"
    assert controller.turn()
    assert scene.crew.money is not None and scene.crew.money.near
    for native in scene.pool.state.alive:
        scene.backend.preempt(native)
    turns = 0
    while controller.turn():
        scene.clock.advance(timedelta(seconds=10))
        turns += 1
        assert turns < 1000, "it never stopped"
    controller._finish()
    stop.close()

    (why,) = [event.detail["why"] for event in scene.ledger.events() if event.kind == "gave up"]
    assert why == "the budget of $5 is spent"
    assert broke(scene.ledger.events())
    assert (scene.ledger.counts.ready, scene.ledger.counts.ended) == (2, 0)
