"""Machines in the ledger: their moves, who has what, and whom a death is counted against."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from elsewhere.errors import InvalidMove
from elsewhere.ledger.allocations import Failures, Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Allocation, Offer
from elsewhere.model.reports import Claimed, Ended, Form, Output
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationMove, AllocationState, Outcome, TaskState
from elsewhere.model.task import NewTask, RetryPolicy

OFFER = Offer("c7g.large", Resources(cpus=2, memory=4 << 30), "a", Decimal("1.5"), True, Decimal("3.2"))
T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Job:
    """A job of a few tasks, and machines one after another."""

    def __init__(self, tasks: int = 1) -> None:
        spec = JobSpec("job-1", "fit", Entry("function", "a:b"), retry=RetryPolicy(retries=1))
        self.ledger = Ledger.create(":memory:", spec)
        self.holdings = Holdings(self.ledger)
        with self.ledger.moving():
            self.ledger.add(NewTask(f"t{k}", b"{}") for k in range(1, tasks + 1))
            self.ledger.complete()

    def machine(self, native: str) -> Allocation:
        planned = Allocation(
            native, "L1", AllocationState.PLANNED, offer=OFFER, slots=3, term=timedelta(hours=1), until=T0
        )
        running = replace(planned, state=AllocationState.PENDING, native=native)
        with self.ledger.moving():
            self.holdings.write(planned)
            self.holdings.write(running, AllocationMove.ACCEPT)
        return running

    def ends(self, machine: Allocation, crashed: bool, starved: bool = False) -> None:
        over = replace(machine, state=AllocationState.STOPPED, crashed=crashed, starved=starved)
        with self.ledger.moving():
            self.holdings.write(over, AllocationMove.END)

    def take(self) -> list[tuple[int, int]]:
        with self.ledger.moving():
            return [(d.n, d.attempt) for d in self.ledger.take(10)]

    def claimed(self, native: str, *pairs: tuple[int, int]) -> list[tuple[int, int]]:
        with self.ledger.moving():
            return self.holdings.claimed(Claimed(native, pairs))

    def reported(self, n: int, attempt: int, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        report = Ended(n, attempt, outcome, 0.0, 0.0, Form.FAILURE if outcome else Form.JSON, b"{}")
        with self.ledger.moving():
            self.holdings.heard([report])
            self.ledger.record([report])

    def crash_with(self, native: str, alone: bool = True) -> None:
        """One more machine that takes task 1 and dies under it."""
        machine = self.machine(native)
        (pair,) = [p for p in self.take() if p[0] == 1]
        self.claimed(native, pair)
        self.ends(machine, crashed=True)

    def tally(self) -> dict[str, int]:
        found: dict[str, int] = self.ledger.waiting("t1")["tally"]
        return found

    def state(self) -> TaskState:
        view = self.ledger.task("t1")
        assert view is not None
        return view.state


def test_allocations_are_read_back_as_they_were_written() -> None:
    job = Job()
    machine = job.machine("m1")
    assert job.holdings.allocations() == [machine]


def test_a_move_that_the_ledger_does_not_allow_is_refused_with_its_story() -> None:
    job = Job()
    machine = job.machine("m1")
    job.ends(machine, crashed=False)
    with pytest.raises(InvalidMove, match="m1"), job.ledger.moving():
        job.holdings.write(replace(machine, state=AllocationState.RUNNING), AllocationMove.START)


def test_a_machine_that_goes_gives_its_tasks_back_and_that_spends_nothing() -> None:
    job = Job(tasks=2)
    machine = job.machine("m1")
    pairs = job.take()
    assert job.claimed("m1", *pairs) == pairs
    job.ends(machine, crashed=False)
    assert job.ledger.counts.ready == 2 and job.holdings.held() == []
    assert not job.tally()["suspect"]


def test_the_first_death_makes_a_suspect_and_three_alone_stop_it() -> None:
    job = Job()
    for k in range(4):
        assert job.state() is TaskState.READY
        job.crash_with(f"m{k}")
    assert job.state() is TaskState.FAILED


def test_the_only_task_of_a_machine_that_wanted_memory_has_run_out_of_it_and_one_of_several_runs_alone_first() -> None:
    job = Job(tasks=2)
    machine = job.machine("m1")
    job.claimed("m1", *job.take())
    job.ends(machine, crashed=True, starved=True)
    assert job.ledger.counts.ready == 2 and job.tally()["suspect"] and job.tally()["memory"] == 0
    machine = job.machine("m2")
    first, _ = job.take()
    job.claimed("m2", first)
    job.ends(machine, crashed=True, starved=True)
    assert job.state() is TaskState.WAITING and job.tally()["memory"] == 1, "of one retry"
    assert job.tally()["deaths"] == 0


def test_a_claim_that_is_heard_of_after_the_crash_counts_all_the_same() -> None:
    job = Job()
    job.crash_with("m0")
    machine = job.machine("m1")
    (pair,) = job.take()
    job.ends(machine, crashed=True)
    job.claimed("m1", pair)
    assert job.state() is TaskState.READY and job.tally()["deaths"] == 1


def test_a_claim_of_a_machine_that_was_preempted_gives_the_task_back_and_blames_nobody() -> None:
    job = Job()
    machine = job.machine("m1")
    (pair,) = job.take()
    job.ends(machine, crashed=False)
    job.claimed("m1", pair)
    assert job.state() is TaskState.READY and job.tally()["deaths"] == 0


def test_a_late_report_of_a_number_acquits_its_task_of_that_death() -> None:
    job = Job()
    job.crash_with("m0")
    job.crash_with("m1")
    assert job.tally()["deaths"] == 1
    (pair,) = job.take()
    job.reported(1, pair[1] - 1, Outcome.ERRORED)  # it had ended before the machine did; this number is closed
    assert job.tally()["deaths"] == 0
    job.reported(1, pair[1] - 1, Outcome.ERRORED)
    assert job.tally()["deaths"] == 0


def test_a_claim_that_is_not_current_is_left_aside() -> None:
    job = Job()
    (pair,) = job.take()
    job.claimed("m1", (1, pair[1] + 1), (1, pair[1] - 1))
    assert job.holdings.held() == []


def test_of_many_claims_those_that_are_current_count_and_no_others() -> None:
    """A retried task, one that has ended, one that was never handed out: each is left aside, the rest is held."""
    job = Job(tasks=12)
    job.machine("i-1")
    assert len(job.take()) == 10
    job.reported(2, 1)
    job.reported(3, 1, Outcome.ERRORED)
    with job.ledger.moving():
        job.ledger.interrupt([4])
    claims = [(n, 1) for n in range(1, 13)] + [(4, 2), (1, 2)]
    good = [(1, 1), *((n, 1) for n in range(5, 11))]
    assert job.claimed("i-1", *good) == good
    assert job.holdings.held() == [(n, 1, "i-1") for n, _ in good]
    assert job.claimed("i-2", *claims) == good, "what is current may be claimed by another, who has it now"
    assert job.holdings.held() == [(n, 1, "i-2") for n, _ in good]
    assert job.claimed("i-3", (1, 1), (2, 1)) == [(1, 1)], "one that has ended is in nobody's hands"


def test_what_is_handed_out_and_in_nobodys_hands_is_sent_again_in_pages() -> None:
    job = Job(tasks=7)
    pairs = job.take()
    job.claimed("m1", *pairs[:3])
    job.reported(*pairs[3])
    pages = [[d.n for d in page] for page in job.holdings.unclaimed(page=2)]
    assert pages == [[5, 6], [7]]


def test_superseded_numbers_are_told_also_of_tasks_that_wait_for_their_next() -> None:
    job = Job(tasks=2)
    job.claimed("m1", *job.take())
    with job.ledger.moving():
        job.ledger.interrupt([1])
    assert dict(job.holdings.current()) == {1: 2}


def test_ended_tasks_are_told_as_ranges() -> None:
    job = Job(tasks=6)
    for n, attempt in job.take():
        if n != 4:
            job.reported(n, attempt)
    assert list(job.holdings.ended()) == [(1, 4), (5, 7)]
    assert list(job.holdings.ended(after=3)) == [(5, 7)]


def test_a_row_of_version_1_is_read_with_its_price_and_nothing_it_does_not_say() -> None:
    job = Job()
    story = (
        '{"id": "a1", "launch": "L1", "state": 2, "native": "m1", "offer": "", "term": 3600.0, "price": "1.5",'
        ' "until": null, "started": 5.0, "ended": null, "used": null, "reason": "", "crashed": false}'
    )
    with job.ledger.moving():
        job.ledger.db.execute("INSERT INTO allocations VALUES('a1', 'L1', 'm1', 2, ?)", (story,))
    (old,) = job.holdings.allocations()
    assert (old.price, old.slots, old.spoke, old.state) == (Decimal("1.5"), 1, None, AllocationState.RUNNING)


def test_the_machines_on_which_tasks_failed_for_good_are_known_also_to_the_next_controller() -> None:
    job = Job(tasks=3)
    failures = Failures(job.ledger)
    assert failures.machines() == frozenset()
    job.take()
    ends = [(1, Outcome.REJECTED, "m1", None), (2, Outcome.ERRORED, "m2", None),
            (3, Outcome.REJECTED, "m3", Output(0, 0, 0, 4, 0, 0))]  # fmt: skip
    for n, outcome, agent, output in ends:
        report = Ended(n, 1, outcome, 0.0, 0.0, Form.FAILURE, b"{}", output, agent)
        failures.heard([report])
        with job.ledger.moving():
            job.ledger.record([report])
    assert failures.machines() == {"m1", "m3"}, "the second is tried again"
    assert Failures(job.ledger).machines() == {"m3"}, "of what was before, where it printed something"
