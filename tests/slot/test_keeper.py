"""A keeper and a runtime that takes its time: a program of ours with the words of one, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from elsewhere.slot import keeper

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers run on Linux")

MAIN = Path(keeper.__file__).parent / "__main__.py"
ENGINE = """#!/bin/sh
cd {folder}
case $1 in
run)
  echo $$ >body
  [ -e long ] && exec sleep 1000
  (sleep 0.5; echo >tidied) &
  exit 3;;
inspect) [ -e removed ] && exit 125; cat body;;
rm) echo >>tries; [ "$(wc -l <tries)" -gt 2 ] || exit 1; echo >removed;;
esac
"""


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    engine = tmp_path / "engine"
    engine.write_text(ENGINE.format(folder=tmp_path))
    engine.chmod(0o755)
    program = str(engine)
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
        end = time.monotonic() + 30
        while not (tmp_path / "body").exists() or not (tmp_path / "body").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGHUP)
        assert process.wait(30) == 1
    assert (tmp_path / "removed").exists()
    assert len((tmp_path / "tries").read_text()) == 3
