"""A job whose program fed it call by call, and is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask


@pytest.mark.parametrize("tasks", [0, 2])
def test_whoever_resumes_it_ends_it_when_its_tasks_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: int
) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path))
    spec = JobSpec(ids.new("job"), "calls", Entry("command", command=("true",)))
    files = session.create(spec, [NewTask(f"t{k}", b"null") for k in range(tasks)], complete=False)
    counts = session.run_here(files)
    assert counts.over and counts.succeeded == tasks
