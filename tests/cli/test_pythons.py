"""Slots run in the user's interpreter, which may be older or newer than ours: each that is found here is tried."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.command import Shell

WORKER = """
import sys

def f(x):
    print("said by", x)
    if x == 3:
        raise ValueError("three is unlucky")
    return [*sys.version_info[:2], x]
"""


def python(minor: int) -> str | None:
    """A Python 3.`minor` that starts: of the path, or of pyenv."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted(map(str, root.glob(f"versions/3.{minor}.*/bin/python")))
    for candidate in (shutil.which(f"python3.{minor}"), *reversed(kept)):
        if candidate and not subprocess.run([candidate, "-c", ""], capture_output=True).returncode:
            return candidate
    return None


@pytest.mark.slow
@pytest.mark.parametrize("isolate", [(), ("--isolate",)], ids=["warm", "isolated"])
@pytest.mark.parametrize("minor", [9, 10, 12, 13])
def test_tasks_run_in_it_and_come_home(shell: Shell, minor: int, isolate: tuple[str, ...]) -> None:
    found = python(minor)
    if found is None:
        pytest.skip(f"needs python3.{minor}, which is not installed here")
    shell.write("worker.py", WORKER)
    shell.tasks(3)
    words = ("--entry", "worker:f", "--python", found, "--timeout", "60s", "--memory", "1GiB", "--name", "fit")

    ran = shell("run", "tasks.jsonl", *words, *isolate)

    assert ran.status == 1, ran.err
    rows = shell("results", "fit").lines()
    assert [row.get("result") for row in rows] == [[3, minor, 1], [3, minor, 2], None]
    assert rows[2]["error"]["reason"] == "ValueError: three is unlucky"
    assert shell("logs", "fit/t2").out == "said by 2\n"
