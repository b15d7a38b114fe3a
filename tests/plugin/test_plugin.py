"""A new place is new files only: a backend that the package does not know, by an entry point, on a scripted system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from elsewhere.testing.backend_suite import BackendConformance
from plugin.pbs import Pbs, PbsSettings

HERE = Path(__file__).parent


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The programs of a batch system on the path, with nothing in its queue; what is left of its jobs ends."""
    state, bin = tmp_path / "pbs", tmp_path / "bin"
    state.mkdir()
    bin.mkdir()
    for name in ("qsub", "qstat", "qdel"):
        (bin / name).write_text(f"#!{sys.executable}\n{(HERE / 'fake_pbs.py').read_text()}")
        (bin / name).chmod(0o755)
    monkeypatch.setenv("FAKE_PBS", str(state))
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    yield tmp_path
    for process in psutil.process_iter():
        try:
            if process.environ().get("FAKE_PBS") == str(state) and "PBS_JOBID" in process.environ():
                process.kill()
        except psutil.Error:
            continue


class TestPbs(BackendConformance):
    @pytest.fixture
    def backend(self, system: Path) -> Pbs:
        return Pbs(PbsSettings(directory=str(system / "work")))

    def again(self, backend: Pbs) -> Pbs:  # type: ignore[override]
        return Pbs(backend.settings)


@pytest.mark.slow
def test_a_list_runs_on_a_place_that_an_entry_point_brings(system: Path) -> None:
    added = system / "added"
    info = added / "elsewhere_pbs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere-pbs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[elsewhere.backends]\npbs = elsewhere_pbs:Pbs\n")
    (added / "elsewhere_pbs.py").write_text((HERE / "pbs.py").read_text())
    project = system / "project"
    project.mkdir()
    (project / "work.py").write_text("import os\ndef f(n):\n    return {'n': n, 'job': os.environ['PBS_JOBID']}\n")
    lines = [json.dumps({"task_id": f"t{n}", "data": {"n": n}}) for n in range(40)]
    (project / "tasks.jsonl").write_text("\n".join(lines))
    env = {**os.environ, "ELSEWHERE_HOME": str(system / "home"), "PYTHONPATH": str(added)}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "elsewhere", *words], cwd=project, env=env, capture_output=True,
                              text=True, timeout=100, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # its keys are options, too, and it is looked at before it is written down
    run(
        "places",
        "add",
        "cluster",
        "--backend",
        "pbs",
        "--directory",
        str(system / "work"),
        "--walltime",
        "30m",
        "--yes",
    )
    run("run", "tasks.jsonl", "--entry", "work:f", "--on", "cluster", "--quiet")
    found = [json.loads(line) for line in run("results").splitlines()]
    assert {one["result"]["n"] for one in found} == set(range(40))
    assert {one["result"]["job"].partition(".")[2] for one in found} == {"fake"}
    states = json.loads(subprocess.run(["qstat", "-x"], capture_output=True, check=True, timeout=60).stdout)["Jobs"]
    assert states and all(job["job_state"] == "F" for job in states.values())
