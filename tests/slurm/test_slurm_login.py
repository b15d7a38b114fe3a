"""A cluster reached through its login node: a real sshd in front of a real Slurm, with a home of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import sshd
from slurm.cluster import PROGRAMS, Cluster
from slurm.test_slurm_jobs import Lab, until
from slurm.test_slurm_seat import names, ours

pytestmark = [pytest.mark.needs(*PROGRAMS, "sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def lab(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("TOKEN", SECRET)
    (tmp_path / "s").mkdir()
    hosts = sshd.Hosts(tmp_path / "s")
    try:
        home = tmp_path / "s" / "login"
        hosts.add("login", " ".join([f"SetEnv HOME={home}", *(f"{k}={v}" for k, v in cluster.env().items())]))
        found = Lab(tmp_path, cluster)
        found.settings(login="login", config=str(hosts.config), **{"work-dir": ""})
        yield found
        found.close()
    finally:
        for name in list(hosts.daemons):
            hosts.stop(name)


def test_code_travels_and_everything_comes_home_through_the_login_node(lab: Lab) -> None:
    assert lab.run("places", "check", "hpc").count("ok ") >= 5
    lab.run("run", lab.tasks(40), "--entry", "work:f", "--on", "hpc", "--quiet")
    found = lab.results(40)
    assert {one["result"]["n"] for one in found.values()} == set(range(40))  # type: ignore[index]
    assert set(lab.attempts().values()) == {1}
    assert "task 7\n" in lab.run("logs", "@last/t7")
    assert lab.cluster.queue() == []
    there = lab.folder.parent / "s" / "login" / ".elsewhere" / "slurm"
    assert list((there / "jobs").iterdir()) == [] and (there / "cache").is_dir()
    shown = json.loads(lab.run("machines", "--json"))
    assert 1 <= len(shown) <= 3


@pytest.mark.soak
def test_a_command_has_its_exit_status_and_its_output_here(lab: Lab) -> None:
    said = lab.run("run", "--on", "hpc", "--", "nosuchprogram", status=127)
    assert "'nosuchprogram' cannot be started: No such file or directory" in said and "in its PATH" in said
    said = lab.run("run", "--on", "hpc", "--", "sh", "-c", "echo on $SLURMD_NODENAME; ls; exit 3", status=3)
    assert "on n" in said and "work.py" in said
    until(lambda: lab.cluster.queue() == [], "nothing is left")


def test_containers_that_no_node_can_run_and_images_that_are_nowhere_are_refused(lab: Lab, tmp_path: Path) -> None:
    words = ("run", "--on", "hpc", "--image", f"{tmp_path}/gcan.sif")
    (tmp_path / "gcam.sif").touch()
    said = lab.run(*words, "--", "true", status=125)
    assert f"no image file {tmp_path}/gcan.sif here, nor on login\nDid you mean {tmp_path}/gcam.sif?" in said
    lab.settings(login="login", config=str(lab.folder.parent / "s" / "config"), **{"work-dir": ""},
                 prologue="PATH=/nowhere; command() { return 1; }")  # fmt: skip
    said = lab.run("run", "--on", "hpc", "--image", "docker.io/library/python:3.12", "--", "true", status=125)
    assert "no container runtime is installed on a machine of hpc" in said
    assert not (lab.home / "jobs").exists() or list((lab.home / "jobs").iterdir()) == []
    assert lab.cluster.queue() == []


SECRET = "7h1s-n0-0n3"
WAITS = """
import os, pathlib, time

def f(n):
    (pathlib.Path(os.environ["RAN"]) / f"{n}-{os.getpid()}").touch()
    print("task", n, os.environ["TOKEN"][::-1], flush=True)
    while not pathlib.Path(os.environ["RAN"] + ".go").exists():
        time.sleep(0.05)
    if pathlib.Path(os.environ["RAN"] + ".bad").exists() and n == 0:
        raise ValueError("bad")
    return n
