"""A list as one array of Slurm, a few tasks to each element; and what a task hands on when a walltime ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.cluster import PROGRAMS, Cluster
from slurm.test_slurm_jobs import BOUND, Lab, until

pytestmark = [pytest.mark.needs(*PROGRAMS), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def lab(tmp_path: Path, cluster: Cluster) -> Iterator[Lab]:
    found = Lab(tmp_path, cluster)
    yield found
    found.close()


def jobs_of_slurm(lab: Lab) -> list[str]:
    """`1_0`, ...: all machines that the last job had."""
    return [one["native"] for one in json.loads(lab.run("machines", "--json"))]


def test_a_list_is_one_array_whose_elements_do_a_task_each_a_few_at_a_time(lab: Lab) -> None:
    said = lab.run("run", lab.tasks(4), "--entry", "work:f", "--on", "hpc", "--how", "array")
    assert "4 tasks, 3 slots on hpc: an array of 4, 3 at a time, a task each" in said
    lab.results(4)
    assert set(lab.attempts().values()) == {1}
    found = jobs_of_slurm(lab)
    assert len(found) == 4 and len({native.partition("_")[0] for native in found}) == 1, "one submission"
    assert lab.cluster.queue() == []


def test_how_a_list_would_go_is_said_by_plan_and_shown_by_its_script(lab: Lab) -> None:
    words = (lab.tasks(3), "--entry", "work:f", "--on", "hpc")
    assert "3 tasks, 3 slots on hpc, an array of 3, a task each" in lab.run("plan", *words)
    process = lab.start("run", lab.tasks(2500), *words[1:], "--how", "array", "--show-script")
    out, err = process.communicate(timeout=BOUND)
    assert process.returncode == 0 and "--array=0-833%3\n" in err and "--serves 3" in out, err
    assert lab.cluster.queue() == []


@pytest.mark.soak
def test_calls_from_python_are_one_array_where_that_is_asked_for(lab: Lab) -> None:
    script = "from work import where; print(len(list(where.options(how='array').map(range(12)))))"
    done = subprocess.run([sys.executable, "-c", script], cwd=lab.folder, env=lab.env(), capture_output=True,
                          text=True, timeout=BOUND, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "12\n"), done.stderr
    found = jobs_of_slurm(lab)
    assert len(found) == 12 and len({native.partition("_")[0] for native in found}) == 1, found
    until(lambda: lab.cluster.queue() == [], "nothing is left")


@pytest.mark.soak
def test_what_a_task_hands_on_at_the_end_of_a_walltime_is_where_the_next_one_begins(lab: Lab) -> None:
    (lab.folder / "long.py").write_text("""
import time
from elsewhere import Again, current_task

def steps(n, of):
    task, done = current_task(), (current_task().state or {"done": 0})["done"]
    while done < of:
        if task.stopping or task.time_left.total_seconds() < 2:
            return Again("the walltime", state={"done": done})
        time.sleep(0.1)
        done += 1
    return {"done": done, "attempt": task.attempt}
""")
    lab.settings(walltime="1m")
    lab.run("run", lab.tasks(1, of=450), "--entry", "long:steps", "--on", "hpc", "--quiet")
    [found] = lab.results(1).values()
    assert found["result"]["done"] == 450 and found["result"]["attempt"] > 1  # type: ignore[index]
    assert len(jobs_of_slurm(lab)) > 1
