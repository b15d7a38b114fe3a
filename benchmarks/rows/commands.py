"""Commands that do nothing, /bin/true, two at a time, output captured and recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.ground import ELSEWHERE, PYTHON, Ground
from benchmarks.meter import Usage, measure
from benchmarks.rows.tasks import differing
from benchmarks.table import LIMIT, PEER, Contestant, Row, Target

FEW = 50
TRUE = shutil.which("true") or "/bin/true"


def rows(ground: Ground, full: bool) -> list[Row]:
    n = ground.sized(4_000)
    loop = ground.compiled("spawn")
    limit = "a C posix_spawn loop, two at a time" if loop else "a posix_spawn loop in Python, two at a time"
    start: list[str | Path] = [loop] if loop else [PYTHON, ground.program("spawns.py")]
    who = "elsewhere run --each-line"
    contestants = [
        Contestant(who, differing(lambda k: _ours(ground, k), n, FEW)),
        Contestant(limit, differing(lambda k: measure([*start, str(k), "2", TRUE], memory=False), n, FEW), LIMIT),
        *_tools(ground, n),
    ]
    return [Row("commands", f"Commands, /bin/true, two at a time, {n:,}", contestants,
                [Target(who, "rate", least=0.6, against=limit)])]  # fmt: skip


def _ours(ground: Ground, n: int) -> Usage:
    command = [ELSEWHERE, "run", "--each-line", ground.lines(n), "--slots", "2", "--quiet", "--", TRUE, "{}"]
    return measure(command, env=ground.env())


def _tools(ground: Ground, n: int) -> list[Contestant]:
    """xargs and GNU parallel, where they are installed."""
    found = []
    if xargs := shutil.which("xargs"):
        run = differing(lambda k: measure([xargs, "-a", ground.lines(k), "-n", "1", "-P", "2", TRUE]), n, FEW)
        found.append(Contestant("xargs -P2", run, PEER))
    if parallel := shutil.which("parallel"):
        run = differing(lambda k: measure([parallel, "-j2", "-a", ground.lines(k), TRUE]), n, FEW)
        found.append(Contestant("GNU parallel -j2", run, PEER))
    return found
