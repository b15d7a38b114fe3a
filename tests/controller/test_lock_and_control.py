"""Who holds a job, how it is asked for something, and how jobs share one machine."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere import session
from elsewhere.controller import control, lock
from elsewhere.controller.share import Share, divide
from elsewhere.errors import InvalidTask, JobHeld, StateError, UnknownJob
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask


def test_a_lock_is_taken_once_and_says_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock.read(path) is None
    with lock.Lock(path):
        holder = lock.read(path)
        assert holder is not None and (holder.pid, holder.alive) == (os.getpid(), True)
        with pytest.raises(JobHeld, match=str(os.getpid())):
            lock.Lock(path).take()
    assert lock.read(path) is None
    lock.Lock(path).take().release()


def test_who_only_looks_at_a_lock_keeps_nobody_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    looking = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert lock.read(path) is None, "another one that looks holds nothing"
    monkeypatch.setattr("elsewhere.controller.lock.time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
    lock.Lock(path).take().release()
    os.close(looking)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"from elsewhere.controller.lock import Lock; Lock(__import__('pathlib').Path({str(path)!r})).take(); "
    code += "print('held', flush=True); __import__('signal').pause()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    with pytest.raises(JobHeld, match=str(process.pid)):
        lock.Lock(path).take()
    process.kill()
    process.communicate()
    lock.Lock(path).take().release()


def test_a_fork_of_its_holder_does_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import os, sys, time
from pathlib import Path
from elsewhere.controller.lock import Lock
held = Lock(Path({str(path)!r})).take()
if os.fork() == 0:
    print("forked", flush=True)
    sys.stdin.read()
else:
    os.wait()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"forked\n"
    process.kill()
    process.wait()
    lock.Lock(path).take().release()
    process.communicate()


def test_a_lock_left_by_another_host_is_told(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "far", "pid": 7}))
    holder = lock.read(path)
    assert holder is not None and (holder.host, holder.pid, holder.alive) == ("far", 7, False)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    path = deep / "control"

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "fail":
            raise InvalidTask("no such task", hint="look")
        return {"heard": request}

    server = control.Control(path, answer)
    server.socket.settimeout(0.1)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            server.turn()

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    over.set()
    thread.join()
    server.close()


def test_a_request_is_answered_also_under_a_long_path(served: Path) -> None:
    assert control.ask(served, {"do": "x", "tasks": ["ä" * 1000]}) == {"heard": {"do": "x", "tasks": ["ä" * 1000]}}
    assert stat.S_IMODE(served.stat().st_mode) == 0o600


def test_an_error_comes_back_as_itself(served: Path) -> None:
    with pytest.raises(InvalidTask, match="no such task") as caught:
        control.ask(served, {"do": "fail"})
    assert caught.value.hint == "look"


def test_nobody_there_is_none(tmp_path: Path) -> None:
    assert control.ask(tmp_path / "none", {"do": "x"}) is None


def test_a_caller_that_talks_nonsense_or_leaves_does_no_harm(served: Path) -> None:
    with control._near(served) as address:
        for line in (b"", b"not json\n", b"[1", b"[1]\n"):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(address)
                caller.sendall(line)
    assert control.ask(served, {"do": "x"}) == {"heard": {"do": "x"}}


def test_a_controller_that_hangs_up_is_not_there(tmp_path: Path) -> None:
    server = control.Control(tmp_path / "control", lambda request: {})
    server.socket.close()
    assert control.ask(server.path, {"do": "x"}) is None


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(1, 64), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])), min_size=1, max_size=8),
)
def test_shares_are_fair(capacity: int, wants: list[tuple[int, float]]) -> None:
    given_ = divide(capacity, wants)
    assert all(1 <= got <= want for got, (want, _) in zip(given_, wants, strict=True))
    assert sum(given_) <= max(capacity, len(wants))
    wanted = sum(want for want, _ in wants)
    assert sum(given_) == min(wanted, max(capacity, len(wants)))


def test_equal_jobs_get_equal_parts_and_priority_gets_more() -> None:
    assert divide(8, [(8, 1.0), (8, 1.0)]) == [4, 4]
    assert divide(9, [(8, 2.0), (8, 1.0)]) == [6, 3]
    assert divide(8, [(2, 1.0), (8, 1.0)]) == [2, 6]


def test_two_jobs_share_a_machine_and_one_alone_has_it_all(tmp_path: Path) -> None:
    first = Share(tmp_path, "one", 4, 0, 4)
    assert first.part(4) == 4
    second = Share(tmp_path, "two", 4, 0, 4)
    assert second.part(4) == 2
    first._looked = 0.0
    assert first.part(4) == 2
    second.close()
    first._looked = 0.0
    assert first.part(4) == 4
    first.close()
    assert list(tmp_path.iterdir()) == []


def test_a_moment_between_two_tasks_is_not_idleness(tmp_path: Path) -> None:
    busy, other = Share(tmp_path, "busy", 2, 0, 2), Share(tmp_path, "other", 2, 0, 2)
    for _ in range(5):
        busy.part(2)
        busy._looked = 0.0
        busy.part(0)  # looked at just when a task has ended
    assert other.part(2) == 1
    for share in (busy, other):
        share.close()


def test_the_note_of_a_dead_controller_counts_for_nothing(tmp_path: Path) -> None:
    code = "from elsewhere.controller.share import Share; from pathlib import Path; "
    code += f"Share(Path({str(tmp_path)!r}), 'dead', 4, 0, 4)"
    subprocess.run([sys.executable, "-c", code + "; import os; os._exit(9)"], check=False)
    assert (tmp_path / "dead").exists()
    share = Share(tmp_path, "live", 4, 0, 4)
    assert share.part(4) == 4
    share.close()


def test_a_request_of_another_version_is_refused_plainly(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        raise StateError("a controller cannot 'dance'")

    assert control.Control.__doc__
    server = control.Control(tmp_path / "control", answer)
    server.socket.settimeout(5)
    thread = threading.Thread(target=server.turn)
    thread.start()
    with pytest.raises(StateError, match="dance"):
        control.ask(server.path, {"do": "dance"})
    thread.join()
    server.close()


def test_the_lock_of_a_job_that_is_removed_while_it_is_waited_for_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "job" / "lock"
    path.parent.mkdir()
    removes = lock.Lock(path).take()
    begins = threading.Thread(target=lambda: said.append(take(lock.Lock(path, patience=60.0))))
    said: list[str] = []
    begins.start()
    while not _has_open(path, 2):
        pass
    (tmp_path / "job").rename(tmp_path / "gone")
    removes.release()
    begins.join(60)
    assert said == ["the job was removed"]
    assert take(lock.Lock(path)) == "the job was removed" and not path.parent.exists()


def take(one: lock.Lock) -> str:
    try:
        one.take().release()
    except UnknownJob as error:
        return error.message
    return "taken"


def _has_open(path: Path, times: int) -> bool:
    """Has this process opened that file so often?"""
    found = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and _leads_to(fd) == str(path)]
    return len(found) >= times


def _leads_to(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except FileNotFoundError:  # that of the listing itself
        return ""


def test_a_job_that_is_over_goes_once_its_controller_has_put_things_away_and_no_other_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path))
    over, other = (session.create(JobSpec(ids.new("job"), name, Entry("call")), [NewTask("t", b"1")]) for name in "ab")
    session.cancel(over)
    held = [lock.Lock(one.lock).take() for one in (over, other)]
    monkeypatch.setattr(lock, "_TRIES", 1)
    with pytest.raises(JobHeld):
        session.remove(other)
    removes = threading.Thread(target=lambda: session.remove(over))
    removes.start()
    while not _has_open(over.lock, 2):
        pass
    removes.join(0.3)
    assert removes.is_alive() and over.ledger.exists()
    held[0].release()
    removes.join(60)
    assert not over.directory.exists() and other.directory.exists()
    held[1].release()
