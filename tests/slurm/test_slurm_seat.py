"""`--controller job`: the controller of a job sits in one more Slurm job, and is asked from the login node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from slurm.cluster import PROGRAMS, Cluster
from slurm.test_slurm_jobs import Lab, until

pytestmark = [pytest.mark.needs(*PROGRAMS), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def lab(tmp_path: Path, cluster: Cluster) -> Iterator[Lab]:
    found = Lab(tmp_path, cluster)
    (found.folder / "work.py").write_text(WAITS)
    yield found
    found.close()


WAITS = """
import os, pathlib, time

def f(n):
    ran = pathlib.Path(os.environ["RAN"])
    (ran / f"{n}-{os.getpid()}").touch()
    print("task", n)
    while not pathlib.Path(f"{ran}.go").exists():
        time.sleep(0.05)
    return {"n": n, "cwd": os.getcwd()}
"""


def names(lab: Lab) -> list[str]:
    return [name.removeprefix("elsewhere.") for name in lab.cluster.run("squeue", "-h", "-o", "%j").split()]


def ours(lab: Lab) -> list[str]:
    """What runs of us outside of Slurm's jobs."""
    found = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
            if env.get("ELSEWHERE_HOME") == str(lab.home) and "SLURM_JOB_ID" not in env:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.soak
def test_a_controller_in_a_job_of_its_own_is_asked_from_the_login_node_and_leaves_nothing(lab: Lab) -> None:
    said = lab.run("run", lab.tasks(3), "--entry", "work:f", "--on", "hpc", "--controller", "job", "--name", "far",
                   "--detach")  # fmt: skip
    assert "controller: a job in main" in said and "this machine may go" in said
    assert [name for name in names(lab) if name.startswith("seat-")]
    until(lambda: len(lab.attempts()) >= 2, "tasks run")
    assert ours(lab) == []
    assert "running in" in lab.run("status", "far")
    Path(f"{lab.ran}.go").touch()
    assert "3 of 3 done" in lab.run("watch", "far")
    assert "task 1" in lab.run("logs", "far/t1")
    assert {row["result"]["n"] for row in map(json.loads, lab.run("results", "far").splitlines())} == {0, 1, 2}
    lab.run("rm", "far")
    until(lambda: lab.cluster.queue() == [], "it is ended")
    until(lambda: files_of_seats(lab) == [], "nothing is left of it")


def files_of_seats(lab: Lab) -> list[str]:
    """What lies in the work-dir of them; archives stay for the next, as for machines."""
    where = lab.work / "controllers"
    return [str(path) for name in ("nodes", "seats") for path in (where / name).rglob("*") if path.is_file()]


@pytest.mark.soak
def test_when_its_job_is_over_the_controller_ends_and_the_job_comes_home(lab: Lab) -> None:
    Path(f"{lab.ran}.go").touch()
    words = (lab.tasks(3), "--entry", "work:f", "--on", "hpc", "--controller", "job", "--name", "far")
    assert "3 of 3 done" in lab.run("run", *words)
    until(lambda: lab.cluster.queue() == [], "it leaves when all is over")
    assert "the job is here now" in lab.run("status", "far")
    assert {row["result"]["n"] for row in map(json.loads, lab.run("results", "far").splitlines())} == {0, 1, 2}
    assert "task 1" in lab.run("logs", "far/t1")
    assert files_of_seats(lab) == []


@pytest.mark.soak
def test_a_job_is_cancelled_there_and_a_seat_that_is_lost_is_said(lab: Lab) -> None:
    words = (lab.tasks(2), "--entry", "work:f", "--on", "hpc", "--controller", "job", "--detach")
    lab.run("run", *words, "--name", "first")
    until(lambda: len(lab.attempts()) >= 1, "tasks run")
    lab.run("cancel", "first")
    until(lambda: "cancelled" in lab.run("status", "first"), "it is over")
    until(lambda: lab.cluster.queue() == [], "nothing is left")
    lab.run("run", *words, "--name", "second")
    until(lambda: len(lab.attempts()) >= 2, "tasks run")
    lab.cluster.run("scancel", *lab.cluster.queue())
    until(lambda: lab.cluster.queue() == [], "an admin has ended all")
    assert "is gone" in lab.run("status", "second", status=3)
    lab.run("rm", "--force", "second")


def test_where_no_job_can_be_had_for_it_nothing_is_made(lab: Lab) -> None:
    words = (lab.tasks(1), "--entry", "work:f", "--controller", "job")
    assert "starts no job for a controller" in lab.run("run", *words, "--on", "local", status=2)
    lab.settings(account="", slurm={"constraint": "fsat"})
    assert "Did you mean fast?" in lab.run("run", *words, "--on", "hpc", status=2)
    assert lab.cluster.queue() == []
