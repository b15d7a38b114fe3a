"""The log: a commit is there first, a copy elsewhere becomes the same, and who was overtaken changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.errors import JobHeld, NotFound, StateError, Unreachable
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import NewTask
from elsewhere.stores import MemoryStore

SPEC = JobSpec("job-1", "fit", Entry("function", "a:b"))


def never(_: float) -> None:
    """No waiting in tests."""


def new(store: MemoryStore) -> Ledger:
    ledger, journal = Ledger.create(":memory:", SPEC), Journal(store, never)
    journal.found(ledger)
    journal.attach(ledger)
    with ledger.moving():
        ledger.add(NewTask(f"t{k}", b"{}") for k in range(3))
        ledger.complete()
    return ledger


def elsewhere(store: MemoryStore) -> Ledger:
    return Journal(store, never).restore(":memory:")


def finish(ledger: Ledger, n: int = 1, attempt: int = 1) -> None:
    with ledger.moving():
        ledger.record([Ended(n, attempt, Outcome.SUCCEEDED, 1.0, 1.0, Form.JSON, b"1")])


def test_a_copy_on_another_machine_becomes_the_same_by_the_log_alone() -> None:
    store = MemoryStore()
    ledger = new(store)
    with ledger.moving():
        ledger.take(2)
    finish(ledger)
    copy = elsewhere(store)
    assert copy.counts == ledger.counts and copy.count() == ledger.count()
    assert [v.state for v in copy.tasks()] == [v.state for v in ledger.tasks()]
    with copy.moving():
        assert [d.n for d in copy.take(5)] == [3]


def test_who_was_overtaken_is_told_and_its_file_is_as_before() -> None:
    store = MemoryStore()
    old = new(store)
    copy = elsewhere(store)
    with copy.moving():
        copy.take_over()
    with pytest.raises(JobHeld), old.moving():
        old.take(2)
    assert old.counts.handed_out == 0 and copy.counts.handed_out == 0


def test_a_commit_that_changes_nothing_still_finds_out_that_it_was_overtaken() -> None:
    store = MemoryStore()
    old = new(store)
    copy = elsewhere(store)
    with copy.moving():
        pass
    with pytest.raises(JobHeld), old.moving():
        pass


def test_killed_between_the_log_and_the_file_it_goes_on_from_the_log(tmp_path: Path) -> None:
    store = MemoryStore()

    class Killed(BaseException):
        pass

    class Deadly(Journal):
        def append(self, number: int, changes: bytes) -> None:
            super().append(number, changes)
            raise Killed

    ledger = new(store)
    Deadly(store, never).attach(ledger)
    with pytest.raises(Killed), ledger.moving():
        ledger.take(2)
    assert ledger.counts.handed_out == 0
    Journal(store, never).attach(ledger)
    assert ledger.counts.handed_out == 2


def test_a_lost_reply_of_the_store_is_asked_again_and_known_as_our_own() -> None:
    class Losing(MemoryStore):
        lost = 0

        def create(self, key: str, data: bytes) -> bool:
            made = super().create(key, data)
            self.lost += 1
            if self.lost % 2:
                raise Unreachable("no answer")
            return made

    ledger = new(Losing())
    with ledger.moving():
        ledger.take(1)
    assert ledger.count().handed_out == 1


def test_a_file_that_is_no_copy_of_the_log_is_refused() -> None:
    store = MemoryStore()
    new(store)
    stranger = Ledger.create(":memory:", SPEC)
    with stranger.moving():
        stranger.add([NewTask("other", b"{}")])
    with pytest.raises(StateError, match="not a copy"):
        Journal(store, never).attach(stranger)


def test_there_is_no_log_to_restore_from_an_empty_store() -> None:
    with pytest.raises(NotFound):
        elsewhere(MemoryStore())
