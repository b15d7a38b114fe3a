"""Output read from slots' files by the places that the ledger keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome
from elsewhere.observe.logs import Page, Source, Tail, pages, printed, running
from elsewhere.slot import wire
from observe.told import Told


def attempt(output: Output | None) -> Ended:
    return Ended(1, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.JSON, b"", output, "a1")


def write(slots: Path, name: str, data: bytes) -> None:
    path = slots / "a1" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("ab") as file:
        file.write(data)


def page(
    slots: Path, slot: int, *, n: int, doing: int = wire.RUNNING, places: tuple[int, int] = (0, 0), torn: int = 0
) -> None:
    data = wire.PAGE.pack(2, n, 1, doing, 30.0, *places, 0, 2 + torn)
    write(slots, f"{slot}.page", data.ljust(wire.PAGE_SIZE, b"\0"))


def test_an_attempt_has_just_its_own_bytes(tmp_path: Path) -> None:
    write(tmp_path, "0.2.out", b"before\x00mine\xffafter")
    write(tmp_path, "0.2.err", b"err")
    ended = attempt(Output(0, 2, 6, 12, 1, 3))

    assert b"".join(printed(tmp_path, ended, "out")) == b"\x00mine\xff"
    assert b"".join(printed(tmp_path, ended, "err")) == b"rr"


def test_an_attempt_without_output_or_whose_files_are_gone_has_none(tmp_path: Path) -> None:
    assert list(printed(tmp_path, attempt(None), "out")) == []
    assert list(printed(tmp_path, attempt(Output(0, 0, 0, 9, 0, 0)), "out")) == []


def test_large_output_comes_in_pieces(tmp_path: Path) -> None:
    write(tmp_path, "0.0.out", b"x" * 3_000_000)

    pieces = list(printed(tmp_path, attempt(Output(0, 0, 10, 3_000_000, 0, 0)), "out"))

    assert sum(map(len, pieces)) == 2_999_990
    assert max(map(len, pieces)) <= 256 * 1024


def test_a_tail_gives_each_byte_once_and_new_files_from_their_beginning(tmp_path: Path) -> None:
    write(tmp_path, "0.0.out", b"one")
    tail = Tail(tmp_path)
    assert list(tail.read()) == [(Source("a1", 0, 0, "out"), b"one")]
    assert list(tail.read()) == []

    write(tmp_path, "0.0.out", b"two")
    write(tmp_path, "1.0.err", b"three")

    assert list(tail.read()) == [(Source("a1", 0, 0, "out"), b"two"), (Source("a1", 1, 0, "err"), b"three")]


def test_a_tail_of_nothing_yet_waits_for_it(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "slots")
    assert list(tail.read()) == []

    write(tmp_path / "slots", "0.0.out", b"x")

    assert [piece for _, piece in tail.read()] == [b"x"]


def test_a_tail_from_now_begins_where_running_tasks_do(tmp_path: Path) -> None:
    write(tmp_path, "0.0.out", b"oldrunning")
    write(tmp_path, "1.0.out", b"old")
    page(tmp_path, 0, n=7, places=(3, 0))
    page(tmp_path, 1, n=8, doing=wire.IDLE)

    tail = Tail.from_now(tmp_path, ["out"])

    assert [piece for _, piece in tail.read()] == [b"running"]


def test_pages_tell_what_runs(tmp_path: Path) -> None:
    page(tmp_path, 0, n=7, places=(3, 4))
    page(tmp_path, 1, n=8, doing=wire.IDLE)
    page(tmp_path, 2, n=9, torn=1)  # is being written just now, for ever
    write(tmp_path, "3.page", b"short")

    assert pages(tmp_path) == [Page("a1", 0, 0, 7, 1, 3, 4, 30.0)]


def test_what_runs_is_what_pages_say_and_the_ledger_has_handed_out(tmp_path: Path, told: Callable[..., Told]) -> None:
    job = told(3)
    job.take(2)
    page(tmp_path, 0, n=1)
    page(tmp_path, 1, n=3)  # left behind by a slot that died: nobody has handed this out

    assert running(job.ledger, tmp_path, 42.0) == [("t1", 12.0)]
