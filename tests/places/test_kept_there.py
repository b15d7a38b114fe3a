"""Environments on hosts behind a real sshd: built once and shared by jobs, listed, removed; of pip, conda and Julia."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import sshd
from ship import channel, rootfs
from ship.julia import server
from ship.wheels import wheel

pytestmark = [pytest.mark.needs("sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(300)]
pytest.importorskip("rattler")

BOUND = 240.0


class Lab:
    """A project whose place `lab` is two hosts; nothing but them and directories of these tests can be reached."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        for name in ("wheels", "s"):
            (folder / name).mkdir()
        wheel(folder / "wheels", "alpha", "1.0", "VALUE = 41\ndef main():\n    print('alpha', VALUE)\n", program=True)
        self.channel = channel.usual(folder / "channel").name
        self.env = {
            **os.environ, "ELSEWHERE_HOME": str(folder / "home"), "UV_FIND_LINKS": str(folder / "wheels"),
            "UV_NO_INDEX": "1", "JULIAUP_SERVER": server(folder / "julia"),
        }  # fmt: skip

    def settle(self, hosts: sshd.Hosts, rest: str, names: str = "node[1-2]") -> None:
        self.hosts = hosts
        place = f'places:\n  lab: {{backend: ssh, hosts: ["{names}"], slots: 1, config: "{hosts.config}"}}\n'
        (self.folder / "elsewhere.yaml").write_text(place + rest)

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "elsewhere", *words], cwd=self.folder, env=self.env, text=True, capture_output=True,
            timeout=BOUND, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def kept(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.run("environments", "--on", "lab", "--json"))
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    found = Lab(folder)
    with sshd.running(folder / "s", "node1", "node2") as hosts:
        found.settle(hosts, "")
        yield found


def test_an_environment_is_built_there_before_there_is_a_job_and_then_shared(lab: Lab) -> None:
    lab.settle(
        lab.hosts,
        f"environments:\n  both: {{conda: [gamma, tool], channels: ['{lab.channel}'], pip: [alpha]}}\n",
    )
    said = lab.run("environments", "build", "both", "--on", "lab")
    assert said.count("both is built on node") == 2
    rows = lab.kept()
    assert [(row["name"], row["busy"]) for row in rows] == [("both", False)] * 2
    assert {row["machine"] for row in rows} == {"node1", "node2"} and rows[0]["mark"] == rows[1]["mark"]
    assert any(str(name).startswith("gamma-2.1") for name in rows[0]["conda"])  # type: ignore[attr-defined]
    whole = [lab.hosts.folder / name / ".elsewhere" / "environments" / str(rows[0]["mark"]) / ".whole"
             for name in ("node1", "node2")]  # fmt: skip
    made = [path.stat().st_mtime_ns for path in whole]
    code = "import alpha, gamma, os; print(alpha.VALUE + gamma.VALUE, os.environ['GAMMA_DATA'])"
    words = ["sh", "-c", 'python -c "$1"; gamma; alpha; tool', "sh", code]
    first, *others = lab.run("run", "--quiet", "--on", "lab", "--environment", "both", "--", *words).splitlines()
    assert first.startswith("62 ") and first.endswith(f"/environments/{rows[0]['mark']}/share")
    assert others == ["gamma 21", "alpha 41", "tool of conda"]
    assert [path.stat().st_mtime_ns for path in whole] == made, "what is there is used"
    for name in ("node1", "node2"):
        assert list((lab.hosts.folder / name / ".elsewhere" / "jobs").iterdir()) == []

    wrong = lab.run("environments", "rm", "boht", "--on", "lab", status=2)
    assert "there is no environment 'boht' there" in wrong
    assert "Removed 0 environments" in lab.run("environments", "rm", "--on", "lab", "--older-than", "1d")
    assert "Removed 2 environments" in lab.run("environments", "rm", "both", "--on", "lab")
    assert lab.kept() == [] and not any(path.exists() for path in whole)


