"""What a command sees and leaves behind, in a real slot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.model.job import Entry
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from slot.floor import eventually, floor, is_alive, value

SH = "/bin/sh"


def command(*words: str) -> Entry:
    return Entry("command", command=words)


def test_a_command_s_output_and_status_are_kept(tmp_path: Path) -> None:
    with floor(tmp_path, entry=command(SH, "-c", "echo out; echo err >&2; exit 3")) as here:
        ended = here.one(b"null")
        assert here.output(ended) == b"out\n" and here.output(ended, "err") == b"err\n"
    told = value(ended)
    assert ended.outcome is Outcome.ERRORED
    assert (told["exit_code"], told["stderr"]) == (3, "err\n")


def test_success_is_status_0(tmp_path: Path) -> None:
    with floor(tmp_path, entry=command("true")) as here:
        ended = here.run(*[b"null"] * 5)
    assert [(one.outcome, one.value, one.output) for one in ended] == [(Outcome.SUCCEEDED, b"", None)] * 5


def test_a_task_may_bring_its_own_command_which_no_shell_reads(tmp_path: Path) -> None:
    with floor(tmp_path, entry=command("false")) as here:
        ended = here.one(b"null", options={"command": ["printf", "%s", "$HOME; `id` *"]})
        assert here.output(ended) == b"$HOME; `id` *"


def test_a_command_is_told_who_it_is_by_variables(tmp_path: Path) -> None:
    script = (
        "echo $ELSEWHERE_TASK_ID $ELSEWHERE_ATTEMPT $OWN; ls -A $ELSEWHERE_SCRATCH; touch $ELSEWHERE_SCRATCH/x;"
        "ls -A $ELSEWHERE_CHECKPOINT; touch $ELSEWHERE_CHECKPOINT/kept; echo $ELSEWHERE_DEADLINE; exit $CODE"
    )
    with floor(tmp_path, entry=command(SH, "-c", script), timeout=timedelta(seconds=100)) as here:
        before = time.time()
        first = here.one(b"null", options={"env": {"OWN": "mine", "CODE": "1"}}, attempt=2)
        lines = here.output(first).decode().splitlines()
        again = here.one(b"null", options={"env": {"CODE": "0"}})
        assert here.output(again).decode().splitlines()[0] == "task-2 1"
    assert lines[0] == "task-1 2 mine"
    assert before + 90 < float(lines[1]) < before + 130
    assert (tmp_path / "checkpoints" / "task-1" / "kept").exists(), "a failed attempt's checkpoint stays"
    assert not (tmp_path / "checkpoints" / "task-2").exists(), "that of a finished task goes"
    assert [left for place in (tmp_path / "scratch").iterdir() for left in place.iterdir()] == []


_LOOK = (
    "stat -c '%F %a %i' $ELSEWHERE_CHECKPOINT; ls -A $ELSEWHERE_CHECKPOINT $ELSEWHERE_SCRATCH | grep -v : | xargs;"
    'eval "$DO"'
)


def test_the_directory_that_one_command_left_as_it_was_is_the_next_one_s(tmp_path: Path) -> None:
    with floor(tmp_path, entry=command(SH, "-c", _LOOK)) as here:
        seen = [here.output(here.one(b"null")) for _ in range(3)]
    assert len(set(seen)) == 1 and seen[0].startswith(b"directory 700 ")
    assert [path.name[0] for path in (tmp_path / "checkpoints").iterdir()] == ["."], "none bears a task's name"


@pytest.mark.parametrize(
    "deed",
    [
        "touch $ELSEWHERE_CHECKPOINT/mine $ELSEWHERE_SCRATCH/mine",
        "mkdir -p $ELSEWHERE_CHECKPOINT/a/b",
        "touch $ELSEWHERE_CHECKPOINT/.hidden; exit 1",
        "chmod 777 $ELSEWHERE_CHECKPOINT",
        "rmdir $ELSEWHERE_CHECKPOINT",
        "rmdir $ELSEWHERE_CHECKPOINT; touch $ELSEWHERE_CHECKPOINT",
        "mkdir $PWD/bait; rmdir $ELSEWHERE_CHECKPOINT; ln -s $PWD/bait $ELSEWHERE_CHECKPOINT; touch $PWD/bait/x",
        "mkdir $PWD/empty; rmdir $ELSEWHERE_CHECKPOINT; ln -s $PWD/empty $ELSEWHERE_CHECKPOINT",
    ],
)
def test_a_directory_that_a_command_has_used_is_given_to_no_other(tmp_path: Path, deed: str) -> None:
    with floor(tmp_path, entry=command(SH, "-c", _LOOK)) as here:
        here.one(b"null")
        here.one(b"null", options={"env": {"DO": deed}})
        lines = here.output(here.one(b"null")).decode().splitlines()
    assert lines[0].startswith("directory 700 ") and "".join(lines[1:]).strip() == ""


def test_a_checkpoint_is_found_again_by_the_next_attempt_and_by_no_other_task(tmp_path: Path) -> None:
    with floor(tmp_path, entry=command(SH, "-c", _LOOK)) as here:
        here.one(b"null")  # from here on there is a spare one
        first = here.one(b"null", options={"env": {"DO": "touch $ELSEWHERE_CHECKPOINT/half; exit 1"}})
        other = here.output(here.one(b"null"))
        here.slots.put([Delivery(first.n, 2, f"task-{first.n}", b"null", b'{"env": {"DO": "exit 0"}}')])
        here.until(lambda: here.ended[first.n].attempt == 2)
        assert here.output(here.ended[first.n]).decode().splitlines()[1] == "half"
    assert b"half" not in other
    assert not (tmp_path / "checkpoints" / f"task-{first.n}").exists()


def test_a_checkpoint_outlives_the_slot_that_was_killed(tmp_path: Path) -> None:
    deed = "touch $ELSEWHERE_CHECKPOINT/half; echo written; sleep 1000"
    with floor(tmp_path, entry=command(SH, "-c", _LOOK)) as here:
        here.one(b"null")
        (n,) = here.put(b"null", options={"env": {"DO": deed}})
        half = tmp_path / "checkpoints" / f"task-{n}" / "half"
        here.until(half.exists)
        os.kill(here.pids()[0], signal.SIGKILL)
        here.finish(n)
        assert half.exists()
        lines = here.output(here.one(b"null")).decode().splitlines()
    assert "".join(lines[1:]).strip() == ""


def test_a_command_that_is_not_there_says_so_with_the_status_of_a_shell(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "plain.txt").write_text("no program")
    with floor(tmp_path, entry=command("no-such-program-here")) as here:
        missing = value(here.one(b"null"))
        forbidden = value(here.one(b"null", options={"command": ["./plain.txt"]}))
    assert missing["exit_code"] == 127 and "no-such-program-here" in missing["message"]
    assert forbidden["exit_code"] == 126


def test_a_command_s_own_signal_is_an_error_and_a_kill_is_a_loss(tmp_path: Path) -> None:
    with floor(tmp_path, entry=command(SH, "-c", "kill -$SIG $$")) as here:
        broken = here.one(b"null", options={"env": {"SIG": "SEGV"}})
        killed = here.one(b"null", options={"env": {"SIG": "KILL"}})
    assert (broken.outcome, value(broken)["signal"]) == (Outcome.ERRORED, 11)
    assert (killed.outcome, value(killed)["signal"]) == (Outcome.LOST, 9)


def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"(setsid sleep 1000 & echo $! >> {pids}); sleep 1000 & echo $! >> {pids}; exit 0"
    with floor(tmp_path, entry=command(SH, "-c", script)) as here:
        assert here.one(b"null").outcome is Outcome.SUCCEEDED
        left = [int(pid) for pid in pids.read_text().split()]
        assert len(left) == 2 and not any(map(is_alive, left))


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    deaf = f"trap '' TERM; echo $$ >> {pids}; sleep 1000; sleep 1000"
    script = f"trap '' TERM; setsid sh -c \"{deaf}\" & echo $$ >> {pids}; wait; sleep 1000"
    with floor(tmp_path, entry=command(SH, "-c", script), grace=timedelta(seconds=0.3)) as here:
        (n,) = here.put(b"null")
        here.until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        here.slots.cancel([n])
        (ended,) = here.finish(n)
        assert ended.outcome is Outcome.CANCELLED
        assert not any(is_alive(int(pid)) for pid in pids.read_text().split())
        assert here.one(b"null", options={"command": ["true"]}).outcome is Outcome.SUCCEEDED


def test_a_command_that_heeds_sigterm_may_tidy_up(tmp_path: Path) -> None:
    script = f"trap 'echo tidy; touch {tmp_path}/tidied; exit 0' TERM; touch {tmp_path}/ready; sleep 1000 & wait"
    with floor(tmp_path, entry=command(SH, "-c", script)) as here:
        (n,) = here.put(b"null", options={"timeout": 0.3})
        (ended,) = here.finish(n)
        assert ended.outcome is Outcome.TIMED_OUT
        assert (tmp_path / "tidied").exists() and here.output(ended) == b"tidy\n"


def test_a_command_that_wants_too_much_memory_ran_out_of_it(tmp_path: Path) -> None:
    at_once = "b = bytes(800 << 20)"
    bit_by_bit = "import mmap, time; m = mmap.mmap(-1, 400 << 20); m.write(b'x' * (399 << 20)); time.sleep(60)"
    with floor(tmp_path, entry=command("true"), resources=Resources(memory=100 << 20)) as here:
        for script in (at_once, bit_by_bit):
            ended = here.one(b"null", options={"command": [sys.executable, "-c", script]})
            assert ended.outcome is Outcome.OUT_OF_MEMORY, script


@pytest.mark.parametrize("beside", ["nothing", "a function"])
def test_when_the_agent_dies_its_commands_die_too(tmp_path: Path, beside: str) -> None:
    own = "{}" if beside == "a function" else "{'entry': Entry('command', command=words)}"
    program = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent.parent)!r}]
from pathlib import Path
from slot.floor import floor
from elsewhere.model.job import Entry
script = "echo $$ >> {tmp_path}/pids; (setsid sleep 1000 & echo $! >> {tmp_path}/pids); wait; sleep 1000"
words = ("sh", "-c", script)
with floor(Path({str(tmp_path)!r}), "def f(): pass", **{own}) as here:
    here.finish(*here.put(b"null", options={{"command": words}}), bound=1000)
"""
    pids = tmp_path / "pids"
    with subprocess.Popen([sys.executable, "-c", program]) as agent:
        eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        agent.kill()
    left = [int(pid) for pid in pids.read_text().split()]
    eventually(lambda: not any(map(is_alive, left)), 5)


