"""Output of any size and any bytes: kept as it was, never through the controller's memory, shown safely."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask

NASTY = b"plain\n\x00\x1b[2J\x1b]52;c;bm8=\x07\xff\xfe no newline at the end"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


def command(*words: str) -> session.JobFiles:
    spec = JobSpec(ids.new("job"), "loud", Entry("command", command=words), slots=1, python=sys.executable, cwd="/")
    return session.create(spec, [NewTask("loud", b"null")])


def printed(files: session.JobFiles) -> tuple[Path, int, int]:
    """The file that holds the output, and from where to where."""
    ledger = files.open()
    (attempt,) = ledger.attempts("loud")
    ledger.close()
    assert attempt.output is not None
    output = attempt.output
    return files.slots / attempt.agent / f"{output.slot}.{output.roll}.out", output.out_from, output.out_to


def test_every_byte_is_kept_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "bytes"
    source.write_bytes(NASTY)
    files = command("cat", str(source))
    assert session.run_here(files).succeeded == 1
    path, begin, end = printed(files)
    assert path.read_bytes()[begin:end] == NASTY


def loud(size: int) -> None:
    """One line of `size` bytes, without end; what the controller's process needed for it."""
    files = command("head", "-c", str(size), "/dev/zero")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert session.run_here(files).succeeded == 1
    path, begin, end = printed(files)
    assert end - begin == size == path.stat().st_size - begin
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30_000, f"{grown} KiB more, for what should never pass through here"
    shown = subprocess.run(
        [sys.executable, "-m", "elsewhere", "logs", files.id, "--raw"], stdout=subprocess.PIPE, check=True
    )
    assert shown.stdout.count(0) >= size
    path.unlink()


@pytest.mark.slow
def test_a_line_of_a_hundred_megabytes_costs_the_controller_nothing() -> None:
    loud(100 << 20)


@pytest.mark.soak
def test_a_gigabyte_of_output_costs_the_controller_nothing() -> None:
    loud(1 << 30)
