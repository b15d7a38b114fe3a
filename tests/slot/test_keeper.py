"""A keeper and a runtime that takes its time: a program of ours with the words of one, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from elsewhere.model.job import Box, Entry, Found
from elsewhere.model.states import Outcome
from elsewhere.slot import keeper
from slot.floor import eventually, floor, value

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers run on Linux")

MAIN = Path(keeper.__file__).parent / "__main__.py"
ENGINE = """#!/bin/sh
cd {folder}
case $1 in
run)
  touch begins
  [ -e late ] && sleep 1
  [ -e heedless ] && trap : TERM
  echo $$ >body
  [ -e heedless ] && while :; do sleep 0.05; done
  [ -e long ] && exec sleep 1000
  (sleep 0.5; echo >tidied) &
  exit 3;;
inspect) [ -e slow ] && sleep 1; [ -e removed ] && exit 125; cat body;;
rm) echo >>tries; [ "$(wc -l <tries)" -gt 2 ] || exit 1; echo >removed;;
esac
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    engine = tmp_path / "engine"
    engine.write_text(ENGINE.format(folder=tmp_path))
    engine.chmod(0o755)
    return str(engine)


@pytest.fixture
def plan(program: str) -> dict[str, Any]:
    return {
        "words": [program, "run"], "enter": "--workdir", "flag": "--env", "prefix": "", "names": [], "name": "--name",
        "label": [], "limit": "", "ask": [program, "inspect"], "remove": [program, "rm"], "image": ["image"], "env": {},
        "inside": ["true"],
    }  # fmt: skip


def start(plan: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(MAIN), "keep", json.dumps(plan), "-1", "-1"]
    return subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL)


def test_a_keeper_stays_until_its_runtime_has_put_the_container_away(plan: dict[str, Any], tmp_path: Path) -> None:
    with start(plan, tmp_path) as process:
        assert process.wait(30) == 3
    assert (tmp_path / "tidied").exists(), "whoever starts a keeper ends what is left behind it"


def test_a_container_that_could_not_be_removed_at_once_is_removed_again(plan: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "long").touch()
    with start(plan, tmp_path) as process:
        eventually(lambda: (tmp_path / "body").exists() and (tmp_path / "body").read_text())
        os.kill(process.pid, signal.SIGHUP)
        assert process.wait(30) == 1
    assert (tmp_path / "removed").exists()
    assert len((tmp_path / "tries").read_text()) == 3


def test_a_container_that_has_not_begun_is_ended_when_it_has(plan: dict[str, Any], tmp_path: Path) -> None:
    for name in ("long", "late"):
        (tmp_path / name).touch()
    with start(plan, tmp_path) as process:
        eventually(lambda: (tmp_path / "begins").exists())
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == -signal.SIGKILL
    assert not (tmp_path / "removed").exists(), "its runtime was not left to put it away"


@pytest.mark.parametrize("kind", ["long", "heedless"])
def test_what_a_runtime_takes_to_end_a_command_is_none_of_its_grace(tmp_path: Path, program: str, kind: str) -> None:
    """The grace is for what runs in it, and that is ended by force when it is over."""
    for name in (kind, "slow"):
        (tmp_path / name).touch()
    box = Box("image", found=Found("podman", program, "image"))
    with floor(tmp_path, entry=Entry("command", command=("true",)), box=box, grace=timedelta(seconds=0.2)) as here:
        (n,) = here.put(b"null")
        here.until((tmp_path / "body").exists)
        here.slots.cancel([n])
        (ended,) = here.finish(n)
    assert ended.outcome is Outcome.CANCELLED
    assert ("had to be killed" in value(ended)["message"]) == (kind == "heedless")
