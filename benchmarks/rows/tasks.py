"""No-op tasks from a file of JSON lines, through the real command: read, durable, run, recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.ground import ELSEWHERE, PROGRAMS, PYTHON, Ground
from benchmarks.meter import Usage, apart, measure
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

FEW = 100
FLOOR = "SQLite, two workers, batches of 64"
POOL = "ProcessPoolExecutor, chunk 1"


def rows(ground: Ground, full: bool) -> list[Row]:
    return [_noop(ground, n) for n in ((10_000, 100_000, 1_000_000) if full else (10_000, 100_000))] + [
        _isolated(ground)
    ]


def ours(ground: Ground, tasks: Path, *flags: str) -> Usage:
    """`elsewhere run`, from nothing to all recorded."""
    command = [ELSEWHERE, "run", tasks, "--entry", "noop:f", "--slots", "2", "--quiet", *flags]
    return measure(command, env=ground.env(), cwd=PROGRAMS)


def program(ground: Ground, name: str, *arguments: str) -> Callable[[Path], Usage]:
    return lambda tasks: measure([PYTHON, ground.program(name), tasks, *arguments])


def floor(ground: Ground, tasks: Path) -> Usage:
    return measure([PYTHON, ground.program("floor.py"), tasks, ground.fresh("floor.db")])


def differing(ground: Ground, n: int, run: Callable[[Path], Usage], few: int = FEW) -> Callable[[], Sample]:
    """One measurement: `n` tasks and a few, one after the other."""

    def once() -> Sample:
        small = run(ground.tasks(few))
        return apart(run(ground.tasks(n)), small, n, few)

    return once


def _noop(ground: Ground, n: int) -> Row:
    def own() -> Sample:
        sample = differing(ground, n, lambda tasks: ours(ground, tasks))()
        return {**sample, "bytes": ground.ledger_bytes() / n}

    who = "elsewhere run"
    contestants = [Contestant(who, own), Contestant(FLOOR, differing(ground, n, lambda t: floor(ground, t)), LIMIT)]
    if n <= 100_000:
        contestants.append(Contestant(POOL, differing(ground, n, program(ground, "pool.py", "1")), PEER))
    contestants.append(Contestant("Pool.imap, chunk 64", differing(ground, n, program(ground, "imap.py")), PEER))
    targets = [Target(who, "cpu", most=20), Target(who, "cpu", most=15),
               Target(who, "rate", least=0.35, against=FLOOR), Target(who, "bytes", most=200)]  # fmt: skip
    if n <= 100_000:
        targets.append(Target(who, "rate", least=5, against=POOL))
    else:
        targets.append(Target(who, "together", most=100))
    return Row(f"noop-{n}", f"No-op Python tasks from JSON lines, {n:,}", contestants, targets,
               repeat=None if n < 1_000_000 else 3)  # fmt: skip


def _isolated(ground: Ground) -> Row:
    n = 2_000
    who, one, two = "elsewhere run --isolate", "a bare fork per call", "a bare fork per call, two at a time"
    return Row(
        "isolate",
        f"A fresh process per task, {n:,} tasks",
        [
            Contestant(who, differing(ground, n, lambda tasks: ours(ground, tasks, "--isolate"))),
            Contestant(one, differing(ground, n, program(ground, "forks.py", "1")), LIMIT),
            Contestant(two, differing(ground, n, program(ground, "forks.py", "2")), LIMIT),
        ],
        [Target(who, "rate", least=0.5, against=one), Target(who, "rate", least=0.5, against=two)],
    )
