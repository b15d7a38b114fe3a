"""The fence, with real slots: outcomes that come a second time change nothing.

A controller that dies between the commit of what it recovered and the removal of the files it recovered it from leaves
those files to the next one. Shown to go red: without the check of number and state in ledger/record.py
(`_record_other`, before `_refuse`), the first attempts' failures are counted again, and the job that was over is not.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask, RetryPolicy

WORK = f"{Path(__file__).parent / 'work.py'}:second_time_lucky"
TASKS = 60


def test_outcomes_that_are_found_again_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    retry = RetryPolicy(1, delay=timedelta(0))
    spec = JobSpec(
        ids.new("job"), "fence", Entry("function", WORK), slots=2, python=sys.executable, cwd="/", retry=retry
    )
    files = session.create(spec, (NewTask(f"t{k}", json.dumps({"line": str(k)}).encode()) for k in range(TASKS)))
    stop, kept = session.Stop(), tmp_path / "kept"

    def keep(view: session.View) -> None:
        if view.counts.retries and not kept.exists():
            shutil.copytree(files.slots, kept)
            stop.hard()

    session.run_here(files, watch=keep, stop=stop)
    stop.close()
    found = [path for path in kept.rglob("*.outcomes") if path.stat().st_size]
    assert found, "nothing had been written when the job was stopped"
    over = session.run_here(files)
    assert (over.succeeded, over.over) == (TASKS, True)

    for path in found:  # what a controller that died a moment earlier would have left
        shutil.copy(path, files.slots / path.relative_to(kept))
    again = session.run_here(files)

    assert again.refused > over.refused, "the old outcomes were not even seen"
    assert (again.succeeded, again.retries, again.waiting, again.over) == (TASKS, over.retries, 0, True)
