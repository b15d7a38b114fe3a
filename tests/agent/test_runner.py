"""Slots with real processes: everything ends exactly once, whatever dies, hangs, grows or is taken back."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.agent.runner import recover
from elsewhere.model.job import Entry
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from slot.floor import BOUND, eventually, floor, is_alive, value

SHORT = timedelta(seconds=0.3)
SLEEPY = """
import os, time
def f(seconds=0, mark=None):
    if mark:
        with open(mark, "a") as file: file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    return os.getpid()
"""


def outcomes(ended: list) -> Counter:  # type: ignore[type-arg]
    return Counter(one.outcome for one in ended)


def test_thousands_of_tasks_end_once_each(tmp_path: Path) -> None:
    with floor(tmp_path, "def f(k): return k", count=3) as here:
        done, n = 0, 5000
        while done < n:
            room = min(here.slots.room(), n - done)
            here.put(*[{"k": done + i} for i in range(room)])
            done += room
            here.turn()
            here.slots.settled()
        here.until(lambda: len(here.ended) == n)
        assert [value(here.ended[i + 1]) for i in range(n)] == list(range(n))
        assert len(here.all) == n


def test_room_follows_the_length_of_the_tasks(tmp_path: Path) -> None:
    with floor(tmp_path, SLEEPY, count=2) as here:
        assert here.slots.room() == 2, "nothing is known of them"
        here.run(*[{}] * 200)
        assert here.slots.room() > 10
        here.run({"seconds": 0.3}, {"seconds": 0.3})
        here.run({"seconds": 0.3}, {"seconds": 0.3})
        assert here.slots.room() == 2


def test_what_stands_behind_a_long_task_goes_to_idle_slots(tmp_path: Path) -> None:
    with floor(tmp_path, SLEEPY, count=2) as here:
        here.run(*[{}] * 100)
        (long,) = here.put({"seconds": 60})
        here.until_running(long)
        others = here.put(*[{}] * 100)
        here.finish(*others)
        (waits,) = here.put({"seconds": 0})
        here.finish(waits)
        assert long not in here.ended


@pytest.mark.parametrize(
    ("how", "word", "number"),
    [
        ("os._exit(7)", "exit_code", 7), ("os._exit(0)", "exit_code", None), ("os.abort()", "signal", signal.SIGABRT),
        ("ctypes.string_at(0)", "signal", signal.SIGSEGV),
    ],
)  # fmt: skip
@pytest.mark.parametrize("isolate", [False, True])
def test_a_task_that_kills_its_process_fails_that_attempt_only(
    tmp_path: Path, how: str, word: str, number: int, isolate: bool
) -> None:
    code = f"""
    import ctypes, os
    def f(k):
        if k == 5:
            os.write(2, b'last words')
            {how}
        return k
    """
    with floor(tmp_path, code, count=1, isolate=isolate) as here:
        ended = here.run(*[{"k": k} for k in range(20)])
    assert [one.outcome for one in ended] == [Outcome.ERRORED if k == 5 else Outcome.SUCCEEDED for k in range(20)]
    told = value(ended[5])
    assert told.get(word) == number or (number is None and told["exit_code"] == 0)
    assert "last words" in told["stderr"]


def test_a_slot_that_is_killed_from_outside_loses_what_it_ran_and_nothing_else(tmp_path: Path) -> None:
    with floor(tmp_path, SLEEPY, count=1) as here:
        here.run(*[{}] * 50)
        ns = here.put(*[{}] * 3, {"seconds": 1000}, *[{}] * 30)
        here.until_running(ns[3])
        os.kill(here.pids()[0], signal.SIGKILL)
        ended = here.finish(*ns)
    assert [one.outcome for one in ended] == [Outcome.LOST if i == 3 else Outcome.SUCCEEDED for i in range(34)]
    assert value(ended[3])["signal"] == 9


def test_many_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    import random

    dice, n = random.Random(7), 3000
    with floor(tmp_path, "import os\ndef f(k):\n    os.write(1, b'%d\\n' % k)\n    return k", count=2) as here:
        given = kills = 0
        while len(here.ended) < n:
            room = min(here.slots.room(), n - given)
            here.put(*[{"k": given + i} for i in range(room)])
            given += room
            here.turn(0.01)
            if kills < 25 and dice.random() < 0.3 and (pids := here.pids()):
                os.kill(dice.choice(pids), signal.SIGKILL)
                kills += 1
        assert kills == 25 and len(here.all) == n
        lost = [one.n for one in here.all if one.outcome is Outcome.LOST]
        assert len(lost) <= kills
        assert all(value(one) == one.n - 1 for one in here.all if one.outcome is Outcome.SUCCEEDED)
        ran = Counter(int(k) for path in here.directory.glob("*.out") for k in path.read_bytes().split())
    assert not [k for k, times in ran.items() if times > 1], "what was taken from a dead slot had not begun"


class TestTimeouts:
    def test_the_function_is_stopped_so_that_its_finally_blocks_run(self, tmp_path: Path) -> None:
        code = """
        import time
        def f(left):
            try: time.sleep(1000)
            finally: open(left, "w").close(); print("tidied")
        """
        with floor(tmp_path, code, timeout=SHORT) as here:
            ended = here.one({"left": str(tmp_path / "left")})
            assert here.output(ended) == b"tidied\n"
        assert ended.outcome is Outcome.TIMED_OUT and (tmp_path / "left").exists()
        assert 0.3 <= ended.took < 3

    def test_so_are_those_of_a_coroutine(self, tmp_path: Path) -> None:
        code = """
        import asyncio
        async def f():
            try: await asyncio.sleep(1000)
            finally: print("tidied", flush=True)
        """
        with floor(tmp_path, code, timeout=SHORT) as here:
            ended = here.one()
            assert (ended.outcome, here.output(ended)) == (Outcome.TIMED_OUT, b"tidied\n")

    def test_what_does_not_heed_is_killed_with_its_whole_tree(self, tmp_path: Path) -> None:
        code = """
        import os, signal, subprocess, time
        def f(pids):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for words in (["sleep", "1000"], ["setsid", "sleep", "1000"], ["sh", "-c", "(setsid nohup sleep 1000 &)"]):
                subprocess.Popen(words)
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with open(pids, "a") as file: file.write(f"{os.getpid()}\\n")
                    time.sleep(1000)
                os._exit(0)
            unmarked = subprocess.Popen(["setsid", "sleep", "1000"], env={}).pid
            with open(pids, "a") as file: file.write(f"{os.getpid()} {unmarked}\\n")
            while True: time.sleep(1)
        """
        from elsewhere.agent import processes

        pids = tmp_path / "pids"
        with floor(tmp_path, code, grace=SHORT) as here:
            (n,) = here.put({"pids": str(pids)}, options={"timeout": 0.8})
            here.until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
            mark = here.slots._mark
            assert len(processes.marked(mark)) >= 5
            (ended,) = here.finish(n)
            assert processes.marked(mark) == []
        assert ended.outcome is Outcome.TIMED_OUT and "had to be killed" in value(ended)["message"]
        assert not any(is_alive(int(pid)) for pid in pids.read_text().split())

    def test_a_task_s_own_timeout_counts_and_the_next_task_is_not_hit(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=1) as here:
            ns = here.put({"seconds": 1000}, options={"timeout": 0.2}) + here.put(*[{"seconds": 0.05}] * 5)
            ended = here.finish(*ns)
        assert [one.outcome for one in ended] == [Outcome.TIMED_OUT] + [Outcome.SUCCEEDED] * 5

    def test_in_isolation_too(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, isolate=True, timeout=SHORT) as here:
            ended = here.run({"seconds": 1000}, {})
        assert [one.outcome for one in ended] == [Outcome.TIMED_OUT, Outcome.SUCCEEDED]


class TestTakingBack:
    def test_cancel_ends_what_runs_and_what_waits_and_nothing_else(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=1) as here:
            here.run(*[{}] * 50)
            ns = here.put({"seconds": 1000}, *[{"mark": str(tmp_path / "ran")}] * 10)
            here.until_running(ns[0])
            here.slots.cancel([ns[0], *ns[5:]])
            ended = here.finish(*ns)
        assert [one.outcome for one in ended] == [Outcome.CANCELLED] + [Outcome.SUCCEEDED] * 4 + [Outcome.CANCELLED] * 6
        assert len((tmp_path / "ran").read_text().split()) == 4

    def test_cancelling_what_just_begins_or_ends_loses_neither_task_nor_slot(self, tmp_path: Path) -> None:
        import random

        dice = random.Random(3)
        with floor(tmp_path, SLEEPY, count=1) as here:
            here.run(*[{}] * 20)
            for _ in range(40):
                ns = here.put(*[{"seconds": dice.choice([0, 0.001, 0.003])} for _ in range(3)])
                here.turn(dice.choice([0, 0.001, 0.004]))
                here.slots.cancel([dice.choice(ns)])
                ended = here.finish(*ns, bound=10)
                assert {one.outcome for one in ended} <= {Outcome.SUCCEEDED, Outcome.CANCELLED}
                assert sum(one.outcome is Outcome.CANCELLED for one in ended) <= 1
            assert here.one().outcome is Outcome.SUCCEEDED

    def test_a_stop_that_comes_after_the_end_costs_an_idle_slot_and_nothing_else(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=1) as here:
            here.one()
            (child,) = here.slots._children
            eventually(lambda: " S " in Path(f"/proc/{child.pid}/stat").read_text())  # it waits for its pipe
            here.slots._stop(child, (1, 1), Outcome.CANCELLED)
            assert here.one().outcome is Outcome.SUCCEEDED
            assert [one.outcome for one in here.all] == [Outcome.SUCCEEDED] * 2

    def test_a_task_that_was_cancelled_before_it_had_begun_never_begins(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=1) as here:
            here.one()
            (child,) = here.slots._children
            (n,) = here.put({"seconds": 0.2})
            here.until_running(n)
            delivery = child.given.pop((n, 1))  # as if it had only been shown
            child.stopping = ((n, 1), int(Outcome.CANCELLED))
            here.slots._take_back(child, [delivery])
            here.turn(0)
            assert here.ended[n].outcome is Outcome.CANCELLED and here.slots.queued() == 0

    def test_a_task_that_drops_out_of_sight_while_it_is_cancelled_never_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with floor(tmp_path, SLEEPY, count=1) as here:
            here.one()
            (child,) = here.slots._children
            (n,) = here.put({"seconds": 0.2})
            here.until_running(n)
            shown = [child.at_work()]  # once, and then no more, as if it had only been shown
            monkeypatch.setattr(child, "at_work", lambda: shown.pop() if shown else None)
            here.slots.cancel([n])
            here.turn(0)
            assert here.ended[n].outcome is Outcome.CANCELLED and here.slots.queued() == 0

    def test_withdraw_gives_back_all_that_has_not_begun_and_begins_nothing(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=1) as here:
            here.run(*[{}] * 50)
            ns = here.put({"seconds": 0.5}, *[{"mark": str(tmp_path / "ran")}] * 10)
            here.until_running(ns[0])
            assert sorted(delivery.n for delivery in here.slots.withdraw()) == ns[1:]
            assert here.finish(ns[0])[0].outcome is Outcome.SUCCEEDED
            assert (here.slots.queued(), here.slots.running()) == (0, [])
            assert not (tmp_path / "ran").exists()
            assert here.one().outcome is Outcome.SUCCEEDED, "put again, it goes on"

    def test_withdrawing_at_full_speed_loses_and_doubles_nothing(self, tmp_path: Path) -> None:
        code = "import os\ndef f(k): os.write(1, b'%d\\n' % k)"
        with floor(tmp_path, code, count=2) as here:
            here.run(*[{"k": -1}] * 200)
            ran, back = set(here.put(*[{"k": k} for k in range(1500)])), []
            for _ in range(40):
                here.turn(0.001)
                back = here.slots.withdraw()
                running = {n for n, *_ in here.slots.running()}
                assert not running & {delivery.n for delivery in back}
                here.slots.put(back)
            here.finish(*ran)
            done = Counter(path for file in here.directory.glob("*.out") for path in file.read_bytes().split())
        del done[b"-1"]
        assert len(done) == 1500 and set(done.values()) == {1}

    def test_fewer_slots_leave_when_their_task_does(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=3) as here:
            ns = here.put(*[{"seconds": 0.5}] * 3)
            here.until(lambda: len(here.slots.running()) == 3)
            here.slots.resize(1)
            assert outcomes(here.finish(*ns)) == {Outcome.SUCCEEDED: 3}
            here.until(lambda: len(here.pids()) == 1)
            here.slots.resize(2)
            here.run(*[{"seconds": 0.1}] * 4)
            assert len(here.pids()) == 2

    def test_a_suspect_runs_alone(self, tmp_path: Path) -> None:
        with floor(tmp_path, SLEEPY, count=2) as here:
            plain = here.put({"seconds": 0.2}, {"seconds": 0.2})
            (alone,) = here.put({"seconds": 0.2}, alone=True)
            later = here.put({"seconds": 0.1}, {"seconds": 0.1})
            here.until_running(alone)
            assert [n for n, *_ in here.slots.running()] == [alone]
            assert outcomes(here.finish(*plain, alone, *later)) == {Outcome.SUCCEEDED: 5}


def test_a_fork_bomb_s_children_are_gone_after_cancel(tmp_path: Path) -> None:
    from elsewhere.agent import processes

    code = """
    import os, time
    def f():
        for _ in range(6):
            if os.fork() == 0 and os.fork() == 0: os.setsid()
        while True: time.sleep(0.01)
    """
    with floor(tmp_path, code, grace=SHORT) as here:
        (n,) = here.put({})
        here.until(lambda: len(processes.marked(here.slots._mark)) > 200)
        here.slots.cancel([n])
        assert here.finish(n)[0].outcome is Outcome.CANCELLED
        left = processes.marked(here.slots._mark)
        assert len(left) <= 1, "nothing but the slot itself, which is on its way out"
        here.until(lambda: processes.marked(here.slots._mark) == [])


def test_memory_that_children_hold_counts(tmp_path: Path) -> None:
    code = """
    import subprocess, sys
    hold = "held = bytearray(70 << 20); held[::4096] = held[1::4096]; import time; time.sleep(60)"
    def f():
        for child in [subprocess.Popen([sys.executable, "-c", hold]) for _ in range(2)]: child.wait()
    """
    with floor(tmp_path, code, resources=Resources(memory=100 << 20)) as here:
        assert here.one().outcome is Outcome.OUT_OF_MEMORY
        assert here.slots.running() == []


class TestDeathOfTheAgent:
    PROGRAM = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from slot.floor import floor
with floor(Path({tmp!r}), {code!r}, count=2) as here:
    here.run(*[{{"k": 0}}] * 50)
    here.finish(*here.put(*[{{"k": k}} for k in range(1, 100000)]), bound=1000)
"""

    def test_slots_are_gone_at_once_begin_nothing_more_and_what_they_finished_is_found(self, tmp_path: Path) -> None:
        import subprocess
        import sys

        code = "import os\ndef f(k):\n    os.write(1, b'begun\\n')\n    sum(range(20000))\n    return k"
        program = self.PROGRAM.format(tests=str(Path(__file__).parent.parent), tmp=str(tmp_path), code=code)
        slots = tmp_path / "slots" / "a1"

        def begun() -> int:
            return sum(path.stat().st_size // 6 for path in slots.glob("*.out"))

        with subprocess.Popen([sys.executable, "-c", program]) as agent:
            eventually(lambda: slots.is_dir() and begun() > 300)
            agent.kill()
        from elsewhere.agent import processes

        mark = (slots / "mark").read_text().strip()
        eventually(lambda: not processes.marked(mark), 2)
        at_death = begun()
        found = recover(slots)
        assert at_death - 2 <= len(found) <= at_death == begun()
        assert len({one.n for one in found}) == len(found)
        assert recover(slots) == found

    def test_a_task_that_runs_long_ends_with_its_agent(self, tmp_path: Path) -> None:
        import subprocess
        import sys

        where = str(tmp_path / "pid")
        code = f"import os, time\ndef f(k):\n    if k: open({where!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
        program = self.PROGRAM.format(tests=str(Path(__file__).parent.parent), tmp=str(tmp_path), code=code)
        with subprocess.Popen([sys.executable, "-c", program]) as agent:
            eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            agent.kill()
        pid = int((tmp_path / "pid").read_text())
        eventually(lambda: not is_alive(pid), 3)

    def test_recover_ends_what_was_left_of_a_dead_agent_s_processes(self, tmp_path: Path) -> None:
        code = """
        import subprocess
        def f(k): return subprocess.Popen(["setsid", "sleep", "1000"]).pid
        """
        with floor(tmp_path, code) as here:
            pid = value(here.one({"k": 1}))
            os.kill(here.pids()[0], signal.SIGSTOP)
            assert is_alive(pid)
            assert len(recover(here.directory)) == 1
            assert not is_alive(pid)

    def test_half_a_record_is_no_record(self, tmp_path: Path) -> None:
        with floor(tmp_path, "def f(k): return k") as here:
            here.run({"k": 1}, {"k": 2})
            here.slots.close()
            (path,) = here.directory.glob("*.outcomes")
            path.write_bytes(path.read_bytes()[:-1])
            assert [one.n for one in recover(here.directory)] == [1]


def test_isolation_gives_each_task_a_process_of_its_own_with_the_entry_loaded(tmp_path: Path) -> None:
    code = "import os\nloaded = os.getpid()\nn = 0\ndef f():\n    global n; n += 1\n    return [os.getpid(), loaded, n]"
    with floor(tmp_path, code, isolate=True) as here:
        told = [value(one) for one in here.run(*[{}] * 10)]
        assert len({pid for pid, *_ in told}) == 10
        assert {tuple(rest) for _, *rest in told} == {(here.pids()[0], 1)}


def test_a_slot_is_replaced_after_so_many_tasks_and_nobody_notices(tmp_path: Path) -> None:
    with floor(tmp_path, SLEEPY, recycle_tasks=20) as here:
        ended = [one for _ in range(5) for one in here.run(*[{}] * 21)]
    assert outcomes(ended) == {Outcome.SUCCEEDED: 105}
    assert len({value(one) for one in ended}) == 5


def test_a_thread_that_a_task_leaves_behind_does_not_keep_the_slot_from_being_replaced(tmp_path: Path) -> None:
    code = "import os, threading, time\ndef f():\n    threading.Thread(target=time.sleep, args=(1000,)).start()\n"
    with floor(tmp_path, code + "    return os.getpid()", recycle_tasks=1, grace=SHORT) as here:
        assert len({value(here.one()) for _ in range(3)}) == 3


def test_the_last_word_of_a_slot_may_come_after_its_end_was_seen(tmp_path: Path) -> None:
    with floor(tmp_path, SLEEPY) as here:
        here.one()
        child = here.slots._children[0]
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        here.slots._exited(child)
        here.slots._woken(child)  # both stood in one answer of the selector
        assert here.one().outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("isolate", [False, True])
def test_a_task_that_ends_with_our_own_status_of_trouble_is_no_full_disk(tmp_path: Path, isolate: bool) -> None:
    with floor(tmp_path, "import os\ndef f(): os._exit(81)", isolate=isolate) as here:
        ended = here.one()
    assert ended.outcome is Outcome.ERRORED and value(ended)["exit_code"] == 81


def test_half_a_record_of_an_isolated_task_hides_nothing_that_comes_after_it(tmp_path: Path) -> None:
    code = """
    import os, pathlib
    def f(half):
        for fd in pathlib.Path("/proc/self/fd").iterdir():
            if half and str(fd.resolve()).endswith(".outcomes"):
                os.write(int(fd.name), b"\\xff\\0\\0\\0half")
                os.kill(os.getpid(), 9)
        return 1
    """
    with floor(tmp_path, code, isolate=True) as here:
        ended = here.run({"half": False}, {"half": True}, {"half": False})
    assert [one.outcome for one in ended] == [Outcome.SUCCEEDED, Outcome.LOST, Outcome.SUCCEEDED]


def test_a_slot_that_has_grown_is_replaced(tmp_path: Path) -> None:
    code = "import os\nheld = []\ndef f(size):\n    held.append(b'x' * size)\n    return os.getpid()"
    with floor(tmp_path, code, recycle_memory=60 << 20) as here:
        first = value(here.one({"size": 1}))
        time.sleep(0.06)  # the slot looks at its size no more often
        here.one({"size": 80 << 20})
        here.until(lambda: first not in here.pids())
        assert value(here.one({"size": 1})) != first


@pytest.mark.parametrize("code", ["os._exit(3)", "os.abort()", "os.kill(os.getpid(), 9)"])
def test_slots_that_cannot_start_reject_everything_and_are_not_started_for_ever(tmp_path: Path, code: str) -> None:
    with floor(tmp_path, f"import os; {code}", count=2) as here:
        ended = here.run(*[{}] * 10)
        assert here.slots.broken
        more = here.run({}, {})
    assert outcomes([*ended, *more]) == {Outcome.REJECTED: 12}
    assert "before its first task" in value(ended[0])["message"]


def test_an_interpreter_that_is_not_there_rejects_everything(tmp_path: Path) -> None:
    with floor(tmp_path, python="/no/such/python") as here:
        ended = here.run({}, {})
    assert outcomes(ended) == {Outcome.REJECTED: 2} and "/no/such/python" in value(ended[0])["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_interrupts_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "slots"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        code = "def f(size): print('x' * size); return size"
        with floor(tmp_path, code) as here:
            assert here.one({"size": 10}).outcome is Outcome.SUCCEEDED
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
            ns = here.put({"size": 10_000}, {"size": 10_000}, {"size": 10})
            here.until(lambda: here.slots.trouble)
            assert "No space left" in here.slots.trouble and here.slots.room() == 0
            filler.unlink()
            ended = here.finish(*ns)
            assert not here.slots.trouble
        assert {one.outcome for one in ended} <= {Outcome.INTERRUPTED, Outcome.SUCCEEDED}
        assert ended[0].outcome is Outcome.INTERRUPTED and ended[2].outcome is Outcome.SUCCEEDED
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_settled_outcome_files_are_cut_while_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from elsewhere.agent import child

    monkeypatch.setattr(child, "_CUT", 20_000)
    with floor(tmp_path, "def f(k): return k") as here:
        given, largest = 0, 0
        while len(here.ended) < 6000:
            room = min(here.slots.room(), 6000 - given)
            here.put(*[{"k": given + i} for i in range(room)])
            given += room
            here.turn()
            here.slots.settled()
            largest = max(largest, sum(path.stat().st_size for path in here.directory.glob("*.outcomes")))
        assert [value(here.ended[n]) for n in range(1, 6001)] == list(range(6000))
        here.slots.settled()
        assert largest < 300_000, "6,000 records are more than 400,000 bytes"


def test_close_ends_everything_and_tells_how_it_ended(tmp_path: Path) -> None:
    from elsewhere.agent import processes

    with floor(tmp_path, SLEEPY, count=2) as here:
        ns = here.put({"seconds": 1000}, {"seconds": 1000})
        here.until(lambda: len(here.slots.running()) == 2)
        began = time.monotonic()
        here.slots.close()
        here.slots.close()
        assert time.monotonic() - began < 4
        here.turn(0)
        assert outcomes([here.ended[n] for n in ns]) == {Outcome.INTERRUPTED: 2}
        assert processes.marked(here.slots._mark) == [] and here.pids() == []


def test_others_in_the_same_selector_are_called(tmp_path: Path) -> None:
    heard = []
    with floor(tmp_path, SLEEPY) as here:
        reader, writer = os.pipe()
        here.slots._selector.register(reader, selectors.EVENT_READ, lambda: heard.append(os.read(reader, 10)))
        os.write(writer, b"hello")
        here.until(lambda: heard)
        assert heard == [b"hello"]
        here.slots._selector.unregister(reader)
        os.close(reader)
        os.close(writer)


def test_a_child_that_the_user_forks_and_terminates_does_not_end_the_task(tmp_path: Path) -> None:
    code = """
    import multiprocessing, time
    def f():
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        process.start(); process.terminate(); process.join()
        return process.exitcode
    """
    with floor(tmp_path, code) as here:
        assert value(here.one()) == -signal.SIGTERM


def test_slots_are_started_as_there_is_work_for_them(tmp_path: Path) -> None:
    with floor(tmp_path, SLEEPY, count=8) as here:
        assert here.pids() == []
        here.one()
        assert len(here.pids()) == 1
        here.one()
        assert len(here.pids()) == 1


def test_entries_of_another_kind_are_named(tmp_path: Path) -> None:
    with floor(tmp_path, "", entry=Entry("function", "json:no_such")) as here:
        told = value(here.one())
    assert told["type"] == "AttributeError" and "no_such" in told["message"]
    assert BOUND
