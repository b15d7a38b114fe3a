"""The worker file of the seed's text, as that text shows it, and what its documentation promises."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from api.scripts import Scripts

HEAD = """
import asyncio
import sys
from typing import Any, Dict, Tuple
from elsewhere.compat.cloud_tasks.worker import Worker, WorkerData
"""
SEED = '''
def process_task(task_id: str, task_data: Dict[str, Any], worker_data: WorkerData) -> Tuple[bool, Any]:
    """
    Process a task.

    Args:
        task_id: The unique ID of the task.
        task_data: The data required to process the task.
        worker_data: WorkerData object (useful for retrieving information about the
            local environment and polling for shutdown notifications)

    Returns:
        Tuple of (success, result)
    """
    BODY

async def main():
    # These command line arguments are used to override environment variables when
    # specifying the behavior of the worker process manager.
    worker = Worker(process_task, args=sys.argv[1:])
    await worker.start()

if __name__ == "__main__":
    asyncio.run(main())
'''
TASKS = json.dumps([{"task_id": f"task-{i}", "data": {"key1": f"value{i}", "key2": i}} for i in range(1, 26)])


def worker(body: str) -> str:
    return HEAD + SEED.replace("BODY", body)


def events(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "events.log").read_text().splitlines()]


def by_task(directory: Path) -> dict[str, dict[str, Any]]:
    return {event["task_id"]: event for event in events(directory) if not event["retry"]}


def test_the_text_of_the_seed_runs_as_it_stands(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "my_tasks.json").write_text(TASKS)
    done = script(
        worker("return True, {'id': task_id, **task_data}"),
        *["--tasks", "my_tasks.json", "--num-simultaneous-tasks", "10"],
        name="my_worker.py",
    )
    assert "25 of 25 done" in done.stderr
    found = by_task(tmp_path)
    assert len(found) == len(events(tmp_path)) == 25
    assert found["task-3"]["result"] == {"id": "task-3", "key1": "value3", "key2": 3}
    assert set(found["task-3"]) == {
        "timestamp", "hostname", "event_type", "task_id", "retry", "elapsed_time", "result",
    }  # fmt: skip


def test_yaml_works_as_the_text_shows_it(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("- task_id: task-1\n  data:\n    key1: value1\n    key2: value2\n")
    script(worker("return True, task_data"), "--task-file", "t.yaml")
    assert by_task(tmp_path)["task-1"]["result"] == {"key1": "value1", "key2": "value2"}


def test_false_asks_for_another_try_and_none_becomes_an_empty_mapping(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"task_id": "a", "data": {}}, {"task_id": "b", "data": {}}]')
    body = "import os\n    n = len(os.listdir('.'))\n    open(f'{task_id}-{n}', 'w').close()\n    return n > 6, None"
    script(worker(body), "--tasks", "t.json")
    assert [by_task(tmp_path)[name]["result"] for name in "ab"] == [{}, {}]
    assert sum(event["retry"] for event in events(tmp_path)) >= 2


def test_what_fails_says_why_and_is_not_tried_again_unless_asked(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(
        json.dumps([{"task_id": name, "data": {}} for name in ("raises", "set", "exits", "slow", "good")])
    )
    body = (
        "import os, time\n"
        "    if task_id == 'raises': raise ValueError('no good')\n"
        "    if task_id == 'set': return True, {1, 2}\n"
        "    if task_id == 'exits': os._exit(7)\n"
        "    if task_id == 'slow': time.sleep(60)\n"
        "    return True, 1"
    )
    done = script(worker(body), *["--tasks", "t.json", "--max-runtime", "1", "--num-simultaneous-tasks", "5"])
    assert "1 of 5 done, 4 failed" in done.stderr
    found = by_task(tmp_path)
    assert {name: event["event_type"] for name, event in found.items()} == {
        "raises": "task_exception", "set": "task_exception", "exits": "task_exited", "slow": "task_timed_out",
        "good": "task_completed",
    }  # fmt: skip
    assert "ValueError: no good" in found["raises"]["exception"]
    assert "not JSON" in found["set"]["exception"]
    assert found["exits"]["exit_code"] == 7


def test_retry_flags_are_honoured(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"task_id": "a", "data": {}}]')
    body = (
        "import os\n    open(str(len(os.listdir('.'))), 'w').close()\n"
        "    assert len(os.listdir('.')) > 6\n    return True, 1"
    )
    script(worker(body), "--tasks", "t.json", "--retry-on-exception")
    assert by_task(tmp_path)["a"]["event_type"] == "task_completed"


def test_retry_on_exit_tries_exits_again_and_not_exceptions(script: Scripts, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([{"task_id": name, "data": {}} for name in ("exits", "raises")]))
    body = (
        "import os\n    number = sum(n.startswith(task_id) for n in os.listdir('.'))\n"
        "    open(f'{task_id}{number}', 'w').close()\n"
        "    if task_id == 'raises': raise ValueError(number)\n"
        "    if number < 2: os._exit(7)\n    return True, 1"
    )
    script(worker(body), "--tasks", "t.json", "--retry-on-exit")

    ends = {event["task_id"]: event["event_type"] for event in events(tmp_path)}
    assert ends == {"exits": "task_completed", "raises": "task_exception"}
    assert sorted(path.name for path in tmp_path.glob("*[0-9]")) == ["exits0", "exits1", "exits2", "raises0"]


def test_worker_data_shows_options_of_flags_and_variables(
    script: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMS_CLOUD_TASKS_INSTANCE_MEM_GB", "2.5")
    monkeypatch.setenv("RMS_CLOUD_TASKS_JOB_ID", "from-environment")
    monkeypatch.setenv("RMS_CLOUD_TASKS_RETRY_ON_EXIT", "None")
    (tmp_path / "t.json").write_text('[{"task_id": "a", "data": {}}]')
    body = (
        "w = worker_data\n"
        "    return True, [w.job_id, w.queue_name, w.memory_gb, w.max_runtime, w.num_simultaneous_tasks, w.is_spot,\n"
        "        w.retry_on_exit, w.received_termination_notice, w.received_shutdown_request, w.args.mine,\n"
        "        isinstance(w, WorkerData)]"
    )
    text = worker(body).replace(
        "worker = Worker(process_task, args=sys.argv[1:])",
        "import argparse\n    parser = argparse.ArgumentParser()\n    parser.add_argument('--mine')\n"
        "    worker = Worker(process_task, args=sys.argv[1:], argparser=parser)",
    )
    script(
        text,
        *["--tasks", "t.json", "--job_id", "flag", "--max_runtime=9", "--is-spot", "--mine", "x", "--num-cpus", "3"],
    )
    assert by_task(tmp_path)["a"]["result"] == ["flag", "flag", 2.5, 9.0, 3, True, None, False, False, "x", True]


def test_some_tasks_can_be_left_out_and_a_source_can_be_a_function(script: Scripts, tmp_path: Path) -> None:
    text = worker("return True, None").replace(
        "Worker(process_task, args=sys.argv[1:])",
        "Worker(process_task, args=sys.argv[1:], task_source=lambda: "
        "({'task_id': f't{i}', 'data': {}} for i in range(10**9)))",
    )
    script(text, *["--tasks-to-skip", "3", "--max-num-tasks", "2"])
    assert set(by_task(tmp_path)) == {"t3", "t4"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tasks", "none.json"], "none.json"),
        (["--tasks", "bad.json"], "task_id"),
        ([], "say which tasks to run"),
        (["--tasks", "bad.json", "--max-runtime", "soon"], "max-runtime"),
        (["--tasks", "bad.json", "--num-simultaneous-tasks", "0"], "num-simultaneous-tasks"),
        (["--max-runtim", "3"], "--max-runtim"),
    ],
)
def test_bad_input_ends_with_status_2_before_anything_runs(
    script: Scripts, tmp_path: Path, flags: list[str], said: str
) -> None:
    (tmp_path / "bad.json").write_text('[{"data": {}}]')
    done = script(worker("open('ran', 'w')"), *flags, status=2)
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


def test_an_interrupt_lets_running_tasks_finish_and_says_how_to_go_on(tmp_path: Path, state: Path) -> None:
    (tmp_path / "my_tasks.json").write_text(TASKS)
    body = (
        "import os, time\n    open('begun', 'w').close()\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n    return True, 1"
    )
    (tmp_path / "w.py").write_text(worker(body))
    process = subprocess.Popen(
        [sys.executable, "w.py", "--tasks", "my_tasks.json"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 30
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)  # that it does not end: there is no event to wait for
    assert process.poll() is None
    (tmp_path / "go").touch()
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "Traceback" not in said
    assert "left" in said and "elsewhere resume w" in said
    assert 1 <= len(by_task(tmp_path)) < 25


def test_what_has_no_name_in_a_file_is_refused() -> None:
    from elsewhere import Worker
    from elsewhere.errors import UsageError

    with pytest.raises(UsageError, match="at the top of a file"):
        Worker(lambda task_id, task_data, worker_data: (True, None), args=["--tasks", "x.json"])
