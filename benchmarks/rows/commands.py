"""Commands that do nothing, /bin/true, two at a time, output captured and recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.ground import ELSEWHERE, PYTHON, Ground
from benchmarks.meter import Usage, measure
from benchmarks.rows.tasks import differing
from benchmarks.table import LIMIT, PEER, Contestant, Row, Target

N, FEW = 4_000, 50
TRUE = shutil.which("true") or "/bin/true"


def rows(ground: Ground, full: bool) -> list[Row]:
    loop = ground.compiled("spawn")
    limit = "a C posix_spawn loop, two at a time" if loop else "a posix_spawn loop in Python, two at a time"
    start: list[str | Path] = [loop] if loop else [PYTHON, ground.program("spawns.py")]
    who = "elsewhere run --each-line"
    contestants = [
        Contestant(who, differing(lambda n: _ours(ground, n), N, FEW)),
        Contestant(limit, differing(lambda n: measure([*start, str(n), "2", TRUE], memory=False), N, FEW), LIMIT),
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
        run = differing(lambda n: measure([xargs, "-a", ground.lines(n), "-n", "1", "-P", "2", TRUE]), N, FEW)
        found.append(Contestant("xargs -P2", run, PEER))
    if parallel := shutil.which("parallel"):
        run = differing(lambda n: measure([parallel, "-j2", "-a", ground.lines(n), TRUE]), N, FEW)
        found.append(Contestant("GNU parallel -j2", run, PEER))
    return found
