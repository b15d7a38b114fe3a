"""What agents have said is heard, and recorded, before what became of their machines is decided."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from elsewhere.backends.base import Condition, Sighting
from elsewhere.channels.base import Receipt
from elsewhere.channels.calls import Calls
from elsewhere.controller.afar import AGAIN, HEARING, Afar
from elsewhere.controller.dialled import Dialling
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Claimed, Ended, Form, Heartbeat, Report
from elsewhere.model.states import Outcome
from elsewhere.model.task import NewTask
from elsewhere.pool.capacity import Bounds
from elsewhere.pool.pool import Pool


class Place:
    """One machine, `m1`, which is there until it is `gone`."""

    def __init__(self) -> None:
        self.looks, self.gone = 0, False

    def owned(self) -> list[Sighting]:
        self.looks += 1
        condition = Condition.FAILED if self.gone else Condition.RUNNING
        labels = {"job": "job-1", "launch": "job-1-1-1"}
        return [Sighting("m1", condition, labels, started=datetime.now(UTC))]

    def submit(self, launch: Any) -> list[str]:
        return ["m1"]

    def cancel(self, ids: Any) -> None: ...

    def logs(self, native_id: str) -> bytes:
        return b""


class Line(Place):
    """One machine after the other: `m1`, `m2` and so on, of which the last is there."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[str] = []

    def owned(self) -> list[Sighting]:
        self.looks += 1
        last = len(self.launches)
        return [
            Sighting(f"m{k}", Condition.FAILED if self.gone or k < last else Condition.RUNNING,
                     {"job": "job-1", "launch": launch}, started=datetime.now(UTC))
            for k, launch in enumerate(self.launches, 1)
        ]  # fmt: skip

    def submit(self, launch: Any) -> list[str]:
        self.gone = False
        self.launches.append(launch.launch)
        return [f"m{len(self.launches)}"]


class Scene:
    def __init__(self, tasks: bool = True, place: Place | None = None, kind: type[Afar] = Afar) -> None:
        self.ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "a:b")))
        with self.ledger.moving():
            if tasks:
                self.ledger.add([NewTask("t1", b"{}")])
                self.ledger.complete()
                self.ledger.take(1)
        self.place, self.agents, self.selector = place or Place(), Calls(), selectors.DefaultSelector()
        bounds = Bounds("job-1", pause=timedelta(0))
        self.pool = Pool(self.place, self.ledger, bounds, 1, lambda ask: ask)  # type: ignore[arg-type, return-value]
        self.now = 0.0
        self.crew = kind(self.ledger, self.agents, self.pool, lambda orders: None, self.selector, 1, lambda: self.now)
        self.crew.open()

    def turn(self) -> int:
        """How often the place was looked at in a turn some seconds later."""
        before, self.now = self.place.looks, self.now + 5
        self.crew.line.collect(1)
        self.crew.turn(0.0)
        return self.place.looks - before

    def hears(self, *reports: Report) -> None:
        with self.ledger.moving():
            self.crew.hear([Receipt(report) for report in reports])

    @property
    def held(self) -> int:
        return len(self.pool.state.allocations)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.selector.close()


def test_while_there_is_news_to_record_the_place_is_not_looked_at(scene: Scene) -> None:
    assert scene.turn() == 1
    scene.agents.report([Ended(1, 1, Outcome.SUCCEEDED, 1.0, 1.0, Form.JSON, b"1", agent="m1")])
    receipts = scene.crew.line.collect(10)
    assert scene.turn() == 0
    scene.crew.line.confirm(receipts)
    assert scene.turn() == 1


def test_reports_that_wait_are_no_hindrance_unless_a_machine_is_gone(scene: Scene) -> None:
    scene.turn()
    scene.pool.look(unheard=lambda: True)
    assert scene.held == 1 and not scene.pool.urgent
    scene.place.gone = True
    scene.pool.look(unheard=lambda: True)
    assert scene.held == 1 and scene.pool.urgent
    scene.pool.need(0)
    scene.pool.look()
    assert scene.held == 0 and not scene.pool.urgent


def test_the_first_task_does_not_wait_for_the_next_look_where_no_machine_is() -> None:
    scene = Scene(tasks=False)
    assert scene.turn() == 0, "of a job that waits for its first task nothing is at its place"
    for k, looks in enumerate((1, 0)):  # the place is asked at once, and once
        with scene.ledger.moving():
            scene.ledger.add([NewTask(f"t{k}", b"{}")])
        before = scene.place.looks
        scene.crew.line.collect(1)
        scene.crew.turn(0.0)
        assert (scene.place.looks - before, scene.held) == (looks, 1)
    scene.selector.close()


