"""SIGKILL of the controller at its calls to the cloud, its commits and its copies, in launch, work, drain and teardown.

A clean run tells which points there are; then a controller dies at one of them, `elsewhere resume` takes over, and the
sandbox's bill is held against the ledger: no machine too many, none forgotten, every task recorded once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from elsewhere.session import JobFiles
from places.far import (
    at_once,
    billed,
    dying,
    make,
    nobody_is_forgotten,
    nothing_is_left,
    recorded_once,
    resume,
)
from places.far import world as world_of
from sandbox.cloud import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TASKS = 6
MOST = {"run": 1, "drain": 2, "stop": 2}
"""Machines in all: who drains lets its machine go, and whoever resumes asks for another."""
LANES = 3


@pytest.fixture(scope="module")
def world(far_home: Path) -> Iterator[Sandbox]:
    with world_of(far_home, lag=0.5) as cloud:
        yield cloud


def clean(world: Sandbox, project: Path, flow: str) -> list[str]:
    """The points of a run in which nobody dies."""
    files = make(project, "square", [{"x": i} for i in range(TASKS)])
    ran = dying(files, flow)
    assert ran.returncode == 0, ran.stderr
    if flow != "run":
        assert resume(files).returncode == 0
    judge(world, files, flow)
    return ran.stdout.split()


def die(world: Sandbox, project: Path, flow: str, point: str) -> bool:
    """Whether it came to that point, and died. Whatever it did, the next controller ends it well."""
    files = make(project, "square", [{"x": i} for i in range(TASKS)])
    ran = dying(files, flow, point)
    assert ran.returncode == (0 if ran.stdout else -9), f"{point}: {ran.stderr}"
    assert point not in ran.stdout.split(), "it came there and lived"
    again = resume(files)
    assert again.returncode == 0, f"{point}: {again.stderr}"
    try:
        judge(world, files, flow)
    except AssertionError as error:
        raise AssertionError(f"{flow}, dead at {point}: {error}") from error
    return ran.returncode == -9


def judge(world: Sandbox, files: JobFiles, flow: str) -> None:
    nothing_is_left(world, files)
    nobody_is_forgotten(world, files)
    recorded_once(files, TASKS)
    machines = billed(world, files)
    assert at_once(machines) == 1 and 1 <= len(machines) <= MOST[flow], f"{len(machines)} machines"


def walk(world: Sandbox, tmp_path: Path, flow: str, deaths: Sequence[Sequence[str]]) -> None:
    """Each dies at the first of its points to which its run comes: no two runs are the same. Each does die."""

    def one(k: int) -> None:
        come = (die(world, tmp_path / f"p{k}-{j}", flow, point) for j, point in enumerate(deaths[k]))
        assert any(come), f"no run came to any of {deaths[k]}"

    with ThreadPoolExecutor(LANES) as lanes:
        list(lanes.map(one, range(len(deaths))))


def sample(points: list[str], seed: int, count: int) -> list[list[str]]:
    """Of each kind of point some, and of those kinds some: else most would be looks at what there is. The last of each
    is one to which every run comes."""
    chance = random.Random(seed)
    kinds: dict[str, list[str]] = {}
    for point in points:
        name, _, when = point.partition("#")
        kinds.setdefault(f"{name} {when.partition(':')[2]}", []).append(point)
    chosen = chance.sample(sorted(kinds), count)
    return [[*chance.sample(kinds[kind], min(2, len(kinds[kind]))), "ledger.commit#3:after"] for kind in chosen]


@pytest.mark.parametrize(("flow", "sampled", "always"), [
    ("run", 1, ["ec2.RunInstances#1:after", "sqs.DeleteQueue#1:after", "copy.head#1:before"]),
    ("drain", 1, []),
    ("stop", 0, ["ec2.TerminateInstances#1:after"]),
])  # fmt: skip
def test_a_controller_may_die_at_any_call_and_commit(
    world: Sandbox, tmp_path: Path, flow: str, sampled: int, always: list[str]
) -> None:
    deaths = [[point] for point in always]
    if sampled:
        points = clean(world, tmp_path / "clean", flow)
        assert len({point.partition("#")[0] for point in points}) > 10, points
        deaths += sample([point for point in points if point not in always], 7, sampled)
    walk(world, tmp_path, flow, deaths)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("flow", ["run", "drain", "stop"])
def test_every_call_and_commit_without_exception(world: Sandbox, tmp_path: Path, flow: str, part: int) -> None:
    """A point to which this run does not come is one that it lives on from, too."""
    points = clean(world, tmp_path / "clean", flow)[part::4]
    with ThreadPoolExecutor(LANES) as lanes:
        died = lanes.map(lambda one: die(world, tmp_path / f"p{one[0]}", flow, one[1]), enumerate(points))
        assert sum(died) > len(points) / 2