"""


def begun(lab: Lab) -> None:
    """A job of two tasks, which wait, with its controller in a job of Slurm."""
    (lab.folder / "work.py").write_text(WAITS)
    said = lab.run("run", lab.tasks(2), "--entry", "work:f", "--on", "hpc", "--controller", "job", "--name", "far",
                   "--secret", "TOKEN", "--detach")  # fmt: skip
    assert "controller: a job in" in said and "this machine may go" in said
    until(lambda: sorted(lab.attempts()) == [0, 1], "tasks run")
    files = [path for path in lab.cluster.folder.glob("state/**/*") if path.is_file()]
    assert files and not [path for path in files if SECRET.encode() in path.read_bytes()], "Slurm has kept it"


def seat(lab: Lab) -> str:
    found = [line.split() for line in lab.cluster.run("squeue", "-h", "-o", "%i %j").splitlines()]
    [one] = [number for number, name in found if name.startswith("elsewhere.seat-")]
    return one


def goes_on_here_with_the_code_that_it_began_with(lab: Lab) -> None:
    """What began there has its output; nothing is done a third time."""
    Path(f"{lab.ran}.go").touch()
    (lab.folder / "work.py").write_text("def f(n): return 'another'")
    lab.run("resume", "far")
    rows = [json.loads(line) for line in lab.run("results", "far").splitlines()]
    assert [(row["state"], row["attempt"], row["result"]) for row in rows] == [("succeeded", 2, 0), ("succeeded", 2, 1)]
    assert lab.run("logs", "far/t1").count(f"task 1 {SECRET[::-1]}\n") == 2
    assert set(lab.attempts().values()) == {2}
    assert [*(below(lab) / "jobs").iterdir()] == []
    lab.run("rm", "far")


def below(lab: Lab) -> Path:
    """Ours on the login node."""
    return lab.folder.parent / "s" / "login" / ".elsewhere" / "slurm"


def test_a_controller_in_a_job_is_asked_from_a_laptop_and_what_it_had_comes_home_when_it_is_ended(lab: Lab) -> None:
    begun(lab)
    assert ours(lab) == []
    assert "running in 2 of" in lab.run("status", "far")
    follows = lab.start("logs", "--follow", "far/t1")
    assert follows.stdout is not None and follows.stdout.readline() == f"task 1 {SECRET[::-1]}\n"
    follows.kill()
    follows.communicate()
    lab.cluster.run("scancel", seat(lab))
    until(lambda: lab.cluster.queue() == [], "its machines were told to end")
    assert "the job is here now" in (said := lab.run("status", "far")) and "2 to do" in said
    goes_on_here_with_the_code_that_it_began_with(lab)


@pytest.mark.soak
def test_at_the_end_of_its_walltime_a_controller_puts_its_job_away(lab: Lab) -> None:
    lab.settings(login="login", config=str(lab.folder.parent / "s" / "config"), partition="short", walltime="2m",
                 **{"work-dir": ""})  # fmt: skip
    begun(lab)
    follows = lab.start("watch", "far")
    until(lambda: lab.cluster.queue() == [], "its walltime is nearly over")
    assert "elsewhere resume far" in follows.communicate(timeout=60)[1]
    assert "the job is here now" in lab.run("status", "far")
    assert [*(below(lab) / "controllers" / "nodes").iterdir()] == []
    goes_on_here_with_the_code_that_it_began_with(lab)


@pytest.mark.soak
def test_a_job_is_changed_through_its_controller_there_and_is_home_when_it_is_over(lab: Lab) -> None:
    begun(lab)
    Path(f"{lab.ran}.bad").touch()
    Path(f"{lab.ran}.go").touch()
    assert "1 of 2 done" in lab.run("watch", "far", status=1)
    assert "ValueError: bad" in lab.run("explain", "far/t0")
    Path(f"{lab.ran}.bad").unlink()
    assert "2 of 2 done" in lab.run("retry", "far", "--failed")
    until(lambda: not [one for one in names(lab) if one.startswith("seat-")], "it leaves when all is over")
    assert "the job is here now" in lab.run("status", "far")
    assert [json.loads(line)["result"] for line in lab.run("results", "far").splitlines()] == [0, 1]
