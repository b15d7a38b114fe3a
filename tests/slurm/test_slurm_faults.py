"""What goes wrong on a cluster, on a real one: nothing is lost, nothing is recorded twice, and the queue is empty."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm.cluster import PROGRAMS, running
from slurm.test_slurm_jobs import BOUND, Lab, until

pytestmark = [pytest.mark.needs(*PROGRAMS), pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A cluster of its own, for what is done to it."""
    with running(tmp_path / "s") as cluster:
        found = Lab(tmp_path, cluster)
        yield found
        found.close()


def start(lab: Lab, count: int, seconds: float, *words: str) -> object:
    return lab.start("run", lab.tasks(count, seconds=seconds), "--entry", "work:f", "--on", "hpc", "--quiet", *words)


def finished(lab: Lab, count: int, twice: int) -> None:
    """All are there once; no more than so many were begun a second time; nothing is left."""
    lab.results(count)
    again = sum(times - 1 for times in lab.attempts().values())
    assert again <= twice, lab.attempts()
    assert set(lab.attempts()) == set(range(count))
    assert lab.cluster.queue() == []


def ended(process: object, status: int = 0) -> None:
    out, err = process.communicate(timeout=BOUND)  # type: ignore[attr-defined]
    assert process.returncode == status, (out, err)  # type: ignore[attr-defined]


def pilots(lab: Lab) -> list[str]:
    return lab.cluster.run("squeue", "-h", "-r", "-t", "R", "-o", "%i", check=False).split()


def shim(lab: Lab, name: str, text: str) -> Callable[[], None]:
    """From now on that program is this text, in which $REAL is the real one; called, it is itself again."""
    import shutil

    real, path = shutil.which(name), lab.folder.parent / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nREAL={real}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path.unlink


@pytest.mark.soak
def test_a_controller_of_slurm_that_dies_a_pilot_that_an_admin_ends_and_ours_killed(lab: Lab) -> None:
    running = start(lab, 200, 0.2)
    until(lambda: len(pilots(lab)) == 3 and lab.attempts(), "all pilots run")
    lab.cluster.stop("slurmctld")
    before = len(lab.attempts())
    until(lambda: len(lab.attempts()) > before + 10, "pilots go on without slurmctld")
    os.kill(running.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    running.communicate()  # type: ignore[attr-defined]
    lab.cluster.start_controller()
    again = lab.start("resume", "--quiet")
    until(lambda: pilots(lab), "slurmctld knows its jobs")
    lab.cluster.run("scancel", pilots(lab)[0])
    ended(again)
    finished(lab, 200, twice=2)


def test_answers_that_are_lost_or_late_lose_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{lab.folder.parent / 'bin'}:{os.environ['PATH']}")
    asked = lab.folder.parent / "asked"
    lost = 'echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1'
    shim(
        lab,
        "sbatch",
        f"""case "$*" in *--test-only*) exec $REAL "$@";; esac
echo x >>{asked}; [ $(wc -l <{asked}) -gt 1 ] && exec $REAL "$@"
$REAL "$@" >/dev/null; {lost}""",
    )
    failing = (
        f'[ -e {asked}.squeue ] && {{ echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }}'
    )
    shim(lab, "squeue", f'{failing}\nexec $REAL "$@"')
    shim(lab, "sacct", f'echo x >>{asked}.sacct; echo "Slurm accounting storage is disabled" >&2; exit 1')
    running = start(lab, 60, 0.1)
    until(lambda: len(lab.attempts()) > 5, "some have run")
    assert "is run by process" in lab.run("resume", "--quiet", status=None), "of two controllers the second is refused"
    (lab.folder.parent / "asked.squeue").touch()
    time.sleep(4)  # the time in which squeue fails is what this is about
    (lab.folder.parent / "asked.squeue").unlink()
    ended(running)
    finished(lab, 60, twice=0)
    assert (asked.read_text().count("x"), len(json.loads(lab.run("machines", "--json")))) == (1, 3)
    assert not Path(f"{asked}.sacct").exists(), "accounting is nothing that anything rests on"


@pytest.mark.soak
@pytest.mark.parametrize(("how", "text"), [
    ("late", 'said=$($REAL "$@"); status=$?; sleep 90; echo "$said"; exit $status'),
    ("twice", '$REAL "$@" >/dev/null; exec $REAL "$@"'),
])  # fmt: skip
def test_an_sbatch_that_answers_late_or_submits_twice_leaves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str, text: str
) -> None:
    monkeypatch.setenv("PATH", f"{lab.folder.parent / 'bin'}:{os.environ['PATH']}")
    shim(lab, "sbatch", f'case "$*" in *--test-only*) exec $REAL "$@";; esac\n{text}')
    running = start(lab, 150, 0.2)
    if how == "twice":
        until(lambda: len(lab.cluster.queue()) > 3, "there are more than were asked for")
    ended(running)
    finished(lab, 150, twice=6 if how == "twice" else 0)
    assert len(json.loads(lab.run("machines", "--json"))) == 3


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_squeue_that_fails_for_five_minutes_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{lab.folder.parent / 'bin'}:{os.environ['PATH']}")
    mark = lab.folder.parent / "away"
    said = 'echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1'
    shim(lab, "squeue", f'[ -e {mark} ] && {{ {said}; }}\nexec $REAL "$@"')
    running = start(lab, 2400, 0.5)
    until(lambda: len(lab.attempts()) > 5, "some have run")
    mark.touch()
    time.sleep(300)  # the time in which squeue fails is what this is about
    before = len(lab.attempts())
    assert before > 600, "pilots went on"
    mark.unlink()
    out, err = running.communicate(timeout=400)  # type: ignore[attr-defined]
    assert running.returncode == 0, (out, err)  # type: ignore[attr-defined]
    finished(lab, 2400, twice=0)
    assert len(json.loads(lab.run("machines", "--json"))) == 3


