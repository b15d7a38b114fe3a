"""Commands as jobs, jobs as things, and the standard library's executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import elsewhere
from elsewhere import Executor, attach, jobs, remote, run, submit, submit_all
from elsewhere.errors import InvalidTask, TaskFailed, TaskTimedOut, UnknownJob, UsageError


@remote
def double(x: int) -> int:
    return 2 * x


def pid_of_slot(_: object = None) -> int:
    return os.getpid()


def test_run_waits_and_gives_output_and_status() -> None:
    job = run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (job.ok, job.exit_code, job.stdout, job.stderr, job.state) == (False, 3, "out\n", "err\n", "failed")
    assert job.logs() == "out\nerr\n"
    job = run(["echo", "hello world", "$HOME"])
    assert (job.ok, job.exit_code, job.stdout, job.state) == (True, 0, "hello world $HOME\n", "succeeded")


def test_run_with_check_raises_what_became_of_it() -> None:
    with pytest.raises(TaskFailed) as told:
        run(["sh", "-c", "echo why >&2; exit 4"], check=True)
    assert told.value.exit_code == 4 and "why" in told.value.stderr
    with pytest.raises(TaskTimedOut):
        run(["sleep", "60"], timeout="100ms", check=True)


def test_a_signal_is_told_as_shells_do() -> None:
    assert run(["sh", "-c", "kill -SEGV $$"]).exit_code == 128 + 11


def test_a_string_goes_through_a_shell_only_when_asked_to(tmp_path: Path) -> None:
    assert run("echo $((1 + 1)) | tr 2 3", shell=True).stdout == "3\n"
    with pytest.raises(UsageError, match="list of words"):
        run("echo hello")
    with pytest.raises(UsageError, match="no program 'nonesuch'"):
        run(["nonesuch"])
    with pytest.raises(UsageError, match="one or more strings"):
        run([])


def test_directory_and_variables_are_those_that_were_given(tmp_path: Path) -> None:
    job = run(["sh", "-c", "pwd; echo $COLOUR"], cwd=tmp_path, env={"COLOUR": "blue"})
    assert job.stdout == f"{tmp_path.resolve()}\nblue\n"
    with pytest.raises(UsageError, match="no directory"):
        run(["pwd"], cwd="/nonexistent")


def test_submit_gives_a_job_at_once_that_can_be_waited_for(tmp_path: Path) -> None:
    job = submit(["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo gone"], name="waits")
    assert (job.state, job.exit_code, job.name) == ("running", None, "waits")
    with pytest.raises(TimeoutError):
        job.wait(0.05)
    finished = threading.Event()
    job.on_finish(lambda _: finished.set())
    (tmp_path / "go").touch()
    assert job.watch().ok and job.stdout == "gone\n"
    assert finished.wait(30)
    assert attach("waits").id == job.id


def test_submit_all_is_one_job_of_many_tasks() -> None:
    job = submit_all([["echo", str(x)] for x in range(20)], slots=2).wait(60)
    assert job.ok and job.counts.total == 20
    assert job.stdout == "".join(f"{x}\n" for x in range(20))
    own = submit_all([{"task_id": "a", "command": ["sh", "-c", "echo $X"], "env": {"X": "1"}}, ["false"]]).wait(60)
    assert [(result.id, result.ok) for result in own.results()] == [("a", True), ("2", False)]
    assert own.logs("a") == "1\n"
    with pytest.raises(InvalidTask, match="command 2: "):
        submit_all([["echo"], []])


def test_a_job_can_be_cancelled_and_awaited() -> None:
    job = submit(["sleep", "600"])

    async def main() -> str:
        job.cancel()
        return (await job).state

    assert asyncio.run(main()) == "cancelled"


def test_a_job_that_failed_can_be_retried(tmp_path: Path) -> None:
    job = submit(["test", "-e", str(tmp_path / "there")]).wait(30)
    assert job.state == "failed"
    (tmp_path / "there").touch()
    assert job.retry().wait(30).state == "succeeded"


def test_jobs_are_listed_newest_first_and_found_by_name_or_id() -> None:
    job = run(["true"], name="lately")
    assert jobs()[0].id == job.id and "lately" in repr(job)
    assert attach(job.id[:20]).id == attach("lately").id == attach().id == job.id
    with pytest.raises(UnknownJob, match="no job 'latly'") as told:
        attach("latly")
    assert "lately" in told.value.hint


def test_run_from_another_thread_works() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(run(["echo", "x"]).stdout))
    thread.start()
    thread.join(30)
    assert found == ["x\n"]


def test_an_executor_is_that_of_the_standard_library() -> None:
    with Executor(slots=2) as pool:
        assert isinstance(pool, concurrent.futures.Executor)
        futures = [pool.submit(pow, 2, x) for x in range(10)]
        assert [future.result(30) for future in concurrent.futures.as_completed(futures, 30)]
        assert pool.submit(double.local, 4).result(30) == 8
        assert pool.submit(double, 4).result(30) == 8
        assert list(pool.map(pow, [2] * 10, range(10))) == [2**x for x in range(10)]
        assert len(set(pool.map(pid_of_slot, range(50)))) <= 2
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pow, 1, 1)


def test_shutdown_can_give_up_what_has_not_begun(tmp_path: Path) -> None:
    pool = Executor(slots=1)
    futures = [pool.submit(_wait_for, str(tmp_path / "go")) for _ in range(5)]
    end = time.monotonic() + 30
    while not (tmp_path / "go.begun").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    closing = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    closing.start()
    (tmp_path / "go").touch()
    closing.join(30)
    assert not closing.is_alive()
    assert futures[0].result(1) == "done"
    assert all(future.cancelled() for future in futures[2:])


def _wait_for(path: str) -> str:
    Path(path + ".begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "done"


def test_an_executor_s_map_begins_at_once_and_times_out(tmp_path: Path) -> None:
    with Executor(slots=1) as pool:
        results = pool.map(_wait_for, [str(tmp_path / "a")], timeout=0.3)
        with pytest.raises(TimeoutError):
            next(results)
        (tmp_path / "a").touch()


def test_an_unwrapped_interpreter_of_another_version_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 3.8\n")
    fake.chmod(0o755)
    with pytest.raises(UsageError, match=r"is Python 3\.8"):
        double.options(python=str(fake))(1)
    with pytest.raises(UsageError, match="cannot be run"):
        double.options(python=str(tmp_path / "none"))(1)


def test_the_public_names_are_where_the_package_says() -> None:
    code = "import elsewhere\nfor name in elsewhere.__all__: getattr(elsewhere, name)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(elsewhere.__all__) <= set(dir(elsewhere))
