"""Copies of a ledger in its log: whoever comes reads from the newest, and nothing that was promised rests on one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from elsewhere.errors import JobHeld, StateError, Unreachable
from elsewhere.ledger import bases
from elsewhere.ledger.bases import Bases, Head, Making
from elsewhere.ledger.closed import Closed
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask
from elsewhere.ship.box import Box
from elsewhere.stores import MemoryStore, Store

SPEC = JobSpec("job-1", "fit", Entry("function", "a:b"))


def never(_: float) -> None:
    """No waiting in tests."""


class Counting(MemoryStore):
    """Knows what was read, and dies before its call number `last`."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()
        self.calls, self.last = 0, 10**9

    def _call(self) -> None:
        self.calls += 1
        if self.calls >= self.last:
            raise Killed

    def get(self, key: str) -> bytes:
        self._call()
        self.read[key.partition("/")[0]] += 1
        return super().get(key)

    def put(self, key: str, data: bytes) -> None:
        self._call()
        super().put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        self._call()
        return super().create(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        self._call()
        super().delete(keys)


class Killed(BaseException):
    """kill -9."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a small copy has several parts."""
    monkeypatch.setattr(bases, "PART", 32 << 10)
    monkeypatch.setattr(bases, "INLINE", 0)


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def ledger(store: Counting, tmp_path: Path) -> Iterator[Ledger]:
    """Of a job with a log of twelve segments."""
    made = Ledger.create(tmp_path / "ledger.db", SPEC)
    with made.moving():
        made.add(NewTask(f"t{k}", b"{}") for k in range(300))
        made.complete()
    journal = Journal(store, never)
    journal.found(made)
    journal.attach(made)
    go_on(made, 12)
    yield made
    made.close()


def go_on(ledger: Ledger, commits: int) -> None:
    for _ in range(commits):
        with ledger.moving():
            ledger.take(1)


def read(store: Store, box: Box | None = None) -> Bases:
    found = Bases(Closed(store, never, box))
    found.deed()
    return found


def make(store: Store, ledger: Ledger, box: Box | None = None) -> Making:
    making = Making(read(store, box), ledger)
    for _ in making.steps():
        pass
    return making


def tale(ledger: Ledger) -> object:
    return ledger.count(), [(view.id, view.state, view.attempt) for view in ledger.tasks()], ledger.get("position")


def elsewhere(store: Store) -> Ledger:
    return Journal(store, never).restore(":memory:")


def test_whoever_comes_reads_the_newest_copy_and_what_was_appended_since(store: Counting, ledger: Ledger) -> None:
    make(store, ledger)
    go_on(ledger, 2)
    make(store, ledger)
    go_on(ledger, 3)
    store.read.clear()
    assert tale(elsewhere(store)) == tale(ledger)
    assert store.read["log"] == 1 + 3 + 1  # the deed, three segments, and none after them


def test_a_copy_has_what_was_committed_when_it_was_begun_whatever_goes_on_meanwhile(
    store: Counting, ledger: Ledger
) -> None:
    steps = Making(read(store), ledger).steps()
    next(steps)
    go_on(ledger, 1)
    for _ in steps:
        go_on(ledger, 1)
    assert read(store).newest()[0].position == 12
    assert tale(elsewhere(store)) == tale(ledger)


@pytest.mark.parametrize("call", range(1, 6))
def test_killed_at_any_call_the_log_is_as_good_as_before_and_the_next_copy_is_made(
    store: Counting, ledger: Ledger, call: int
) -> None:
    copies = read(store)
    store.last = store.calls + call
    try:
        for _ in Making(copies, ledger).steps():
            pass
        died = False
    except Killed:
        died = True
    assert died == (call <= 4), "two parts, a head, a look at the deed"
    store.last = 10**9
    assert tale(elsewhere(store)) == tale(ledger)
    go_on(ledger, 1)
    make(store, ledger)
    assert read(store).newest()[0].position == 13
    assert tale(elsewhere(store)) == tale(ledger)


def test_who_slept_finds_its_number_taken_however_many_copies_were_made_meanwhile(
    store: Counting, ledger: Ledger
) -> None:
    other = elsewhere(store)
    with other.moving():
        other.take_over()
    for _ in range(3):
        go_on(other, 5)
        make(store, other)
    with pytest.raises(JobHeld), ledger.moving():
        ledger.take(1)
    assert tale(elsewhere(store)) == tale(other)


def test_who_was_overtaken_while_it_made_a_copy_has_made_a_true_one(store: Counting, ledger: Ledger) -> None:
    steps = Making(read(store), ledger).steps()
    next(steps)
    other = elsewhere(store)
    with other.moving():
        other.take_over()
    for _ in steps:
        pass
    assert read(store).newest()[0].position == 12
    assert tale(elsewhere(store)) == tale(other)


def test_of_two_copies_of_the_same_number_one_stays(store: Counting, ledger: Ledger) -> None:
    first = make(store, ledger)
    second = make(store, ledger)
    assert read(store).newest()[0].token == first.token
    assert not list(store.list(f"base/{second.token}"))


def test_who_stops_on_the_way_leaves_nothing(store: Counting, ledger: Ledger) -> None:
    before = list(store.list())
    making = Making(read(store), ledger)
    next(making.steps())
    assert list(store.list()) != before
    making.withdraw()
    assert list(store.list()) == before
    assert not list(ledger.path.parent.glob(".base-*"))


def test_a_log_that_was_swept_meanwhile_gets_no_copy(store: Counting, ledger: Ledger) -> None:
    steps = Making(read(store), ledger).steps()
    next(steps)
    store.delete(list(store.list()))
    for _ in steps:
        pass
    assert list(store.list()) == []


def test_a_copy_of_the_log_that_lay_there_before_is_not_read(store: Counting, ledger: Ledger) -> None:
    make(store, ledger)
    stale = {key: store.get(key) for key in store.list(bases.BASE)}
    store.delete(list(store.list()))
    ledger.journal = None
    with ledger.moving():
        ledger.cancel(["t299"])
    Journal(store, never).found(ledger)
    for key, data in stale.items():
        store.put(key, data)
    assert elsewhere(store).count().cancelled == 1


def test_a_copy_that_somebody_else_made_or_moved_is_not_believed(tmp_path: Path) -> None:
    store, box = MemoryStore(), Box(bytes(32), "job-1")
    ledger, journal = Ledger.create(tmp_path / "ledger.db", SPEC), Journal(store, never, box)
    journal.found(ledger)
    journal.attach(ledger)
    go_on(ledger, 2)
    parts = list(store.list(f"{bases.BASE}{make(store, ledger, box).token}"))
    [head] = store.list(bases.AT)
    moved, good = f"{bases.AT}{99:012d}", store.get(head)
    store.put(moved, good)
    with pytest.raises(StateError, match="was not written by this job's owner"):
        Journal(store, never, box).restore(":memory:")
    store.delete([moved])
    part = store.get(parts[-1])
    for forged in (part[:-1] + bytes([part[-1] ^ 1]), store.get(parts[0]), b""):
        store.put(parts[-1], forged)
        with pytest.raises(StateError, match="was not written by this job's owner"):
            Journal(store, never, box).restore(":memory:")
    ledger.close()


def test_a_store_that_gives_no_answer_is_asked_again_with_the_same_bytes(store: Counting, ledger: Ledger) -> None:
    class Deaf(MemoryStore):
        lost = 0

        def create(self, key: str, data: bytes) -> bool:
            made = super().create(key, data)
            self.lost += 1
            if self.lost % 2:
                raise Unreachable("no answer")
            return made

    deaf = Deaf()
    deaf._objects = store._objects
    make(deaf, ledger)
    assert read(store).newest()[0].position == 12


def test_what_a_killed_process_left_beside_the_ledger_goes_with_the_next_copy(store: Counting, ledger: Ledger) -> None:
    left = ledger.path.parent / ".base-left"
    left.mkdir()
    (left / "ledger").write_bytes(b"half")
    make(store, ledger)
    assert not left.exists()


def test_another_copy_is_worth_it_once_the_segments_take_longer_to_read() -> None:
    small, large = Head(100, "a", 1, size=1 << 20), Head(100, "a", 1, size=bases.SEGMENT * 1000)
    assert not small.worth_another(99 + bases.LEAST) and small.worth_another(100 + bases.LEAST)
    assert not large.worth_another(1099) and large.worth_another(1100)
