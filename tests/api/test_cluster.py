"""Dask clusters on this machine: a real scheduler, real workers, and nothing left of them however they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from elsewhere import Cluster
from elsewhere.api import caching
from elsewhere.api.dask import records
from elsewhere.backends.local import LABELS
from elsewhere.errors import StateError, UsageError
from places.test_boxed import images as images
from places.test_boxed import podman as podman

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
BOUND = 90.0  # a worker that was just beginning looks for its scheduler for half a minute


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory and a working directory of this module's own."""
    folder = tmp_path_factory.mktemp("c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELSEWHERE_HOME", str(folder / "s"))
        patch.delenv("PYTHONUNBUFFERED", raising=False)  # prints are in a worker's log without it
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Cluster]:
    with Cluster(on="local", name="mine") as made:
        made.add_container("GCAM", cpus=1, memory="1G", env={"MODEL": "gcam"})
        made.add_container("osiris", cpus=1, env={"MODEL": "osiris"})
        made.add_workers("gcam", n=2)
        made.add_workers("Osiris", n=1)
        yield made
    assert workers_of(made.record.id) == []


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + BOUND
    while not (found := true()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return found


def workers_of(cluster: str) -> list[psutil.Process]:
    """Every process that bears the labels of this cluster, by its environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if cluster in process.environ().get(LABELS, "") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def named(cluster: Cluster, tag: str) -> list[str]:
    return [row["name"] for row in cluster.status()["tags"][tag]["workers"] if row["is"] == "here"]


def model(x: int) -> tuple[str, int, str]:
    print(f"model of {x}")
    return os.environ["MODEL"], x + 1, str(distributed.get_worker().name)


def test_a_call_runs_in_the_container_of_its_tag_whatever_the_case_and_its_prints_are_in_that_workers_log(
    cluster: Cluster, home: Path
) -> None:
    with cluster.client() as client:
        where, value, name = client.submit(model, 1, tag="gcam").result(BOUND)
        assert (where, value, name.partition("/")[0]) == ("gcam", 2, "gcam")
        others = client.gather(client.map(model, range(5), tag="OSIRIS"))
        once = client.submit(model, 9, tag="gcam", cache=True).result(BOUND)
        assert client.submit(model, 9, tag="osiris", cache=True, pure=False).result(BOUND) == once
    assert {(where, name) for where, _, name in others} == {("osiris", "osiris/1")}
    assert "model " in elsewhere("cache")
    assert elsewhere("cache", "rm", "model") == "1 result removed.\n"
    shown = elsewhere("logs", f"mine/{name}")
    assert "model of 1" in shown


def elsewhere(*words: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "elsewhere", *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_all_talk_tls_and_who_has_no_certificate_of_the_cluster_is_not_heard(cluster: Cluster) -> None:
    assert cluster.address.startswith("tls://127.0.0.1:")
    with pytest.raises(OSError):
        distributed.Client(cluster.address, security=distributed.Security.temporary(), timeout=2)
    from elsewhere.ship import certificates

    assert all(Path(path).stat().st_mode & 0o77 == 0 for path in vars_of(certificates.papers(cluster.record.directory)))


def test_nothing_listens_beyond_this_machine(cluster: Cluster) -> None:
    cluster.wait_for_workers("gcam", 1, BOUND)
    listening = [
        line.laddr.ip for process in [psutil.Process(), *workers_of(cluster.record.id)]
        for line in process.net_connections("inet") if line.status == psutil.CONN_LISTEN
    ]  # fmt: skip
    assert len(listening) > 3
    assert set(listening) == {"127.0.0.1"}


def vars_of(papers: Any) -> list[str]:
    return [papers.authority, papers.certificate, papers.key]


def test_a_tag_without_a_container_is_refused_before_anything_is_submitted(cluster: Cluster) -> None:
    with cluster.client() as client, pytest.raises(UsageError, match="no container 'gcma'; did you mean gcam"):
        client.submit(model, 1, tag="gcma")
    with pytest.raises(UsageError, match="did you mean osiris"):
        cluster.add_workers("osirs")
    with pytest.raises(UsageError, match="gcam has 2 workers; 3 cannot be removed"):
        cluster.remove_workers("gcam", n=3)


def test_a_worker_that_is_killed_is_replaced(cluster: Cluster) -> None:
    cluster.wait_for_workers("gcam", 2, BOUND)
    before = named(cluster, "gcam")
    with cluster.client() as client:
        pid = client.submit(os.getpid, tag="gcam", pure=False).result(BOUND)
        os.kill(pid, signal.SIGKILL)
        now = until(lambda: len(found := named(cluster, "gcam")) == 2 and found != before and found)
        assert len(set(now) & set(before)) == 1
        assert client.submit(model, 5, tag="gcam").result(BOUND)[1] == 6


def test_a_client_that_loses_its_connection_says_so_in_its_futures(cluster: Cluster) -> None:
    with cluster.client() as client:
        future = client.submit(time.sleep, 60, tag="gcam", pure=False)
        client.sync(_closed, client)
        with pytest.raises(distributed.client.FutureCancelledError, match="Submit it again"):
            future.result(BOUND)
        assert client.submit(abs, -2, tag="osiris").result(BOUND) == 2, "it has connected again"


async def _closed(client: Any) -> None:
    client.scheduler_comm.comm.abort()


def test_others_look_scale_and_use_it_by_its_name(cluster: Cluster) -> None:
    assert "mine" in elsewhere("cluster")
    elsewhere("cluster", "scale", "gcam=1", "--cluster", "mine")
    state = json.loads(elsewhere("cluster", "status", "mine", "--json"))
    assert state["tags"]["gcam"]["wanted"] == 1
    assert "did you mean gcam" in elsewhere("cluster", "scale", "gcma=1", status=2)
    until(lambda: len(named(cluster, "gcam")) == 1)
    with Cluster.attach("mine").client() as client:
        assert client.submit(model, 1, tag="gcam").result(BOUND)[0] == "gcam"


def test_workers_follow_the_work_and_what_waits_is_told(cluster: Cluster) -> None:
    cluster.remove_workers("osiris", 1)
    until(lambda: not named(cluster, "osiris"))
    with cluster.client() as client:
        waiting = client.submit(model, 7, tag="osiris", pure=False)
        said = until(lambda: cluster.status()["tags"]["osiris"]["waiting"])
        assert said == "1 task waits for a worker of osiris: none was asked for; add_workers('osiris', n=1) does"
        cluster.adapt("osiris", minimum=0, maximum=2)
        assert waiting.result(BOUND)[1] == 8
    until(lambda: cluster.status()["tags"]["osiris"]["wanted"] == 0)
    until(lambda: not named(cluster, "osiris"))


@pytest.mark.soak
def test_a_worker_that_cannot_begin_spoils_its_tag_with_its_last_words(cluster: Cluster) -> None:
    cluster.add_container("broken", env={"PYTHONSTARTUP": "", "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tcp"})
    engine: Any = cluster._engine
    broken = engine.keeping.containers["broken"]
    engine.keeping.containers["broken"] = type(broken)(
        broken.tag, broken.shape, broken.threads, "/bin/false", broken.env, "false"
    )
    engine._declare("broken")
    cluster.add_workers("broken")
    until(lambda: cluster.status()["tags"]["broken"]["trouble"])
    with cluster.client() as client, pytest.raises(UsageError, match="no worker of broken can be used"):
        client.submit(model, 1, tag="broken")


SCRIPT = """
import os, subprocess, sys, time
from elsewhere import Cluster

def stays():
    subprocess.Popen(["sleep", "600"])
    open("started", "w").close()
    time.sleep(600)

if __name__ == "__main__":
    with Cluster(on="local", name="script") as cluster:
        cluster.add_container("a")
        cluster.add_workers("a", 2)
        cluster.wait_for_workers("a", 1)
        future = cluster.client().submit(stays, tag="a")
        print(cluster.record.id, flush=True)
        future.result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.soak)])