def test_what_nothing_has_used_for_long_goes_when_a_job_ends_and_what_a_job_uses_stays(lab: Lab) -> None:
    lab.settle(lab.hosts, "environments:\n  small: {pip: [alpha]}\n  gone: {prefix: ~/nowhere}\n", "node1")
    base = lab.hosts.folder / "node1" / ".elsewhere"
    refused = lab.run("environments", "build", "small", "gone", "--on", "lab", status=1)
    assert "small is built on node1" in refused
    assert "gone cannot be built on node1" in refused and "there is no environment ~/nowhere" in refused
    [mark] = {str(row["mark"]) for row in lab.kept()}
    old = time.time() - 40 * 86400
    forgotten, used = base / "environments" / mark, base / "environments" / "used"
    archive = base / "cache" / "bundles" / "old.tar.gz"
    archive.touch()
    (used / ".jobs").mkdir(parents=True)
    for job in ("job-x", "job-gone"):
        (used / ".jobs" / job).touch()
    (base / "jobs" / "job-x").mkdir(parents=True)
    (base / "machines" / "other").mkdir()
    (base / "machines" / "other" / "labels").write_text('{"job": "job-x"}')
    (base / "machines" / "other" / "cancelled").touch()
    for path in (forgotten, used, archive):
        os.utime(path, (old, old))
    lab.run("run", "--quiet", "--on", "lab", "--", "true")
    assert [path.exists() for path in (forgotten, archive, used)] == [False, False, True]
    assert [path.name for path in (used / ".jobs").iterdir()] == ["job-x"]


JULIA = "environments:\n  jl: {julia: '1.10'%s}\njobs:\n  jl: {script: fit.jl 7, environment: jl, on: lab}\n"


@pytest.mark.parametrize("offline", ["", pytest.param(", offline: true", marks=pytest.mark.soak)])
def test_julia_is_brought_where_it_is_missing_and_the_project_made_ready_once(lab: Lab, offline: str) -> None:
    """The Julia of these tests is a stand-in: nothing of Julia's own can be fetched where they run."""
    lab.settle(lab.hosts, JULIA % offline, "node1")
    lab.run("environments", "rm", "--on", "lab")
    (lab.folder / "Project.toml").write_text('[deps]\nExample = "7876af07-990d-54b4-ab0e-23690620f79a"\n')
    (lab.folder / "fit.jl").write_text("a script\n")
    lab.run("run", "jl", "--quiet")
    ran = lab.run("logs", "jl")
    assert "fit.jl 7 by julia 1.10.4 with Example" in ran
    kinds = {str(row["julia"]) for row in lab.kept()}
    assert kinds == {"julia-1.10.4-linux-x86_64.tar.gz", "packages of a project"}


NEWCOMER = """
environments:
  model: {{pip: requirements.txt}}
  tools: {{conda: environment.yml}}
  boxed: {{image: "docker-archive:{image}", mounts: {{data: /data}}, runtime: charliecloud}}
  jl: {{julia: "1.10"}}
jobs:
  fit:
    script: run_remote.py 1 10
    environment: model
    resources: {{cpus: 1, memory: 1GiB}}
    inputs: [lib/, input.dat]
    outputs: [output.dat, "plots/*.txt"]
    matrix: {{seed: [1, 2, 3], rate: [0.1, 0.01]}}
    env: {{SEED: "{{seed}}"}}
    on: lab
  tool: {{command: [tool], environment: tools, on: lab}}
  box: {{command: [cat, /data/in], environment: boxed, on: lab}}
  jl: {{script: fit.jl 7, environment: jl, on: lab}}
"""
SCRIPT = """
import os, pathlib, sys
import alpha
pathlib.Path("plots").mkdir()
pathlib.Path("plots/a.txt").write_text("a plot")
given = pathlib.Path("input.dat").read_text() + pathlib.Path("lib/part.txt").read_text()
pathlib.Path("output.dat").write_text(f"{given} {alpha.VALUE} {os.environ['SEED']} {sys.argv[1:]}")
"""


@pytest.mark.soak
@pytest.mark.needs("busybox", "ch-run")
def test_a_project_of_python_conda_a_container_and_julia_runs_on_two_hosts(lab: Lab, tmp_path: Path) -> None:
    image = rootfs.archive(tmp_path / "plain.tar", form="docker")
    lab.settle(lab.hosts, NEWCOMER.format(image=image))
    for name, text in {
        "run_remote.py": SCRIPT, "requirements.txt": "alpha\n", "lib/part.txt": "part", "input.dat": "given",
        "environment.yml": f"channels: ['{lab.channel}']\ndependencies: [tool]\n", "data/in": "mounted",
        "fit.jl": "a script\n", "Project.toml": "[deps]\n",
    }.items():  # fmt: skip
        (lab.folder / name).parent.mkdir(exist_ok=True)
        (lab.folder / name).write_text(text)
    lab.run("run", "fit", "--quiet")
    assert "12 files of 6 tasks" in lab.run("results", "fit", "--files", "-o", "out")
    assert (lab.folder / "out" / "fit" / "3" / "output.dat").read_text() == "givenpart 41 2 ['1', '10']"
    for job, said in (("tool", "tool of conda"), ("box", "mounted"), ("jl", "by julia 1.10.4")):
        lab.run("run", job, "--quiet")
        assert said in lab.run("logs", job), job
