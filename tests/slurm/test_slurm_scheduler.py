"""Where the scheduler of a Dask cluster runs: a job of Slurm, or the login node of one that is reached from afar."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from elsewhere import Cluster as Dask
from elsewhere.api.dask import afar, apart, records
from elsewhere.errors import UsageError
from elsewhere.model.place import Place
from hosts import sshd
from slurm.cluster import PROGRAMS, Cluster, until
from slurm.test_slurm_dask import BOUND, place, waited

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.needs(*PROGRAMS),
    pytest.mark.filterwarnings("ignore:Mismatched versions"),  # the Python found on the login node is of another patch
]  # fmt: skip


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "h"))
    (tmp_path / "p").mkdir()
    monkeypatch.chdir(tmp_path / "p")


def elsewhere(*words: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "elsewhere", *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def names(cluster: Cluster) -> list[str]:
    """Of the kinds of launches in the queue."""
    return sorted(name.split("-")[-2] for name in cluster.run("squeue", "-h", "-o", "%j").split())


def test_a_scheduler_that_is_a_job_serves_and_its_end_is_the_end_of_the_cluster(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with Dask(on=place(), walltime="20m", scheduler="job") as made:
        made.add_container("gcam", cpus=1, memory="500M")
        made.add_workers("gcam")
        with made.client() as client:
            job = client.submit(os.getenv, "SLURM_JOB_ID", tag="gcam").result(BOUND)
            assert names(cluster) == ["_scheduler", "gcam"]
            others = client.run_on_scheduler(os.getenv, "SLURM_JOB_ID")
            assert others != job and {job, others} == set(cluster.queue())
            waiting = client.submit(abs, -1, resources={"gcma": 1})
            waited(lambda: made.status()["waiting"])
            assert made.status()["waiting"] == ["1 task waits for a worker of gcma: there is no such container"]
            del waiting
            made.remove_workers("gcam")
            waited(lambda: names(cluster) == ["_scheduler"])  # by Dask's own retirement
            made.add_workers("gcam")
            assert client.submit(abs, -2, tag="gcam").result(BOUND) == 2
        cluster.run("scancel", others)
        until(lambda: not cluster.queue(), "the workers leave")
        with pytest.raises(UsageError, match=r"the scheduler has ended \(cancelled\), and with it what was submitted"):
            waited(lambda: made.usable("gcam") == "")
    assert "the scheduler has ended" in capsys.readouterr().err


SCRIPT = """
import time
from elsewhere import Cluster
from elsewhere.model.place import Place

if __name__ == "__main__":
    with Cluster(on=Place("hpc", "slurm", {"partition": "main"}), scheduler="job") as cluster:
        cluster.add_container("a")
        cluster.add_workers("a")
        cluster.wait_for_workers("a")
        print("up", flush=True)
        time.sleep(600)