def test_a_script_that_is_killed_or_interrupted_leaves_no_process_behind(home: Path, number: int) -> None:
    started = home / "started"
    started.unlink(missing_ok=True)
    (home / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    until(started.exists)
    assert len(workers_of(name)) >= 2
    process.send_signal(number)
    process.communicate(timeout=BOUND)
    assert process.returncode == -number
    until(lambda: not workers_of(name))
    assert elsewhere("cluster", "down", "script").startswith("The cluster script had ended; nothing of it was left")


STAGES = """
import sys
from elsewhere import Cluster

def stage(name):
    print(name, flush=True)

if __name__ == "__main__":
    stage("begun")
    with Cluster(on="local", name="staged") as cluster:
        stage("up")
        cluster.add_container("a")
        stage("added")
        cluster.add_workers("a", 2)
        stage("asked")
        cluster.wait_for_workers("a", 1)
        stage("here")
        client = cluster.client()
        stage("client")
        client.submit(pow, 2, 3, tag="a").result()
        stage("result")
        cluster.remove_workers("a", 1)
        stage("removed")
"""


@pytest.mark.soak
@pytest.mark.parametrize("stage", ["begun", "up", "added", "asked", "here", "client", "result", "removed"])
def test_ctrl_c_at_any_stage_leaves_no_process_behind(home: Path, stage: str) -> None:
    (home / "staged.py").write_text(STAGES)
    process = subprocess.Popen([sys.executable, "staged.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != stage:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=BOUND)
    assert process.returncode == -signal.SIGINT or (stage == "removed" and not process.returncode), "it was interrupted"
    found = [record for record in records.listing() if record.name == "staged"]
    assert all(not record.alive for record in found)
    assert not [left for record in found for left in workers_of(record.id)]
    assert not found or found[0].ended


def slowly(x: int) -> int:
    time.sleep(0.2)
    return x


@pytest.mark.soak
def test_after_all_workers_of_a_tag_were_killed_at_once_the_work_goes_on(home: Path) -> None:
    with Cluster(name="all") as cluster:
        cluster.add_container("a")
        cluster.add_workers("a", 2)
        cluster.wait_for_workers("a", 2, BOUND)
        with cluster.client() as client:
            futures = client.map(slowly, range(40), tag="a")
            until(lambda: futures[3].done())
            for process in workers_of(cluster.record.id):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            assert client.gather(futures) == list(range(40))
        assert named(cluster, "a") == ["a/3", "a/4"]


@pytest.mark.soak
def test_one_of_the_command_line_stays_until_it_is_ended(home: Path) -> None:
    (home / "containers.yaml").write_text("a: {cpus: 1, workers: 1}\n")
    said = elsewhere("cluster", "up", "containers.yaml", "--name", "stays")
    assert said.startswith("stays on local, process ")
    attached = Cluster.attach("stays")
    with attached.client() as client:
        assert client.submit(abs, -1, tag="a").result(BOUND) == 1
    assert elsewhere("cluster", "down", "stays") == "The cluster stays has ended.\n"
    assert workers_of(attached.record.id) == []
    with pytest.raises(StateError, match="has ended"):
        Cluster.attach("stays")
    assert records.find("stays").ended
    (home / "containers.yaml").write_text("a: {cpu: 1}\n")
    assert "containers.yaml:1: a: unknown key 'cpu'" in elsewhere("cluster", "up", "containers.yaml", status=2)


@pytest.fixture(scope="module")
def boxed_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with this Python, Dask, and a package that nobody else has."""
    from ship import rootfs

    image = tmp_path_factory.mktemp("i") / "model.tar"
    return rootfs.archive(image, packages=["distributed"], files={f"{rootfs.SITE}/standin.py": b"__version__ = '5.4'"})


@pytest.mark.needs("busybox")
@pytest.mark.parametrize(
    ("runtime", "killed"),
    [pytest.param("charliecloud", False, marks=pytest.mark.needs("ch-run")),
     pytest.param("charliecloud", True, marks=[pytest.mark.soak, pytest.mark.needs("ch-run")]),
     pytest.param("podman", True, marks=[pytest.mark.soak, pytest.mark.needs("podman", "runc")])],
)  # fmt: skip
def test_calls_of_a_tag_run_in_its_container_with_its_mounts(
    home: Path,
    runtime: str,
    killed: bool,
    boxed_model: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (request.getfixturevalue("podman") if runtime == "podman" else {}).items():
        monkeypatch.setenv(name, value)
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / "in").write_text("mounted")

    def inside() -> tuple[str, str, str, bool]:  # within, so that it travels as it is: the image has no pytest
        import standin  # type: ignore[import-not-found]  # only the image has it

        return standin.__version__, Path("/given/in").read_text(), os.environ["MODEL"], Path("/bin/busybox").exists()

    with Cluster(name=runtime) as cluster:
        image = f"oci-archive:{boxed_model}"
        cluster.add_container("model", image=image, runtime=runtime, mounts={"data": "/given"}, env={"MODEL": "boxed"})
        cluster.add_workers("model")
        with cluster.client() as client:
            assert client.submit(inside, tag="model", cache=True).result(BOUND) == ("5.4", "mounted", "boxed", True)
            assert len(list(caching.kept())) == 1
            if killed:
                for process in workers_of(cluster.record.id):  # its keeper, too, which can end nothing any more
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                until(lambda: named(cluster, "model") == ["model/2"])
                assert client.submit(inside, tag="model", pure=False).result(BOUND)[0] == "5.4"
    until(lambda: not [one for one in psutil.process_iter(["cmdline"])
                       if str(cluster.record.directory) in " ".join(one.info["cmdline"] or ())])  # fmt: skip
