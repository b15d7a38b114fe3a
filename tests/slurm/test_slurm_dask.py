"""Dask clusters on a real Slurm: each worker is a job, and none is left however a cluster ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elsewhere import Cluster as Dask
from elsewhere.errors import UsageError
from elsewhere.model.place import Place
from slurm.cluster import PROGRAMS, Cluster, until

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.needs(*PROGRAMS)]
BOUND = 90.0


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "h"))
    monkeypatch.chdir(tmp_path)


def place(**settings: Any) -> Place:
    return Place("hpc", "slurm", {"partition": "main", **settings})


def waited(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + BOUND
    while not (found := true()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
    return found


def job_of_worker(x: int) -> tuple[int, str, str]:
    return x + 1, os.environ["SLURM_JOB_ID"], os.environ["SLURM_CPUS_PER_TASK"]


def test_workers_are_jobs_of_the_size_of_their_tag_and_one_that_is_taken_away_is_replaced(cluster: Cluster) -> None:
    with Dask(on=place(), walltime="20m") as made:
        made.add_container("gcam", cpus=2, memory="500M")
        made.add_workers("gcam", n=1)
        with made.client() as client:
            value, job, cpus = client.submit(job_of_worker, 1, tag="GCAM").result(BOUND)
            assert (value, cpus, cluster.queue()) == (2, "2", [job])
            assert cluster.run("squeue", "-h", "-o", "%l %P").split() == ["20:00", "main"]
            made.walltime = "30m"
            cluster.run("scancel", job)
            waited(lambda: [row["name"] for row in made.status()["tags"]["gcam"]["workers"]] == ["gcam/2"])
            again = client.submit(job_of_worker, 2, tag="gcam").result(BOUND)
            assert again[0] == 3
            assert again[1] != job
            assert cluster.run("squeue", "-h", "-o", "%l").split() == ["30:00"]
    until(lambda: not cluster.queue(), "nothing is left")


def explained(made: Dask, tag: str = "", status: int = 0) -> str:
    words = [sys.executable, "-m", "elsewhere", "explain", "/".join(filter(None, [made.status()["name"], tag]))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_what_slurm_would_not_take_is_refused_with_its_words(cluster: Cluster) -> None:
    with Dask(on=place(partition="mian")) as made, pytest.raises(UsageError, match="mian"):
        made.add_container("gcam")
    with Dask(on=place(), walltime="20m") as made:
        with pytest.raises(UsageError, match="no machine of hpc has what gcam asks for: 64 CPUs"):
            made.add_container("gcam", cpus=64)
        made.add_container("gcam", cpus=4)
        made.add_workers("gcam", 3)  # there are two nodes of that size
        waited(lambda: {row["is"] for row in made.status()["tags"]["gcam"]["workers"]} == {"here", "pending"})
        waited(lambda: "Slurm has it wait: Resources" in explained(made, "gcam"))
        assert "gcam: 2 of 3 workers asked for are here" in explained(made) and "gcam/1 is here" in explained(
            made, "gcam"
        )
        assert "did you mean gcam?" in explained(made, "gcm", status=2)
        made.remove_workers("gcam", 1)  # the one that waits, which has done nothing yet
        until(lambda: len(cluster.queue()) == 2, "the job that waited is gone")
    assert cluster.queue() == []


SCRIPT = """
import sys, time
from elsewhere import Cluster
from elsewhere.model.place import Place

if __name__ == "__main__":
    with Cluster(on=Place("hpc", "slurm", {"partition": "main"})) as cluster:
        cluster.add_container("a", cpus=4)
        cluster.add_workers("a", 3)     # there is room for two
        cluster.wait_for_workers("a", 2)
        cluster.client().submit(time.sleep, 600, tag="a")
        print("up", flush=True)
        time.sleep(600)
"""


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_script_that_is_killed_or_interrupted_leaves_no_job_behind(
    cluster: Cluster, tmp_path: Path, number: int
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert len(cluster.queue()) == 3
    process.send_signal(number)
    process.communicate(timeout=BOUND)
    if number == signal.SIGKILL:  # the one that waits does not know yet that nobody needs it
        until(lambda: len(cluster.queue()) == 1, "those that ran have left")
        words = [sys.executable, "-m", "elsewhere", "cluster", "down"]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said == "The cluster cluster had ended; 1 of it was left at hpc, and is ended now.\n"
    until(lambda: not cluster.queue(), "nothing is left")
