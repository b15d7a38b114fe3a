"""SIGKILL at every system call that writes, one after the other, of submit, run, cancel: nothing acknowledged is lost.

strace kills the process just before its N-th call of a name; N grows until the flow gets through. A trimmed walk takes
every few of these points; `make soak` takes them all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.errors import UnknownJob
from faults.flows import JOB, submit

FLOWS = Path(__file__).parent / "flows.py"
CALLS = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "mkdir", "symlink")
TASKS = 12
STRIDE = {"submit": 3, "cancel": 4, "run": 9}
pytestmark = pytest.mark.needs("strace")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    return tmp_path


def clear(place: Path) -> None:
    shutil.rmtree(place / "home", ignore_errors=True)
    (place / "marks").unlink(missing_ok=True)


def die_at(flow: str, place: Path, call: str, nth: int) -> tuple[bool, bool]:
    """Run the flow and kill it before its nth `call`; (did it die, had it acknowledged)."""
    argv = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=SIGKILL:when={nth}",
    ]
    done = subprocess.run(
        [*argv, sys.executable, str(FLOWS), flow, str(place), str(TASKS)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.returncode != 0, "acknowledged" in done.stdout


def walk(flow: str, place: Path, stride: int, prepare: Callable[[], object], check: Callable[[bool], None]) -> int:
    """Every `stride`-th moment to die of every call; how many there were."""
    died = 0
    for call in CALLS:
        nth = 1
        while True:
            clear(place)
            prepare()
            dead, acknowledged = die_at(flow, place, call, nth)
            assert dead or acknowledged, f"{flow} failed by itself"
            check(acknowledged)
            if not dead:
                break
            died += 1
            nth += stride
    return died


def check_submitted(acknowledged: bool) -> None:
    try:
        files = session.find(JOB)
    except UnknownJob:
        assert not acknowledged, "an acknowledged job is gone"
        return
    ledger = files.open()
    assert (ledger.count().total, ledger.count().complete) == (TASKS, True)
    ledger.close()


def check_cancelled(acknowledged: bool) -> None:
    ledger = session.find(JOB).open()
    cancelled = ledger.count().cancelled
    ledger.close()
    assert cancelled == TASKS if acknowledged else cancelled in (0, TASKS)


def check_ran(place: Path) -> Callable[[bool], None]:
    def check(acknowledged: bool) -> None:
        files = session.find(JOB)
        session.run_here(files)
        ledger = files.open()
        counts = ledger.count()
        recorded = sorted((json.loads(view.value) for view in ledger), key=int)
        ledger.close()
        assert (counts.succeeded, counts.over) == (TASKS, True)
        assert recorded == [str(k) for k in range(TASKS)]
        runs = Counter((place / "marks").read_text().split())
        assert set(runs) == set(recorded)
        assert sum(runs.values()) <= TASKS + 2 * 2, "more was executed again than could have been running"

    return check


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_submit_may_die_at_any_write(place: Path) -> None:
    assert walk("submit", place, STRIDE["submit"], lambda: None, check_submitted) > 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cancel_may_die_at_any_write(place: Path) -> None:
    assert walk("cancel", place, STRIDE["cancel"], lambda: submit(place, TASKS), check_cancelled) > 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_claim_and_record_may_die_at_any_write(place: Path) -> None:
    assert walk("run", place, STRIDE["run"], lambda: submit(place, TASKS), check_ran(place)) > 10


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("flow", ["submit", "cancel", "run"])
def test_every_write_without_exception(place: Path, flow: str) -> None:
    check = {"submit": check_submitted, "cancel": check_cancelled, "run": check_ran(place)}[flow]
    assert walk(flow, place, 1, (lambda: None) if flow == "submit" else (lambda: submit(place, TASKS)), check) > 10
