"""The leash of a Dask worker: its process goes when the worker has closed, with all that it started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

LEASH = Path(__file__).parents[2] / "src" / "elsewhere" / "slot" / "leash.py"
WORKER = """
import subprocess, sys, time, types
sys.path.insert(0, {folder!r})
import leash
leash.GRACE = 0.2
worker = types.SimpleNamespace(status=types.SimpleNamespace(name="running"))
leash.dask_setup(worker)
child = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
{then}
"""


@pytest.mark.parametrize(
    ("then", "status"), [('worker.status.name = "closing"; time.sleep(600)', 1), ("sys.exit(0)", 0)]
)
def test_a_worker_that_closes_takes_with_it_what_its_functions_started(then: str, status: int) -> None:
    text = WORKER.format(folder=str(LEASH.parent), then=then)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert process.wait(30) == status
    process.stdout.close()
    until = time.monotonic() + 30
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
