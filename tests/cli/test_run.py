"""`elsewhere run` as a user types it: task lists, one command, a command for each line."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from cli.command import Shell, end

WORKER = """
import os, signal, sys, time

def double(x):
    print("doubling", x)
    if x == 3:
        raise ValueError("three is unlucky")
    return {"y": 2 * x}

def die(x):
    os.kill(os.getpid(), signal.SIGSEGV)

def wait(x):
    open(f"begun-{x}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.02)
    return x

not_a_function = 3
"""


@pytest.fixture(autouse=True)
def worker(shell: Shell) -> None:
    shell.write("worker.py", WORKER)


# --- task lists -----------------------------------------------------------------------------------------------------


def test_a_task_list_runs_and_its_results_are_in_the_file(shell: Shell) -> None:
    shell.tasks(2)

    ran = shell("run", "tasks.jsonl", "--entry", "worker:double", "--slots", "2", "--results", "out.jsonl")

    assert ran.status == 0, ran.err
    assert ran.out == ""
    rows = [json.loads(line) for line in (shell.directory / "out.jsonl").read_text().splitlines()]
    assert {row["task_id"]: row["result"] for row in rows} == {"t1": {"y": 2}, "t2": {"y": 4}}
    assert len(rows) == 2
    assert "2 of 2 done" in ran.err


def test_a_failed_task_is_exit_status_1_with_its_reason_and_the_command_that_goes_on(shell: Shell) -> None:
    shell.tasks(4)

    ran = shell("run", "tasks.jsonl", "--entry", "worker.py:double", "--name", "fit")

    assert ran.status == 1
    assert "3 of 4 done, 1 failed" in ran.err
    assert "elsewhere retry fit --failed" in ran.err
    (failed,) = shell("results", "fit", "--failed").lines()
    assert failed["error"]["reason"] == "ValueError: three is unlucky"
    assert "worker.py" in failed["error"]["traceback"]


def test_retrying_runs_only_what_failed_and_says_why_it_fails_again(shell: Shell) -> None:
    shell.tasks(4)
    shell("run", "tasks.jsonl", "--entry", "worker:double", "--name", "fit")

    again = shell("retry", "fit", "--failed")

    assert again.status == 1
    assert "1 failed task of fit made ready again" in again.err
    rows = shell("results", "fit").lines()
    assert [(row["attempt"], row["state"]) for row in rows] == [
        (1, "succeeded"),
        (1, "succeeded"),
        (2, "failed"),
        (1, "succeeded"),
    ]
    assert "three is unlucky" in shell("explain", "fit/t3").out


def test_retries_and_their_story(shell: Shell) -> None:
    shell.write("tasks.json", '[{"task_id": "a", "data": {"x": 3}}]')

    ran = shell("run", "tasks.json", "--entry", "worker:double", "--retries", "1", "--name", "fit")

    assert ran.status == 1
    story = shell("explain", "fit", "a").out
    assert story.count("and failed: ValueError: three is unlucky.") == 2
    assert "more often than the 1 retry it has" in story


def test_tasks_may_come_through_standard_input(shell: Shell) -> None:
    ran = shell("run", "-", "--entry", "worker:double", "--json", input=b'{"task_id": "a", "data": {"x": 1}}\n')

    assert ran.status == 0, ran.err
    assert shell("results").lines()[0]["result"] == {"y": 2}


def test_json_lines_tell_the_beginning_and_the_end(shell: Shell) -> None:
    shell.tasks(3)

    events = shell("run", "tasks.jsonl", "--entry", "worker:double", "--json", "--name", "fit").lines()

    assert events[0]["event"] == "started"
    assert events[0]["job"]["name"] == "fit"
    assert {event["event"] for event in events[1:-1]} <= {"progress"}
    last = events[-1]
    assert (last["event"], last["succeeded"], last["failed"], last["exit_status"]) == ("summary", 2, 1, 1)
    assert "elsewhere retry fit --failed" in last["next"]


def test_a_list_whose_tasks_have_commands_of_their_own_needs_no_entry_function(shell: Shell) -> None:
    told = '{"task_id": "hi", "command": ["echo", "hi there"]}\n{"task_id": "no", "command": ["sh", "-c", "exit 4"]}\n'
    shell.write("own.jsonl", told)

    ran = shell("run", "own.jsonl")

    assert (ran.status, "1 of 2 done, 1 failed" in ran.err) == (1, True), ran.err
    assert shell("logs", "own/hi").out == "hi there\n"
    assert "exit status 4" in shell("explain", "own/no").out


def test_a_task_without_a_command_needs_an_entry_function_and_nothing_is_made(shell: Shell) -> None:
    shell.write("own.jsonl", '{"task_id": "hi", "command": ["true"]}\n{"task_id": "lo", "data": {"x": 1}}\n')

    ran = shell("run", "own.jsonl")

    assert (ran.status, "its task 'lo' has no command of its own" in ran.err) == (2, True), ran.err
    assert shell("jobs", "--json").json() == []


def test_quiet_says_nothing(shell: Shell) -> None:
    shell.tasks(2)

    assert shell("run", "tasks.jsonl", "--entry", "worker:double", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tasks.jsonl"], "needs an entry function"),
        (["tasks.jsonl", "--entry", "worker:dubble"], "dubble"),
        (["tasks.jsonl", "--entry", "worker:not_a_function"], "not_a_function"),
        (["tasks.jsonl", "--entry", "wroker:double"], "wroker"),
        (["tasks.json", "--entry", "worker:double"], "tasks.json"),
        (["python", "train.py"], "'train.py': one word more than is understood; a command comes after --"),
        (["tasks.jsonl", "--entry", "worker:double", "--results", "out.xml"], "not .xml"),
        (["fitt"], "fitt"),
        (["tasks.jsonl", "--entry", "worker:double", "--on", "mars"], "there is no place 'mars'"),
        ([], "say what to run"),
        (["--each-line", "x"], "--each-line needs a command"),
    ],
)
def test_what_cannot_be_run_is_said_and_nothing_is_made(shell: Shell, words: list[str], said: str) -> None:
    shell.tasks(2)

    ran = shell("run", *words)

    assert ran.status == 2
    assert said in ran.err
    assert "Traceback (most recent call last)" not in ran.err or "wroker" in words[-1]
    assert not list((shell.home / "jobs").glob("*")) if (shell.home / "jobs").exists() else True


def test_all_faults_of_a_task_list_are_told_with_their_lines(shell: Shell) -> None:
    shell.write("tasks.jsonl", '{"task_id": "a", "data": {}}\n{"task_id": "b"}\n{"task_id": "c", "data": 3}\n')

    ran = shell("run", "tasks.jsonl", "--entry", "worker:double")

    assert ran.status == 2
    assert "tasks.jsonl:2" in ran.err
    assert "tasks.jsonl:3" in ran.err
    assert shell("jobs", "--json").json() == []


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        (
            "t.jsonl",
            '{"task_id": "a", "data": {}}\n{"task_id": "b", "data": {}}\n{"task_id": "a", "data": {}}\n',
            (1, 3),
        ),
        ("t.json", '[{"task_id": "a", "data": {}},\n\n{"task_id": "a", "data": {}}]', (1, 3)),
        ("t.csv", "task_id,x\na,1\nb,2\na,3\n", (2, 4)),
    ],
)
def test_an_id_that_is_used_twice_is_told_with_both_lines(
    shell: Shell, name: str, text: str, lines: tuple[int, int]
) -> None:
    shell.write(name, text)

    ran = shell("run", name, "--entry", "worker:double")

    assert ran.status == 2
    assert f"{name}:{lines[1]}: task_id 'a' is used twice; first on line {lines[0]}" in ran.err
    assert shell("jobs", "--json").json() == []


def test_an_id_that_is_used_twice_on_standard_input_is_told_with_both_lines(shell: Shell) -> None:
    tasks = [b'{"task_id": "%b", "data": {"x": 1}}\n' % name for name in (b"a", b"b", b"a")]

    ran = shell("run", "-", "--entry", "worker:double", input=b"\n".join(tasks))

    assert ran.status == 2
    assert "standard input:5: task_id 'a' is used twice; first on line 1" in ran.err
    assert shell("jobs", "--json").json() == []


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.csv", "t.yaml"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_list_in_utf_16_is_told_to_be_that_and_how_to_convert_it(shell: Shell, name: str, encoding: str) -> None:
    text = '[{"task_id": "a", "data": {"x": 1}}]\n' if not name.endswith("csv") else "task_id,x\na,1\n"
    shell.write(name, text.encode(encoding))

    ran = shell("run", name, "--entry", "worker:double")

    assert ran.status == 2
    shown = encoding.upper().replace("-16-LE", "-16LE")
    assert f"{name}:1: has the wrong encoding: it seems to be {shown}, not UTF-8" in ran.err
    assert f"iconv -f {shown} -t UTF-8 {name} > NEW" in ran.err


def test_jobs_past_what_is_kept_go_when_another_is_run(shell: Shell) -> None:
    shell.tasks(1)
    run = ("run", "tasks.jsonl", "--entry", "worker:double")
    assert shell(*run, "--name", "old", env={"ELSEWHERE_KEEP": "0s"}).status == 0
    kept = shell(*run, "--name", "kept")
    shell.write("one.jsonl", '{"task_id": "a", "data": {"x": 3}}\n{"task_id": "b", "data": {"x": 3}}\n')
    left = shell("run", "one.jsonl", "--entry", "worker:double", "--slots", "1", "--max-failures", "0",
                 "--name", "left", env={"ELSEWHERE_KEEP": "0s"})  # fmt: skip

    assert shell("run", "--name", "new", "--", "true").status == 0

    assert (kept.status, left.status) == (0, 1)
    assert {row["name"] for row in shell("jobs", "--json").json()} == {"new", "kept", "left"}
    assert "Removed 1 job past what is kept of those that are over" in kept.err
    assert "Removed" not in left.err


def test_a_task_that_crashes_fails_alone(shell: Shell) -> None:
    shell.tasks(2)

    ran = shell("run", "tasks.jsonl", "--entry", "worker:die", "--name", "fit")

    assert ran.status == 1
    assert "2 failed" in ran.err
    assert "SIGSEGV" in shell("results", "--failed").out


def test_too_many_failures_stop_the_job_early(shell: Shell) -> None:
    shell.tasks(200)

    ran = shell("run", "tasks.jsonl", "--entry", "worker:die", "--max-failures", "1", "--slots", "1", "--name", "fit")

    assert ran.status == 1
    assert "stopped early" in ran.err
    assert "elsewhere resume fit" in ran.err


# --- one command ----------------------------------------------------------------------------------------------------


def test_one_command_has_its_output_on_ours_and_its_exit_status(shell: Shell) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"

    ran = shell("run", "--", sys.executable, "-c", script)

    assert ran == (7, "out\n", "err\n")


def test_bytes_come_through_as_they_are(shell: Shell) -> None:
    code = "import os; os.write(1, bytes(range(256)) * 4000)"
    ran = subprocess.run(
        [sys.executable, "-m", "elsewhere", "run", "--", sys.executable, "-c", code],
        env=shell.env, cwd=shell.directory, capture_output=True, check=True,
    )  # fmt: skip

    assert ran.stdout == bytes(range(256)) * 4000


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 200", 200), ("kill -9 $$", 137), ("kill -SEGV $$", 139)]
)
def test_statuses_and_signals_are_those_of_the_command(shell: Shell, script: str, status: int) -> None:
    assert shell("run", "--", "sh", "-c", script).status == status


def test_a_program_that_is_not_there_is_127_and_one_that_may_not_run_126(shell: Shell) -> None:
    plain = shell.write("plain.txt", "hello")
    plain.chmod(0o644)

    missing, refused = shell("run", "--", "no-such-program"), shell("run", "--", "./plain.txt")

    assert (missing.status, refused.status) == (127, 126)
    assert "no program 'no-such-program' in PATH" in missing.err
    assert "may not be executed" in refused.err
    assert shell("jobs", "--json").json() == []


def test_what_is_wrong_on_our_side_is_125_for_a_command(shell: Shell) -> None:
    assert shell("run", "--timeout", "soon", "--", "true").status == 125
    assert shell("run", "--on", "mars", "--", "true").status == 125


def test_a_command_sees_its_variables_and_the_working_directory(shell: Shell) -> None:
    ran = shell("run", "--env", "SPELL=lumos", "--", "sh", "-c", "echo $SPELL $ELSEWHERE_ATTEMPT; pwd")

    assert ran.out.splitlines() == ["lumos 1", str(shell.directory)]


def test_no_shell_sees_the_words_of_a_command(shell: Shell) -> None:
    assert shell("run", "--", "printf", "%s|", "a b", "$HOME", "*", "{}").out == "a b|$HOME|*|{}|"


def test_a_reader_that_goes_away_ends_the_command_quietly(shell: Shell) -> None:
    command = f"{sys.executable} -m elsewhere run -- yes | head -2; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=shell.env, cwd=shell.directory, check=True
    )

    assert ran.stdout == "y\ny\n141\n"
    assert ran.stderr == ""


def test_ctrl_c_once_lets_a_command_finish_and_twice_ends_it(shell: Shell) -> None:
    process = shell.start("run", "--name", "nap", "--", "sh", "-c", "echo up; sleep 60")
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"up\n"
        os.kill(process.pid, signal.SIGINT)
        while b"left to finish; Ctrl-C again" not in process.stderr.readline():
            pass
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        end(process)

    assert process.returncode == 130
    assert b"elsewhere resume nap" in err


def test_a_timeout_is_said(shell: Shell) -> None:
    ran = shell("run", "--timeout", "300ms", "--grace", "1s", "--", "sleep", "60")

    assert ran.status == 128 + signal.SIGTERM
    assert "time" in ran.err.lower()


# --- a command for each line ----------------------------------------------------------------------------------------


def test_one_command_for_each_line(shell: Shell) -> None:
    shell.write("files.txt", "a b\n\nc\n")

    ran = shell("run", "--each-line", "files.txt", "--name", "touch", "--", "touch", "{}.out")

    assert ran.status == 0, ran.err
    assert sorted(path.name for path in shell.directory.glob("*.out")) == ["a b.out", "c.out"]
    assert [row["task_id"] for row in shell("results", "touch").lines()] == ["line-1", "line-3"]


def test_a_command_that_fails_for_a_line_is_told_by_its_line(shell: Shell) -> None:
    ran = shell("run", "--each-line", "-", "--name", "try", "--", "sh", "-c", "exit {}", input=b"0\n3\n")

    assert ran.status == 1
    (failed,) = shell("results", "try", "--failed").lines()
    assert (failed["task_id"], failed["error"]["exit_code"]) == ("line-2", 3)


# --- afterwards -----------------------------------------------------------------------------------------------------


def test_the_readers_of_a_finished_job(shell: Shell) -> None:
    shell.tasks(4)
    shell("run", "tasks.jsonl", "--entry", "worker:double", "--name", "fit", "--quiet")

    status = shell("status", "fit")
    assert status.status == 1
    assert "3 done, 1 failed, of 4 tasks" in status.out
    assert "t3: ValueError: three is unlucky" in status.out
    facts = shell("status", "--json").json()
    assert (facts["state"], facts["counts"]["succeeded"]) == ("failed", 3)
    (row,) = shell("jobs", "--json").json()
    assert shell("status", row["id"][:12]).out == status.out
    assert shell("watch", "fit").status == 1
    assert shell("logs", "fit/t2").out == "doubling 2\n"
    assert "==> t1, standard output <==\ndoubling 1\n" in shell("logs").out
    rows = list(csv.DictReader(shell("results", "--format", "csv").out.splitlines()))
    assert [row["y"] for row in rows] == ["2", "4", "", "8"]
    assert "Nothing to cancel" in shell("cancel", "fit").out


def test_an_unknown_job_or_task_names_the_nearest(shell: Shell) -> None:
    shell.tasks(2)
    shell("run", "tasks.jsonl", "--entry", "worker:double", "--name", "fitting", "--quiet")

    job, task = shell("status", "fiting"), shell("logs", "fitting/tt1")

    assert (job.status, task.status) == (2, 2)
    assert "did you mean fitting?" in job.err.lower()
    assert "did you mean t1?" in task.err


def test_a_job_is_removed_with_its_files_and_not_while_it_is_unfinished(shell: Shell) -> None:
    shell.tasks(2)
    shell("run", "tasks.jsonl", "--entry", "worker:double", "--name", "fit", "--quiet")

    assert shell("clean", "--older-than", "0s", "--dry-run").out.endswith("; 0 stay.\n")
    assert len(shell("jobs", "--json").json()) == 1
    assert shell("clean").out == "Nothing to remove; 1 stay.\n"
    assert shell("rm", "fit").status == 0
    assert shell("jobs", "--json").json() == []
    assert list((shell.home / "jobs").glob("*")) == []


# --- stopping and going on ------------------------------------------------------------------------------------------


def begun(shell: Shell, count: int) -> None:
    """Wait until so many tasks of `worker:wait` have begun."""
    import time

    until = time.monotonic() + 30
    while len(list(shell.directory.glob("begun-*"))) < count:
        assert time.monotonic() < until, "the tasks did not begin"
        time.sleep(0.02)


def test_ctrl_c_once_lets_running_tasks_finish_and_leaves_the_rest(shell: Shell) -> None:
    shell.tasks(6)
    process = shell.start("run", "tasks.jsonl", "--entry", "worker:wait", "--slots", "2", "--name", "fit")
    try:
        begun(shell, 2)
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        said = [process.stderr.readline().decode() for _ in range(2)]
        assert any(line.startswith("stopping: 2 running (") and "t1 " in line and "t2 " in line for line in said), said
        shell.write("go", "")
        _, err = process.communicate(timeout=30)
    finally:
        end(process)

    assert process.returncode == 130
    assert "Interrupted after" in err.decode()
    assert "2 of 6 done, 4 left" in err.decode()
    assert "elsewhere resume fit" in err.decode()
    assert shell("status", "fit", "--json").json()["state"] == "stopped"
    assert shell("rm", "fit").status == 2
    assert shell("resume", "fit", "--results", "out.csv").status == 0
    rows = list(csv.DictReader((shell.directory / "out.csv").read_text().splitlines()))
    assert [row["result"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row["attempt"] for row in rows[:2]] == ["1", "1"]


def test_watch_of_a_job_that_was_killed_says_that_nobody_runs_it_and_how_to_go_on(shell: Shell) -> None:
    shell.tasks(3)
    process = shell.start("run", "tasks.jsonl", "--entry", "worker:wait", "--slots", "1", "--name", "fit")
    try:
        patience = time.monotonic() + 60
        while not (shell.directory / "begun-1").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
    finally:
        end(process)

    ran = shell("watch", "fit")

    assert ran.status == 1
    assert re.search(r"^Nobody runs it since .*\d\d:\d\d:\d\d: 0 of 3 done, 3 left\.$", ran.err, re.MULTILINE), ran.err
    assert "elsewhere resume fit" in ran.err
    assert "Stopped" not in ran.err


def test_ctrl_c_twice_stops_at_once(shell: Shell) -> None:
    shell.tasks(6)
    process = shell.start("run", "tasks.jsonl", "--entry", "worker:wait", "--slots", "2", "--name", "fit")
    try:
        begun(shell, 2)
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        while not process.stderr.readline().startswith(b"stopping"):
            pass
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        end(process)

    assert process.returncode == 130
    assert "0 of 6 done, 6 left" in err.decode()
    shell.write("go", "")
    assert shell("resume").status == 0


def test_a_detached_job_prints_its_id_goes_on_and_can_be_watched(shell: Shell) -> None:
    shell.tasks(3)

    ran = shell("run", "tasks.jsonl", "--entry", "worker:wait", "--detach", "--name", "fit")

    assert ran.status == 0, ran.err
    assert ran.out.startswith("job-")
    begun(shell, 1)
    facts = shell("status", "fit", "--json").json()
    assert (facts["id"], facts["state"]) == (ran.out.strip(), "running")
    assert "Its controller is process" in shell("explain", "fit").out
    assert shell("rm", "--force", "fit").status == 2
    held = shell("resume", "fit")
    assert (held.status, "is run by process" in held.err) == (2, True)
    shell.write("go", "")
    watched = shell("watch", "fit")
    assert watched.status == 0
    assert "3 of 3 done" in watched.err


def test_a_running_job_is_cancelled_from_another_terminal(shell: Shell) -> None:
    shell.tasks(3)
    shell("run", "tasks.jsonl", "--entry", "worker:wait", "--slots", "1", "--detach", "--name", "fit")
    begun(shell, 1)

    assert "Cancelled 1 task of fit" in shell("cancel", "fit/t3").out
    assert "Cancelled 2 tasks of fit" in shell("cancel", "fit").out

    assert shell("watch", "fit").status == 1
    assert {row["state"] for row in shell("results", "fit").lines()} == {"cancelled"}


def test_logs_follow_a_running_task_to_its_end(shell: Shell) -> None:
    shell.write("talk.sh", "echo one; touch begun-1; while [ ! -e go ]; do sleep 0.05; done; echo two")
    shell("run", "--detach", "--name", "talk", "--", "sh", "talk.sh")
    begun(shell, 1)

    process = shell.start("logs", "talk", "-f")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        shell.write("go", "")
        out, _ = process.communicate(timeout=30)
    finally:
        end(process)

    assert out == b"two\n"


def test_ids_used_twice_are_told_with_the_other_faults_of_the_file(shell: Shell) -> None:
    (shell.directory / "work.py").write_text("def f(**data): return data\n")
    lines = ['[{"task_id": "a", "data": {}},', '{"task_id": "a", "data": {}},', '{"task_id": "b", "dat": {}}]']
    (shell.directory / "tasks.json").write_text("\n".join(lines))

    ran = shell("run", "tasks.json", "--entry", "work:f")

    assert ran.status == 2
    assert "tasks.json:2" in ran.err and "'a'" in ran.err
    assert "tasks.json:3" in ran.err and "'dat'" in ran.err


def test_a_list_may_mix_commands_and_calls_of_the_entry(shell: Shell) -> None:
    shell.write("work.py", "def f(x): return x + 1\n")
    shell.write(
        "t.jsonl",
        '{"task_id": "call", "data": {"x": 1}}\n'
        '{"task_id": "run", "command": ["sh", "-c", "echo $ELSEWHERE_TASK_ID"]}\n'
        '{"task_id": "fail", "command": ["sh", "-c", "exit 3"]}\n',
    )

    ran = shell("run", "t.jsonl", "--entry", "work:f", "--results", "out.jsonl")

    assert ran.status == 1
    rows = {row["task_id"]: row for row in map(json.loads, (shell.directory / "out.jsonl").read_text().splitlines())}
    assert rows["call"]["result"] == 2 and rows["run"]["result"] is None
    assert rows["fail"]["error"]["exit_code"] == 3
    assert shell("logs", "t/run").out == "run\n"
    assert "It runs `sh -c 'echo $ELSEWHERE_TASK_ID'`" in shell("explain", "t/run").out
    assert "It calls f" in shell("explain", "t/call").out


def test_data_that_are_no_arguments_of_the_function_are_refused_before_anything_is_made(shell: Shell) -> None:
    shell.write("t.jsonl", '{"task_id": "a", "data": {"x": 1}}\n{"task_id": "b", "data": {"y": 1}}\n')

    ran = shell("run", "t.jsonl", "--entry", "worker:double")

    assert ran.status == 2
    assert "t.jsonl:2: data: double() has no parameter 'y'; known: x" in ran.err
    assert "t.jsonl:2: data: double() needs 'x', which is missing" in ran.err
    assert shell("jobs", "--json").json() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cpus", "100000"], "it needs 100000 CPUs"),
        (["--memory", "1000TiB"], "of memory"),
        (["--gpus", "9"], "9 GPUs"),
    ],
)
def test_a_need_larger_than_this_machine_is_refused_before_anything_is_made(
    shell: Shell, words: list[str], said: str
) -> None:
    shell.tasks(2)
    for what in (["tasks.jsonl", "--entry", "worker:double"], ["--", "true"]):
        rest = what[what.index("--") :] if "--" in what else []
        ran = shell("run", *words, *([] if rest else what), *rest)
        assert ran.status == (125 if rest else 2) and said in ran.err and "this machine" in ran.err
    assert shell("jobs", "--json").json() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--startup-script", "s.sh"], "local boots no machines, so there is nobody to run a startup script"),
     (["--startup-script", "s.sh", "--entry", "w:f"], "--startup-script and --entry are one too many"),
     (["--startup-script", "no.sh", "--on", "aws", "--yes"], "the startup script no.sh cannot be read"),
     (["--startup-script", "e.sh", "--on", "aws", "--yes"], "the startup script e.sh is empty"),
     (["--startup-script", "s.sh", "--on", "aws", "--yes", "--input", "s.sh"],
      "inputs and a startup script are one too many")],
)  # fmt: skip
def test_a_startup_script_that_cannot_be_run_is_refused_before_anything_is_made(
    shell: Shell, words: list[str], said: str
) -> None:
    shell.tasks(1)
    shell.write("s.sh", "python3 my_worker.py\n")
    shell.write("e.sh", "\n")
    ran = shell("run", "tasks.jsonl", *words)
    assert (ran.status, said in ran.err) == (2, True), ran.err
    assert not list((shell.home / "jobs").glob("*"))
