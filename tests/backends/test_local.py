"""The local backend beyond the suite: askings that race or are cut off, records that are lost, stubborn machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from elsewhere.backends import local as module
from elsewhere.backends.base import Condition, Launch
from elsewhere.backends.local import Local, LocalSettings
from elsewhere.errors import AccessDenied, Refused, StateError
from elsewhere.model.resources import Resources


def launch(name: str, script: str, count: int = 1) -> Launch:
    end = datetime.now(UTC) + timedelta(hours=1)
    return Launch(name, count, script, Resources(), timedelta(hours=1), end, {"job": "job-1", "owner": "me"})


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)  # other processes are looked at


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Local]:
    made = Local(LocalSettings(str(tmp_path / "records")))
    yield made
    natives = [s.native for s in made.owned() if s.labels.get("owner") == "me"]
    made._asked = dict.fromkeys(natives, float("-inf"))
    made.cancel(natives)


def marks(folder: Path) -> int:
    return len(list(folder.glob("mark.*")))


def test_many_who_ask_for_one_launch_at_once_start_it_once(place: Local, tmp_path: Path) -> None:
    one = launch("lch-1", f"touch '{tmp_path}'/mark.$$; exec sleep 300", 2)
    with ThreadPoolExecutor(6) as crowd:
        sets = list(crowd.map(lambda _: tuple(Local(LocalSettings(str(place.directory))).submit(one)), range(12)))
    assert set(sets) == {("lch-1.0", "lch-1.1")}
    until(lambda: marks(tmp_path) >= 2)
    place.submit(one)
    until(lambda: all(s.condition is Condition.RUNNING for s in place.owned()))
    assert marks(tmp_path) == 2


@pytest.mark.parametrize("point", ["write_whole", "_start"])
def test_an_asking_that_was_killed_half_way_is_completed_by_the_next(
    place: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    one = launch("lch-1", f"touch '{tmp_path}'/mark.$$; exec sleep 300", 2)
    calls = 0

    class Killed(BaseException):
        pass

    where = module if point == "write_whole" else Local
    real = getattr(where, point)

    def half(*words: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return real(*words)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(where, point, half)
        place.submit(one)
    assert list(place.submit(one)) == ["lch-1.0", "lch-1.1"]
    until(lambda: marks(tmp_path) == 2)


def test_what_survives_the_loss_of_its_record_is_still_seen_and_stopped(place: Local) -> None:
    import shutil

    (native,) = place.submit(launch("lch-1", "echo it is up; exec sleep 300"))
    until(lambda: b"up" in place.logs(native))
    shutil.rmtree(place.directory)
    (seen,) = [s for s in place.owned() if s.native == native]
    assert (seen.condition, seen.labels["job"], seen.labels["launch"]) == (Condition.RUNNING, "job-1", "lch-1")
    place.cancel([native])
    until(lambda: native not in {s.native for s in place.owned()})


def test_a_pid_that_somebody_else_has_by_now_is_not_ours(place: Local) -> None:
    (native,) = place.submit(launch("lch-1", "exit 0"))
    until(lambda: place.status([native])[native].condition is Condition.STOPPED)
    folder = place.directory / "lch-1" / "0"
    (folder / "ended").unlink()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (folder / "pid").write_text(str(other.pid))
    assert place.status([native])[native].condition is Condition.FAILED
    place._asked[native] = float("-inf")
    place.cancel([native])
    assert other.poll() is None
    other.communicate(b"\n")


def test_who_ignores_the_asking_is_killed_with_its_whole_tree_when_asked_again(place: Local, tmp_path: Path) -> None:
    stubborn = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0: os.setsid()\n"
        f"open(f'{tmp_path}/mark.{{os.getpid()}}', 'w').close()\n"
        "time.sleep(300)\n"
    )
    (tmp_path / "stubborn.py").write_text(stubborn)
    (native,) = place.submit(launch("lch-1", f"exec '{sys.executable}' '{tmp_path}/stubborn.py'"))
    until(lambda: marks(tmp_path) == 2)
    place.cancel([native])
    assert place.status([native])[native].condition is Condition.RUNNING
    place._asked[native] -= 60
    place.cancel([native])
    pids = [int(path.suffix[1:]) for path in tmp_path.glob("mark.*")]
    until(lambda: not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids))
    until(lambda: place.status([native])[native].condition is Condition.STOPPED)


def test_a_machine_that_is_killed_is_seen_as_failed(place: Local) -> None:
    (native,) = place.submit(launch("lch-1", "exec sleep 300"))
    until(lambda: place.status([native])[native].condition is Condition.RUNNING)
    os.killpg(int((place.directory / "lch-1" / "0" / "pid").read_text()), signal.SIGKILL)
    until(lambda: place.status([native])[native].condition is Condition.FAILED)
    assert place.status([native])[native].reason == "killed"


def test_records_of_what_has_ended_can_be_forgotten_and_others_not(place: Local) -> None:
    natives = [*place.submit(launch("lch-over", "exit 0")), *place.submit(launch("lch-stays", "exec sleep 300"))]
    until(lambda: place.status(natives)["lch-over.0"].condition is Condition.STOPPED)
    for _ in range(2):
        place.forget(natives)
    owned = {s.native for s in place.owned()}  # of all this machine runs, other tests included
    assert "lch-stays.0" in owned and "lch-over.0" not in owned


def test_the_environment_of_a_machine_says_whose_it_is(place: Local) -> None:
    text = 'printf "%s\\n" "$ELSEWHERE_MACHINE" "$ELSEWHERE_LABELS"'
    (native,) = place.submit(launch("lch-1", text))
    until(lambda: place.status([native])[native].condition is Condition.STOPPED)
    name, labels = place.logs(native).decode().splitlines()
    assert (name, json.loads(labels)) == (native, {"launch": "lch-1", "job": "job-1", "owner": "me"})


def test_a_launch_whose_id_leads_elsewhere_is_refused(place: Local) -> None:
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(Refused):
            place.submit(launch(name, "exit 0"))


def test_a_place_that_cannot_be_written_says_so_in_its_answer_and_its_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = Local(LocalSettings(str(tmp_path / "file" / "below")))
    with pytest.raises((StateError, AccessDenied)):
        blocked.submit(launch("lch-1", "exit 0"))
