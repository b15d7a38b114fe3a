"""The benchmarks run, at a small scale, so that they cannot rot; what they say is not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    """What a Python of the top directory prints."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ELSEWHERE_")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=TOP, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_row_has_a_key_of_its_own_and_somebody_of_ours_in_it(tmp_path: Path) -> None:
    keys = [
        line.split()[0] for line in run("-m", "benchmarks", "--list", "--full", "--under", str(tmp_path)).splitlines()
    ]
    assert len(keys) == len(set(keys)) >= 11
    assert list(tmp_path.iterdir()) == []


def test_the_meter_counts_the_cpu_of_children_whom_nobody_waited_for() -> None:
    burn = "import os, time\nif os.fork() == 0:\n  while time.process_time() < 0.3: pass\n"
    code = f"from benchmarks.meter import measure\nimport sys\nprint(measure([sys.executable, '-c', {burn!r}]).cpu)"
    assert float(run("-c", code)) >= 0.3


@pytest.mark.slow
def test_a_small_run_measures_us_and_the_floor_and_writes_its_page(tmp_path: Path) -> None:
    page, samples = tmp_path / "page.md", tmp_path / "samples.json"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    run("-m", "benchmarks", "--small", "--repeat", "1", "--only", "noop,start", "--under", str(tmp_path),
        "--write", str(page), "--json", str(samples))  # fmt: skip
    told: dict[str, dict[str, Any]] = json.loads(samples.read_text())
    assert {key: row["left out"] for key, row in told.items() if row["left out"]} == {}
    (noop,) = [row["samples"] for key, row in told.items() if key.startswith("noop")]
    assert noop["elsewhere run"][0]["bytes"] > 0
    assert all(sample["largest"] > 0 for samples in noop.values() for sample in samples)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "**elsewhere run**" in text and "*(limit)*" in text
