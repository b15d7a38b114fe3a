"""Calls from Python: one warm call there and back, a large array there and back, what an idle slot holds."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.ground import PYTHON, Ground
from benchmarks.meter import measure
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

HUNDRED_MB = "100000000"


def rows(ground: Ground, full: bool) -> list[Row]:
    return [_warm(ground), _array(ground), _idle(ground)]


def told(ground: Ground, name: str, *arguments: str, own: bool = False) -> Callable[[], Sample]:
    """What a program prints of itself."""

    def once() -> Sample:
        usage = measure([PYTHON, ground.program(name), *arguments], env=ground.env() if own else None)
        return dict(json.loads(usage.out))

    return once


def _warm(ground: Ground) -> Row:
    n = "1000"
    who, pipe, pool = "remote f(1)", "two pipes to a warm process", "ProcessPoolExecutor.submit"
    return Row(
        "warm",
        "A warm call f(1), recorded, round trip (median of 1,000)",
        [
            Contestant(who, told(ground, "warm.py", n, own=True)),
            Contestant(pipe, told(ground, "warm_pipe.py", n), LIMIT),
            Contestant(pool, told(ground, "warm_pool.py", n), PEER),
        ],
        [Target(who, "millis", most=1.0)],
        compare=("millis",),
    )


def _array(ground: Ground) -> Row:
    who, out, inside = "remote f(array)", "out of band over a socket", "in band, cloudpickle over a socket"
    return Row(
        "array",
        "100 MB of numpy as argument and as result, round trip",
        [
            Contestant(who, told(ground, "arrays.py", HUNDRED_MB, own=True)),
            Contestant(out, told(ground, "arrays_socket.py", HUNDRED_MB, "out-of-band"), LIMIT),
            Contestant(inside, told(ground, "arrays_socket.py", HUNDRED_MB, "in-band"), PEER),
        ],
        [Target(who, "seconds", most=1.5, against=out)],
        compare=("seconds",),
    )


def _idle(ground: Ground) -> Row:
    who, pool = "a slot", "a process of ProcessPoolExecutor"
    return Row(
        "idle",
        "An idle slot, resident memory",
        [
            Contestant(who, told(ground, "idle.py", "ours", own=True)),
            Contestant(pool, told(ground, "idle.py", "pool"), PEER),
        ],
        [Target(who, "resident", most=20)],
        compare=("resident",),
    )
