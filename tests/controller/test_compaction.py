"""Copies of a ledger are made beside the controller's work: nothing waits for them, and none is left half made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.controller.compaction import LOOK, Compaction
from elsewhere.errors import Unreachable
from elsewhere.ledger import bases
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.stores import MemoryStore
from elsewhere.testing.fake import FakeClock


class Slow(MemoryStore):
    """A part of a copy takes until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go, self.deaf = threading.Event(), threading.Event(), False
        self.go.set()

    def put(self, key: str, data: bytes) -> None:
        self.asked.set()
        assert self.go.wait(60)
        if self.deaf:
            raise Unreachable("no answer")
        super().put(key, data)


class Scene:
    """A job whose log has come as far as is worth a copy."""

    def __init__(self, path: Path) -> None:
        self.store, self.clock = Slow(), FakeClock()
        self.ledger = Ledger.create(path / "ledger.db", JobSpec("job-1", "fit", Entry("function", "a:b")))
        self.journal = Journal(self.store)
        self.journal.found(self.ledger)
        self.journal.attach(self.ledger)
        self.compaction = Compaction(self.ledger, self.journal, self.clock)
        self.store.asked.clear()

    def go_on(self, commits: int) -> None:
        for _ in range(commits):
            with self.ledger.moving():
                self.ledger.note("it goes on")

    def turn(self) -> None:
        self.clock.advance(LOOK)
        self.compaction.turn()

    def wait(self) -> None:
        """For the copy that is under way."""
        if self.compaction._thread is not None:
            self.compaction._thread.join(60)

    def newest(self) -> int:
        return self.journal.copies(lambda _: None).newest()[0].position


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(bases, "LEAST", 4)
    monkeypatch.setattr(bases, "SEGMENT", 1 << 20)
    monkeypatch.setattr(bases, "INLINE", 0)
    made = Scene(tmp_path)
    yield made
    made.store.go.set()
    made.compaction.close()
    made.ledger.close()


def test_a_short_job_is_never_looked_at(scene: Scene) -> None:
    scene.go_on(3)
    scene.turn()
    assert scene.compaction._thread is None


def test_a_copy_is_made_while_the_controller_goes_on(scene: Scene) -> None:
    scene.go_on(4)
    scene.store.go.clear()
    scene.turn()
    assert scene.store.asked.wait(60)
    scene.go_on(3)
    scene.turn()
    scene.store.go.set()
    scene.wait()
    assert scene.newest() == 4
    scene.go_on(1)
    scene.turn()
    scene.wait()
    assert scene.newest() == 8
    copy = Journal(scene.store).restore(":memory:")
    assert [event.kind for event in copy.events()] == ["it goes on"] * 8


def test_after_a_resume_it_is_the_log_that_says_how_far_the_last_copy_goes(scene: Scene) -> None:
    scene.go_on(4)
    scene.turn()
    scene.wait()
    scene.go_on(2)
    scene.compaction = Compaction(scene.ledger, scene.journal, scene.clock)
    scene.turn()
    scene.wait()
    assert scene.newest() == 4


def test_who_ends_leaves_nothing_half_made(scene: Scene) -> None:
    before = list(scene.store.list(bases.BASE))
    scene.go_on(4)
    scene.store.go.clear()
    scene.turn()
    assert scene.store.asked.wait(60)
    ends = threading.Thread(target=scene.compaction.close)
    ends.start()
    assert scene.compaction._stop.wait(60)
    scene.store.go.set()
    ends.join(60)
    assert list(scene.store.list(bases.BASE)) == before
    scene.go_on(8)
    scene.turn()
    assert scene.compaction._thread is not None and not scene.compaction._thread.is_alive()


def test_a_store_without_answers_hinders_nobody_and_it_is_tried_again_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.compaction._stop, "wait", lambda seconds: False)
    scene.go_on(4)
    scene.store.deaf = True
    scene.turn()
    scene.wait()
    assert scene.newest() == 0
    scene.store.deaf = False
    scene.turn()
    scene.wait()
    assert scene.newest() == 0, "it is not tried at every look"
    scene.go_on(4)
    scene.turn()
    scene.wait()
    assert scene.newest() == 8
