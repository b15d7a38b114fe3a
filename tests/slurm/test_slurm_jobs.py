"""Jobs on a real Slurm, by the command and from Python: pilots that claim from the spool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from slurm.cluster import PROGRAMS, Cluster

pytestmark = [pytest.mark.needs(*PROGRAMS), pytest.mark.slow, pytest.mark.timeout(300)]

WORK = """
import os, time
from elsewhere import remote

def f(n, seconds=0.0):
    with open(os.path.join(os.environ["RAN"], f"{n}-{os.getpid()}-{time.time_ns()}"), "w"):
        pass
    print("task", n)
    time.sleep(seconds)
    return {"n": n, "node": os.environ["SLURMD_NODENAME"]}

@remote(on="hpc")
def where(x):
    return x, os.environ["SLURM_CPUS_PER_TASK"]
"""
BOUND = 120.0


class Lab:
    """A project whose place `hpc` is the private cluster. Each attempt of a task leaves a file in `ran`."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.cluster, self.folder, self.ran, self.work = cluster, folder / "p", folder / "ran", folder / "w"
        for path in (self.folder, self.ran, self.work):
            path.mkdir()
        self.home = folder / "h"
        (self.folder / "work.py").write_text(WORK)
        self.settings()

    def settings(self, **more: object) -> None:
        place = {"backend": "slurm", "work-dir": str(self.work), "walltime": "30m", "max-jobs": 3, **more}
        whole = {"places": {"hpc": place}, "default": {"env": {"RAN": str(self.ran)}}}
        (self.folder / "elsewhere.yaml").write_text(json.dumps(whole))

    def close(self) -> None:
        """Nobody of ours goes on, whatever became of the test."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("ELSEWHERE_HOME") == str(self.home):
                    process.kill()

    def tasks(self, count: int, **data: object) -> str:
        lines = [json.dumps({"task_id": f"t{n}", "data": {"n": n, **data}}) for n in range(count)]
        (self.folder / "tasks.jsonl").write_text("\n".join(lines) + "\n")
        return "tasks.jsonl"

    def env(self) -> dict[str, str]:
        return {**os.environ, **self.cluster.env(), "ELSEWHERE_HOME": str(self.home)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "elsewhere", *words], cwd=self.folder, env=self.env(),
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                stdin=subprocess.DEVNULL)  # fmt: skip

    def run(self, *words: str, status: int | None = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=BOUND)
        assert status is None or process.returncode == status, (process.returncode, out, err)
        return out + err

    def attempts(self) -> Counter[int]:
        return Counter(int(path.name.partition("-")[0]) for path in self.ran.iterdir())

    def results(self, count: int) -> dict[str, dict[str, object]]:
        found = {one["task_id"]: one for one in map(json.loads, self.run("results").splitlines())}
        assert len(found) == count and all(one["state"] == "succeeded" for one in found.values())
        return found


def until(true: Callable[[], object], why: str) -> None:
    end = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < end, f"never: {why}"
        time.sleep(0.05)


@pytest.fixture
def lab(tmp_path: Path, cluster: Cluster) -> Iterator[Lab]:
    found = Lab(tmp_path, cluster)
    yield found
    found.close()


def test_one_command_has_its_output_on_ours_and_its_own_exit_status(lab: Lab) -> None:
    script = "echo on $SLURMD_NODENAME; pwd; echo bad >&2; exit 3"
    said = lab.run("run", "--on", "hpc", "--", "sh", "-c", script, status=3)
    lines = said.splitlines()
    assert lines[0] in ("on n1", "on n2") and str(lab.folder) in lines and "bad" in lines
    assert lab.cluster.queue() == []
    assert "exit status 3" in lab.run("explain")


def test_a_list_runs_once_each_in_a_few_jobs_and_nothing_is_left(lab: Lab) -> None:
    lab.run("run", lab.tasks(300), "--entry", "work:f", "--on", "hpc", "--quiet")
    assert lab.cluster.queue() == []
    found = lab.results(300)
    assert {one["result"]["n"] for one in found.values()} == set(range(300))  # type: ignore[index]
    assert set(lab.attempts().values()) == {1}
    assert "task 7\n" in lab.run("logs", "@last/t7")
    machines = json.loads(lab.run("machines", "--json"))
    assert 1 <= len(machines) <= 3
    lab.run("rm", "@last")
    assert list((lab.work / "jobs").iterdir()) == []


def test_functions_run_there_from_python(lab: Lab) -> None:
    script = "from work import where; print(where.options(cpus=2, walltime='5m')(1), sorted(where.map(range(20)))[-1])"
    done = subprocess.run([sys.executable, "-c", script], cwd=lab.folder, env=lab.env(), capture_output=True,
                          text=True, timeout=BOUND, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "(1, '2') (19, '1')\n"), done.stderr
    until(lambda: lab.cluster.queue() == [], "nothing is left")


def test_work_outlives_a_killed_controller_and_is_heard_of(lab: Lab) -> None:
    running = lab.start("run", lab.tasks(200, seconds=0.1), "--entry", "work:f", "--on", "hpc", "--quiet")
    until(lambda: len(lab.attempts()) > 10, "some have run")
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    before = len(lab.attempts())
    until(lambda: len(lab.attempts()) > before, "it goes on without a controller, with what was handed out")
    lab.cluster.run("scancel", lab.cluster.queue()[0])  # and an admin ends a pilot: it hands back what it has
    lab.run("resume", "--quiet")
    assert lab.cluster.queue() == []
    lab.results(200)
    assert sum(lab.attempts().values()) <= 201 and set(lab.attempts()) == set(range(200))


def test_the_script_is_shown_and_nothing_is_submitted(lab: Lab) -> None:
    lab.settings(slurm={"constraint": "fast"}, modules=["gcc"], prologue="echo hello")
    words = ("run", lab.tasks(9), "--entry", "work:f", "--on", "hpc", "--cpus", "2", "--walltime", "1h30m",
             "--show-script")  # fmt: skip
    process = lab.start(*words)
    out, err = process.communicate(timeout=BOUND)
    assert process.returncode == 0, err
    assert err.startswith("sbatch --parsable --job-name=elsewhere.job-")
    for word in ("--array=0-2", "--cpus-per-task=2", "--constraint=fast", "--time=90"):
        assert word in err
    assert out.startswith("#!/bin/bash\n") and "module load gcc" in out and "\necho hello\n" in out
    assert subprocess.run(["sh", "-n"], input=out, text=True, check=False).returncode == 0
    assert lab.cluster.queue() == [] and list(lab.work.iterdir()) == []
    assert "no job yet" in lab.run("status", status=None)


@pytest.mark.parametrize(
    ("place", "words", "status", "said"),
    [
        ({"account": "nobody", "slurm": {"constraint": "fsat"}}, (), 3, "Did you mean fast?"),
        ({}, ("--walltime", "30s"), 2, "must be 1m or more"),
        ({}, ("--cpus", "64"), 2, "64 CPUs of 4"),
        ({}, ("--timeout", "3h"), 2, "lives 30m00s, of which the last 1m07s"),
        ({"partitoin": "short"}, (), 2, "did you mean partition?"),
        ({}, ("--channel", "pipe"), 2, "is not reached by the channel"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    lab: Lab, place: dict[str, object], words: tuple[str, ...], status: int, said: str
) -> None:
    lab.settings(**place)
    assert said in lab.run("run", "--on", "hpc", *words, "--", "true", status=125 if status == 3 else None)
    assert lab.cluster.queue() == [] and not list((lab.home / "jobs").glob("job-*"))


def test_why_slurm_has_a_job_wait_is_shown_and_reap_ends_it(lab: Lab) -> None:
    lab.settings(slurm={"begin": "now+1hour"})
    lab.run("run", "--on", "hpc", "--detach", "--", "true")
    until(lambda: "Slurm has it wait: BeginTime" in lab.run("status"), "it says why")
    [job] = lab.cluster.queue()
    listed = json.loads(lab.run("reap", "--on", "hpc", "--dry-run", "--json"))
    assert [one["machine"] for one in listed["machines"]] == [job]
    lab.run("cancel", "@last")
    until(lambda: lab.cluster.queue() == [], "cancelled is gone")
