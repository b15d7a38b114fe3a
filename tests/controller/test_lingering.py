"""A job that lingers: it takes more tasks while it runs, and ends by itself when nobody brings any."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.errors import InvalidTask
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask
from elsewhere.session import JobFiles
from sandbox.cloud import until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "s"))
    yield tmp_path


def task(name: str) -> NewTask:
    return NewTask(name, b"null", json.dumps({"command": ["true"]}).encode())


def job(home: Path, linger: float) -> JobFiles:
    spec = JobSpec(ids.new("job"), "kept", Entry("command"), python=sys.executable, cwd=str(home),
                   linger=timedelta(seconds=linger))  # fmt: skip
    return session.create(spec, [task("a")], complete=False)


def succeeded(files: JobFiles) -> int:
    with closing(files.open()) as ledger:
        return int(ledger.count().succeeded)


def wait(files: JobFiles, count: int) -> None:
    until(lambda: succeeded(files) == count, f"{count} have succeeded")


def test_it_takes_more_while_it_lingers_and_then_ends(home: Path) -> None:
    files = job(home, 600)
    session.detach(files)
    wait(files, 1)
    assert session.holder(files) is not None, "it waits for more"
    assert session.hand(files, [task("b"), task("c")]) == 2
    wait(files, 3)
    with pytest.raises(InvalidTask, match="'b' is in the job already"):
        session.hand(files, [task("b")])
    session.cancel(files)
    until(lambda: session.holder(files) is None, "a job that is cancelled does not linger")
    with closing(files.open()) as ledger:
        assert ledger.count().complete


def test_it_ends_when_it_has_waited_long_enough(home: Path) -> None:
    files = job(home, 0.2)
    assert session.run_here(files).over
    with closing(files.open()) as ledger:
        assert ledger.count().complete


def test_where_nobody_runs_it_what_is_handed_is_run(home: Path) -> None:
    files = job(home, 0)
    assert session.hand(files, [task("b")]) == 1
    wait(files, 2)
