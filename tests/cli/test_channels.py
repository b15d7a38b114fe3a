"""`--on local --channel spool|pipe` as it is typed: agents in processes of their own, the same command around them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import apsw
import psutil
import pytest

from cli.command import Shell, end
from elsewhere.backends.local import MACHINE

PATIENCE = 60.0
"""Seconds; a bound, not a wait."""

WORKER = """
import os, time

def double(x):
    fd = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{x}\\n".encode())
    os.close(fd)
    print("doubling", x)
    if x == 3:
        raise ValueError("three is unlucky")
    time.sleep(0.002)
    return {"y": 2 * x}

def wait(x):
    open(f"begun-{x}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.02)
    return x
"""

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("channel", ["spool", "pipe"])]


@pytest.fixture(autouse=True)
def worker(shell: Shell) -> Iterator[None]:
    shell.write("worker.py", WORKER)
    yield
    for process in agents(shell):
        process.kill()


def agents(shell: Shell) -> list[psutil.Process]:
    """Every process of the machines of this state directory."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if MACHINE in environment and environment.get("ELSEWHERE_HOME") == str(shell.home):
            found.append(process)
    return found


def until(true: Callable[[], bool], what: str) -> None:
    bound = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < bound, f"never: {what}"
        time.sleep(0.02)


def begun(shell: Shell, count: int) -> None:
    """So many tasks run, and their controller has heard that they were claimed."""
    until(lambda: len(list(shell.directory.glob("begun-*"))) >= count, f"{count} tasks have begun")
    until(lambda: claimed(shell) >= count, f"{count} claims were heard of")


def claimed(shell: Shell) -> int:
    """Claims that are written down in the ledgers of all jobs."""
    found = 0
    for path in shell.home.glob("jobs/job-*/ledger.db"):
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            found += int(str(db.execute("SELECT count(*) FROM held").fetchall()[0][0]))
        finally:
            db.close()
    return found


def runs(shell: Shell) -> Counter[int]:
    path = shell.directory / "runs"
    return Counter(int(line) for line in path.read_text().split()) if path.exists() else Counter()


def test_one_command_has_its_output_on_ours_and_its_own_exit_status(shell: Shell, channel: str) -> None:
    script = r"printf 'a\000b\377\n'; echo bad >&2; exit 3"

    ran = shell("run", "--on", "local", "--channel", channel, "--name", "one", "--", "sh", "-c", script)

    assert (ran.status, ran.out, ran.err) == (3, "a\0b�\n", "bad\n")
    assert shell("logs", "one").out == "a\0b�\nbad\n"
    assert shell("logs", "one/1", "--stderr").out == "bad\n"
    assert "exit status 3" in shell("explain", "one").out
    until(lambda: not agents(shell), "its machine has ended")


def test_one_command_is_one_machine_and_odd_slots_are_not_rounded_up(shell: Shell, channel: str) -> None:
    shell("run", "--channel", channel, "--name", "one", "--slots", "1", "--", "true")
    shell.tasks(9)
    shell("run", "tasks.jsonl", "--entry", "worker:double", "--channel", channel, "--slots", "3", "--name", "odd")
    shell("run", "tasks.jsonl", "--entry", "worker:double", "--channel", channel, "--slots", "4", "--name", "even")

    machines = {name: len(shell("machines", name, "--json").json()) for name in ("one", "odd", "even")}
    assert machines == {"one": 1, "odd": 1, "even": 2}


def test_the_output_of_a_command_is_shown_and_followed_while_it_runs(shell: Shell, channel: str) -> None:
    shell.write("talk.sh", "echo one; touch begun-1; while [ ! -e go ]; do sleep 0.05; done; echo two")
    process = shell.start("run", "--channel", channel, "--name", "talk", "--", "sh", "talk.sh")
    follower = None
    try:
        begun(shell, 1)
        assert process.stdout is not None and process.stdout.readline() == b"one\n"
        follower = shell.start("logs", "talk", "-f")
        assert follower.stdout is not None and follower.stdout.readline() == b"one\n"
        assert "running" in shell("status", "talk").out
        shell.write("go", "")
        assert process.communicate(timeout=PATIENCE) == (b"two\n", b"")
        assert follower.communicate(timeout=PATIENCE)[0] == b"two\n"
    finally:
        end(process)
        if follower is not None:
            end(follower)
    assert process.returncode == 0


def test_a_killed_controller_loses_nothing_of_a_thousand_tasks(shell: Shell, channel: str) -> None:
    shell.tasks(1000)
    words = ("--entry", "worker:double", "--on", "local", "--channel", channel, "--slots", "4", "--name", "fit")
    process = shell.start("run", "tasks.jsonl", *words)
    try:
        until(lambda: len(runs(shell)) >= 100, "a hundred tasks have run")
        os.kill(process.pid, signal.SIGKILL)
    finally:
        end(process)

    ran = shell("resume", "fit", "--results", "out.jsonl")

    assert ran.status == 1, ran.err
    assert "999 of 1,000 done, 1 failed" in ran.err
    lines = (shell.directory / "out.jsonl").read_text().splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: int(row["task_id"][1:]))
    assert [row["task_id"] for row in rows] == [f"t{k}" for k in range(1, 1001)]
    assert [row["result"]["y"] for row in rows if row["task_id"] != "t3"] == [2 * k for k in range(1, 1001) if k != 3]
    assert runs(shell) == Counter(range(1, 1001)), "agents outlive a controller: what they had is not done again"
    assert "three is unlucky" in shell("explain", "fit/t3").out
    assert shell("logs", "fit/t7").out == "doubling 7\n"
    assert shell("logs", "fit").out.count("doubling") == 1000
    assert shell("retry", "fit", "--failed").status == 1
    assert runs(shell)[3] == 2
    until(lambda: not agents(shell), "every machine has ended")