MIXED = """
import os
def f(where=""):
    os.environ["LEFT"] = "behind"
    os.chdir(where or ".")
    return os.getpid()
"""


@pytest.mark.parametrize("isolate", [False, True])
def test_commands_and_calls_of_a_function_take_turns_in_one_slot(tmp_path: Path, isolate: bool) -> None:
    with floor(tmp_path, MIXED, isolate=isolate) as here:
        first = here.one({"where": "/"})
        (pid,) = here.pids()
        ran = here.one(b"null", options={"command": [SH, "-c", "pwd; echo [$LEFT] $OWN"], "env": {"OWN": "mine"}})
        failed = here.one(b"null", options={"command": [SH, "-c", "exit 7"], "retries": 0})
        named = here.one({}, options={"env": {"command": "no command"}})
        assert here.output(ran) == f"{tmp_path / 'work'}\n[] mine\n".encode(), "as if no function had run before it"
        assert here.pids() == [pid], "the slot lives on"
    assert [one.outcome for one in (first, ran, named)] == [Outcome.SUCCEEDED] * 3
    assert value(failed)["exit_code"] == 7
    assert (value(named) == pid) is not isolate


@pytest.mark.parametrize("isolate", [False, True])
def test_a_command_beside_a_function_is_held_to_its_time_and_can_be_cancelled(tmp_path: Path, isolate: bool) -> None:
    forever = ["sleep", "1000"]
    with floor(tmp_path, MIXED, isolate=isolate) as here:
        late = here.one(b"null", options={"command": forever, "timeout": 0.2})
        (n,) = here.put(b"null", options={"command": forever})
        here.until_running(n)
        here.slots.cancel([n])
        (cancelled,) = here.finish(n)
        after = here.one({})
    assert (late.outcome, cancelled.outcome) == (Outcome.TIMED_OUT, Outcome.CANCELLED)
    assert after.outcome is Outcome.SUCCEEDED
