"""Slurm with accounting behind it: accounts, QOS and limits, what sacct remembers of jobs that squeue has forgotten,
what the kernel holds jobs to, and a user who is not root. One cluster for all of it: it takes seconds to start."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import elsewhere
from elsewhere.backends.base import Condition
from elsewhere.backends.slurm import Slurm, SlurmSettings
from elsewhere.model.resources import Resources
from elsewhere.testing.backend_suite import BackendConformance
from slurm.cluster import ACCOUNTING, CONFINES, Cluster, running, until
from slurm.test_slurm_jobs import Lab

pytestmark = [pytest.mark.needs(*ACCOUNTING), pytest.mark.slow, pytest.mark.timeout(300)]

NOBODY = "nobody"
FORGETS = 2
"""Seconds after which squeue has forgotten a job that ended."""
_MORE = ["AccountingStorageEnforce=associations,limits,qos", f"MinJobAge={FORGETS}"]


@pytest.fixture(scope="module")
def accounted() -> Iterator[Cluster]:
    """Below a directory that everybody may pass through: not all of its users are the one who runs the tests."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder, "s"), accounting=True, more=_MORE, confined=CONFINES) as cluster:
            for words in (
                ("add", "qos", "fast"),
                ("add", "account", "gcims,narrow"),
                ("modify", "account", "narrow", "set", "MaxJobs=1", "MaxSubmit=2"),
                ("add", "user", getpass.getuser(), "account=gcims,narrow", "qos=normal,fast", "defaultaccount=gcims"),
                ("add", "user", NOBODY, "account=gcims", "defaultaccount=gcims"),
            ):
                cluster.run("sacctmgr", "-i", *words)
            yield cluster


@pytest.fixture
def cluster(accounted: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    for name, value in accounted.env().items():
        monkeypatch.setenv(name, value)
    yield accounted
    if left := accounted.queue():
        accounted.run("scancel", *left)
        until(lambda: not accounted.queue(), "the queue is empty")


@pytest.fixture
def lab(tmp_path: Path, cluster: Cluster) -> Iterator[Lab]:
    found = Lab(tmp_path, cluster)
    yield found
    found.close()


@pytest.fixture
def make(cluster: Cluster, tmp_path: Path) -> Callable[..., Slurm]:
    (tmp_path / "work").mkdir()

    def made(**more: object) -> Slurm:
        return Slurm(SlurmSettings(**{"work_dir": str(tmp_path / "work"), "walltime": "30m", **more}))  # type: ignore[arg-type]

    return made


def suite() -> BackendConformance:
    found = BackendConformance()
    found.shape = Resources()
    return found


# --- accounts, QOS, limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said", "near"),
    [
        ({"account": "GCIMs2"}, "Invalid account or account/partition combination specified", "Did you mean gcims?"),
        ({"qos": "fsat"}, "Invalid qos specification", "Did you mean fast?"),
    ],
)
def test_an_account_or_a_qos_that_is_not_there_is_refused_with_the_nearest_before_anything_is_made(
    lab: Lab, settings: dict[str, object], said: str, near: str
) -> None:
    lab.settings(**settings)
    told = lab.run("run", "--on", "hpc", "--", "true", status=125)
    assert said in told and near in told
    assert lab.cluster.queue() == [] and not list((lab.home / "jobs").glob("job-*"))


def test_check_shows_the_accounts_with_their_qos_and_limits(lab: Lab) -> None:
    lab.settings(account="narrow", qos="fast")
    rows = {row["what"]: row for row in json.loads(lab.run("places", "check", "hpc", "--json"))}
    assert rows["account gcims"]["detail"] == "QOS fast, normal"
    assert rows["account narrow (used)"]["detail"] == "QOS fast, normal; MaxJobs 1; MaxSubmit 2"


@pytest.mark.soak
def test_a_job_that_its_account_has_wait_says_so_and_runs_in_its_turn(lab: Lab) -> None:
    words = ("--parsable", "--account=narrow", "--output=/dev/null", "--wrap=sleep 600")
    other = lab.cluster.run("sbatch", *words).strip()
    lab.settings(account="narrow")
    lab.run("run", "--on", "hpc", "--detach", "--", "true")
    until(lambda: "Slurm has it wait: AssocMaxJobsLimit" in lab.run("status"), "it says why")
    assert "AssocMaxJobsLimit" in lab.run("explain")
    lab.cluster.run("scancel", other)
    lab.run("watch", "--quiet")


def test_a_list_has_no_more_jobs_than_its_account_may_have_in_the_queue(lab: Lab) -> None:
    lab.settings(account="narrow", **{"max-jobs": 20})
    lab.run("run", lab.tasks(12), "--entry", "work:f", "--on", "hpc", "--quiet")
    lab.results(12)
    assert len(json.loads(lab.run("machines", "--json"))) <= 2


# --- what sacct remembers ---------------------------------------------------------------------------------------------


