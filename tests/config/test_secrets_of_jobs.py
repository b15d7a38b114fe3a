"""A secret reaches the task, and nothing that is written down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask


def test_a_secret_reaches_the_task_and_no_file_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MY_TOKEN", "open-sesame-4711")
    seen = tmp_path / "seen"
    code = f"import os, pathlib; pathlib.Path({str(seen)!r}).write_text(os.environ['TOKEN'])"
    spec = JobSpec(
        id=ids.new("job"), name="secret", entry=Entry("command", "", (sys.executable, "-c", code)),
        python=sys.executable, cwd=str(tmp_path), secrets={"TOKEN": "env:MY_TOKEN"},
    )  # fmt: skip
    files = session.create(spec, [NewTask("1", b"null")])
    counts = session.run_here(files)
    assert counts.succeeded == 1
    assert seen.read_text() == "open-sesame-4711"
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or b"open-sesame" not in path.read_bytes(), path
