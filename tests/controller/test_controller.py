"""The controller's loop, with a crew that executes at once: what is written, in which order, and when it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from elsewhere.channels.base import Receipt, Room
from elsewhere.channels.calls import Calls
from elsewhere.controller.controller import Controller
from elsewhere.controller.stop import Stop
from elsewhere.controller.view import View
from elsewhere.errors import InvalidTask, StateError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery, NewTask, RetryPolicy


class FakeCrew:
    """Executes what it is sent a turn later; `behave` says how each attempt ends, or None: it goes on running."""

    sync = True
    patience = 0.010
    trouble = waits = ""
    pending = 0
    size = 4
    money = None

    def __init__(self, behave: Callable[[Delivery], Outcome | None]) -> None:
        self.channel = Calls()
        self.behave = behave
        self.active: dict[int, Delivery] = {}
        self.cancelled: list[int] = []
        self.settlements = 0
        self.draining = False

    @property
    def stopped(self) -> str:
        return ""

    def deposit(self, tasks: Sequence[NewTask]) -> bool:
        return True

    def room(self) -> int:
        return 0 if self.draining else 4 - len(self.active)

    def turn(self, wait: float) -> None:
        for n, delivery in list(self.active.items()):
            outcome = Outcome.CANCELLED if n in self.cancelled else self.behave(delivery)
            if outcome is not None:
                del self.active[n]
                form = Form.JSON if outcome is Outcome.SUCCEEDED else Form.FAILURE
                value = b"1" if outcome is Outcome.SUCCEEDED else json.dumps({"type": "E"}).encode()
                self.channel.report([Ended(n, delivery.attempt, outcome, 0.0, 0.1, form, value)])
        for claim in self.channel.claim("fake", Room(self.room(), not self.active), timedelta(1)):
            self.active[claim.delivery.n] = claim.delivery

    def cancel(self, ns: Collection[int]) -> None:
        self.cancelled.extend(ns)

    def drain(self) -> Sequence[Delivery]:
        self.draining = True
        return [c.delivery for c in self.channel.claim("drain", Room(1000), timedelta(1))]

    def hear(self, receipts: Sequence[Receipt]) -> None:
        pass

    def settled(self) -> None:
        self.settlements += 1

    def running(self) -> list[tuple[int, int, float]]:
        return [(n, d.attempt, 1.0) for n, d in self.active.items()]

    def close(self, now: bool = False) -> None:
        pass


@pytest.fixture
def stop() -> Iterator[Stop]:
    stop = Stop()
    yield stop
    stop.close()


Begin = Callable[..., tuple[Controller, FakeCrew]]


@pytest.fixture
def begin(tmp_path: Path, stop: Stop) -> Begin:
    def build(
        tasks: int, behave: Callable[[Delivery], Outcome | None], complete: bool = True, **spec: object
    ) -> tuple[Controller, FakeCrew]:
        described = JobSpec("job-1", "fit", Entry("function", "a:b"), **spec)  # type: ignore[arg-type]
        ledger = Ledger.create(tmp_path / "ledger.db", described)
        with ledger.moving():
            ledger.add(NewTask(f"t{k}", b"{}") for k in range(tasks))
            if complete:
                ledger.complete()
        crew = FakeCrew(behave)
        return Controller(ledger, crew, stop), crew

    return build


def succeed(_: Delivery) -> Outcome:
    return Outcome.SUCCEEDED


def test_it_runs_every_task_once_and_ends(begin: Begin) -> None:
    runs: list[int] = []

    def once(delivery: Delivery) -> Outcome:
        runs.append(delivery.n)
        return Outcome.SUCCEEDED

    controller, _ = begin(50, once)
    counts = controller.run()
    assert counts.over and counts.succeeded == 50
    assert sorted(runs) == list(range(1, 51))


def test_what_is_heard_is_durable_before_it_is_told(begin: Begin) -> None:
    controller, crew = begin(10, succeed)
    seen: list[int] = []

    def heard(reports: Sequence[Ended]) -> None:
        db = apsw.Connection(str(controller.ledger.path), flags=apsw.SQLITE_OPEN_READONLY)
        committed = {row[0] for row in db.execute("SELECT n FROM done")}
        db.close()
        assert {r.n for r in reports} <= committed
        seen.extend(r.n for r in reports)

    controller.heard = heard
    controller.run()
    assert sorted(seen) == list(range(1, 11))
    assert crew.settlements


def test_retries_are_made_and_counted(begin: Begin) -> None:
    def flaky(delivery: Delivery) -> Outcome:
        return Outcome.SUCCEEDED if delivery.attempt == 3 else Outcome.ERRORED

    controller, _ = begin(5, flaky, retry=RetryPolicy(retries=2, delay=timedelta(0)))
    counts = controller.run()
    assert (counts.succeeded, counts.retries) == (5, 10)


def test_a_soft_stop_lets_running_tasks_finish_and_keeps_the_rest(begin: Begin, stop: Stop) -> None:
    controller, crew = begin(20, lambda d: Outcome.SUCCEEDED if stop.asked else None)
    while len(crew.active) < 4:
        controller.turn()
    stop.soft()
    counts = controller.run()
    assert (counts.succeeded, counts.ready, counts.handed_out) == (4, 16, 0)
    assert not counts.over


def test_a_hard_stop_gives_back_what_runs(begin: Begin, stop: Stop) -> None:
    controller, crew = begin(20, lambda d: None)
    while len(crew.active) < 4:
        controller.turn()
    stop.hard()
    counts = controller.run()
    assert (counts.ready, counts.interrupts) == (20, 4)


def test_cancel_stops_what_runs_and_ends_the_job(begin: Begin) -> None:
    controller, crew = begin(20, lambda d: None)
    while len(crew.active) < 4:
        controller.turn()
    assert controller.answer({"do": "cancel", "tasks": None}) == {"cancelled": 20}
    assert sorted(crew.cancelled) == sorted(crew.active)
    counts = controller.run()
    assert counts.over and counts.cancelled == 20


def test_any_task_that_was_just_added_can_be_cancelled(begin: Begin) -> None:
    controller, _ = begin(1, succeed)
    controller.intake.extend(NewTask(f"late-{k}", b"{}") for k in range(5000))
    assert controller.answer({"do": "cancel", "tasks": ["late-4999"]}) == {"cancelled": 1}


def test_cancel_of_an_unknown_task_is_refused(begin: Begin) -> None:
    controller, _ = begin(2, succeed)
    with pytest.raises(InvalidTask):
        controller.answer({"do": "cancel", "tasks": ["nope"]})
    assert controller.run().succeeded == 2


@pytest.mark.parametrize("limit", [3, Decimal("0.1")])
def test_too_many_failures_stop_the_job_early(begin: Begin, limit: int | Decimal) -> None:
    controller, _ = begin(200, lambda d: Outcome.ERRORED, max_failures=limit)
    counts = controller.run()
    assert 3 < counts.failed < 40
    assert counts.ready == 200 - counts.failed
    assert "stopped early" in [e.kind for e in controller.ledger.events()]


@pytest.mark.parametrize("limit", [0, 3, Decimal("0.1")])
def test_a_job_that_stopped_early_goes_on_when_it_is_resumed(begin: Begin, stop: Stop, limit: int | Decimal) -> None:
    first, _ = begin(200, lambda d: Outcome.ERRORED, max_failures=limit)
    before = first.run().failed
    second = Controller(first.ledger, FakeCrew(lambda d: Outcome.ERRORED), stop)
    assert before < second.run().failed <= before + 40, "as far again, and no farther"
    third = Controller(first.ledger, FakeCrew(succeed), stop)
    assert third.run().over


def test_while_a_limit_of_failures_holds_back_nothing_is_written(begin: Begin) -> None:
    controller, crew = begin(200, lambda d: None, max_failures=0)
    crew.room = lambda: 100  # type: ignore[method-assign]
    while len(crew.active) < crew.size:
        controller.turn()
    controller.turn()
    before = controller.ledger.db.total_changes()
    controller.turn()
    assert controller.ledger.db.total_changes() == before
    assert controller._wait() > 0


def test_a_limit_of_failures_holds_back_what_is_handed_out(begin: Begin) -> None:
    controller, crew = begin(200, lambda d: Outcome.ERRORED, max_failures=2)
    crew.room = lambda: 0 if crew.draining else 100 - len(crew.active)  # type: ignore[method-assign]
    assert controller.run().failed <= 2 + crew.size


def test_a_full_disk_pauses_and_goes_on_once_there_is_room(begin: Begin) -> None:
    controller, _ = begin(300, succeed)
    notes: list[str] = []
    db = controller.ledger.db
    pages = db.execute("PRAGMA page_count").fetchall()[0][0]
    db.execute(f"PRAGMA max_page_count={pages}").fetchall()

    def watch(view: View) -> None:
        if view.note:
            notes.append(view.note)
            db.execute("PRAGMA max_page_count=100000").fetchall()

    controller.watch = watch
    assert controller.run().succeeded == 300
    assert any("full" in note for note in notes)


@pytest.mark.parametrize("when", ["stopped early", "drained", "left"])
def test_a_disk_that_fills_while_a_job_is_stopped_or_left_pauses_it_too(begin: Begin, when: str) -> None:
    controller, _ = begin(50, lambda d: Outcome.ERRORED, max_failures=2)
    notes: list[str] = []
    note, full = controller.ledger.note, [when, when]

    def watch(view: View) -> None:
        notes.extend([view.note] * bool(view.note))

    def told(kind: str, about: str = "", **detail: object) -> None:
        if kind in full:
            full.remove(kind)
            raise apsw.FullError
        note(kind, about, **detail)

    controller.watch, controller.ledger.note = watch, told  # type: ignore[method-assign]
    counts = controller.run()

    assert not full and len([text for text in notes if "is full" in text]) == 2
    assert counts.failed >= 3 and counts.ready + counts.failed == 50
    kinds = [event.kind for event in controller.ledger.events()]
    assert [kinds.count(word) for word in ("stopped early", "drained", "left")] == [1, 1, 1]


def test_who_wants_it_ended_now_does_not_wait_for_room(begin: Begin) -> None:
    controller, _ = begin(5, succeed)

    def told(kind: str, about: str = "", **detail: object) -> None:
        controller.stop.hard()
        raise apsw.FullError

    controller.ledger.note = told  # type: ignore[method-assign]
    with pytest.raises(StateError, match="is full"):
        controller.run()


def test_tasks_come_in_while_it_runs(begin: Begin) -> None:
    controller, _ = begin(0, succeed, complete=False)
    controller.intake.extend(NewTask(f"x{k}", b"{}") for k in range(10))
    controller.closing = True
    assert controller.run().succeeded == 10


@pytest.mark.parametrize(
    ("kind", "left", "wanted"),
    [("call", 0, [False, True]), ("call", 5, [True, True]), ("function", 0, [True, True])],
)
def test_only_what_a_running_program_hands_over_just_now_is_handed_out_without_a_sync(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, kind: str, left: int, wanted: list[bool]
) -> None:
    """A power cut that loses the record of a call loses its caller, too. All else is synced."""
    controller, _ = begin(left, succeed, complete=False)
    controller.ledger.spec = replace(controller.ledger.spec, entry=Entry(kind, "a:b"))
    synced, moving = list[bool](), controller.ledger.moving

    def watched(sync: bool = True, logged: bool = True) -> AbstractContextManager[None]:
        if logged:
            synced.append(sync)
        return moving(sync, logged)

    monkeypatch.setattr(controller.ledger, "moving", watched)
    controller.intake.append(NewTask("call-1", b"{}"))
    while len(synced) < 2:
        controller.turn()
    assert synced[:2] == wanted
