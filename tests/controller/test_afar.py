"""Jobs whose agents are processes of their own, over a real spool and a real pipe, with real kills."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from elsewhere import session
from elsewhere.backends.local import MACHINE
from elsewhere.controller.files import JobFiles
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask, RetryPolicy

PATIENCE = 90.0
"""Seconds; a bound, not a wait."""

WORK = """
import os, time

def work(x, pause=0.0):
    fd = os.open(RUNS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{x}\\n".encode())
    os.close(fd)
    time.sleep(pause)
    return x * 2
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("ELSEWHERE_HOME", str(home))
    (tmp_path / "work.py").write_text(f"RUNS = {str(tmp_path / 'runs')!r}\n{WORK}")
    yield tmp_path
    for name in set(agents(home).values()):
        kill(home, name)


def agents(home: Path) -> dict[int, str]:
    """Every process of the machines whose records lie in this state directory, and its machine."""
    found = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if MACHINE in environment and environment.get("ELSEWHERE_HOME") == str(home):
            found[process.pid] = environment[MACHINE]
    return found


def kill(home: Path, machine: str) -> None:
    """The whole machine at once, as far as that can be done."""
    for pid, name in agents(home).items():
        if name == machine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def job(place: Path, channel: str, tasks: int, pause: float = 0.0, slots: int = 4) -> JobFiles:
    spec = JobSpec(
        ids.new("job"), "far", Entry("function", f"{place}/work.py:work", name="work"), channel=channel, slots=slots,
        python=sys.executable, cwd=str(place), path=(str(place),), retry=RetryPolicy(losses=20),
    )  # fmt: skip
    bodies = (json.dumps({"x": k, "pause": pause}).encode() for k in range(tasks))
    return session.create(spec, (NewTask(f"t{k}", body) for k, body in enumerate(bodies)))


def runs(place: Path) -> Counter[int]:
    text = (place / "runs").read_text() if (place / "runs").exists() else ""
    return Counter(int(line) for line in text.split())


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something that will happen."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def values(files: JobFiles) -> list[int]:
    ledger = files.open()
    try:
        return [json.loads(view.value) for view in ledger]
    finally:
        ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["spool", "pipe"])
def test_a_thousand_tasks_are_run_once_each_and_nothing_is_left(place: Path, channel: str) -> None:
    files = job(place, channel, 1000)
    counts = session.run_here(files)
    assert (counts.succeeded, counts.interrupts, counts.refused) == (1000, 0, 0)
    assert values(files) == [2 * k for k in range(1000)]
    assert set(runs(place).values()) == {1}
    until(lambda: not agents(place / "home"), "every process of its machines has ended")


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["spool", "pipe"])
def test_agents_that_are_killed_lose_nothing_and_little_is_done_twice(place: Path, channel: str) -> None:
    files = job(place, channel, 400, pause=0.01)
    chance = random.Random(channel)
    killed: list[int] = []

    def strike(view: session.View) -> None:
        """Kill one agent, with everything on its machine, at each hundred."""
        if view.counts.succeeded // 100 > len(killed) and len(killed) < 3:
            names = sorted(set(agents(place / "home").values()))
            if names:
                kill(place / "home", chance.choice(names))
                killed.append(view.counts.succeeded)

    counts = session.run_here(files, watch=strike)
    assert counts.succeeded == 400 and len(killed) == 3
    assert values(files) == [2 * k for k in range(400)]
    again = sum(runs(place).values()) - 400
    assert again <= 60 * len(killed), "more was done again than an agent has in its hands"


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["spool", "pipe"])
def test_a_controller_that_is_killed_again_and_again_loses_nothing(place: Path, channel: str) -> None:
    files = job(place, channel, 1000, pause=0.002)
    chance = random.Random(channel)

    def succeeded() -> int:
        ledger = files.open()
        try:
            return ledger.count().succeeded
        finally:
            ledger.close()

    for _ in range(4):
        pid = session.detach(files)
        goal = min(succeeded() + chance.randint(20, 200), 990)
        until(lambda goal=goal: succeeded() >= goal, f"{goal} tasks are recorded")  # type: ignore[misc]
        os.kill(pid, signal.SIGKILL)
        until(lambda: session.holder(files) is None, "the lock is free")
    counts = session.run_here(files)
    assert counts.succeeded == 1000
    assert values(files) == [2 * k for k in range(1000)]
    again = sum(runs(place).values()) - 1000
    assert again == 0, "agents outlive a controller: what they had, had done or had reported is not done again"
    until(lambda: not agents(place / "home"), "every process of its machines has ended")
