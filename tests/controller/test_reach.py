"""How this machine is divided among agents in processes of their own."""

from __future__ import annotations

from typing import Any

import pytest

from elsewhere import machine
from elsewhere.controller import reach
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.resources import Resources

GIB = 1 << 30


@pytest.mark.parametrize(
    ("need", "slots", "gpus", "machines"),
    [
        ({}, 4, "", 2),
        ({}, 3, "", 1),
        ({}, 2, "", 1),
        ({"cpus": 4}, 8, "", 2),
        ({"cpus": 5}, 8, "", 1),
        ({"memory": 4 * GIB}, 4, "", 2),
        ({"memory": 5 * GIB}, 4, "", 1),
        ({"gpus": 1}, 4, "", 1),
        ({}, 4, "0,1", 1),
    ],
)
def test_two_agents_where_each_task_finds_room_in_one_half(
    need: dict[str, Any], slots: int, gpus: str, machines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cpus", lambda: 4)
    monkeypatch.setattr(machine, "usable_memory", lambda: 8 * GIB)
    spec = JobSpec("job-1", "half", Entry("command"), slots=slots, resources=Resources(**need),
                   env={"CUDA_VISIBLE_DEVICES": gpus})  # fmt: skip
    assert reach._machines(spec) == machines
