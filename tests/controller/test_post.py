"""What is asked of a seat in a corner of a store, what it answers there, and how its job comes home."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.controller import directory, homecoming, sitter
from elsewhere.controller.post import ENDED, Post
from elsewhere.errors import StateError
from elsewhere.ledger.closed import Closed
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.views import SEAT
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask
from elsewhere.ship.box import Box
from elsewhere.stores import DirectoryStore

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def post(store: DirectoryStore) -> Post:
    return Post(store, KEY, "seat-1")


def test_asks_have_numbers_of_their_own_also_when_they_are_made_at_once(post: Post, store: DirectoryStore) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(post.ask(b"x"))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(found) == list(range(1, 9))
    post.forget(8)
    assert post.ask(b"y") == 9
    assert post.asked(9) == b"y" and post.asked(10) is None


def test_what_was_not_asked_by_who_hired_the_seat_is_not_done(post: Post, store: DirectoryStore) -> None:
    Post(store, bytes(32), "seat-1").ask(b"rm")
    with pytest.raises(StateError, match="is not believed"):
        post.asked(1)
    post.ask(b"status")
    store.put("asks/00000003", store.get("asks/00000002"))
    with pytest.raises(StateError, match="is not believed"):
        post.asked(3)  # the same words under another number
    assert b"status" not in store.get("asks/00000002")


class Asked(Iterator[tuple[int, bytes]]):
    """The words of an answer, as they are told."""

    def __init__(self, post: Post, number: int) -> None:
        self.words = (word for piece in range(1, 1000) for word in post.told(number, piece) or ())

    def __next__(self) -> tuple[int, bytes]:
        return next(self.words)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a seat whose package `elsewhere.cli.there` is ours, and whose environment is `base/we.env`."""
    made = tmp_path / "base"
    (made / "work" / "w").mkdir(parents=True)
    (made / "we.env" / "bin").mkdir(parents=True)
    python = made / "we.env" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "$TEXT"\n')
    python.chmod(0o700)
    return made


def answered(
    post: Post, base: Path, text: str, monkeypatch: pytest.MonkeyPatch, ending: threading.Event | None = None
) -> threading.Thread:
    monkeypatch.setenv("TEXT", text)
    number = post.ask(b"{}")
    one = sitter.Answer(post, number, b"{}", base, base / "we.env" / "bin" / "python", ending or threading.Event())
    thread = threading.Thread(target=one.run)
    thread.start()
    return thread


def test_what_is_ended_together_with_its_seat_has_no_status_so_that_it_is_asked_again(
    post: Post, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, ending = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)", threading.Event()
    monkeypatch.setattr(sitter, "TOLD_TOO", 0.0)
    answered(post, base, text, monkeypatch, ending).join(60)
    assert list(Asked(post, 1))[-1] == (ENDED, b"143")
    ending.set()
    answered(post, base, text, monkeypatch, ending).join(60)
    assert post.told(2, 1) is None


def test_an_answer_is_what_was_printed_and_its_status(post: Post, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import sys; sys.stderr.write('bad'); print('x' * 5_000_000); sys.exit(7)"
    answered(post, base, text, monkeypatch).join(60)
    words = list(Asked(post, 1))
    assert b"".join(data for stream, data in words if stream == 1) == b"x" * 5_000_000 + b"\n"
    assert b"".join(data for stream, data in words if stream == 2) == b"bad"
    assert words[-1] == (ENDED, b"7")


@pytest.mark.parametrize("gone", [True, False])
def test_who_is_not_waited_for_any_more_is_interrupted(
    post: Post, base: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    monkeypatch.setattr(sitter, "HEED", (0.1, 0.2))
    monkeypatch.setattr(sitter, "ABSENT", 0.5 if gone else 1000.0)
    thread = answered(post, base, "import sys; sys.stdin.readline(); sys.stdin.read(); sys.exit(130)", monkeypatch)
    if not gone:
        post.leave(1)
    thread.join(60)
    assert list(Asked(post, 1)) == [(ENDED, b"130")]


def test_a_job_comes_home_as_it_was_and_only_whole(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homecoming, "PIECE", 10_000)
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "there"))
    files = session.create(JobSpec(ids.new("job"), "fit", Entry("call")), [NewTask("t", b"1")])
    (files.directory / "slots").mkdir(exist_ok=True)
    (files.directory / "slots" / "out").write_bytes(big := os.urandom(50_000))
    (files.directory / "control").write_text("of a controller")
    ledger = Ledger.open(files.ledger)
    with ledger.moving():
        ledger.set(SEAT, {"name": "t", "zone": "z", "price": "1", "term": 7200, "born": 1000.0})
    ledger.close()
    closed = Closed(store, box=Box(KEY, "seat-1"))
    assert homecoming.head(closed) is None
    homecoming.put(closed, [files], 4600.0)
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "here"))
    [found] = homecoming.head(closed) or []
    assert found.pieces > 4
    missing = f"kept/{files.id}/00000002"
    piece = store.get(missing)
    store.delete([missing])
    with pytest.raises(Exception, match=missing):
        homecoming.bring(closed, found)
    assert directory.listing() == []
    store.put(missing, piece)
    for _ in range(2):
        came = homecoming.bring(closed, found)
        assert session.find("fit").id == files.id == came.id
        assert (came.directory / "slots" / "out").read_bytes() == big and not came.control.exists()
    ledger = Ledger.open(came.ledger)
    assert ledger.count().total == 1 and ledger.get(SEAT, {})["ended"] == 4600.0
    ledger.close()


@pytest.mark.slow
def test_at_the_end_of_its_term_a_seat_stops_what_goes_on_puts_it_away_and_says_why(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a job whose task runs, then it comes home unfinished, with its reason."""
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "base" / "home"))
    spec = JobSpec(ids.new("job"), "long", Entry("command", "", ("sleep", "600"), "sleep"), cwd=str(tmp_path))
    files = session.create(spec, [NewTask("t", b"null")])
    session.detach(files)
    clock = iter(float(n) for n in range(1000))
    one = sitter.Sitter(post, tmp_path / "base", Path(sys.executable), 100.0, 1000.0, clock=lambda: next(clock))
    monkeypatch.setattr(sitter, "LOOK", (0.01, 0.01))
    monkeypatch.setattr(one, "_wait", 0.01)
    assert one.run() == "its term is over"
    one.put_away()
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "here"))
    [came] = [homecoming.bring(post.closed, found) for found in homecoming.head(post.closed) or []]
    ledger = Ledger.open(came.ledger)
    told = [event.about for event in ledger.events() if event.kind == "told to stop"]
    counts = ledger.count()
    ledger.close()
    assert told == [sitter.TERM] and (counts.total, counts.ended) == (1, 0)
