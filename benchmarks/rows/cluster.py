"""A cluster under Slurm, a private one of two nodes on this machine: the first line of a job, a list of tasks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.ground import ELSEWHERE, PROGRAMS, PYTHON, Ground
from benchmarks.meter import Failed, Usage, measure
from benchmarks.rows.tasks import differing
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

TESTS = Path(__file__).parents[2] / "tests"
PROGRAM = "import time; print(time.time(), flush=True)"
BOUND = 120.0


def rows(ground: Ground, full: bool) -> list[Row]:
    lab = Lab(ground)
    return [_first(lab), _noop(lab, ground.sized(100_000 if full else 10_000))]


class Lab:
    """A project whose place `hpc` is the cluster. Made for the first who asks, with the one that the tests have."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    @cached_property
    def cluster(self) -> Any:
        if shutil.which("slurmctld", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            raise Failed("no Slurm is installed")
        sys.path.append(str(TESTS))
        from slurm.cluster import running

        return self.ground.exits.enter_context(running(self.ground.path / "slurm"))

    @cached_property
    def project(self) -> Path:
        folder = self.ground.path / "on-slurm"
        (folder / "work").mkdir(parents=True)
        shutil.copy(PROGRAMS / "noop.py", folder)
        place = {"backend": "slurm", "work-dir": str(folder / "work"), "walltime": "30m", "max-jobs": 2}
        (folder / "elsewhere.yaml").write_text(json.dumps({"places": {"hpc": place}}))
        return folder

    def env(self) -> dict[str, str]:
        return {**self.cluster.env(), "ELSEWHERE_HOME": str(self.project / "home"), "PYTHONPATH": ""}

    def measured(self, command: list[str | Path]) -> Usage:
        return measure(command, env=self.env(), cwd=self.project, memory=False)


def _first(lab: Lab) -> Row:
    who, bare = "elsewhere run --on hpc", "sbatch --wrap"

    def ours() -> Sample:
        began = time.time()
        said = float(lab.measured([ELSEWHERE, "run", "--on", "hpc", "--quiet", "--", PYTHON, "-c", PROGRAM]).out)
        accepted = max(path.stat().st_mtime for path in (lab.project / "work").glob("launches/*/natives"))
        return {"seconds": said - accepted} if accepted > began else {}

    def theirs() -> Sample:
        out = lab.ground.fresh("first-line")
        words = ["sbatch", "--parsable", f"--output={out}", f"--wrap={PYTHON} -c '{PROGRAM}'"]
        subprocess.run(words, env={**os.environ, **lab.env()}, check=True, capture_output=True)
        accepted = time.time()
        while not (out.exists() and out.read_text().strip()):
            if time.time() - accepted > BOUND:
                raise Failed("sbatch did not run it")
            time.sleep(0.01)
        return {"seconds": float(out.read_text()) - accepted}

    return Row(
        "slurm-first",
        "From the moment at which Slurm has accepted a job to the first line of user code",
        [Contestant(who, ours), Contestant(bare, theirs, LIMIT)],
        [Target(who, "seconds", most=1.3, against=bare)],
        compare=("seconds",),
    )


def _noop(lab: Lab, n: int) -> Row:
    few = 20 if lab.ground.small else 100
    who, array = "elsewhere run, pilots", f"sbatch --array of true, {few} elements"

    def ours(k: int) -> Usage:
        words: list[str | Path] = [ELSEWHERE, "run", lab.ground.tasks(k), "--entry", "noop:f", "--on", "hpc", "--quiet"]
        return lab.measured(words)

    def theirs() -> Sample:
        words = ["sbatch", "--wait", "--parsable", "--output=/dev/null", f"--array=0-{few - 1}", "--wrap=true"]
        usage = lab.measured(list(words))
        return {"rate": few / usage.wall}

    def rated() -> Sample:
        return {name: value for name, value in once().items() if name in ("cpu", "rate")}

    once = differing(ours, n, few)
    return Row(
        f"slurm-noop-{n}",
        f"No-op tasks on two nodes of Slurm, {n:,}; CPU of this side",
        [Contestant(who, rated), Contestant(array, theirs, PEER)],
        [Target(who, "rate", least=5, against=array), Target(who, "cpu", most=60)],
        repeat=3,
    )
