"""What is kept on a host is listed, and goes, by the texts that run there: run on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere.backends import sheds
from elsewhere.backends.ssh import texts

LONG_AGO = time.time() - 40 * 86400


class Host:
    """`run`: one of the texts there. Versions of us are made with `we`."""

    def __init__(self, home: Path) -> None:
        self.home, self.base = home, home / ".elsewhere"
        self.run("exit 0")

    def run(self, text: str, *words: str) -> bytes:
        argv = ["sh", "-c", texts.BASE + text, "sh", ".elsewhere", *words]
        env = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(argv, env=env, check=True, capture_output=True).stdout

    def we(self, name: str) -> Path:
        env = self.base / "controller" / f"{name}.env"
        (self.base / "controller" / name).mkdir(parents=True)
        (env / "bin").mkdir(parents=True)
        (env / ".whole").touch()
        os.utime(env, (LONG_AGO, LONG_AGO))
        return env

    def kept(self) -> dict[str, bool]:
        """By their marks; is each in use?"""
        return {one.mark: one.busy for one in sheds.read("node1", self.run(sheds.LIST))}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def four(host: Host) -> Iterator[Host]:
    """Versions of us that were last used long ago: one runs, one is about to, one has a job, one is forgotten."""
    for name in ("we-runs", "we-boots", "we-sits", "we-forgotten"):
        host.we(name)
    (host.base / "controller" / "we-runs.env" / "bin" / "python").symlink_to("/bin/sleep")
    boot = host.base / "machines" / "clu-1-a-1" / "boot"
    boot.parent.mkdir()
    boot.write_text('"${HOME:-/root}"/.elsewhere/controller/we-boots.env/bin/python -m a.module\n')
    asked = host.base / "controller" / "work" / "work-1" / ".we"
    asked.parent.mkdir(parents=True)
    asked.write_text("we-sits\n")
    runs = subprocess.Popen([host.base / "controller" / "we-runs.env" / "bin" / "python", "600"])
    yield host
    runs.kill()
    runs.wait()


def test_versions_of_us_go_with_their_age_but_for_those_that_somebody_may_want(four: Host) -> None:
    fresh = four.we("we-fresh")
    os.utime(fresh)
    known = {"we-runs": True, "we-boots": True, "we-sits": True, "we-forgotten": False, "we-fresh": False}
    assert four.kept() == known
    four.run(sheds.AGE + "exit 0", "30")
    del known["we-forgotten"]
    assert four.kept() == known
    assert not (four.base / "controller" / "we-forgotten").exists()


def test_versions_of_us_are_removed_by_hand_but_for_those_that_somebody_may_want(four: Host) -> None:
    four.run(sheds.DISCARD, *four.kept())
    assert four.kept() == {"we-runs": True, "we-boots": True, "we-sits": True}


def test_an_environment_that_a_worker_of_a_cluster_has_stays(host: Host) -> None:
    folder = host.base / "environments" / "made"
    (folder / ".jobs").mkdir(parents=True)
    (folder / ".jobs" / "clu-1-a-1").touch()
    (folder / ".whole").touch()
    (folder / ".about").write_text(json.dumps({"name": "model"}) + "\n")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    machine = host.base / "machines" / "clu-1-a-1"
    machine.mkdir()
    host.run(sheds.AGE + "exit 0", "30")
    assert host.kept() == {"made": True}
    machine.rmdir()
    host.run(sheds.AGE + "exit 0", "30")
    assert host.kept() == {}
