"""A cloud, as the sandbox has it: how often it is asked, how soon machines are had and replaced, the first line."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec

from benchmarks.ground import ELSEWHERE, PROGRAMS, PYTHON, Ground
from benchmarks.meter import Failed
from benchmarks.table import Contestant, Row, Sample, Target

WHO = "elsewhere, in its sandbox"


def rows(ground: Ground, full: bool) -> list[Row]:
    small = ground.small
    sizes = [20] if small else [1000, 10_000] if full else [1000]
    steady = [
        Row(
            f"steady-{count}",
            f"Calls that keep {count:,} machines in sight, while nothing happens",
            [Contestant(WHO, _fleet("steady", count, 5 if small else 120))],
            [Target(WHO, "calls", most=30), Target(WHO, "throttled", most=0), Target(WHO, "share", most=5)],
            repeat=1,
            compare=(),
        )
        for count in sizes
    ]
    late = "From the end of a machine to the asking for another, answers 5 s late, the longest of ten"
    return [
        *steady,
        _seconds("ask", "10,000 vCPUs had, the published buckets held to", _fleet("ask", 200 if small else 10_000), 60),
        _seconds("reclaim", late, _fleet("reclaim", 1 if small else 10), 10),
        _seconds("first-line", "From `run` to the first line of user code, caches warm", _first_line(ground), 5),
    ]


def _seconds(key: str, title: str, once: Callable[[], Sample], most: float) -> Row:
    return Row(key, title, [Contestant(WHO, once)], [Target(WHO, "seconds", most=most)], repeat=3, compare=())


def _fleet(*words: object) -> Callable[[], Sample]:
    def once() -> Sample:
        if find_spec("moto") is None:
            raise Failed("the sandbox is not installed")
        done = subprocess.run(
            [PYTHON, PROGRAMS / "fleet.py", *map(str, words)], capture_output=True, text=True, check=False, timeout=1800
        )
        if done.returncode:
            raise Failed(done.stderr.strip().splitlines()[-1])
        said: Sample = json.loads(done.stdout)
        return said

    return once


def _first_line(ground: Ground) -> Callable[[], Sample]:
    def once() -> Sample:
        env = {**os.environ, **ground.env()}
        up = subprocess.run(
            [ELSEWHERE, "sandbox", "up", "--detach"], env=env, capture_output=True, text=True, check=False
        )
        if up.returncode:
            raise Failed(up.stderr.strip())
        try:
            said = subprocess.run([ELSEWHERE, "sandbox", "env", "--json"], env=env, capture_output=True, check=True)
            env |= json.loads(said.stdout)
            _run(env)  # what it leaves in caches and the bucket is what "warm" means
            return {"seconds": _run(env)}
        finally:
            subprocess.run([ELSEWHERE, "sandbox", "down"], env=env, capture_output=True, check=False)

    return once


def _run(env: dict[str, str]) -> float:
    """Seconds until what the command prints there is printed here."""
    words = [ELSEWHERE, "run", "--on", "aws", "--budget", "1", "--", "echo", "here"]
    began = time.monotonic()
    with subprocess.Popen(words, env=env, cwd=PROGRAMS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.monotonic() - began
        process.communicate(timeout=300)
    if line != b"here\n" or process.returncode:
        raise Failed(f"the command ended with {process.returncode}")
    return took
