"""A cluster under Slurm, a private one of three nodes on this machine: the first line of a job, a list of tasks, and
what it costs to wait."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ground import ELSEWHERE, PROGRAMS, PYTHON, Ground
from benchmarks.meter import Failed, Usage, measure
from benchmarks.rows.tasks import differing
from benchmarks.table import LIMIT, PEER, Contestant, Row, Sample, Target

TESTS = Path(__file__).parents[2] / "tests"
PROGRAM = "import time; print(time.time(), flush=True)"
BOUND = 120.0
NODES = 3


def rows(ground: Ground, full: bool) -> list[Row]:
    lab = lab_of(ground)
    return [_first(lab), _noop(lab, ground.sized(100_000 if full else 10_000)), _waiting(lab)]


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

        return self.ground.exits.enter_context(running(self.ground.path / "slurm", nodes=NODES))

    @cached_property
    def project(self) -> Path:
        folder = self.ground.path / "on-slurm"
        for path in (folder / "work", self.used):
            path.mkdir(parents=True)
        for name in ("noop.py", "slurm_map.py"):
            shutil.copy(PROGRAMS / name, folder)
        place = {"backend": "slurm", "work-dir": str(folder / "work"), "walltime": "30m", "max-jobs": NODES,
                 "prologue": f"trap 'times >{self.used}/$SLURM_JOB_ID' EXIT"}  # fmt: skip
        (folder / "elsewhere.yaml").write_text(json.dumps({"places": {"hpc": place}}))
        return folder

    @property
    def used(self) -> Path:
        """What each pilot has used, when it ends."""
        return self.ground.path / "used"

    def env(self) -> dict[str, str]:
        return {**self.cluster.env(), "ELSEWHERE_HOME": str(self.project / "home"), "PYTHONPATH": ""}

    def measured(self, command: list[str | Path]) -> Usage:
        return measure(command, env=self.env(), cwd=self.project, memory=False)


@cache
def lab_of(ground: Ground) -> Lab:
    """The same for all rows of a run."""
    return Lab(ground)


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
    files: list[int] = []

    def ours(k: int) -> Usage:
        """Its CPU is that of the pilots too: each has written down what it and all that it began have used."""
        for path in lab.used.glob("*"):
            path.unlink()
        words: list[str | Path] = [ELSEWHERE, "run", lab.ground.tasks(k), "--entry", "noop:f", "--on", "hpc",
                                   "--how", "pilots", "--quiet"]  # fmt: skip
        with counting(lab.project / "work" / "jobs", files):
            usage = lab.measured(words)
        until(lambda: not lab.cluster.queue(), "the pilots have ended")
        spent = [_seconds(path.read_text()) for path in lab.used.glob("*")]
        if len(spent) != NODES:
            raise Failed(f"of {NODES} pilots {len(spent)} have said what they used")
        return usage._replace(cpu=usage.cpu + sum(spent))

    def theirs() -> Sample:
        words = ["sbatch", "--wait", "--parsable", "--output=/dev/null", f"--array=0-{few - 1}", "--wrap=true"]
        usage = lab.measured(list(words))
        return {"rate": few / usage.wall}

    def rated() -> Sample:
        files.clear()
        found = {name: value for name, value in once().items() if name in ("cpu", "rate")}
        return {**found, "files": float(max(files, default=0))}

    once = differing(ours, n, few)
    return Row(
        f"slurm-noop-{n}",
        f"No-op tasks on three nodes of Slurm, {n:,}; CPU of all processes, pilots too",
        [Contestant(who, rated), Contestant(array, theirs, PEER)],
        [Target(who, "rate", least=5, against=array), Target(who, "cpu", most=60), Target(who, "files", most=5000)],
        repeat=3,
    )


def _seconds(times: str) -> float:
    """Of what bash's `times` prints: minutes and seconds of itself and of its children, by user and by system."""
    return sum(60 * int(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", times))


@contextmanager
def counting(folder: Path, found: list[int]) -> Iterator[None]:
    """How many files there are below a directory, now and then, while the block lasts."""
    over = threading.Event()

    def count() -> None:
        while not over.wait(0.25):
            found.append(sum(len(names) for _, _, names in os.walk(folder)))

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _waiting(lab: Lab) -> Row:
    jobs = 20 if lab.ground.small else 500
    who = f"elsewhere run, {jobs} pilots that wait"
    settle, window = (5.0, 10.0) if lab.ground.small else (90.0, 120.0)

    def once() -> Sample:
        later = {"backend": "slurm", "work-dir": str(lab.project / "work"), "max-jobs": jobs, "how": "pilots",
                 "slurm": {"begin": "now+2hours", "mem": "8M"}}  # fmt: skip
        folder = lab.ground.path / "later"
        folder.mkdir(exist_ok=True)
        (folder / "elsewhere.yaml").write_text(json.dumps({"places": {"hpc": later}}))
        shutil.copy(PROGRAMS / "noop.py", folder)
        calls, env = folder / "calls", {**os.environ, **lab.env(), "ELSEWHERE_HOME": str(folder / "home")}
        env["PATH"] = f"{_counted(folder, calls)}:{env['PATH']}"
        words: list[str | Path] = [
            ELSEWHERE,
            "run",
            lab.ground.tasks(2 * jobs),
            "--entry",
            "noop:f",
            "--on",
            "hpc",
            "--detach",
            "--quiet",
        ]
        subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True)
        until(lambda: len(lab.cluster.queue()) >= jobs, "all wait")
        [controller] = [
            one
            for one in psutil.process_iter(["cmdline"])
            if "elsewhere.controller" in (one.info["cmdline"] or ()) and _home(one) == env["ELSEWHERE_HOME"]
        ]
        time.sleep(settle)
        before, began = sum(controller.cpu_times()[:4]), len(calls.read_text())
        time.sleep(window)
        used, asked = sum(controller.cpu_times()[:4]) - before, len(calls.read_text()) - began
        subprocess.run([ELSEWHERE, "cancel", "@last"], cwd=folder, env=env, check=True, capture_output=True)
        until(lambda: not lab.cluster.queue(), "nothing is left")
        controller.wait(BOUND)  # it goes when it has seen that too
        return {"calls": asked / window * 60, "share": used / window * 100}

    return Row(
        "slurm-waiting",
        f"{jobs} Slurm jobs that wait: what Slurm is asked, and what the controller costs the login node",
        [Contestant(who, once)],
        [Target(who, "calls", most=6), Target(who, "share", most=1)],
        repeat=1,
    )


def _counted(folder: Path, calls: Path) -> Path:
    """A directory of programs of Slurm's names, each of which leaves a mark and is the real one then."""
    made = folder / "bin"
    made.mkdir(exist_ok=True)
    calls.write_text("")
    for name in ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "sacct"):
        path = made / name
        path.write_text(f'#!/bin/sh\nprintf x >>{calls}\nexec {shutil.which(name)} "$@"\n')
        path.chmod(0o755)
    return made


def _home(process: psutil.Process) -> str:
    try:
        return process.environ().get("ELSEWHERE_HOME", "")
    except psutil.Error:
        return ""


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that will happen."""
    end = time.monotonic() + BOUND
    while not true():
        if time.monotonic() > end:
            raise Failed(f"never: {what}")
        time.sleep(0.1)
