"""Starting: what the command costs before it does anything, and how soon the demo has its first result."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.ground import ELSEWHERE, HERE, PROGRAMS, PYTHON, Ground
from benchmarks.meter import Failed, measure
from benchmarks.table import LIMIT, Contestant, Row, Sample, Target

STARTS = 10
DEMO = HERE.parent / "examples" / "stdlib_metrics" / "demo.sh"


def rows(ground: Ground, full: bool) -> list[Row]:
    return [_start(ground), _first(ground)]


def _start(ground: Ground) -> Row:
    bare, load = "python -c pass", "import elsewhere"
    return Row(
        "start",
        "Starting",
        [
            Contestant(load, _cpu([PYTHON, "-c", "import elsewhere"])),
            Contestant("elsewhere --help", _cpu([ELSEWHERE, "--help"])),
            Contestant("elsewhere status", _with_a_job(ground, [ELSEWHERE, "status"])),
            Contestant(bare, _cpu([PYTHON, "-c", "pass"]), LIMIT),
        ],
        [
            Target(load, "ms_cpu", most=3, against=bare),
            Target("elsewhere --help", "ms_cpu", most=12, against=bare),
            Target("elsewhere status", "ms_cpu", most=12, against=bare),
        ],
        compare=("ms_cpu",),
    )


def _cpu(command: Sequence[str | Path], env: dict[str, str] | None = None) -> Callable[[], Sample]:
    """CPU of one start: the least of a few is what it costs when nobody disturbs it."""
    return lambda: {"ms_cpu": min(measure(command, env=env, memory=False).cpu for _ in range(STARTS)) * 1000}


def _with_a_job(ground: Ground, command: Sequence[str | Path]) -> Callable[[], Sample]:
    def once() -> Sample:
        env = ground.env()
        run = [ELSEWHERE, "run", ground.tasks(10), "--entry", "noop:f", "--slots", "1", "--quiet"]
        measure(run, env=env, cwd=PROGRAMS)
        return _cpu(command, env)()

    return once


def _first(ground: Ground) -> Row:
    who = "make demo, after installation"
    return Row(
        "first",
        "First result of the demo, from its start",
        [Contestant(who, lambda: {"seconds": _seconds_to_first(ground)})],
        [Target(who, "seconds", most=1.0)],
        compare=(),
    )


def _seconds_to_first(ground: Ground) -> float:
    """Until the first task of the demo is recorded, as another process sees it."""
    from elsewhere.ledger.questions import Questions

    env = {**os.environ, **ground.env()}
    began = time.monotonic()
    with subprocess.Popen(["bash", DEMO], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        took = None
        while took is None and process.poll() is None:
            time.sleep(0.002)
            if any(Questions.read(path).count().ended for path in ground.home.glob("jobs/job-*/ledger.db")):
                took = time.monotonic() - began
        process.wait(timeout=120)
    if took is None:
        raise Failed("the demo ended without a result")
    return took