def test_tasks_and_a_job_are_cancelled_from_another_terminal(shell: Shell, channel: str) -> None:
    shell.tasks(3)
    shell("run", "tasks.jsonl", "--entry", "worker:wait", "--channel", channel, "--slots", "1", "--detach")
    begun(shell, 1)

    assert "Cancelled 1 task" in shell("cancel", "@last/t3").out
    assert "Cancelled 2 tasks" in shell("cancel").out

    assert shell("watch").status == 1
    assert {row["state"] for row in shell("results").lines()} == {"cancelled"}
    assert len(list(shell.directory.glob("begun-*"))) == 1
    until(lambda: not agents(shell), "every machine has ended")


def test_ctrl_c_once_lets_running_tasks_finish(shell: Shell, channel: str) -> None:
    shell.tasks(6)
    words = ("--entry", "worker:wait", "--channel", channel, "--slots", "2", "--name", "fit")
    process = shell.start("run", "tasks.jsonl", *words)
    try:
        begun(shell, 2)
        os.kill(process.pid, signal.SIGINT)
        until(lambda: not (shell("status", "fit", "--json").json()["counts"]["handed_out"] - 2), "the rest came back")
        shell.write("go", "")
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        end(process)

    assert process.returncode == 130
    assert "2 of 6 done, 4 left" in err.decode()
    assert len(list(shell.directory.glob("begun-*"))) == 2
    until(lambda: not agents(shell), "every machine has ended")
    assert shell("resume", "fit").status == 0
    assert [row["attempt"] for row in shell("results", "fit").lines()][:2] == [1, 1]


def test_ctrl_c_at_the_first_moment_runs_nothing_again(shell: Shell, channel: str) -> None:
    shell.write("worker.py", WORKER.replace('open(f"begun-{x}", "w").close()', 'open(f"begun-{x}", "a").write("!")'))
    shell.tasks(6)
    words = ("--entry", "worker:wait", "--channel", channel, "--slots", "4", "--name", "fit")
    process = shell.start("run", "tasks.jsonl", *words)
    try:
        if channel == "spool":  # its controller hears of nothing until it is told to stop
            until(lambda: any(shell.home.glob("jobs/job-*/spool/segments/*")), "all tasks are handed out")
            until(lambda: bool(agents(shell)), "a machine starts")
            os.kill(process.pid, signal.SIGSTOP)
        until(lambda: len(list(shell.directory.glob("begun-*"))) >= 1, "one task has begun, heard of or not")
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGCONT)
        until(lambda: shell("status", "fit", "--json").json()["counts"]["ready"], "what nobody took came back")
        shell.write("go", "")
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        end(process)

    assert process.returncode == 130, err
    begun = {path.name for path in shell.directory.glob("begun-*")}
    assert {row["task_id"] for row in shell("results", "fit").lines()} == {f"t{name[6:]}" for name in begun}
    assert shell("resume", "fit").status == 0
    assert {path.read_text() for path in shell.directory.glob("begun-*")} == {"!"}, "each was begun once"


def test_ctrl_c_twice_stops_at_once(shell: Shell, channel: str) -> None:
    shell.tasks(6)
    words = ("--entry", "worker:wait", "--channel", channel, "--slots", "2", "--name", "fit")
    process = shell.start("run", "tasks.jsonl", *words)
    try:
        begun(shell, 2)
        os.kill(process.pid, signal.SIGINT)
        said = process.stderr
        assert said is not None
        until(lambda: said.readline().startswith(b"stopping: 2 running"), "the first was heard")
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        end(process)

    assert process.returncode == 130
    assert "0 of 6 done, 6 left" in err.decode()
    until(lambda: not agents(shell), "every machine has ended")
    shell.write("go", "")
    assert shell("resume", "fit").status == 0