@pytest.mark.soak
def test_a_full_spool_pauses_what_runs_and_it_goes_on_when_there_is_room(lab: Lab) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(lab.work)], capture_output=True
    ).returncode:
        pytest.skip("needs root, to mount a small disk")
    try:
        running = start(lab, 150, 0.1)
        until(lambda: len(lab.attempts()) > 10, "some have run")
        fill(lab.work)
        until(lambda: "is full" in lab.run("status"), "it says why it waits")
        until(lambda: _stands_still(lab), "nothing more is begun")
        assert len(lab.attempts()) < 150
        (lab.work / "filler").unlink()
        ended(running)
        finished(lab, 150, twice=9)
    finally:
        lab.close()
        subprocess.run(["umount", "-l", str(lab.work)], check=True)


def fill(home: Path) -> None:
    for mode, size in (("wb", 1 << 16), ("ab", 512)):
        with contextlib.suppress(OSError), (home / "filler").open(mode, buffering=0) as file:
            while file.write(bytes(size)):
                pass


def _stands_still(lab: Lab) -> bool:
    before = len(lab.attempts())
    time.sleep(1.5)  # a task takes a tenth of a second
    return len(lab.attempts()) == before


@pytest.mark.soak
@pytest.mark.needs(*PROGRAMS, "faketime")
def test_nodes_whose_clocks_are_an_hour_off_lose_nothing_and_are_believed_nothing(lab: Lab) -> None:
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    off = (f"export LD_PRELOAD={library} NO_FAKE_STAT=1\n"
           "case $SLURMD_NODENAME in n1) export FAKETIME=+1h;; *) export FAKETIME=-1h;; esac")  # fmt: skip
    lab.settings(prologue=off, **{"max-jobs": 8})
    (lab.folder / "work.py").write_text((lab.folder / "work.py").read_text().replace(
        '"node": os', '"at": time.time(), "node": os'))  # fmt: skip
    began = time.time()
    lab.run("run", lab.tasks(400, seconds=0.1), "--entry", "work:f", "--on", "hpc", "--quiet", "--timeout", "20m")
    found = [one["result"] for one in lab.results(400).values()]
    apart = {one["node"]: one["at"] - began for one in found}  # type: ignore[index]
    assert apart["n1"] > 3000 and apart["n2"] < -3000, "their clocks were off"
    finished(lab, 400, twice=0)


@pytest.mark.soak
def test_a_controller_of_slurm_that_forgets_what_it_has_begun(lab: Lab) -> None:
    """Killed before it has written anything down: it begins some again, and ends what it does not know."""
    running = start(lab, 150, 0.1)
    until(lambda: len(lab.attempts()) > 10, "some have run")
    lab.cluster.kill("slurmctld")
    lab.cluster.start_controller()
    ended(running)
    finished(lab, 150, twice=6)


@pytest.mark.soak
def test_a_node_that_loses_its_power_gives_back_what_it_had(lab: Lab) -> None:
    lab.settings(**{"max-jobs": 8})
    running = start(lab, 400, 0.5)
    until(lambda: len(pilots(lab)) == 8, "both nodes are full")
    lab.cluster.kill("n2")
    lab.cluster.kill_jobs_of("n2")
    ended(running)
    finished(lab, 400, twice=8)


@pytest.mark.soak
def test_a_node_that_slurm_has_given_up_takes_nothing_more_though_its_pilots_live(lab: Lab) -> None:
    lab.settings(**{"max-jobs": 8})
    running = start(lab, 300, 0.5)
    until(lambda: len(pilots(lab)) == 8, "both nodes are full")
    lab.cluster.kill("n2")
    for step in lab.cluster.steps_of("n2"):
        step.kill()
    ended(running)
    finished(lab, 300, twice=16)


@pytest.mark.soak
def test_a_walltime_that_ends_in_the_middle_of_a_list_costs_nothing(lab: Lab) -> None:
    lab.settings(walltime="1m", **{"max-jobs": 4})
    running = start(lab, 2000, 0.15)
    out, err = running.communicate(timeout=400)  # type: ignore[attr-defined]
    assert running.returncode == 0, (out, err)  # type: ignore[attr-defined]
    finished(lab, 2000, twice=0)
    machines = json.loads(lab.run("machines", "--json"))
    assert len(machines) > 4, "others went on"


@pytest.mark.soak
def test_a_task_that_fits_no_walltime_has_timed_out_and_is_not_tried_for_ever(lab: Lab) -> None:
    lab.settings(walltime="1m")
    running = start(lab, 1, 600, "--retries", "0")
    ended(running, status=1)
    assert "longer walltime" in lab.run("results", "--failed", status=None)
    assert len(lab.attempts()) == 1 and lab.cluster.queue() == []


@pytest.mark.soak
def test_a_controller_of_ours_that_is_killed_again_and_again(lab: Lab) -> None:
    running = start(lab, 600, 0.1)
    for _ in range(10):
        before = len(lab.attempts())
        until(lambda before=before: len(lab.attempts()) > before + 20, "it goes on")  # type: ignore[misc]
        os.kill(running.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        running.communicate()  # type: ignore[attr-defined]
        running = lab.start("resume", "--quiet")
    ended(running)
    finished(lab, 600, twice=0)
