"""The ledger's moves: what is recorded, what is refused, what survives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from elsewhere.errors import InvalidTask, StateError
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.questions import Questions
from elsewhere.ledger.room import CHECKPOINT
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome, TaskState
from elsewhere.model.task import Delivery, NewTask, RetryPolicy


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Ledger]


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    def build(tasks: int = 3, **spec: object) -> Ledger:
        path = tmp_path / "ledger.db"
        described = JobSpec("job-1", "fit", Entry("function", "a:b"), **spec)  # type: ignore[arg-type]
        ledger = Ledger.create(path, described, clock)
        with ledger.moving():
            ledger.add(NewTask(f"t{k}", b'{"x": 1}') for k in range(1, tasks + 1))
            ledger.complete()
        return ledger

    return build


def take(ledger: Ledger, limit: int = 10) -> list[Delivery]:
    with ledger.moving():
        return ledger.take(limit)


def record(ledger: Ledger, *reports: Ended) -> list[Ended]:
    with ledger.moving():
        return ledger.record(reports)


def ended(delivery: Delivery, outcome: Outcome = Outcome.SUCCEEDED, value: bytes = b"1", **more: object) -> Ended:
    form = Form.JSON if outcome is Outcome.SUCCEEDED else Form.FAILURE
    return Ended(delivery.n, delivery.attempt, outcome, 1000.0, 0.5, form, value, **more)  # type: ignore[arg-type]


def errored(delivery: Delivery, **story: object) -> Ended:
    return ended(delivery, Outcome.ERRORED, json.dumps({"type": "ValueError", "message": "no", **story}).encode())


def test_tasks_are_handed_out_in_their_order_and_once(make: Make) -> None:
    ledger = make(5)
    first, second = take(ledger, 2), take(ledger, 10)
    assert [d.id for d in first + second] == ["t1", "t2", "t3", "t4", "t5"]
    assert {d.attempt for d in first + second} == {1}
    assert take(ledger) == []


def test_a_report_is_recorded_once_and_its_echo_is_refused(make: Make) -> None:
    ledger = make(1)
    (delivery,) = take(ledger)
    assert len(record(ledger, ended(delivery, value=b"1"))) == 1
    assert record(ledger, ended(delivery, value=b"2")) == []
    assert ledger.outcomes()[0].value == b"1"
    assert (ledger.count().succeeded, ledger.count().refused) == (1, 1)


def test_the_same_report_twice_in_one_batch_is_recorded_once(make: Make) -> None:
    ledger = make(2)
    one, two = take(ledger)
    assert len(record(ledger, ended(one), ended(one), ended(two))) == 2
    assert ledger.count().succeeded == 2
    assert ledger.count().handed_out == 0


def test_echoes_are_counted_and_only_other_reports_are_told_of(make: Make) -> None:
    ledger = make(2, retry=RetryPolicy(retries=1))
    good, bad = take(ledger)
    for _ in range(50):
        record(ledger, ended(good), errored(bad))
    assert ledger.count().refused == 98
    assert [e.kind for e in ledger.events()] == []
    record(ledger, errored(good))
    assert [e.kind for e in ledger.events()] == ["refused"]


def test_a_report_of_an_older_attempt_is_refused(make: Make) -> None:
    ledger = make(1)
    (old,) = take(ledger)
    with ledger.moving():
        ledger.interrupt()
    (new,) = take(ledger)
    assert (old.attempt, new.attempt) == (1, 2)
    assert record(ledger, ended(old, value=b"old")) == []
    assert record(ledger, ended(new, value=b"new"))[0].value == b"new"
    assert ledger.outcomes()[0].value == b"new"


def test_a_task_that_waits_for_its_retry_takes_no_second_report_of_that_attempt(make: Make) -> None:
    ledger = make(1, retry=RetryPolicy(retries=2))
    (delivery,) = take(ledger)
    record(ledger, errored(delivery))
    assert record(ledger, ended(delivery)) == []
    assert ledger.count().waiting == 1


def test_a_report_of_a_task_that_was_never_handed_out_is_refused(make: Make) -> None:
    ledger = make(3)
    take(ledger, 1)
    assert record(ledger, Ended(3, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.JSON, b"1")) == []
    assert record(ledger, Ended(99, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.JSON, b"1")) == []
    assert record(ledger, errored(Delivery(3, 1, "t3", b""))) == []
    assert ledger.count().ended == 0


def test_an_error_is_retried_after_its_delay_until_its_budget_is_spent(make: Make, clock: Clock) -> None:
    policy = RetryPolicy(retries=1, delay=timedelta(seconds=10))
    ledger = make(1, retry=policy)
    record(ledger, errored(take(ledger)[0]))
    due = ledger.next_due()
    assert due is not None and 1005 <= due <= 1010
    assert take(ledger) == []
    clock.now = due
    (again,) = take(ledger)
    assert again.attempt == 2
    assert [r.n for r in record(ledger, errored(again))] == [1]
    assert ledger.task("t1").state is TaskState.FAILED  # type: ignore[union-attr]
    assert [a.outcome for a in ledger.attempts("t1")] == [Outcome.ERRORED, Outcome.ERRORED]


def test_an_interruption_spends_nothing_and_is_due_at_once(make: Make) -> None:
    ledger = make(1)
    for attempt in range(1, 20):
        (delivery,) = take(ledger)
        assert delivery.attempt == attempt
        record(ledger, ended(delivery, Outcome.INTERRUPTED, b"{}"))
    assert ledger.count().interrupts == 19
    assert ledger.count().failed == 0


def test_a_task_that_asks_again_finds_its_state_and_its_own_delay(make: Make, clock: Clock) -> None:
    ledger = make(1)
    story = json.dumps({"after": 60, "state": {"step": 7}}).encode()
    record(ledger, ended(take(ledger)[0], Outcome.ASKED_AGAIN, story))
    assert ledger.next_due() == 1060.0
    clock.now = 1060.0
    (again,) = take(ledger)
    assert json.loads(again.options or b"")["state"] == {"step": 7}
    assert ledger.count().asks == 1


def test_only_the_exit_codes_named_are_retried(make: Make, clock: Clock) -> None:
    ledger = make(2, retry=RetryPolicy(retries=5, exit_codes=(75,)))
    one, two = take(ledger)
    record(ledger, errored(one, exit_code=75), errored(two, exit_code=1))
    assert (ledger.count().waiting, ledger.count().failed) == (1, 1)


def test_a_task_may_set_its_own_retries(make: Make) -> None:
    ledger = make(0)
    with ledger.moving():
        ledger.add([NewTask("a", b"{}", b'{"retries": 1}'), NewTask("b", b"{}")])
    one, two = take(ledger)
    record(ledger, errored(one), errored(two))
    assert (ledger.count().waiting, ledger.count().failed) == (1, 1)


def test_higher_priority_goes_first_and_lower_last(make: Make) -> None:
    ledger = make(2)
    with ledger.moving():
        ledger.add([NewTask("low", b"{}", priority=-1), NewTask("t4", b"{}"), NewTask("high", b"{}", priority=5)])
    assert [d.id for d in take(ledger)] == ["high", "t1", "t2", "t4", "low"]
    assert ledger.count().ready == 0


def test_cancel_ends_what_is_unfinished_and_names_what_runs(make: Make) -> None:
    ledger = make(5)
    one, _two = take(ledger, 2)
    record(ledger, ended(one))
    with ledger.moving():
        assert ledger.cancel() == [2]
    assert (ledger.count().succeeded, ledger.count().cancelled, ledger.count().ready) == (1, 4, 0)
    assert ledger.count().over
    assert take(ledger) == []


def test_a_cancelled_task_is_never_handed_out_and_its_late_success_is_refused(make: Make) -> None:
    ledger = make(3)
    (one,) = take(ledger, 1)
    with ledger.moving():
        ledger.cancel(["t1", "t2"])
    assert [d.id for d in take(ledger)] == ["t3"]
    assert record(ledger, ended(one)) == []
    assert ledger.task("t1").state is TaskState.CANCELLED  # type: ignore[union-attr]


def test_cancelling_single_tasks_counts_each_where_it_stood(make: Make, clock: Clock) -> None:
    ledger = make(6, retry=RetryPolicy(retries=3, delay=timedelta(seconds=9)))
    one, two, three, _four = take(ledger, 4)
    record(ledger, ended(one), errored(two), errored(three))
    with ledger.moving():
        assert ledger.cancel(["t1", "t2", "t4", "t5", "t5"]) == [4]
    counts, due = ledger.counts, ledger.next_due()
    ledger.reload()
    assert counts == ledger.count()
    assert (counts.cancelled, counts.waiting, counts.handed_out, counts.ready) == (3, 1, 0, 1)
    assert due == ledger.next_due()
    with ledger.moving():
        ledger.cancel(["t3"])
    assert ledger.next_due() is None
    assert [d.id for d in take(ledger)] == ["t6"]


def test_cancelling_one_task_reads_no_other(make: Make) -> None:
    ledger = make(3000)
    take(ledger, 2900)
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    with ledger.moving():
        ledger.db.set_progress_handler(count, 100)
        assert ledger.cancel(["t2000"]) == [2000]
        ledger.db.set_progress_handler(None)
    assert steps < 20  # hundreds of instructions of SQLite's


def test_cancel_of_an_unknown_task_changes_nothing(make: Make) -> None:
    ledger = make(2)
    with pytest.raises(InvalidTask, match="t9"), ledger.moving():
        ledger.cancel(["t1", "t9"])
    assert ledger.count().cancelled == 0
    assert len(take(ledger)) == 2


def test_retry_makes_failed_tasks_ready_with_a_fresh_budget(make: Make) -> None:
    ledger = make(2)
    one, two = take(ledger)
    record(ledger, errored(one), ended(two))
    with ledger.moving():
        assert ledger.retry() == 1
    (again,) = take(ledger)
    assert (again.id, again.attempt) == ("t1", 2)
    record(ledger, ended(again))
    assert ledger.count().succeeded == 2


def test_retry_keeps_the_priority_that_a_task_came_with(make: Make) -> None:
    ledger = make(2)
    with ledger.moving():
        own = b'{"timeout": 3}'
        ledger.add([NewTask("low", b"{}", priority=-1), NewTask("high", b"{}", own, priority=5)])
    deliveries = take(ledger)
    record(ledger, *map(errored, deliveries))
    with ledger.moving():
        assert ledger.retry() == 4
    again = take(ledger)
    assert [d.id for d in again] == ["high", "t1", "t2", "low"]
    assert json.loads(again[0].options or b"")["timeout"] == 3


def test_a_death_counts_only_alone_and_three_of_them_fail_the_task(make: Make) -> None:
    ledger = make(1)
    take(ledger)
    for death in range(4):
        with ledger.moving():
            ledger.died([1], alone=death > 0)
        if death < 3:
            (delivery,) = take(ledger)
            assert delivery.alone
    assert ledger.task("t1").state is TaskState.FAILED  # type: ignore[union-attr]


def test_who_had_a_machine_to_himself_that_wanted_memory_has_run_out_of_it(make: Make) -> None:
    ledger = make(2)
    take(ledger)
    with ledger.moving():
        ledger.died([1], alone=True, starved=True)
        ledger.died([2], alone=False, starved=True)
    [attempt] = ledger.attempts("t1")
    assert attempt.outcome is Outcome.OUT_OF_MEMORY and b"more memory than it had" in attempt.value
    assert ledger.task("t1").state is TaskState.FAILED, "no retry was asked for"  # type: ignore[union-attr]
    [attempt] = ledger.attempts("t2")
    assert attempt.outcome is Outcome.INTERRUPTED
    assert [d.id for d in take(ledger) if d.alone] == ["t2"], "it may have been another one's fault: it runs alone"


def test_ids_that_are_used_twice_are_refused_and_nothing_is_added(make: Make) -> None:
    ledger = make(2)
    with pytest.raises(InvalidTask, match="'t2' is used twice"), ledger.moving():
        ledger.add([NewTask("new", b"{}"), NewTask("t2", b"{}")])
    with pytest.raises(InvalidTask, match="'x' is used twice"), ledger.moving():
        ledger.defer_index()
        ledger.add([NewTask("x", b"{}"), NewTask("x", b"{}")])
        ledger.index()
    assert ledger.count().total == 2
    assert [d.id for d in take(ledger)] == ["t1", "t2"]


def test_what_was_not_committed_is_forgotten_and_may_be_made_again(make: Make) -> None:
    ledger = make(3)
    with pytest.raises(ZeroDivisionError), ledger.moving():
        deliveries = ledger.take(2)
        ledger.record([ended(d) for d in deliveries])
        1 / 0  # noqa: B018
    assert ledger.counts == ledger.count()
    assert [d.id for d in take(ledger)] == ["t1", "t2", "t3"]


def test_another_process_goes_on_where_this_one_was_killed(make: Make) -> None:
    ledger = make(4, retry=RetryPolicy(retries=1))
    one, two, _three = take(ledger, 3)
    record(ledger, ended(one), errored(two))
    counts = ledger.counts
    ledger.db.close()
    again = Ledger.open(ledger.path)
    assert again.counts == counts
    with again.moving():
        assert again.interrupt() == 1
    assert {(d.id, d.attempt) for d in take(again)} >= {("t3", 2), ("t4", 1)}


def test_a_reader_sees_what_is_committed_while_the_writer_writes(make: Make) -> None:
    ledger = make(2)
    reader = Questions.read(ledger.path)
    deliveries = take(ledger)
    with ledger.moving():
        ledger.record([ended(d) for d in deliveries])
        assert reader.count().succeeded == 0
    assert reader.count().succeeded == 2
    assert [t.id for t in reader] == ["t1", "t2"]


def test_output_is_found_by_task_and_attempt(make: Make) -> None:
    ledger = make(1)
    where = Output(3, 0, 10, 20, 0, 5)
    record(ledger, ended(take(ledger)[0], output=where, agent="a1"))
    (attempt,) = ledger.attempts("t1")
    assert (attempt.agent, attempt.output, attempt.took) == ("a1", where, 0.5)


def test_a_newer_or_damaged_file_is_refused_in_one_sentence(make: Make, tmp_path: Path) -> None:
    ledger = make(1)
    ledger.close()
    db = apsw.Connection(str(ledger.path))
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StateError, match="newer Elsewhere"):
        Ledger.open(ledger.path)
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"not a database at all" * 400)
    with pytest.raises(StateError, match="damaged"):
        Questions.read(bad)
    with pytest.raises(StateError, match="no ledger"):
        Questions.read(tmp_path / "none.db")


def test_a_description_survives_the_file(make: Make) -> None:
    ledger = make(1, retry=RetryPolicy(retries=2, exit_codes=(1, 2)), timeout=timedelta(seconds=30), env={"A": "b"})
    ledger.close()
    assert Questions.read(ledger.path).spec == ledger.spec


def test_a_late_report_counts_while_its_number_is_current_and_nobody_else_has_the_task(make: Make) -> None:
    ledger = make(1)
    (first,) = take(ledger)
    with ledger.moving():
        ledger.interrupt([first.n])
    assert record(ledger, ended(first)) and ledger.counts.over


def test_a_late_failure_of_a_lost_attempt_spends_its_budget_once(make: Make, clock: Clock) -> None:
    ledger = make(1, retry=RetryPolicy(retries=1))
    (first,) = take(ledger)
    with ledger.moving():
        ledger.interrupt([first.n])
    record(ledger, errored(first))
    assert ledger.counts.waiting == 1
    record(ledger, errored(first))
    assert (ledger.counts.waiting, ledger.counts.refused) == (1, 1)


def test_tries_that_an_agent_made_by_itself_are_booked(make: Make) -> None:
    ledger = make(1, retry=RetryPolicy(retries=2))
    (first,) = take(ledger)
    record(ledger, errored(first, tries=3))
    assert ledger.counts.failed == 1


def _log(ledger: Ledger) -> Path:
    return ledger.path.with_name(ledger.path.name + "-wal")


def _hand_out_and_record(ledger: Ledger) -> None:
    record(ledger, ended(take(ledger, 1)[0]))


def test_small_commits_overwrite_room_that_was_made_before(make: Make) -> None:
    ledger = make(tasks=200)
    sizes = []
    for _ in range(200):
        _hand_out_and_record(ledger)
        sizes.append(_log(ledger).stat().st_size)
    assert len(set(sizes)) <= 12, "its log grows in large steps, not with each commit"


def test_a_log_with_room_at_its_end_is_read_as_it_was_committed(make: Make, tmp_path: Path) -> None:
    ledger = make(tasks=50)
    for _ in range(40):
        _hand_out_and_record(ledger)
    assert _log(ledger).read_bytes().endswith(bytes(4096))
    for part in ("", "-wal"):  # as a power cut would leave it: without the index of the log
        shutil.copy(f"{ledger.path}{part}", tmp_path / f"copy.db{part}")
    again = Ledger.open(tmp_path / "copy.db")
    assert again.count() == ledger.count() and again.count().succeeded == 40
    _hand_out_and_record(again)
    assert again.count().succeeded == 41


def test_the_log_is_folded_into_the_ledger_when_it_is_long(make: Make) -> None:
    ledger = make(tasks=1)
    body = json.dumps({"x": "y" * 2000}).encode()
    for k in range(12):
        with ledger.moving():
            ledger.add(NewTask(f"more-{k}-{j}", body) for j in range(400))
    assert _log(ledger).stat().st_size < 2 * CHECKPOINT * 4096
    assert ledger.path.stat().st_size > 6_000_000


def test_a_log_that_cannot_be_lengthened_does_no_harm(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    ledger = make(tasks=60)
    monkeypatch.setattr("elsewhere.ledger.room.os.write", full)
    for _ in range(60):
        _hand_out_and_record(ledger)
    assert ledger.count().succeeded == 60


def test_a_draft_is_on_the_disk_when_it_is_closed_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        "elsewhere.ledger.ledger.os.fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
    )
    spec = JobSpec("job-1", "one", Entry("function", "m:f"))
    made = Ledger.create(tmp_path / "ledger.db", spec, draft=True)
    with made.moving():
        made.add([NewTask("a", b"1")])
        assert made.db.execute("PRAGMA synchronous").fetchall() == [(0,)]
    assert not synced
    made.close()
    assert synced[0] == "ledger.db" and synced[-1] == tmp_path.name
    again = Ledger.open(tmp_path / "ledger.db")
    with again.moving():
        assert again.db.execute("PRAGMA synchronous").fetchall() == [(2,)]
    assert again.counts.total == 1
    again.close()
