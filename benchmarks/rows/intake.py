"""Task lists into the durable queue: what reading, checking and committing costs, and what it holds meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.ground import PYTHON, Ground
from benchmarks.meter import Usage, measure
from benchmarks.rows.tasks import differing
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target


def rows(ground: Ground, full: bool) -> list[Row]:
    return [_json(ground, ground.sized(1_000_000 if full else 100_000)), _yaml(ground, ground.sized(100_000))]


def _once(ground: Ground, n: int, form: str, run: Callable[[Path], Usage], own: bool = False) -> Callable[[], Sample]:
    measured = differing(lambda k: run(ground.tasks(k, form)), n)

    def once() -> Sample:
        sample = measured()
        del sample["together"]
        return {**sample, "bytes": ground.ledger_bytes() / n} if own else sample

    return once


def _ours(ground: Ground, tasks: Path) -> Usage:
    return measure([PYTHON, ground.program("intake.py"), tasks], env=ground.env())


def _cut(ground: Ground, tasks: Path) -> Usage:
    return measure([PYTHON, ground.program("cut.py"), tasks, ground.fresh("cut.db")])


def _load(ground: Ground, how: str) -> Callable[[Path], Usage]:
    return lambda tasks: measure([PYTHON, ground.program("load.py"), how, tasks])


def _json(ground: Ground, n: int) -> Row:
    lines, array, cut = "elsewhere, JSON lines", "elsewhere, one JSON array", "cut by msgspec, into SQLite"
    return Row(
        f"intake-{n}",
        f"{n:,} tasks into the durable queue",
        [
            Contestant(lines, _once(ground, n, "jsonl", lambda tasks: _ours(ground, tasks), own=True)),
            Contestant(array, _once(ground, n, "json", lambda tasks: _ours(ground, tasks), own=True)),
            Contestant(cut, _once(ground, n, "jsonl", lambda tasks: _cut(ground, tasks)), LIMIT),
            Contestant("json.load of the array", _once(ground, n, "json", _load(ground, "json")), PEER),
        ],
        [Target(who, figure, most=most) for who in (lines, array) for figure, most in (("cpu", 6), ("largest", 64))],
        repeat=3,
        compare=("cpu",),
    )


def _yaml(ground: Ground, n: int) -> Row:
    who = "elsewhere, YAML"
    return Row(
        "yaml",
        f"{n:,} tasks from YAML into the durable queue",
        [
            Contestant(who, _once(ground, n, "yaml", lambda tasks: _ours(ground, tasks), own=True)),
            Contestant("C loader, 500 at a time", _once(ground, n, "yaml", _load(ground, "yaml-cut")), LIMIT),
            Contestant("C loader, all at once", _once(ground, n, "yaml", _load(ground, "yaml")), PEER),
        ],
        [Target(who, "cpu", most=52), Target(who, "largest", most=64)],
        repeat=3,
        compare=("cpu",),
    )
