"""A disk that is full, a directory that cannot be used: nothing is lost, and one sentence says what is wrong."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere import session
from elsewhere.errors import StateError
from elsewhere.ledger import tables
from elsewhere.ledger.ledger import Ledger
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask

HERE = Path(__file__).parent
WORK = f"{HERE / 'work.py'}:mark"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory on a disk of 12 MB of its own."""
    home = tmp_path / "small"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(home)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs root, to mount a small disk")
    monkeypatch.setenv("ELSEWHERE_HOME", str(home / "state"))
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def fill(home: Path) -> Path:
    filler = home / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def spec(place: Path, name: str = "disk", **more: Any) -> JobSpec:
    return JobSpec(
        ids.new("job"), name, Entry("function", WORK), slots=2, python=sys.executable, cwd=str(place), **more
    )


def tasks(place: Path, count: int, pause: float = 0.0) -> Iterator[NewTask]:
    marks = place / "marks"
    for k in range(count):
        yield NewTask(f"t{k}", f'{{"path": "{marks}", "line": "{k}", "pause": {pause}}}'.encode())


def test_a_full_disk_pauses_a_job_and_it_goes_on_once_there_is_room(small: Path, tmp_path: Path) -> None:
    files = session.create(spec(tmp_path), tasks(tmp_path, 3_000))
    filler: list[Path] = []
    notes: list[str] = []

    def watch(view: session.View) -> None:
        if not filler:
            filler.append(fill(small))
        elif view.note:
            notes.append(view.note)
            filler[0].unlink(missing_ok=True)

    counts = session.run_here(files, watch=watch)
    assert (counts.succeeded, counts.over) == (3_000, True)
    if notes:  # a fast machine may have been done before the disk was full
        assert "full" in notes[0]
    assert len(set((tmp_path / "marks").read_text().split())) == 3_000


def test_no_room_for_a_new_job_is_said_and_leaves_nothing(small: Path, tmp_path: Path) -> None:
    session.create(spec(tmp_path, "first"), tasks(tmp_path, 1))
    filler = fill(small)
    with pytest.raises((StateError, OSError)):
        session.create(spec(tmp_path), tasks(tmp_path, 50_000))
    filler.unlink()
    assert [f.open().spec.name for f in session.listing()] == ["first"]
    assert not list((small / "state" / "jobs").glob(".new-*"))


def test_a_state_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    env = {**os.environ, "ELSEWHERE_HOME": str(blocked / "state")}
    done = subprocess.run([sys.executable, "-m", "elsewhere", "jobs"], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not a directory" in done.stderr and "Traceback" not in done.stderr


def test_an_older_ledger_is_copied_then_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.create(path, spec(tmp_path))
    with ledger.moving():
        ledger.add([NewTask("a", b"{}")])
    ledger.close()
    monkeypatch.setattr(tables, "VERSION", tables.VERSION + 1)
    step = {tables.VERSION - 1: "ALTER TABLE events ADD COLUMN who TEXT"}
    monkeypatch.setattr(tables, "MIGRATIONS", step)
    again = Ledger.open(path)
    assert again.count().total == 1
    assert again.db.execute("SELECT who FROM events").fetchall() == []
    assert path.with_suffix(f".v{tables.VERSION - 1}").exists()
    again.close()
    Ledger.open(path).close()


@pytest.mark.slow
def test_two_jobs_share_the_slots_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    first = session.create(spec(tmp_path, "first"), tasks(tmp_path, 400, pause=0.02))
    second = session.create(spec(tmp_path, "second"), tasks(tmp_path, 40, pause=0.02))
    pid = session.detach(first)
    try:
        sizes: list[int] = []
        session.run_here(second, watch=lambda view: sizes.append(view.slots))
        assert 1 in sizes, f"the second job never gave way: {set(sizes)} {first.open().count()} {first.log.read_text()}"
        ledger = first.open()
        assert 0 < ledger.count().succeeded < 400, "the first job stood still, or had ended before the second began"
        ledger.close()
    finally:
        session.cancel(first)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
