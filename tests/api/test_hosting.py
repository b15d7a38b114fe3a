"""A worker on a machine of a job: how it finds out, what it takes over, and what its flags change."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from elsewhere.agent.meeting import Joining
from elsewhere.api import hosting, worker_flags
from elsewhere.api.tasks import INVITED, Worker
from elsewhere.errors import Unreachable, UsageError
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import RetryPolicy
from elsewhere.ship.charter import Charter
from elsewhere.ship.startup import AGENT

SPEC = JobSpec("job-1", "mine", Entry("function"), place="aws", timeout=timedelta(minutes=5),
               grace=timedelta(seconds=7), retry=RetryPolicy(retries=4, asks=None))  # fmt: skip


def process(task_id: str, task_data: dict[str, Any], worker_data: Any) -> tuple[bool, None]:
    return True, None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The variables of a boot text that began a minute ago."""
    told = {"ADDRESS": "sqs:r/p?job=job-1", "AGENT": "i-1", "DIRECTORY": str(tmp_path), "SLOTS": "2", "TERM": "3600",
            "LEASE": "120", "IDLE": "60", "BORN": str(int(time.time()) - 60)}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(AGENT + name, value)
    monkeypatch.setenv("RMS_CLOUD_TASKS_NUM_TASKS_PER_INSTANCE", "2")
    yield tmp_path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Joining]:
    """Those that would have joined, instead of joining."""
    found: list[Joining] = []

    def serve(joining: Joining, *_: Any) -> str:
        found.append(joining)
        return "all work has ended"

    monkeypatch.setattr(hosting, "serve", serve)
    return found


def words(*args: str) -> argparse.Namespace:
    return worker_flags.parse(args, None)


def mine(*args: str) -> JobSpec:
    return hosting.mine(Charter(SPEC, "/there"), "/w.py:process", words(*args)).spec


def test_the_variable_that_invites_is_the_one_that_the_boot_text_exports() -> None:
    assert INVITED == AGENT + "ADDRESS"


def test_a_worker_without_a_list_becomes_the_agent_and_leaves_tasks_no_invitation(
    machine: Path, served: list[Joining]
) -> None:
    assert asyncio.run(Worker(process, args=[]).start()) is None
    [joining] = served
    assert (joining.agent, joining.address, joining.slots) == ("i-1", "sqs:r/p?job=job-1", 2)
    assert (joining.term, joining.directory) == (timedelta(hours=1), machine)
    assert timedelta(seconds=59) <= joining.age < timedelta(minutes=5)
    assert (machine / "worker").read_text() == f"{os.getpid()}\n"
    assert not [name for name in os.environ if name.startswith(AGENT)]


def test_its_flags_win_over_the_variables(machine: Path, served: list[Joining]) -> None:
    asyncio.run(Worker(process, args=["--num-simultaneous-tasks", "7"]).start())
    assert served[0].slots == 7


@pytest.mark.parametrize(("born", "age"), [("99999999999", timedelta(0)), ("0", hosting.BOOT)])
def test_a_clock_that_was_set_does_little_harm(
    machine: Path, served: list[Joining], monkeypatch: pytest.MonkeyPatch, born: str, age: timedelta
) -> None:
    monkeypatch.setenv(AGENT + "BORN", born)
    asyncio.run(Worker(process, args=[]).start())
    assert served[0].age == age


def test_a_worker_with_a_list_runs_that_list(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    async def start(spec: JobSpec, *_: Any) -> None:
        started.append(spec.place)

    monkeypatch.setattr("elsewhere.api.worker_run.start", start)
    asyncio.run(Worker(process, args=["--tasks", "t.json"]).start())
    assert started == ["local"]


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [(["--max-num-tasks", "3"], 2, "--max-num-tasks is of a task list"), ([], 3, "nobody answers")],
)  # fmt: skip
def test_what_keeps_it_from_joining_ends_the_process_with_a_sentence(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], status: int,
    said: str,
) -> None:  # fmt: skip
    def serve(*_: Any) -> str:
        raise Unreachable("nobody answers")

    monkeypatch.setattr(hosting, "serve", serve)
    with pytest.raises(SystemExit) as caught:
        asyncio.run(Worker(process, args=args).start())
    assert caught.value.code == status
    assert f"error: {said}" in capsys.readouterr().err


def test_a_second_worker_is_refused(machine: Path, served: list[Joining]) -> None:
    (machine / "worker").write_text(f"{os.getppid()}\n")
    with pytest.raises(SystemExit):
        asyncio.run(Worker(process, args=[]).start())
    assert served == []


def test_variables_that_are_not_ours_are_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AGENT + "TERM", "soon")
    told = {name.removeprefix(AGENT): value for name, value in os.environ.items() if name.startswith(AGENT)}
    with pytest.raises(UsageError, match="not those of a machine of ours"):
        hosting._joining(words(), told)


def test_the_job_is_done_by_this_workers_function_on_the_terms_of_the_job() -> None:
    spec = mine()
    assert (spec.entry.kind, spec.entry.target, spec.seed_door) == ("function", "/w.py:process", True)
    assert spec.cwd == str(Path.cwd())
    assert (spec.timeout, spec.grace, spec.retry) == (SPEC.timeout, SPEC.grace, SPEC.retry)


def test_terms_that_flags_or_variables_name_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMS_CLOUD_TASKS_MAX_RUNTIME", "9")
    spec = mine("--shutdown-grace-period", "3", "--max-memory-allowed-per-task", "1", "--retry-on-exception")
    assert (spec.timeout, spec.grace) == (timedelta(seconds=9), timedelta(seconds=3))
    assert spec.resources.memory == 1 << 30
    assert spec.retry.retries == worker_flags.ENDLESS and spec.retry.exceptions
