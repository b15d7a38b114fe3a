"""No-op tasks from a file of JSON lines, through the real command: read, durable, run, recorded."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.ground import ELSEWHERE, PROGRAMS, PYTHON, Ground
from benchmarks.meter import Usage, apart, measure
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

FEW = 100
FLOOR = "SQLite, two workers, batches of 64"
POOL = "ProcessPoolExecutor, chunk 1"


def rows(ground: Ground, full: bool) -> list[Row]:
    sizes = sorted({ground.sized(n) for n in (10_000, 100_000, 1_000_000)[: 3 if full else 2]})
    return [*(_noop(ground, n) for n in sizes), _isolated(ground)]


def ours(ground: Ground, n: int, *flags: str) -> Usage:
    """`elsewhere run`, from nothing to all recorded."""
    command = [ELSEWHERE, "run", ground.tasks(n), "--entry", "noop:f", "--slots", "2", "--quiet", *flags]
    return measure(command, env=ground.env(), cwd=PROGRAMS)


def program(ground: Ground, name: str, *arguments: str) -> Callable[[int], Usage]:
    return lambda n: measure([PYTHON, ground.program(name), ground.tasks(n), *arguments])


def floor(ground: Ground, n: int) -> Usage:
    return measure([PYTHON, ground.program("floor.py"), ground.tasks(n), ground.fresh("floor.db")])


def differing(run: Callable[[int], Usage], n: int, few: int = FEW) -> Callable[[], Sample]:
    """One measurement: a few tasks and `n`, one after the other; the very first time a few more, not counted.

    What is taken away for start-up is the median of all starts so far: a single one says more of the machine's mood.
    """
    starts: list[Usage] = []

    def once() -> Sample:
        if not starts:
            run(few)
        starts.append(run(few))
        return apart(run(n), starts, n, few)

    return once


def _noop(ground: Ground, n: int) -> Row:
    run = differing(lambda k: ours(ground, k), n)

    def own() -> Sample:
        return {**run(), "bytes": ground.ledger_bytes() / n}

    who = "elsewhere run"
    contestants = [Contestant(who, own), Contestant(FLOOR, differing(lambda k: floor(ground, k), n), LIMIT)]
    if n <= 100_000:
        contestants.append(Contestant(POOL, differing(program(ground, "pool.py", "1"), n), PEER))
    contestants.append(Contestant("Pool.imap, chunk 64", differing(program(ground, "imap.py"), n), PEER))
    targets = [Target(who, "cpu", most=20), Target(who, "cpu", most=15),
               Target(who, "rate", least=0.35, against=FLOOR), Target(who, "bytes", most=200)]  # fmt: skip
    if n <= 100_000:
        targets.append(Target(who, "rate", least=5, against=POOL))
    else:
        targets.append(Target(who, "together", most=100))
    return Row(f"noop-{n}", f"No-op Python tasks from JSON lines, {n:,}", contestants, targets,
               repeat=None if n < 1_000_000 else 3)  # fmt: skip


def _isolated(ground: Ground) -> Row:
    n = ground.sized(2_000)
    who, one, two = "elsewhere run --isolate", "a bare fork per call", "a bare fork per call, two at a time"
    return Row(
        "isolate",
        f"A fresh process per task, {n:,} tasks",
        [
            Contestant(who, differing(lambda k: ours(ground, k, "--isolate"), n)),
            Contestant(one, differing(program(ground, "forks.py", "1"), n), LIMIT),
            Contestant(two, differing(program(ground, "forks.py", "2"), n), LIMIT),
        ],
        [Target(who, "rate", least=0.5, against=one), Target(who, "rate", least=0.5, against=two)],
    )
