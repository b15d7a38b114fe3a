"""Controllers on a machine of a cloud that is hired for them: asked without a door, at home when it ends, and succeeded
when it is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.sandbox.fleet import Instance
from places.far import world
from sandbox.cloud import Sandbox, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
PATIENCE = 200.0
WORK = """
import os, time, uuid
from pathlib import Path
def step(n, place):
    place = Path(place)
    (place / f"began-{n}-{uuid.uuid4().hex}").touch()
    print("task", n, os.environ.get("TOKEN", "")[::-1])
    while not (place / "go").exists():
        time.sleep(0.05)
    return {"n": n, "on": os.environ.get("HOSTNAME", "")}
"""
SOON = """
import runpy
from elsewhere.controller import hired
hired.LINGER, hired.ASK_PLACE = 4, 2.0
runpy.run_module("elsewhere", run_name="__main__", alter_sys=True)
"""
"""The command, whose seats stay 4 s when nothing goes on there, and which looks sooner whether they are there."""


class Laptop:
    def __init__(self, folder: Path, cloud: Sandbox, home: Path) -> None:
        self.cloud, self.folder, self.marks = cloud, folder / "project", folder / "marks"
        self.home = folder / "home"
        for one in (self.folder, self.marks, self.home):
            one.mkdir()
        (home / "cache").mkdir(exist_ok=True)
        (self.home / "cache").symlink_to(home / "cache")  # archives are made once
        (self.folder / "work.py").write_text(WORK)
        self.env = {**os.environ, **cloud.variables, "ELSEWHERE_HOME": str(self.home)}

    def tasks(self, count: int) -> str:
        rows = [{"task_id": f"t{n}", "data": {"n": n, "place": str(self.marks)}} for n in range(count)]
        (self.folder / "tasks.json").write_text(json.dumps(rows))
        return "tasks.json"

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", SOON, *words], env=self.env, cwd=self.folder, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def __call__(self, *words: str, status: int = 0) -> str:
        """What it prints, on both."""
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == status, (words, out, err, self.consoles())
        return out + err

    def consoles(self) -> list[str]:
        return [self.cloud.console(one.id)[-3000:] for one in self.cloud.cloud.fleet.known()]

    def began(self) -> list[int]:
        return sorted(int(path.name.split("-")[1]) for path in self.marks.glob("began-*"))

    def seats(self) -> list[Instance]:
        return [one for one in self.cloud.cloud.fleet.known() if one.tags["elsewhere:job"].startswith("seat-")]

    def nothing_is_left(self) -> None:
        until(
            lambda: all(one.move.state == "terminated" for one in self.cloud.cloud.fleet.known()), "all end", PATIENCE
        )
        s3 = self.cloud.client("s3")
        for bucket in s3.list_buckets()["Buckets"]:
            found = s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
            assert [entry["Key"] for entry in found if "/bundles/" not in entry["Key"]] == []
        assert list((self.home / "away" / "seats").iterdir()) == []


@pytest.fixture(scope="module")
def cloud(far_home: Path) -> Iterator[Sandbox]:
    with world(far_home) as found:
        yield found


@pytest.fixture
def laptop(cloud: Sandbox, tmp_path: Path, far_home: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path, cloud, far_home)
    yield made
    cloud.kill(*[one.id for one in cloud.cloud.fleet.known() if one.move.state != "terminated"])


def test_a_controller_on_a_hired_machine_is_asked_from_here_and_its_job_comes_home(
    laptop: Laptop,
) -> None:
    laptop.env["TOKEN"] = "s3cret"
    said = laptop("run", laptop.tasks(3), "--entry", "work:step", "--on", "aws", "--controller", "aws", "--budget", "2",
                  "--secret", "TOKEN", "--slots", "2", "--name", "far", "--detach")  # fmt: skip
    [seat] = laptop.seats()
    assert f"The controller of far sits on {seat.id}: this machine may go." in said
    assert f"controller: {seat.order.type} in {seat.order.zone}" in said
    assert "s3cret" not in seat.order.user_data.decode("latin-1")
    until(lambda: len(laptop.began()) == 2, "tasks run on machines of its own", PATIENCE)
    assert "running in 2 of 2 slots" in laptop("status", "far")
    assert "away" in laptop("jobs", "--state", "away")
    follows = laptop.start("watch", "far")
    (laptop.marks / "go").touch()
    out, err = follows.communicate(timeout=PATIENCE)
    assert follows.returncode == 0 and "3 of 3 done" in err, out + err
    said = laptop("logs", "far/t1")
    assert "task 1" in said and "s3cret"[::-1] in said
    until(lambda: seat.move.state == "terminated", "it ends by itself", PATIENCE)
    said += laptop("status", "far")  # one of these has brought it
    assert "has ended; the job is here now" in said and "3 done, 0 failed" in said
    assert f"for the machine of its controller: {seat.order.type}" in laptop("watch", "far")
    rows = [json.loads(line) for line in laptop("results", "far").splitlines()]
    assert [row["result"]["n"] for row in rows] == [0, 1, 2] and seat.id not in {row["result"]["on"] for row in rows}
    assert laptop.began() == [0, 1, 2]
    money = json.loads(laptop("watch", "far", "--json").splitlines()[-1])
    assert 0 < money["controller"]["spent"] < 0.01
    laptop.nothing_is_left()
    laptop("rm", "far")


@pytest.mark.soak
def test_a_lost_machine_of_a_controller_is_said_and_another_one_goes_on(laptop: Laptop) -> None:
    laptop("run", laptop.tasks(4), "--entry", "work:step", "--on", "aws", "--controller", "aws", "--budget", "2",
           "--slots", "2", "--name", "lost", "--detach")  # fmt: skip
    until(lambda: len(laptop.began()) == 2, "tasks run", PATIENCE)
    [seat] = laptop.seats()
    laptop.cloud.kill(seat.id)
    said = laptop("status", "lost", status=3)
    assert f"{seat.id}, on which the controller of lost sat, is gone" in said and "`elsewhere resume lost`" in said
    laptop("resume", "lost", "--detach")
    (laptop.marks / "go").touch()
    assert "4 of 4 done" in laptop("watch", "lost")
    assert laptop.began() == [0, 1, 2, 3]
    new = laptop.seats()[-1]
    assert new.id != seat.id and len(laptop.cloud.cloud.fleet.known()) >= 3
    until(lambda: new.move.state == "terminated", "it ends by itself", PATIENCE)
    assert "succeeded" in laptop("jobs") + laptop("status", "lost") + laptop("jobs", "--state", "succeeded")
    laptop.nothing_is_left()


def test_what_is_wrong_is_said_before_there_is_a_machine(laptop: Laptop) -> None:
    before = len(laptop.cloud.cloud.fleet.known())
    words = ["--entry", "work:step", "--controller", "aws"]
    assert "--budget 5" in laptop("run", laptop.tasks(1), *words, status=2)
    assert "too small" in laptop("run", laptop.tasks(1), *words, "--budget", "0.001", status=2)
    assert "nothing.json" in laptop("run", "nothing.json", *words, "--budget", "1", status=2)
    assert len(laptop.cloud.cloud.fleet.known()) == before


@pytest.mark.soak
def test_what_only_shows_there_leaves_no_machine(laptop: Laptop) -> None:
    before = len(laptop.cloud.cloud.fleet.known())
    words = ["--entry", "work:no_such", "--controller", "aws"]
    assert "no_such" in laptop("run", laptop.tasks(1), *words, "--budget", "1", status=2)
    assert len(laptop.cloud.cloud.fleet.known()) == before + 1
    laptop.nothing_is_left()