def test_a_machine_that_is_gone_and_speaks_shall_take_nothing_more(scene: Scene) -> None:
    scene.turn()
    scene.place.gone = True
    scene.pool.need(0)
    scene.pool.look()
    assert scene.held == 0 and scene.crew._word().drain == ()
    with scene.ledger.moving():
        scene.crew.hear([Receipt(Heartbeat("m1", datetime.now(UTC), (), 1))])
    assert scene.crew._word().drain == ("m1",)


@pytest.fixture
def stuck() -> Iterator[Scene]:
    """`m1` is gone, perhaps with the delivery that nobody has said to have. That is recalled, and `m2` is there."""
    scene = Scene(place=(line := Line()))
    scene.turn()
    scene.turn()
    scene.hears(Heartbeat("m1", datetime.now(UTC), (), 1))
    line.gone = True
    scene.turn()
    scene.turn()
    scene.hears(Heartbeat("m2", datetime.now(UTC), (), 1))
    scene.pool.took = timedelta(seconds=1.5)  # of a place that is so slow the next look is half a minute away
    assert scene.turn() == 0 and not scene.crew._word().recall, "who is new has only begun to ask"
    assert scene.turn() == 0 and scene.crew._orders.recalled == {1: 1}
    yield scene
    scene.selector.close()


def test_what_lies_with_a_machine_that_is_gone_does_not_wait_for_the_next_look(stuck: Scene) -> None:
    assert stuck.turn() == 0 and stuck.ledger.counts.handed_out == 1, "it may be in hands that have not said so"
    stuck.hears(Claimed("m2", (), "of another"))
    assert stuck.turn() == 0 and stuck.ledger.counts.handed_out == 1
    stuck.hears(Claimed("m2", (), stuck.crew._orders.recall))
    assert stuck.turn() == 0 and stuck.ledger.counts.ready == 1
    assert not stuck.crew._orders.recall and stuck.crew._orders.stale(1, 1)


def test_what_somebody_has_taken_without_being_heard_is_not_handed_out_again(stuck: Scene) -> None:
    stuck.hears(Claimed("m2", ((1, 1),), stuck.crew._orders.recall))
    stuck.turn()
    assert stuck.ledger.counts.handed_out == 1 and not stuck.crew._orders.recall
    stuck.hears(Ended(1, 1, Outcome.SUCCEEDED, 1.0, 1.0, Form.JSON, b"1", agent="m2"))
    with stuck.ledger.moving():
        stuck.ledger.record([Ended(1, 1, Outcome.SUCCEEDED, 1.0, 1.0, Form.JSON, b"1", agent="m2")])
    assert stuck.ledger.counts.succeeded == 1


def test_who_does_not_answer_a_recall_holds_it_up_for_some_time_only(stuck: Scene) -> None:
    told = stuck.now
    while stuck.ledger.counts.handed_out and stuck.now - told < 2 * HEARING:
        stuck.turn()
    assert stuck.ledger.counts.ready == 1 and stuck.now - told == HEARING


def test_a_recall_is_no_matter_to_who_is_told_to_take_nothing_more(stuck: Scene) -> None:
    stuck.crew.drain()
    assert not stuck.crew._orders.recall and stuck.crew._orders.drain == ("m2",)


def test_what_was_handed_out_before_us_is_not_sent_again_before_all_that_may_have_it_are_connected() -> None:
    scene, connected = Scene(kind=Dialling), set[str]()
    scene.crew.pipe, scene.crew.lines = SimpleNamespace(connected=lambda: connected), {}  # type: ignore[attr-defined]
    scene.pool.look()
    assert not scene.crew._have_said(HEARING - 1) and scene.crew._have_said(HEARING)
    connected.add("m1")
    assert not scene.crew._have_said(AGAIN - 1) and scene.crew._have_said(AGAIN)
    scene.selector.close()


def test_a_place_that_was_asked_when_the_job_was_made_is_not_asked_at_its_first_look() -> None:
    scene = Scene()
    scene.crew.asked_before = True
    assert scene.turn() == 0 and scene.pool.holdings.allocations(), "a machine was asked for all the same"
    assert scene.turn() == 1


@pytest.mark.parametrize(("took", "room"), [(0.002, 20_000), (0.5, 2_400), (600.0, 0)])
def test_how_long_the_first_have_taken_decides_how_much_is_handed_out(took: float, room: int) -> None:
    scene = Scene(tasks=False)
    ledger, crew = scene.ledger, scene.crew
    crew.ahead = 1200.0
    with ledger.moving():
        ledger.add([NewTask(f"t{k}", b"{}") for k in range(50)])
        taken = ledger.take(crew.room())
    assert len(taken) == 8, "nothing is known of them"
    reports = [Ended(one.n, 1, Outcome.SUCCEEDED, 0.0, took, Form.JSON, b"1") for one in taken[:2]]
    with ledger.moving():
        crew.hear([Receipt(report, str(report.n)) for report in reports])
        ledger.record(reports)
    assert crew.room() == max(0, room - 6)
