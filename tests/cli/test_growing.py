"""The results file that grows while its job runs: whole lines, each task once, also over interruptions and kills."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command import Shell, end
from elsewhere import session
from elsewhere.cli.growing import growing
from elsewhere.cli.results import save
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.observe import results

WORKER = """
import os, time

def work(x):
    open(f"begun-{x}", "w").close()
    if x == 3 and not os.path.exists("mended"):
        raise ValueError("three is unlucky")
    while x > 3 and not os.path.exists("go"):
        time.sleep(0.02)
    return {"y": 2 * x}
"""


@pytest.fixture(autouse=True)
def worker(shell: Shell) -> None:
    shell.write("worker.py", WORKER)
    shell.tasks(6)


def _run(*more: str) -> tuple[str, ...]:
    return (
        "run",
        "tasks.jsonl",
        "--entry",
        "worker:work",
        "--slots",
        "1",
        "--name",
        "fit",
        "--results",
        "out.jsonl",
        *more,
    )


def _rows(path: Path) -> list[Any]:
    """The lines of the file; one that is not whole is an error."""
    text = path.read_text() if path.exists() else ""
    assert text == "" or text.endswith("\n"), text
    return [json.loads(line) for line in text.splitlines()]


def _until(true: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not true():
        assert time.monotonic() < patience
        time.sleep(0.02)


def _three_lines_while_it_runs(shell: Shell) -> Callable[[], bool]:
    return lambda: len(_rows(shell.directory / "out.jsonl")) == 3 and (shell.directory / "begun-4").exists()


def test_lines_come_while_the_job_runs_and_resume_goes_on_with_the_file(shell: Shell) -> None:
    out = shell.directory / "out.jsonl"
    shell.write("out.jsonl", '{"task_id": "of another day"}\n')
    process = shell.start(*_run())
    try:
        _until(_three_lines_while_it_runs(shell))
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        while b"stopping" not in (line := process.stderr.readline()):
            assert line, "it ended unasked"
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        end(process)

    assert [(row["task_id"], row["state"]) for row in _rows(out)] == [
        ("t1", "succeeded"), ("t2", "succeeded"), ("t3", "failed"),
    ]  # fmt: skip
    shell.write("go", "")
    assert shell("resume", "fit", "--results", "out.jsonl").status == 1
    assert sorted(row["task_id"] for row in _rows(out)) == ["t1", "t2", "t3", "t4", "t5", "t6"]
    shell.write("mended", "")
    assert shell("retry", "fit", "--failed", "--results", "out.jsonl").status == 0
    rows = _rows(out)
    assert sorted((row["task_id"], row["result"]["y"]) for row in rows) == [(f"t{k}", 2 * k) for k in range(1, 7)]
    assert sorted(map(str, rows)) == sorted(map(str, shell("results", "fit").lines()))


def test_after_a_kill_in_the_middle_of_a_line_resume_leaves_each_task_once(shell: Shell) -> None:
    out = shell.directory / "out.jsonl"
    process = shell.start(*_run())
    try:
        _until(_three_lines_while_it_runs(shell))
    finally:
        end(process)
    with out.open("a") as file:
        file.write('{"task_id": "t4", "sta')

    shell.write("go", "")
    assert shell("resume", "fit", "--results", "out.jsonl").status == 1

    assert sorted(row["task_id"] for row in _rows(out)) == ["t1", "t2", "t3", "t4", "t5", "t6"]


def test_a_second_controller_that_is_refused_leaves_the_file_alone(shell: Shell) -> None:
    out = shell.directory / "out.jsonl"
    process = shell.start(*_run())
    try:
        _until(_three_lines_while_it_runs(shell))
        before = out.stat().st_ino

        assert shell("resume", "fit", "--results", "out.jsonl").status == 2

        assert out.stat().st_ino == before
        shell.write("go", "")
        process.communicate(timeout=60)
    finally:
        end(process)
    assert sorted(row["task_id"] for row in _rows(out)) == ["t1", "t2", "t3", "t4", "t5", "t6"]


def test_cancelled_tasks_and_a_file_that_was_moved_away_are_made_good_at_the_end(shell: Shell) -> None:
    out = shell.directory / "out.jsonl"
    process = shell.start(*_run())
    try:
        _until(_three_lines_while_it_runs(shell))
        assert shell("cancel", "fit", "t6").status == 0
        out.rename(shell.directory / "moved.jsonl")
        shell.write("go", "")
        process.communicate(timeout=60)
    finally:
        end(process)

    states = {row["task_id"]: row["state"] for row in _rows(out)}
    assert states == {"t1": "succeeded", "t2": "succeeded", "t3": "failed", "t4": "succeeded", "t5": "succeeded",
                      "t6": "cancelled"}  # fmt: skip
    assert len(_rows(out)) == 6
    assert len(_rows(shell.directory / "moved.jsonl")) == 6


def test_a_disk_that_is_full_is_named_with_the_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"some"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        save(tmp_path / "out.jsonl", pieces())

    assert caught.value.filename == str(tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir() if "out.jsonl" in path.name] == []


def test_lines_that_find_no_room_are_made_good_at_the_end(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shell.directory / "out.jsonl"
    shell.write("mended", "")
    shell.write("go", "")
    assert shell("run", "tasks.jsonl", "--entry", "worker:work", "--name", "fit").status == 0
    monkeypatch.setenv("ELSEWHERE_HOME", str(shell.home))
    files, real = session.find("fit"), results.as_jsonl
    with growing(files, out) as file:
        monkeypatch.setattr(results, "ended", lambda ledger: iter(()))
        file.begin()
        monkeypatch.undo()

        def full(tasks: Iterable[Any], store: Path) -> Iterator[bytes]:
            yield b'{"task_id": "t1", "sta'
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(results, "as_jsonl", full)
        file.hear([Ended(n, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.JSON, b"1") for n in (1, 2)])
        monkeypatch.setattr(results, "as_jsonl", real)
        assert out.read_bytes() == b""

    assert sorted(row["task_id"] for row in _rows(out)) == ["t1", "t2", "t3", "t4", "t5", "t6"]
