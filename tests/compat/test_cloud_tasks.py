"""The command cloud_tasks without a cloud: its pages, its bad words, and a queue that is loaded, shown and given up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import Ran, Shell
from elsewhere.compat.cloud_tasks.command import VERBS, main

CONFIG = "provider: aws\naws:\n  job_id: mine\n"
NAMES = ("run", "load_queue", "show_queue", "purge_queue", "delete_queue", "status", "stop", "list_regions",
         "list_images", "list_instance_types", "list_running_instances", "monitor_event_queue")  # fmt: skip


class Seed(Shell):
    """`seed("load_queue", ...)` types `elsewhere compat cloud_tasks load_queue --config myconfig.yml ...`."""

    def typed(self, verb: str, *words: str) -> Ran:
        return self("compat", "cloud_tasks", verb, "--config", "myconfig.yml", *words)

    def list_of(self, *names: str, file: str = "my_tasks.json") -> str:
        self.write(file, json.dumps([{"task_id": name, "data": {"x": 1}} for name in names], indent=1))
        return file


@pytest.fixture
def seed(tmp_path: Path) -> Seed:
    made = Seed(tmp_path)
    made.write("myconfig.yml", CONFIG)
    return made


@pytest.mark.parametrize("verb", NAMES)
def test_every_command_of_the_seed_has_its_page(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: cloud_tasks {verb} [OPTIONS]") and "--config FILE" in page
    assert VERBS[verb].help in " ".join(page.split())


def test_the_pages_load_nothing_that_must_be_installed() -> None:
    script = (
        "import sys\nfrom elsewhere.compat.cloud_tasks.command import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass\n"
        "found = {n.partition('.')[0] for n in sys.modules}\n"
        "print(sorted(found & {'boto3', 'msgspec', 'apsw', 'cryptography', 'yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["rnu"], "invalid choice: 'rnu'"), (["run", "--max-instance", "3"], "did you mean --max-instances?"),
     (["run", "--tasks"], "expected one argument"), (["run", "--limit", "0"], "invalid count of 1 or more value: '0'")],
)  # fmt: skip
def test_words_that_are_not_understood_end_with_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_queue_is_loaded_added_to_shown_and_given_up(seed: Seed) -> None:
    assert seed.typed("load_queue", "--tasks", seed.list_of("a", "b", "c"), "--start-task", "2").out == (
        "mine: 2 tasks loaded\n"
    )
    assert seed.typed("load_queue", "--task_file", seed.list_of("d", "e", "f"), "--limit", "1").out == (
        "mine: 1 task added\n"
    )
    shown = seed.typed("show_queue", "--detail").out.splitlines()
    assert shown[0] == "Queue mine: 3 tasks"
    assert shown[1].split() == ["3", "waiting", "to", "be", "run"]
    assert shown[-1] == 'The next is b: {"x":1}'
    assert "No machine runs." in seed.typed("status").out
    refused = seed.typed("purge_queue")
    assert (refused.status, "--force does not ask" in refused.err) == (2, True)
    assert seed.typed("purge_queue", "--force").out == "3 tasks of mine cancelled\n"
    assert "Queue mine: 0 tasks" in seed.typed("show_queue").out
    assert seed.typed("delete_queue", "--force").out == "mine is removed, with its records\n"
    gone = seed.typed("show_queue")
    assert (gone.status, "there is no job 'mine' yet" in gone.err) == (2, True)


def test_adding_what_is_there_already_names_the_lines_and_adds_nothing(seed: Seed) -> None:
    seed.typed("load_queue", "--tasks", seed.list_of("a", "b"))
    ran = seed.typed("load_queue", "--tasks", seed.list_of("c", "b"))
    assert ran.status == 2
    assert "my_tasks.json:8: task_id 'b' is in the job already" in ran.err
    assert "Queue mine: 2 tasks" in seed.typed("show_queue").out


def test_events_are_told_as_lines_until_the_job_is_over(seed: Seed) -> None:
    """Of a job that ran here: the log is that of the ledger, wherever tasks run."""
    seed.write("work.py", "def f(x):\n    if x == 3:\n        raise ValueError('no good')\n    return x\n")
    seed.tasks(3)
    seed("run", "tasks.jsonl", "--entry", "work.py:f", "--name", "mine", "--quiet", "--slots", "1")
    ran = seed.typed("monitor_event_queue", "--output-file", "events.log", "--print-events")
    assert ran.status == 0
    told = {event["task_id"]: event for event in ran.lines()}
    assert {name: event["event_type"] for name, event in told.items()} == {
        "t1": "task_completed", "t2": "task_completed", "t3": "task_exception",
    }  # fmt: skip
    assert told["t2"]["result"] == 2 and "no good" in told["t3"]["exception"]
    assert (seed.directory / "events.log").read_text() == ran.out


def test_run_says_what_it_needs_before_anything_is_made(seed: Seed) -> None:
    ran = seed.typed("run", "--tasks", seed.list_of("a"))
    assert (ran.status, "run needs a startup script" in ran.err) == (2, True)
    seed.write("s.sh", "python3 w.py\n")
    ran = seed.typed("run", "--startup-script-file", "s.sh")
    assert (ran.status, "say which tasks to run" in ran.err) == (2, True)
    seed.typed("load_queue", "--tasks", seed.list_of("a"))
    ran = seed.typed("run", "--startup-script-file", "s.sh", "--tasks", "my_tasks.json", "--region", "us-east-1")
    assert ran.status == 2
    assert "mine is there, and 1 task of it is not done" in ran.err


def test_the_door_names_the_nearest(seed: Seed) -> None:
    ran = seed("compat", "clod_tasks", "run")
    assert (ran.status, "did you mean cloud_tasks?" in ran.err) == (2, True)
    assert seed("compat", "cloud-tasks", "show_queue", "--provider", "aws", "--job-id", "x").status == 2
    assert "elsewhere compat cloud_tasks COMMAND" in seed("compat", "--help").out


def test_natively_a_queue_is_shown_and_purged(seed: Seed) -> None:
    seed.typed("load_queue", "--tasks", seed.list_of("a", "b"))
    assert seed("queue", "show", "mine").out.splitlines()[0] == "mine: 2 tasks left of 2"
    assert seed("queue", "show", "mine", "--json").json()["ready"] == 2
    refused = seed("queue", "purge", "mine")
    assert (refused.status, "nobody can be asked" in refused.err) == (2, True)
    assert seed("queue", "purge", "mine", "--yes").out == "Cancelled 2 tasks of mine.\n"
    assert seed("queue", "shwo", "mine").status == 2
