"""A place that does not answer holds up nothing else of its job: tasks run and end, people are answered."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere import session
from elsewhere.backends.local import Local
from elsewhere.controller import pace
from elsewhere.controller.files import JobFiles
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask

PATIENCE = 60.0
"""Seconds; a bound, not a wait."""
WORK = """
import os, time
from pathlib import Path

def work(x, after=""):
    fd = os.open(RUNS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{x}\\n".encode())
    os.close(fd)
    while after and not Path(after).exists():
        time.sleep(0.02)
    return x
"""


class Hanging:
    """A verb of the place that gives no answer while it is told so: before its effect, or after."""

    def __init__(self, verb: Callable[..., Any], after: bool = False) -> None:
        self.verb, self.after = verb, after
        self.told, self.hangs, self.answers = threading.Event(), threading.Event(), threading.Event()
        self.asked = 0

    def __call__(self, *words: Any) -> Any:
        self.asked += 1
        found = self.verb(*words) if self.after else None
        if self.told.is_set():
            self.hangs.set()
            assert self.answers.wait(PATIENCE), "it was held up too long"
        return found if self.after else self.verb(*words)


class Job:
    """A list whose controller is a thread of ours; its agents are processes of this machine."""

    def __init__(self, place: Path, tasks: dict[str, str]) -> None:
        """`tasks`: name -> the file that must be there before it ends."""
        self.place = place
        spec = JobSpec(
            ids.new("job"), "far", Entry("function", f"{place}/work.py:work", name="work"), channel="spool", slots=2,
            python=sys.executable, cwd=str(place), path=(str(place),),
        )  # fmt: skip
        bodies = [(name, json.dumps({"x": name, "after": str(place / gate) if gate else ""}).encode())
                  for name, gate in tasks.items()]  # fmt: skip
        self.files: JobFiles = session.create(spec, (NewTask(name, body) for name, body in bodies))
        self._thread = threading.Thread(target=session.run_here, args=(self.files,), daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the job has not ended"

    def states(self) -> Counter[str]:
        ledger = self.files.open()
        try:
            return Counter(view.state.name for view in ledger)
        finally:
            ledger.close()

    def allow(self, gate: str) -> None:
        (self.place / gate).touch()

    @property
    def runs(self) -> list[str]:
        path = self.place / "runs"
        return sorted(path.read_text().split()) if path.exists() else []


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("ELSEWHERE_HOME", str(home))
    (tmp_path / "work.py").write_text(f"RUNS = {str(tmp_path / 'runs')!r}\n{WORK}")
    yield tmp_path


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_while_the_place_does_not_say_what_there_is_tasks_end_and_people_are_answered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "TIMES", 1)  # the next look is soon
    owned = Hanging(Local.owned)
    monkeypatch.setattr(Local, "owned", lambda self: owned(self))
    job = Job(place, {"a": "now", "b": "now", "c": "", "d": "never", "e": "last"})
    job.begin()
    try:
        until(lambda: len(job.runs) == 2, "two tasks run")
        owned.told.set()
        assert owned.hangs.wait(PATIENCE)
        job.allow("now")  # from here on the place gives no answer
        until(lambda: job.states()["SUCCEEDED"] == 3, "what ends is recorded, and more is handed out")
        until(lambda: len(job.runs) == 5, "what was handed out runs")
        assert session.cancel(job.files, ["d"]) == 1, "the controller answers"
        until(lambda: job.states()["CANCELLED"] == 1, "a task is cancelled")
        assert not owned.answers.is_set()
    finally:
        owned.answers.set()
        job.allow("last")
        job.end()
    assert job.states() == {"SUCCEEDED": 4, "CANCELLED": 1} and job.runs == ["a", "b", "c", "d", "e"]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_launch_that_hangs_is_booked_and_made_once_and_what_it_made_is_stopped(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Hanging(Local.submit, after=True)
    submit.told.set()
    monkeypatch.setattr(Local, "submit", lambda self, launch: submit(self, launch))
    job = Job(place, {"a": "", "b": "", "c": "never"})
    job.begin()
    try:
        assert submit.hangs.wait(PATIENCE)
        until(lambda: job.states()["SUCCEEDED"] == 2, "a machine whose launch has no answer yet works all the same")
        until(lambda: len(job.runs) == 3, "the last runs")
        assert session.cancel(job.files, None) == 1, "the controller answers"
        assert submit.asked == 1
    finally:
        submit.answers.set()
        job.end()
    assert job.states() == {"SUCCEEDED": 2, "CANCELLED": 1} and job.runs == ["a", "b", "c"]
    assert submit.asked == 1, "what there was to do no more was not asked for"
    left = [seen for seen in Local().owned() if not seen.ended and seen.labels.get("job") == job.files.id]
    assert left == []
