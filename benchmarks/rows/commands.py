"""Commands that do nothing, /bin/true, two at a time, output captured and recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.ground import ELSEWHERE, PYTHON, Ground
from benchmarks.meter import Usage, apart, measure
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

N, FEW = 4_000, 50
TRUE = shutil.which("true") or "/bin/true"


def rows(ground: Ground, full: bool) -> list[Row]:
    loop = ground.compiled("spawn")
    limit = "a C posix_spawn loop, two at a time" if loop else "a posix_spawn loop in Python, two at a time"
    start: list[str | Path] = [loop] if loop else [PYTHON, ground.program("spawns.py")]
    who = "elsewhere run --each-line"
    contestants = [
        Contestant(who, _differing(lambda n: _ours(ground, n))),
        Contestant(limit, _differing(lambda n: measure([*start, str(n), "2", TRUE], memory=False)), LIMIT),
        *_tools(ground),
    ]
    return [Row("commands", f"Commands, /bin/true, two at a time, {N:,}", contestants,
                [Target(who, "rate", least=0.6, against=limit)])]  # fmt: skip


def _ours(ground: Ground, n: int) -> Usage:
    command = [ELSEWHERE, "run", "--each-line", ground.lines(n), "--slots", "2", "--quiet", "--", TRUE, "{}"]
    return measure(command, env=ground.env())


def _tools(ground: Ground) -> list[Contestant]:
    """xargs and GNU parallel, where they are installed."""
    found = []
    if xargs := shutil.which("xargs"):
        run = _differing(lambda n: measure([xargs, "-a", ground.lines(n), "-n", "1", "-P", "2", TRUE]))
        found.append(Contestant("xargs -P2", run, PEER))
    if parallel := shutil.which("parallel"):
        run = _differing(lambda n: measure([parallel, "-j2", "-a", ground.lines(n), TRUE]))
        found.append(Contestant("GNU parallel -j2", run, PEER))
    return found


def _differing(run: Callable[[int], Usage]) -> Callable[[], Sample]:
    def once() -> Sample:
        small = run(FEW)
        return apart(run(N), small, N, FEW)

    return once
