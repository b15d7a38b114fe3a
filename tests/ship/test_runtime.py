"""Our agent as an archive: all that it needs, compiled, for a machine that has a Python like ours and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from elsewhere.ship.runtime import own, runtime


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELSEWHERE_HOME", str(folder / "home"))
        packed = runtime(own())
        assert runtime(own()) == packed, "it is found again"
    with tarfile.open(packed.path) as tar:
        tar.extractall(folder / "there")
    return folder / "there"


def bare(unpacked: Path, text: str) -> subprocess.CompletedProcess[str]:
    """An interpreter that knows nothing of this machine's packages."""
    words = [sys.executable, "-S", "-B", "-c", f"import sys; sys.path.insert(0, {str(unpacked)!r})\n{text}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_an_agent_needs_nothing_beside_it(unpacked: Path) -> None:
    modules = "agent.__main__, elsewhere.channels.away, elsewhere.channels.carried, elsewhere.agent.arrival"
    ran = bare(unpacked, f"import elsewhere.{modules}\nfrom elsewhere.ship import seal, images\nprint(seal.__file__)")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(unpacked))


def test_no_machine_compiles_it_again(unpacked: Path) -> None:
    """What was compiled here is run, whatever the times of its source say there, and tells where its source lies."""
    ids = unpacked / "elsewhere" / "model" / "ids.py"
    source = ids.read_text()
    ids.write_text("raise SystemExit('it was compiled anew')\n")
    ran = bare(unpacked, "from elsewhere.model import ids; print(ids.new.__code__.co_filename)")
    ids.write_text(source)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(ids)), ran.stderr
