"""Output read from slots' files by the places that the ledger keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome
from elsewhere.observe.logs import Disk, Page, Source, Tail, printed, running
from elsewhere.slot import wire
from observe.told import Told


def attempt(output: Output | None) -> Ended:
    return Ended(1, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.JSON, b"", output, "a1")


def write(job: Path, name: str, data: bytes) -> None:
    path = job / "slots" / "a1" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("ab") as file:
        file.write(data)


def page(
    job: Path, slot: int, *, n: int, doing: int = wire.RUNNING, places: tuple[int, int] = (0, 0), torn: int = 0
) -> None:
    data = wire.PAGE.pack(2, n, 1, doing, 30.0, *places, 0, 2 + torn)
    write(job, f"{slot}.page", data.ljust(wire.PAGE_SIZE, b"\0"))


def test_an_attempt_has_just_its_own_bytes(tmp_path: Path) -> None:
    write(tmp_path, "0.2.out", b"before\x00mine\xffafter")
    write(tmp_path, "0.2.err", b"err")
    ended = attempt(Output(0, 2, 6, 12, 1, 3))

    assert b"".join(printed(Disk(tmp_path), ended, "out")) == b"\x00mine\xff"
    assert b"".join(printed(Disk(tmp_path), ended, "err")) == b"rr"


def test_an_attempt_without_output_or_whose_files_are_gone_has_none(tmp_path: Path) -> None:
    assert list(printed(Disk(tmp_path), attempt(None), "out")) == []
    assert list(printed(Disk(tmp_path), attempt(Output(0, 0, 0, 9, 0, 0)), "out")) == []


def test_large_output_comes_in_pieces(tmp_path: Path) -> None:
    write(tmp_path, "0.0.out", b"x" * 3_000_000)

    pieces = list(printed(Disk(tmp_path), attempt(Output(0, 0, 10, 3_000_000, 0, 0)), "out"))

    assert sum(map(len, pieces)) == 2_999_990
    assert max(map(len, pieces)) <= 256 * 1024


def test_a_tail_gives_each_byte_once_and_new_files_from_their_beginning(tmp_path: Path) -> None:
    write(tmp_path, "0.0.out", b"one")
    tail = Tail(Disk(tmp_path))
    assert list(tail.read()) == [(Source("a1", 0, 0, "out"), b"one")]
    assert list(tail.read()) == []

    write(tmp_path, "0.0.out", b"two")
    write(tmp_path, "1.0.err", b"three")

    assert list(tail.read()) == [(Source("a1", 0, 0, "out"), b"two"), (Source("a1", 1, 0, "err"), b"three")]


def test_a_tail_of_nothing_yet_waits_for_it(tmp_path: Path) -> None:
    tail = Tail(Disk(tmp_path / "job"))
    assert list(tail.read()) == []

    write(tmp_path / "job", "0.0.out", b"x")

    assert [piece for _, piece in tail.read()] == [b"x"]


def test_a_tail_from_now_begins_where_running_tasks_do(tmp_path: Path) -> None:
    write(tmp_path, "0.0.out", b"oldrunning")
    write(tmp_path, "1.0.out", b"old")
    page(tmp_path, 0, n=7, places=(3, 0))
    page(tmp_path, 1, n=8, doing=wire.IDLE)

    tail = Tail.from_now(Disk(tmp_path), ["out"])

    assert [piece for _, piece in tail.read()] == [b"running"]


def test_pages_tell_what_runs(tmp_path: Path) -> None:
    page(tmp_path, 0, n=7, places=(3, 4))
    page(tmp_path, 1, n=8, doing=wire.IDLE)
    page(tmp_path, 2, n=9, torn=1)  # is being written just now, for ever
    write(tmp_path, "3.page", b"short")

    assert Disk(tmp_path).pages() == [Page("a1", 0, 0, 7, 1, 3, 4, 30.0)]


def test_what_runs_is_what_pages_say_and_the_ledger_has_handed_out(tmp_path: Path, told: Callable[..., Told]) -> None:
    job = told(3)
    job.take(2)
    page(tmp_path, 0, n=1)
    page(tmp_path, 1, n=3)  # left behind by a slot that died: nobody has handed this out

    assert running(job.ledger, Disk(tmp_path), 42.0) == [("t1", 12.0)]


def test_what_agents_of_their_own_printed_is_read_where_it_lies(tmp_path: Path) -> None:
    place = tmp_path / "agents" / "m-1.0" / "slots" / "m-1.0"
    shelf = Disk(tmp_path)
    tail = Tail(shelf)
    assert list(tail.read()) == []

    place.mkdir(parents=True)
    (place / "0.1.out").write_bytes(b"before, mine")
    (place / "0.page").write_bytes(wire.PAGE.pack(2, 7, 1, wire.RUNNING, 30.0, 8, 0, 1, 2).ljust(wire.PAGE_SIZE, b"\0"))
    ended = attempt(Output(0, 1, 8, 12, 0, 0))._replace(agent="m-1.0")

    assert list(tail.read()) == [(Source("m-1.0", 0, 1, "out"), b"before, mine")]
    assert b"".join(printed(shelf, ended, "out")) == b"mine"
    assert shelf.pages() == [Page("m-1.0", 0, 1, 7, 1, 8, 0, 30.0)]
