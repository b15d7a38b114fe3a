"""The log: a commit is there first, a copy elsewhere becomes the same, and who was overtaken changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.errors import JobHeld, NotFound, PlaceError, StateError, Unreachable
from elsewhere.ledger import bases
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import NewTask
from elsewhere.ship.box import Box
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


def finish_first(ledger: Ledger) -> None:
    with ledger.moving():
        ledger.take(1)
    finish(ledger)


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


# --- the base -------------------------------------------------------------------------------------------------------


def full(path: Path, tasks: int = 3) -> Ledger:
    """A job as it was submitted, before there is a log."""
    ledger = Ledger.create(path, SPEC)
    with ledger.moving():
        ledger.add(NewTask(f"t{k}", b"{}") for k in range(tasks))
        ledger.complete()
    return ledger


def test_tasks_that_were_there_before_the_log_are_in_its_base(tmp_path: Path) -> None:
    store = MemoryStore()
    ledger = full(tmp_path / "ledger.db")
    Journal(store, never).found(ledger)
    Journal(store, never).attach(ledger)
    finish_first(ledger)
    copy = Journal(store, never).restore(tmp_path / "copy.db")
    assert copy.count() == ledger.count() and copy.count().succeeded == 1
    assert [view.id for view in copy.tasks()] == ["t0", "t1", "t2"]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    ledger.close()
    copy.close()


def test_a_large_base_goes_up_in_parts_of_which_one_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "PART", 64 << 10)
    store = MemoryStore()
    ledger = full(tmp_path / "ledger.db", 20_000)
    Journal(store, never, Box(bytes(32), "job-1")).found(ledger)
    parts = list(store.list("base/"))
    assert len(parts) > 5 and max(len(store.get(key)) for key in parts) < (64 << 10)
    copy = Journal(store, never, Box(bytes(32), "job-1")).restore(tmp_path / "copy.db")
    assert copy.count() == ledger.count() and copy.task("t19999") is not None
    ledger.close()
    copy.close()


def test_killed_before_the_log_is_founded_it_is_founded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    class Deadly(MemoryStore):
        def create(self, key: str, data: bytes) -> bool:
            raise Killed

    monkeypatch.setattr(bases, "INLINE", 0)
    store, ledger = Deadly(), full(tmp_path / "ledger.db")
    with pytest.raises(Killed):
        Journal(store, never).found(ledger)
    with ledger.moving():
        ledger.cancel(["t2"])
    again = MemoryStore()
    again._objects = store._objects
    Journal(again, never).found(ledger)
    copy = Journal(again, never).restore(":memory:")
    assert copy.count().cancelled == 1
    ledger.close()


def test_a_copy_that_is_older_than_the_base_or_younger_than_the_log_is_told(tmp_path: Path) -> None:
    store = MemoryStore()
    ledger = new(store)
    with ledger.moving():
        ledger.take(1)
    position = int(ledger.get("position"))
    journal = Journal(store, never)
    assert journal.reaches(position) and journal.reaches(1) and not journal.reaches(position + 1)
    store.delete(list(store.list()))
    journal.found(ledger)
    assert journal.reaches(position) and not journal.reaches(position - 1)


# --- what is in no segment ------------------------------------------------------------------------------------------


def test_news_are_in_no_segment_and_a_copy_goes_on_all_the_same() -> None:
    store = MemoryStore()
    ledger = new(store)
    before = len(list(store.list("log/")))
    for busy in range(3):
        with ledger.moving(sync=False, logged=False):
            ledger.news("live", {"busy": busy})
    assert len(list(store.list("log/"))) == before and ledger.live() == {"busy": 2}
    with ledger.moving():
        ledger.take(1)
        ledger.news("live", {"busy": 7})
    copy = elsewhere(store)
    assert copy.live() == {} and copy.counts == ledger.counts
    with copy.moving():
        copy.news("live", {"busy": 1})
        copy.take(1)
    Journal(store, never).attach(ledger)
    assert ledger.live() == {"busy": 7} and ledger.counts.handed_out == 2


# --- who wrote it ---------------------------------------------------------------------------------------------------


def boxed(store: MemoryStore, key: bytes = bytes(32)) -> Journal:
    return Journal(store, never, Box(key, "job-1"))


def test_what_the_owner_did_not_write_is_refused_wherever_it_stands() -> None:
    store = MemoryStore()
    ledger = Ledger.create(":memory:", SPEC)
    boxed(store).found(ledger)
    boxed(store).attach(ledger)
    for _ in range(2):
        with ledger.moving():
            ledger.note("it goes on")
    first, second, third = (f"log/{n:012d}" for n in (1, 2, 3))
    good = store.get(second)
    stranger = MemoryStore()
    boxed(stranger, b"k" * 32).append(2, b"")
    plain = MemoryStore()
    Journal(plain, never).append(2, b"")
    for forged in (store.get(first), good[:-1] + bytes([good[-1] ^ 1]), b"", stranger.get(second), plain.get(second)):
        store.put(second, forged)
        with pytest.raises(StateError, match="was not written by this job's owner"):
            boxed(store).restore(":memory:")
    store.put(second, good)
    assert boxed(store).restore(":memory:").get("position") == 2
    store.put(third, good)
    with pytest.raises(StateError, match="was not written by this job's owner"), ledger.moving():
        ledger.note("its number was taken by a stranger")
    store.delete([third])
    with ledger.moving():
        ledger.note("and is free again")
    assert boxed(store).restore(":memory:").get("position") == 3


def test_the_log_shows_nobody_what_the_job_is_about() -> None:
    store = MemoryStore()
    ledger = Ledger.create(":memory:", SPEC)
    boxed(store).found(ledger)
    boxed(store).attach(ledger)
    with ledger.moving():
        ledger.add([NewTask("a-telling-name", b"{}")])
    assert not any(b"telling" in data for data in store._objects.values())


# --- a store that is away, a log that is gone -----------------------------------------------------------------------


class Away(MemoryStore):
    """Gives no answer for so many calls; `made` says whether they have their effect."""

    def __init__(self, made: bool) -> None:
        super().__init__()
        self.left, self.made = 0, made
        self.tried: list[bytes] = []

    def create(self, key: str, data: bytes) -> bool:
        self.tried.append(data)
        if self.left:
            self.left -= 1
            if self.made:
                super().create(key, data)
            raise Unreachable("no answer")
        return super().create(key, data)


@pytest.mark.parametrize("made", [False, True])
def test_a_store_that_is_away_is_waited_for_and_asked_with_the_same_bytes(made: bool) -> None:
    store = Away(made)
    ledger = new(store)
    store.left, store.tried = 50, []
    told: list[str] = []

    def endure(error: PlaceError) -> bool:
        told.append(error.message)
        return True

    ledger.journal.closed.endure = endure  # type: ignore[union-attr]
    with ledger.moving():
        ledger.take(1)
    assert told and set(told) == {"no answer"} and len(set(store.tried)) == 1
    assert elsewhere(store).counts == ledger.counts and ledger.counts.handed_out == 1


@pytest.mark.parametrize("made", [False, True])
def test_who_waits_no_longer_writes_nothing_more_and_whoever_resumes_finds_out(made: bool) -> None:
    store = Away(made)
    ledger = new(store)
    store.left = 50
    with pytest.raises(Unreachable), ledger.moving():
        ledger.take(1)
    store.left = 0
    with pytest.raises(Unreachable), ledger.moving():  # other bytes under that number would look like another's
        ledger.take(2)
    Journal(store, never).attach(ledger)
    assert ledger.counts.handed_out == (1 if made else 0)
    with ledger.moving():
        ledger.take(1)
    assert elsewhere(store).counts == ledger.counts


def test_a_number_that_is_free_because_the_log_was_swept_is_not_ours(tmp_path: Path) -> None:
    store, now = MemoryStore(), [0.0]
    ledger = Ledger.create(":memory:", SPEC)
    journal = Journal(store, never, clock=lambda: now[0])
    journal.found(ledger)
    assert journal.reaches(0)
    journal.attach(ledger)
    with ledger.moving():
        ledger.note("it goes on")
    store.delete(list(store.list()))
    now[0] += 60
    with pytest.raises(JobHeld, match="swept"):
        journal.check(2)
    with pytest.raises(JobHeld, match="swept"):
        journal.append(2, b"")
    assert list(store.list()) == []
    Journal(store, never).found(Ledger.create(":memory:", SPEC))  # and begun anew, by somebody else
    with pytest.raises(JobHeld, match="swept"), ledger.moving():
        ledger.note("it goes on")
    assert len(list(store.list())) == 1
