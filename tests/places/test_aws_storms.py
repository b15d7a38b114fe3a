"""Fleets that lose machines, queues that repeat themselves, machines that stood still: nothing lost, nothing twice."""

from __future__ import annotations

import random
import time
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from elsewhere import session
from elsewhere.controller import distant
from elsewhere.ledger.allocations import allocations
from elsewhere.model.place import Limits
from places.far import billed, make, nobody_is_forgotten, nothing_is_left, recorded_once, shape, told, world
from sandbox.cloud import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NOTICES = (120.0, 30.0, 0.0)
"""Seconds of the sandbox's clock."""


class Storm:
    """Half of the machines that run are taken back, now and then, with as much notice as chance gives."""

    def __init__(self, cloud: Sandbox, files: session.JobFiles, seed: int, rounds: int, tasks: int) -> None:
        self.cloud, self.files, self.chance = cloud, files, random.Random(seed)
        self.left, self.step, self.tasks = rounds, tasks // (rounds + 1), tasks
        self.taken: list[float] = []

    def __call__(self, view: session.View) -> None:
        done = view.counts.succeeded
        if self.left and done >= self.tasks - self.left * self.step:
            alive = [i for i in billed(self.cloud, self.files) if i.move.state == "running" and i.notice is None]
            if alive:
                self.left -= 1
                for instance in self.chance.sample(alive, -(-len(alive) // 2)):
                    notice = self.chance.choice(NOTICES)
                    self.taken.append(notice)
                    self.cloud.cloud.fleet.preempt(instance.id, notice)


def weather(far_home: Path, tmp_path: Path, seed: int, tasks: int, machines: int, rounds: int, speed: float) -> None:
    with world(far_home, speed=speed, seed=seed) as cloud:
        data = [{"x": i, "seconds": 0.02} for i in range(tasks)]
        limits = Limits(machines, budget=Decimal(50))
        files = make(tmp_path / "project", "nap", data, shape(2, spot=True), slots=2 * machines, limits=limits)
        storm = Storm(cloud, files, seed, rounds, tasks)
        session.run_here(files, watch=storm)
        assert not storm.left and len(storm.taken) >= rounds
        recorded_once(files, tasks)
        nothing_is_left(cloud, files)
        nobody_is_forgotten(cloud, files)
        with closing(files.open()) as ledger:
            known = allocations(ledger)
        reclaimed = {a.native for a in known if a.reclaimed}
        by_cloud = {i.id for i in billed(cloud, files) if i.move.reason.by_cloud}
        assert reclaimed == by_cloud and reclaimed


@pytest.mark.parametrize("seed", [1])
def test_half_the_fleet_is_taken_back_again_and_again(far_home: Path, tmp_path: Path, seed: int) -> None:
    weather(far_home, tmp_path, seed, tasks=500, machines=4, rounds=3, speed=20.0)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_half_a_larger_fleet_is_taken_back_for_long(far_home: Path, tmp_path: Path, seed: int) -> None:
    weather(far_home, tmp_path, seed, tasks=10_000, machines=8, rounds=20, speed=10.0)


@pytest.mark.parametrize("seed", [3])
def test_queues_that_deliver_twice_late_and_out_of_order_change_nothing(
    far_home: Path, tmp_path: Path, seed: int
) -> None:
    with world(far_home) as cloud:
        queues = cloud.cloud.front.services["sqs"]
        queues.dial(seed, twice=0.4, late=0.4, late_by=1.5, shuffled=0.5)  # type: ignore[attr-defined]
        data = [{"x": i, "seconds": 0.01} for i in range(200)]
        files = make(tmp_path / "project", "nap", data, shape(2), slots=4, limits=Limits(2, budget=Decimal(5)))
        session.run_here(files)
        recorded_once(files, 200)
        assert {row["task_id"]: row["result"]["x"] for row in told(files)} == {f"t{i}": i for i in range(200)}
        nothing_is_left(cloud, files)
        nobody_is_forgotten(cloud, files)


def test_a_machine_that_stood_still_past_its_lease_is_not_heard(
    far_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task was given to another, and ended there. It wakes and ends it too: nobody takes that down."""
    monkeypatch.setattr(distant, "LEASE", timedelta(seconds=6))
    soon, late = tmp_path / "soon", tmp_path / "late"
    for place in (soon, late):
        place.mkdir()
    with world(far_home) as cloud:
        data = [{"x": 0, "place": str(soon)}, {"x": 1, "place": str(soon)}, {"x": 2, "place": str(late)}]
        files = make(tmp_path / "project", "wait", data, shape(2), slots=4, limits=Limits(2, budget=Decimal(5)))
        frozen, awake = list[tuple[str, int]](), list[bool]()

        def watch(view: session.View) -> None:
            if not frozen and len(began(soon)) + len(began(late)) == 3 and len(running(cloud, files)) == 2:
                frozen.append(next((on, pid) for x, on, pid in began(soon) if x == 0))
                cloud.freeze(frozen[0][0])
                (soon / "go").touch()
            elif frozen and not awake and sum(x == 0 for x, _, _ in began(soon)) == 2 and view.counts.succeeded == 2:
                awake.append(True)
                cloud.thaw(frozen[0][0])
            elif awake and not (psutil.pid_exists(frozen[0][1]) and not [*soon.glob(f"done-0-{frozen[0][0]}-*")]):
                (late / "go").touch()

        session.run_here(files, watch=watch)
        recorded_once(files, 3)
        assert awake and {row["task_id"]: row["result"]["on"] for row in told(files)}["t0"] != frozen[0][0]
        nothing_is_left(cloud, files)
        nobody_is_forgotten(cloud, files)


def test_what_lay_unbegun_with_a_machine_that_died_is_not_waited_for(far_home: Path, tmp_path: Path) -> None:
    """A portion of several deliveries goes to a machine as one message, whose lease is two minutes."""
    with world(far_home) as cloud:
        data = [{"x": i, "place": str(tmp_path)} for i in range(6)]
        files = make(tmp_path / "project", "wait", data, shape(2), slots=2, limits=Limits(1, budget=Decimal(5)))
        killed: list[str] = []
        died: list[float] = []

        def watch(view: session.View) -> None:
            if not killed and len(began(tmp_path)) == 2:
                killed.extend(running(cloud, files))
                cloud.kill(*killed)
                died.append(time.monotonic())
                (tmp_path / "go").touch()

        session.run_here(files, watch=watch)
        recorded_once(files, 6)
        assert time.monotonic() - died[0] < distant.LEASE.total_seconds(), "what it had not begun waited for its lease"
        nothing_is_left(cloud, files)
        nobody_is_forgotten(cloud, files)


def began(place: Path) -> list[tuple[int, str, int]]:
    """(which task, on which machine, in which process)."""
    words = [path.name.removeprefix("began-") for path in place.glob("began-*")]
    return [(int(word.partition("-")[0]), word.partition("-")[2].rpartition("-")[0], int(word.rpartition("-")[2]))
            for word in words]  # fmt: skip


def running(cloud: Sandbox, files: session.JobFiles) -> list[str]:
    return [i.id for i in billed(cloud, files) if i.move.state == "running"]
