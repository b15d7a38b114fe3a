"""SIGKILL at random moments, of controllers and of slots: nothing is lost, nothing is recorded twice.

The marks that the tasks leave tell how often each was begun; the ledger tells what was recorded. Shown to go red:
without the fence in ledger/record.py (`?3 = {_CURRENT}` made true), `test_an_echo_of_an_older_attempt...` of
tests/ledger fails and the late report replaces the newer one; without `recover` in controller/drive.py, tasks whose
outcome had been written are executed again and the count of begun tasks here exceeds those that were running.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from elsewhere import session
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask

HERE = Path(__file__).parent
SLOTS = 4


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("ELSEWHERE_HOME", str(path))
    return path


def make(tmp_path: Path, tasks: int, pause: float = 0.0) -> tuple[session.JobFiles, Path]:
    marks = tmp_path / "marks"
    marks.touch()
    spec = JobSpec(
        ids.new("job"), "kills", Entry("function", f"{HERE / 'work.py'}:mark"), slots=SLOTS, python=sys.executable,
        cwd=str(tmp_path), path=(str(HERE),),
    )  # fmt: skip
    bodies = (
        NewTask(f"t{k}", json.dumps({"path": str(marks), "line": str(k), "pause": pause}).encode())
        for k in range(tasks)
    )
    return session.create(spec, bodies), marks


def controller(files: session.JobFiles) -> subprocess.Popen[bytes]:
    reader, writer = os.pipe()
    with files.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "elsewhere.controller", str(files.directory), str(writer)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writer,),
        )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader, "rb") as news:
        assert news.read() == b"+", files.log.read_text()
    return process


def begun(marks: Path) -> Counter[str]:
    return Counter(marks.read_text().split())


def wait_for_marks(marks: Path, more: int, process: subprocess.Popen[bytes]) -> None:
    """Until `more` further tasks have begun, or the controller has ended."""
    goal = marks.stat().st_size + more
    limit = time.monotonic() + 60
    while marks.stat().st_size < goal and process.poll() is None:
        assert time.monotonic() < limit, "no progress in a minute"
        time.sleep(0.002)


def slots_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def storm(tmp_path: Path, tasks: int, kills: int, seed: int, *, controllers: bool, slots: bool) -> None:
    chance = random.Random(seed)
    files, marks = make(tmp_path, tasks)
    deaths = 0
    process = controller(files)
    while deaths < kills and process.poll() is None:
        wait_for_marks(marks, chance.randint(1, 5 * tasks // kills), process)
        if slots and (not controllers or chance.random() < 0.5):
            victims = slots_of(process)
            if victims:
                chance.choice(victims).send_signal(signal.SIGKILL)
                deaths += 1
        elif controllers:
            process.kill()
            process.wait()
            deaths += 1
            process = controller(files)
    assert process.wait(timeout=300) == 0, files.log.read_text()
    check(files, marks, tasks, deaths)


def check(files: session.JobFiles, marks: Path, tasks: int, deaths: int) -> None:
    ledger = files.open()
    counts = ledger.count()
    assert (counts.total, counts.succeeded, counts.over) == (tasks, tasks, True)
    recorded = [json.loads(view.value) for view in ledger]
    ledger.close()
    assert sorted(recorded, key=int) == [str(k) for k in range(tasks)]
    runs = begun(marks)
    assert set(runs) == set(recorded)
    again = sum(runs.values()) - tasks
    assert again <= deaths * SLOTS, f"{again} executed again after {deaths} kills of at most {SLOTS} running tasks"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killing_the_controller_loses_nothing_and_repeats_only_what_ran(home: Path, tmp_path: Path) -> None:
    storm(tmp_path, 4_000, 8, 1, controllers=True, slots=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killing_slots_loses_nothing_and_repeats_only_what_ran(home: Path, tmp_path: Path) -> None:
    storm(tmp_path, 4_000, 8, 2, controllers=False, slots=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_fifty_kills_of_controllers_and_slots_in_twenty_thousand_tasks(home: Path, tmp_path: Path, seed: int) -> None:
    storm(tmp_path, 20_000, 50, seed, controllers=True, slots=True)


def test_a_second_controller_is_refused(home: Path, tmp_path: Path) -> None:
    files, marks = make(tmp_path, 50, pause=0.05)
    process = controller(files)
    try:
        wait_for_marks(marks, 1, process)
        process.send_signal(signal.SIGSTOP)  # however busy this machine is, it has the job still
        second = subprocess.run(
            [sys.executable, "-m", "elsewhere.controller", str(files.directory)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 2
        assert f"run by process {process.pid}" in second.stderr
    finally:
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=60) == 0
    assert session.holder(files) is None
