"""Nothing is acknowledged before it is synced: read off the system calls of real processes.

Shown to go red: with `synchronous=OFF` in place of FULL in ledger/hand_out.py, both tests fail, since no sync stands
between the last write to the log and the word.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from faults.flows import submit

pytestmark = pytest.mark.needs("strace")
FLOWS = Path(__file__).parent / "flows.py"
CALL = re.compile(r"^(?:\d+\s+)?(\w+)\((\d+)<([^>]*)>(.*)$")


def calls(flow: str, place: Path) -> list[tuple[str, str, str]]:
    """(name, path, rest) of each write and sync of a flow, in their order."""
    trace = place / "trace"
    done = subprocess.run(
        ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=write,pwrite64,fdatasync,fsync",
         sys.executable, str(FLOWS), flow, str(place), "20"],
        capture_output=True, text=True, timeout=120, env=dict(os.environ),
    )  # fmt: skip
    assert "acknowledged" in done.stdout, done.stderr
    found = [CALL.match(line) for line in trace.read_text(errors="replace").splitlines()]
    return [(m[1], m[3], m[4]) for m in found if m is not None]


def last_write_of_log(seen: list[tuple[str, str, str]], before: int) -> int:
    writes = [
        k for k, (name, path, _) in enumerate(seen[:before]) if "write" in name and path.endswith("ledger.db-wal")
    ]
    assert writes, "the ledger's log was never written"
    return writes[-1]


@pytest.mark.slow
def test_a_job_is_synced_before_it_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    seen = calls("submit", tmp_path)
    word = next(k for k, (name, _, rest) in enumerate(seen) if name == "write" and "acknowledged" in rest)
    written = last_write_of_log(seen, word)
    synced = [path for name, path, _ in seen[written:word] if name in ("fsync", "fdatasync")]
    assert any("ledger.db" in path for path in synced)
    assert any(path.endswith("/jobs") for path in synced), "the directory that holds the job was not synced"


@pytest.mark.slow
def test_outcomes_are_synced_before_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    submit(tmp_path, 20)
    seen = calls("run", tmp_path)
    word = next(k for k, (name, _, rest) in enumerate(seen) if name == "write" and "heard" in rest)
    written = last_write_of_log(seen, word)
    assert any(name in ("fsync", "fdatasync") and "ledger.db-wal" in path for name, path, _ in seen[written:word])


@pytest.mark.slow
def test_a_large_result_is_on_the_disk_before_its_outcome_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    seen = calls("large", tmp_path)
    outcome = next(k for k, (name, path, _) in enumerate(seen) if name == "write" and path.endswith(".outcomes"))
    synced = [path for name, path, _ in seen[:outcome] if name == "fsync"]
    assert any("/store/" in path and path.endswith(".part") for path in synced)
