"""A cluster reached through its login node: a real sshd in front of a real Slurm, with a home of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import sshd
from slurm.cluster import PROGRAMS, Cluster
from slurm.test_slurm_jobs import Lab, until

pytestmark = [pytest.mark.needs(*PROGRAMS, "sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def lab(tmp_path: Path, cluster: Cluster) -> Iterator[Lab]:
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
    said = lab.run("run", "--on", "hpc", "--", "sh", "-c", "echo on $SLURMD_NODENAME; ls; exit 3", status=3)
    assert "on n" in said and "work.py" in said
    until(lambda: lab.cluster.queue() == [], "nothing is left")