"""


@pytest.mark.soak
def test_a_scheduler_of_its_own_leaves_when_its_owner_was_killed(cluster: Cluster) -> None:
    Path("script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.communicate()
    began = time.monotonic()
    waited(lambda: not cluster.queue())
    assert time.monotonic() - began > apart.QUIET / 2, "it waits for a while"


@pytest.mark.soak
def test_ctrl_c_while_the_scheduler_waits_in_the_queue_leaves_nothing_there(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.run("sbatch", "--cpus-per-task=4", "--output=/dev/null", "--wrap=sleep 600")
    Path("script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: len(cluster.queue()) == 3, "the scheduler is asked for")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=BOUND)[1]
    assert "KeyboardInterrupt" in said and process.returncode
    assert len(cluster.queue()) == 2
    assert records.find("@last").ended


def there(made: Dask) -> set[str]:
    return {row["name"] for row in made.status()["tags"]["gcam"]["workers"] if row["is"] == "here"}


def kept(x: int) -> int:
    with Path("ran").open("a") as file:
        file.write(f"{x}\n")
    return x + 1


@pytest.mark.soak
def test_a_worker_hands_on_what_it_keeps_before_its_walltime_ends(cluster: Cluster) -> None:
    with Dask(on=place(), walltime="1m") as made:
        made.add_container("gcam", cpus=1, memory="500M")
        made.add_workers("gcam")
        with made.client() as client:
            future = client.submit(kept, 1, tag="gcam")
            assert future.result(BOUND) == 2
            made.walltime = "10m"
            made.add_workers("gcam")
            made.wait_for_workers("gcam", 2, BOUND)
            waited(lambda: there(made) == {"gcam/2", "gcam/3"})
            assert future.result(BOUND) == 2
    assert Path("ran").read_text() == "1\n", "it was not computed again"


# --- from afar --------------------------------------------------------------------------------------------------------


@pytest.fixture
def far(tmp_path: Path, cluster: Cluster) -> Iterator[Place]:
    """A login node, behind a real sshd, with a home of its own."""
    (tmp_path / "s").mkdir()
    hosts = sshd.Hosts(tmp_path / "s")
    try:
        home = tmp_path / "s" / "login"
        hosts.add("login", " ".join([f"SetEnv HOME={home}", *(f"{k}={v}" for k, v in cluster.env().items())]))
        yield Place("hpc", "slurm", {"login": "login", "config": str(hosts.config), "partition": "main"})
    finally:
        for name in list(hosts.daemons):
            hosts.stop(name)
        for process in psutil.process_iter():
            try:
                if str(tmp_path / "s") in process.environ().get("ELSEWHERE_HOME", ""):
                    process.kill()
            except psutil.Error:
                continue


@pytest.mark.soak
@pytest.mark.needs("sshd", "ssh")
def test_from_afar_a_cluster_sits_on_the_login_node_and_its_client_goes_through_ssh_to_a_scheduler_that_is_a_job(
    cluster: Cluster, far: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("model.py").write_text("import os\n\ndef area(a, b):\n    print('of', a)\n    return a * b, os.getcwd()\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    import model  # type: ignore[import-not-found]  # it travels with the project

    with Dask(on=far, walltime="20m", name="mine", scheduler="job") as made:
        made.add_container("GCAM", cpus=1, memory="500M", env={"MODEL": "gcam"})
        with pytest.raises(UsageError, match="no machine of hpc has what big asks for: 64 CPUs"):
            made.add_container("big", cpus=64)
        made.add_workers("gcam")
        with made.client() as client:
            value, cwd = client.submit(model.area, 6, 7, tag="gcam").result(BOUND)
            assert value == 42 and cwd.startswith(str(tmp_path / "s" / "login"))
            assert client.gather(client.map(lambda x: x + 1, range(20), tag="gcam")) == list(range(1, 21))
            assert client.submit(os.getenv, "MODEL", tag="gcam").result(BOUND) == "gcam"
        with pytest.raises(UsageError, match="did you mean gcam"):
            made.add_workers("gcm")
        assert names(cluster) == ["_scheduler", "gcam"]
        assert cluster.run("squeue", "-h", "-o", "%l").split() == ["20:00", "20:00"]
        assert "1 of 1" in elsewhere("cluster", "status", "mine")
        assert "of 6" in elsewhere("logs", "mine/gcam/1")
    until(lambda: not cluster.queue(), "nothing is left")
    assert records.find("mine").ended


@pytest.mark.soak
@pytest.mark.needs("sshd", "ssh")
def test_one_that_was_put_up_from_afar_stays_and_is_used_scaled_and_ended_by_its_name(
    cluster: Cluster, far: Place
) -> None:
    settings = "".join(f"{key}: {value}, " for key, value in far.settings.items())
    Path("elsewhere.yaml").write_text(f"places:\n  hpc: {{backend: slurm, {settings}scheduler: job}}\n")
    Path("containers.yaml").write_text("a: {cpus: 1, memory: 500M, workers: 1}\n")
    said = elsewhere("cluster", "up", "containers.yaml", "--on", "hpc", "--name", "stays")
    assert said.startswith("stays on hpc, ")
    waited(lambda: names(cluster) == ["_scheduler", "a"])
    with Dask.attach("stays").client() as client:
        assert client.submit(abs, -1, tag="a").result(BOUND) == 1
    elsewhere("cluster", "scale", "a=2", "--cluster", "stays")
    waited(lambda: names(cluster) == ["_scheduler", "a", "a"])
    assert "has ended" in elsewhere("cluster", "down", "stays")
    until(lambda: not cluster.queue(), "nothing is left")


@pytest.mark.soak
@pytest.mark.needs("sshd", "ssh")
def test_when_whoever_has_it_from_afar_is_gone_it_ends_by_itself_with_what_waits_in_the_queue(
    cluster: Cluster, far: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elsewhere.api.dask import engine

    monkeypatch.setattr(engine, "QUIET", 15.0)
    monkeypatch.setattr(afar.Afar, "_beats", lambda self: None)  # this machine has been unplugged
    made: Any = Dask(on=far)
    made.add_container("a", cpus=4)
    made.add_workers("a", 3)  # there is room for two
    until(lambda: len(cluster.queue()) == 3, "they are asked for")
    waited(lambda: not cluster.queue())
    made._engine.leave()
