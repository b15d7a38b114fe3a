"""Where each commit is billed: what is worth one, what waits for company, and what a stale controller finds out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from elsewhere.channels.base import Receipt
from elsewhere.controller.controller import Controller
from elsewhere.controller.distant import company, held_back
from elsewhere.controller.stop import Stop
from elsewhere.errors import JobHeld, Unreachable
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Claimed, Ended, Form, Heartbeat, Report
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery, NewTask
from elsewhere.stores import MemoryStore


class Crew:
    """Agents far away, of whom only what they say is seen; it is its own channel."""

    sync = True
    trouble = stopped = waits = ""
    money = None
    size = 4

    def __init__(self) -> None:
        self.channel = self
        self.patience, self.pending, self.slots = 1000.0, 10, 4
        self.said: list[Receipt] = []
        self.heard: list[Report] = []
        self.confirmed: list[Report] = []
        self.sent: list[Delivery] = []
        self.drained = 0
        self.takes, self.deposited = True, list[NewTask]()

    def say(self, *reports: Report) -> None:
        self.said += [Receipt(report, f"{len(self.said)}") for report in reports]

    def collect(self, limit: int) -> Sequence[Receipt]:
        return list(self.said)

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        self.confirmed += [receipt.report for receipt in receipts]
        self.said = [receipt for receipt in self.said if receipt not in receipts]

    def send(self, deliveries: Sequence[Delivery]) -> None:
        self.sent += deliveries
        self.slots -= len(deliveries)

    def room(self) -> int:
        return self.slots

    def hear(self, receipts: Sequence[Receipt]) -> None:
        self.heard += [receipt.report for receipt in receipts]

    def turn(self, wait: float) -> None: ...

    def deposit(self, tasks: Sequence[NewTask]) -> bool:
        self.deposited += tasks if self.takes else []
        return self.takes

    def cancel(self, ns: Collection[int]) -> None: ...

    def settled(self) -> None: ...

    def close(self, now: bool = False) -> None: ...

    def drain(self) -> Sequence[Delivery]:
        self.drained += 1
        return []

    def running(self) -> list[tuple[int, int, float]]:
        return []


class Kept:
    """A job of eight tasks, four of them handed out, with its log in `store`."""

    def __init__(self, billed: bool = True) -> None:
        self.store, self.crew, self.stop = MemoryStore(), Crew(), Stop()
        self.ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "a:b")))
        with self.ledger.moving():
            self.ledger.add(NewTask(f"t{k}", b"{}") for k in range(8))
            self.ledger.complete()
        if billed:
            journal = Journal(self.store, lambda _: None)
            journal.found(self.ledger)
            journal.attach(self.ledger)
        self.controller = Controller(self.ledger, self.crew, self.stop)  # type: ignore[arg-type]
        self.controller.turn()
        assert [d.n for d in self.crew.sent] == [1, 2, 3, 4]

    @property
    def segments(self) -> int:
        return len(list(self.store.list("log/")))


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.stop.close()


def beat() -> Heartbeat:
    return Heartbeat("i-1", datetime.now(UTC), ((1, 1),), 3)


def end(n: int, attempt: int = 1) -> Ended:
    return Ended(n, attempt, Outcome.SUCCEEDED, 1.0, 1.0, Form.JSON, b"1", agent="i-1")


def test_a_heartbeat_is_heard_and_confirmed_and_costs_no_append(kept: Kept) -> None:
    before = kept.segments
    kept.crew.say(beat())
    kept.controller.turn()
    assert kept.crew.heard == kept.crew.confirmed != [] and kept.segments == before


def test_reports_wait_for_company_while_slots_have_work_and_are_not_confirmed_before(kept: Kept) -> None:
    before = kept.segments
    kept.crew.say(end(1), beat())
    kept.controller.turn()
    assert kept.segments == before and [type(r) for r in kept.crew.confirmed] == [Heartbeat]
    kept.crew.patience = 0.0
    kept.crew.say(end(2))
    kept.controller.turn()
    assert kept.segments == before + 1 and kept.ledger.count().succeeded == 2
    assert {r.n for r in kept.crew.confirmed if isinstance(r, Ended)} == {1, 2}


def test_nothing_waits_where_slots_are_out_of_work_and_there_is_more(kept: Kept) -> None:
    kept.crew.pending = 0
    kept.crew.say(end(1))
    kept.controller.turn()
    assert kept.ledger.count().succeeded == 1


def test_where_commits_are_not_billed_nothing_waits_once_all_that_is_out_has_ended() -> None:
    kept = Kept(billed=False)
    kept.crew.say(Claimed("i-1", ((1, 1),)), end(1), end(2), end(3))
    kept.controller.turn()
    assert kept.ledger.count().succeeded == 0, "a fourth is out"
    kept.crew.say(end(4))
    kept.controller.turn()
    assert kept.ledger.count().succeeded == 4
    kept.stop.close()


def test_at_the_tail_reports_wait_until_nothing_else_is_out(kept: Kept) -> None:
    kept.crew.slots = 4
    kept.controller.turn()
    kept.crew.pending = 0
    kept.crew.say(*map(end, range(1, 8)))
    kept.controller.turn()
    assert kept.ledger.count().succeeded == 0
    kept.crew.say(end(8))
    assert not kept.controller.turn()
    assert kept.ledger.count().succeeded == 8


def test_a_claim_what_a_draining_machine_has_and_a_refused_report_are_confirmed_by_an_append_only(kept: Kept) -> None:
    kept.crew.patience = 0.0
    drains = replace(beat(), draining=True)
    for report in (Claimed("i-1", ((1, 1),)), drains, end(1, attempt=7)):
        before = kept.segments
        kept.crew.say(report)
        kept.controller.turn()
        assert kept.segments == before + 1 and kept.crew.confirmed[-1] == report
    assert kept.ledger.count().refused == 1


def test_news_for_people_cost_no_append(kept: Kept) -> None:
    before = kept.segments
    kept.crew.running = lambda: [(1, 1, 5.0)]  # type: ignore[method-assign]
    kept.controller._told = 0.0
    kept.controller._show()
    assert kept.ledger.live()["running"] == [["t0", 5.0]] and kept.segments == before


def test_what_a_new_task_refers_to_lies_in_the_store_before_its_log_knows_of_it(kept: Kept) -> None:
    kept.crew.takes, before = False, kept.segments
    task = NewTask("late", b"{}")
    kept.controller.intake.append(task)
    kept.controller.turn()
    assert kept.ledger.count().total == 8 and kept.segments == before
    kept.crew.takes = True
    kept.controller.turn()
    assert kept.ledger.count().total == 9 and kept.crew.deposited == [task]


def test_who_was_overtaken_and_is_told_to_stop_drains_nobody(kept: Kept) -> None:
    other = Journal(kept.store).restore(":memory:")
    with other.moving():
        other.take_over()
    kept.stop.soft()
    with pytest.raises(JobHeld):
        kept.controller.turn()
    assert kept.crew.drained == 0


def test_a_store_that_is_away_is_told_of_and_endured_until_all_shall_end(kept: Kept) -> None:
    assert kept.controller.endure(Unreachable("the bucket gives no answer"))
    assert kept.controller.view().note.startswith("the job's store gives no answer")
    kept.controller.turn()
    assert kept.controller.view().note == ""
    kept.stop.hard()
    assert not kept.controller.endure(Unreachable("the bucket gives no answer"))


def test_the_log_of_a_million_one_minute_tasks_costs_about_five_cents() -> None:
    """On the 128 slots of eight machines, for which tests/channels says that queues and bucket cost less than $0.45."""
    end = 1e6 * 60 / 128
    age, appends = 0.0, 0
    while age < end:
        age, appends = age + company(age), appends + 1
    renewals = end / 600
    put, get = 5e-6, 0.4e-6
    assert (appends + renewals) * (put + get) < 0.0515


def test_company_is_a_hundredth_of_the_age_and_reports_are_held_back_for_longer() -> None:
    assert [company(age) for age in (0, 1, 60, 600, 6000, 1e6)] == [0.01, 0.01, 0.6, 6.0, 60.0, 60.0]
    assert all(held_back(age) > company(age) for age in (0, 60, 3000, 6000, 1e6))