def test_how_jobs_ended_is_known_after_squeue_has_forgotten_them(make: Callable[..., Slurm], cluster: Cluster) -> None:
    place = make()
    [ended] = place.submit(suite().launch(script="#!/bin/sh\nexit 3\n"))
    [killed] = place.submit(suite().launch(script="#!/bin/sh\nkill -KILL $$\n"))
    [well] = place.submit(suite().launch(script="#!/bin/sh\ntrue\n"))
    stays = place.submit(suite().launch(2))
    until(lambda: all(s.condition is Condition.RUNNING for s in place.status(stays).values()), "they run")
    until(lambda: not {ended, killed, well} & set(cluster.queue()), "nothing else is on the node that fails")
    cluster.run("scancel", stays[0])
    node = cluster.run("squeue", "-h", "-j", stays[1], "-o", "%N").strip()
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)  # or it came by itself
    jobs = [ended, killed, well, *stays]
    until(lambda: not {one.native for one in place.owned()} & set(jobs), "squeue has forgotten them")
    until(lambda: set(place.status(jobs)) == set(jobs), "sacct has heard of all")
    seen = place.status(jobs)
    assert [(seen[job].condition, seen[job].reason) for job in jobs] == [
        (Condition.FAILED, "its script ended badly (exit status 3)"),
        (Condition.FAILED, "its script ended badly (signal 9)"),
        (Condition.STOPPED, ""),
        (Condition.STOPPED, f"cancelled by the user of number {os.getuid()}"),
        (Condition.PREEMPTED, "its node failed"),
    ]
    assert all(one.started and one.ended and one.started <= one.ended for one in seen.values())
    assert place.status(["999999"]) == {}


@pytest.mark.skipif(not CONFINES, reason="jobs cannot be held to their memory here")
@pytest.mark.parametrize("dies", [pytest.param("the task", marks=pytest.mark.soak), "the pilot"])
def test_a_task_that_used_more_memory_than_its_job_has_run_out_of_memory(lab: Lab, dies: str) -> None:
    """The kernel ends what it likes best: the task, mostly; or else our agent, and with it the Slurm job."""
    lab.settings(slurm={"mem": "300M"})
    (lab.folder / "work.py").write_text(HUNGRY)
    lab.run("run", lab.tasks(1, spared=dies == "the pilot"), "--entry", "work:f", "--on", "hpc", "--retries", "1",
            "--quiet", status=1)  # fmt: skip
    why = "ended for using more memory than it had" if dies == "the pilot" else "the kernel killed its process"
    told = lab.run("explain", "@last/t0")
    assert told.count("ran out of memory") >= 2 and told.count(why) == 2, told
    rows = [json.loads(line) for line in lab.run("results", "--failed").splitlines()]
    assert [row["error"]["outcome"] for row in rows] == ["out_of_memory"], rows
    assert sum(lab.attempts().values()) == 2, "its one retry was spent on it"
    if dies == "the pilot":
        assert "it used more memory than it had" in lab.run("explain")


HUNGRY = """
import os, time

def f(n, spared):
    with open(os.path.join(os.environ["RAN"], f"{n}-{os.getpid()}-{time.time_ns()}"), "w"):
        pass
    if spared:
        with open(f"/proc/{os.getppid()}/oom_score_adj", "w") as file:
            file.write("1000")
    held = bytearray(600 << 20)
    for at in range(0, len(held), 4096):
        held[at] = 1
    time.sleep(120)
"""


# --- somebody else ----------------------------------------------------------------------------------------------------


PYTHON = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
"""One that anybody may run, whatever the home is in which that of the tests lies."""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.skipif(not os.access(PYTHON, os.X_OK), reason=f"there is no {PYTHON}")
def test_a_user_who_is_not_root_has_a_list_run_and_keeps_it_to_himself(cluster: Cluster) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        subprocess.run(["chown", NOBODY, folder], check=True)
        ours = os.pathsep.join([str(Path(elsewhere.__file__).parents[1]), sysconfig.get_path("platlib")])
        env = {**os.environ, **cluster.env(), "HOME": folder, "ELSEWHERE_HOME": f"{folder}/h", "PYTHONPATH": ours}
        env.pop("VIRTUAL_ENV", None)
        reads = subprocess.run(
            [PYTHON, "-c", "import elsewhere, msgspec"], cwd=folder, env=env, user=NOBODY, check=False
        )
        if reads.returncode:
            pytest.skip(f"{NOBODY} may not read the package that is tested")
        lines = [json.dumps({"task_id": f"t{n}", "command": ["id", "-un"]}) for n in range(4)]

        def run(*words: str) -> str:
            done = subprocess.run([PYTHON, *words], cwd=folder, env=env, user=NOBODY, group="nogroup",
                                  extra_groups=[], umask=0o022, capture_output=True, text=True, timeout=120,
                                  check=False)  # fmt: skip
            assert done.returncode == 0, (done.stdout, done.stderr)
            return done.stdout

        Path(folder, "tasks.jsonl").write_text("\n".join(lines) + "\n")
        run("-m", "elsewhere", "run", "tasks.jsonl", "--on", "slurm", "--quiet")
        rows = [json.loads(line) for line in run("-m", "elsewhere", "results").splitlines()]
        assert [row["state"] for row in rows] == ["succeeded"] * 4
        assert set(run("-m", "elsewhere", "logs", "--raw").split()) == {NOBODY}
        until(lambda: whose(cluster) == {f"{NOBODY}|gcims"}, "sacct has heard of it")
        made = [path for path in Path(folder, "h").rglob("*") if not path.is_symlink()]
        open_ = [str(path) for path in made if path.stat().st_mode & 0o077 and path.parent.stat().st_mode & 0o077]
        assert made and not open_, open_
        assert cluster.queue() == []


def whose(cluster: Cluster) -> set[str]:
    return set(cluster.run("sacct", "-nPX", "-u", NOBODY, "--format=User,Account").split())
