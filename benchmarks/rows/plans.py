"""Choosing machines: a plan over all offers of a large cloud, warm, and how near it comes to the best possible."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib.util import find_spec

from benchmarks.ground import PYTHON, Ground
from benchmarks.meter import Failed
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target


def rows(ground: Ground, full: bool) -> list[Row]:
    who = "elsewhere plan"
    return [
        Row(
            "plan",
            "168 plans over 110,000 offers, warm, p95 of CPU and of the distance from the bound",
            [
                Contestant(who, _planned(ground, "solver")),
                Contestant("the sort alone, without the solver", _planned(ground, "sort"), LIMIT),
                Contestant("HiGHS over every spot offer, ended after 2 s, one plan", _planned(ground, "all"), PEER),
            ],
            [Target(who, "ms_cpu", most=150), Target(who, "gap", most=0.5)],
            repeat=3,
            compare=("ms_cpu",),
        )
    ]


def _planned(ground: Ground, how: str) -> Callable[[], Sample]:
    def once() -> Sample:
        if how != "sort" and find_spec("highspy") is None:
            raise Failed("highspy is not installed")
        words = [PYTHON, ground.program("plan.py"), how, *(["small"] if ground.small else [])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip().splitlines()[-1])
        told = json.loads(done.stdout)
        return {"ms_cpu": told["millis_p95"]} | ({"gap": told["gap_p95"]} if "gap_p95" in told else {})

    return once
