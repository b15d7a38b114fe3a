"""A state directory on a network file system: the live ledger lies on this host's disk, a copy and a pointer beside."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.controller import directory
from elsewhere.controller import files as job_files
from elsewhere.errors import InvalidTask, JobHeld
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state directory counts as a network's; the local disk is a directory of the test's own."""
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    local = tmp_path / "disk"
    local.mkdir()
    monkeypatch.setattr(directory, "is_network", lambda path: True)
    monkeypatch.setattr(directory, "local_directory", lambda job: _made(local / job))
    yield local


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def make(names: list[str]) -> session.JobFiles:
    spec = JobSpec(ids.new("job"), "far-home", Entry("function", "math:sqrt"), slots=1, python=sys.executable, cwd="/")
    return session.create(spec, [NewTask(name, b"{}") for name in names])


def test_the_live_ledger_is_local_and_a_copy_is_left_beside_its_job(disk: Path) -> None:
    files = make(["a", "b"])
    assert files.ledger == disk / files.id / "ledger.db"
    assert not (files.directory / "ledger.db").exists()
    session.run_here(files)
    assert files.open().count().failed == 2
    assert files.copy.exists()


def test_another_host_reads_the_copy_and_may_change_nothing(disk: Path) -> None:
    files = make(["a"])
    session.run_here(files)
    where = files.directory / "where"
    where.write_text(json.dumps({**json.loads(where.read_text()), "host": "node7"}))
    shutil.rmtree(disk)
    assert files.open().count().failed == 1
    for change in (session.run_here, session.retry):
        with pytest.raises(JobHeld, match="node7"):
            change(files)


def test_a_job_that_is_refused_or_removed_leaves_nothing_on_the_disk(disk: Path) -> None:
    with pytest.raises(InvalidTask):
        make(["a", "a"])
    assert list(disk.iterdir()) == []
    files = make(["a"])
    session.remove(files)
    assert list(disk.iterdir()) == []


def test_the_local_directory_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    path = job_files.local_directory("job-test")
    try:
        assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        path.rmdir()
