"""Measures a command from outside: CPU of all its processes, wall time, memory. Knows nothing of what it measures.

A small process stands between us and the command, because RUSAGE_CHILDREN counts all children that ever were.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

WRAPPER = Path(__file__).with_name("wrapper.py")
BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "elsewhere-bench-pyc")),
}
"""What is installed has its bytecode beside it: it must count for nobody, whatever is set here."""


class Usage(NamedTuple):
    """CPU and wall in seconds; memory in bytes: of the largest process ever, and of all together at their most."""

    cpu: float
    wall: float
    largest: int
    together: int
    status: int
    out: bytes


class Failed(Exception):
    """A command that should have succeeded did not; its last words."""


def measure(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300,
    statuses: Sequence[int] = (0,),
    memory: bool = True,
) -> Usage:
    """Run a command to its end. Failed: another exit status. `memory` False: nobody looks at it while it runs."""
    reader, writer = os.pipe()
    wrapped = [sys.executable, "-I", "-S", str(WRAPPER), str(writer), str(int(memory)), *map(str, command)]
    try:
        process = subprocess.Popen(
            wrapped, env={**os.environ, **(env or {})}, cwd=cwd, pass_fds=(writer,),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(writer)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        raise Failed(f"{command[0]} took longer than {timeout:.0f} s") from None
    with os.fdopen(reader, "rb") as news:
        told = news.read()
    if not told:
        raise Failed(f"{command[0]} could not be measured: {err.decode(errors='replace')[-2000:]}")
    usage = Usage(**json.loads(told), out=out)
    if usage.status not in statuses:
        said = (err or out).decode(errors="replace")[-2000:]
        raise Failed(f"{' '.join(map(str, command))} ended with status {usage.status}: {said}")
    return usage


def apart(large: Usage, starts: Sequence[Usage], n: int, few: int) -> dict[str, float]:
    """What one of `n` tasks costs when `few` of them, which is mostly start-up, are taken away (the median of those).

    No rate where start-up is all that can be seen.
    """
    tasks = n - few
    wall = large.wall - statistics.median(start.wall for start in starts)
    cpu = large.cpu - statistics.median(start.cpu for start in starts)
    found = {"cpu": cpu / tasks * 1e6, "largest": large.largest / 1e6, "together": large.together / 1e6}
    return {**found, "rate": tasks / wall} if wall > 0.01 else found
