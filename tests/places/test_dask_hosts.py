"""Dask clusters on hosts behind real sshd, which share no files with us: used as anywhere, and nothing left there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from elsewhere import Cluster, Environment
from elsewhere.api.dask import records
from elsewhere.errors import UsageError
from hosts import sshd

pytest.importorskip("distributed")
afar = pytest.importorskip("elsewhere.api.dask.afar")
late = pytest.importorskip("elsewhere.api.dask.late")
pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.needs("sshd"),
    pytest.mark.filterwarnings("ignore:Mismatched versions found"),  # of a patch of Python, or what is only here
]  # fmt: skip
BOUND = 120.0
WORK = """
import os, time
from distributed import get_worker

def where(x, seconds=0.0):
    print("call", x)
    time.sleep(seconds)
    return x + 1, os.path.basename(os.environ["HOME"]), os.environ.get("MODEL"), get_worker().name, os.getpid()
"""


class Site:
    """A project whose place `lab` is two hosts."""

    def __init__(self, folder: Path, hosts: sshd.Hosts) -> None:
        self.folder, self.hosts = folder, hosts
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "work.py").write_text(WORK)
        (self.project / "elsewhere.yaml").write_text(
            f'places: {{lab: {{backend: ssh, hosts: ["node[1-2]"], config: "{hosts.config}"}}}}\n'
        )

    def processes(self, cluster: str = "clu-") -> list[psutil.Process]:
        """What of a cluster (or of all) runs on the hosts, by its environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                about = process.environ()
                there = about.get("HOME", "").startswith(str(self.hosts.folder))
                of_it = about.get("ELSEWHERE_MACHINE", "").startswith(cluster)
                if there and of_it and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def left(self, cluster: str = "clu-") -> list[str]:
        """What of a cluster (or of all) lies on the hosts, but for what machines have said."""
        found = []
        for home in self.hosts.folder.glob("node?"):
            base = home / ".elsewhere"
            for kind in ("papers", "code", "scratch"):
                found += [str(path) for path in base.glob(f"machines/{cluster}*/{kind}")]
            found += [str(path) for path in base.glob(f"cache/{cluster}*")]
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, far_home: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dh")
    with pytest.MonkeyPatch.context() as patch, sshd.running(folder, "node1", "node2") as hosts:
        made = Site(folder, hosts)
        (folder / "s").mkdir()
        (far_home / "cache").mkdir(exist_ok=True)
        (folder / "s" / "cache").symlink_to(far_home / "cache")
        patch.setenv("ELSEWHERE_HOME", str(folder / "s"))
        patch.chdir(made.project)
        patch.syspath_prepend(str(made.project))
        light = [name for name in afar.needs() if name not in ("numpy", "pandas")]  # a second for each host
        patch.setattr(afar, "needs", lambda: light)
        yield made
        for process in made.processes():
            process.kill()


@pytest.fixture(scope="module")
def cluster(site: Site) -> Iterator[Cluster]:
    with Cluster(on="lab", name="mine") as made:
        made.add_container("GCAM", cpus=1, env={"MODEL": "gcam"})
        made.add_workers("gcam", n=2)
        made.wait_for_workers("gcam", 2, BOUND)
        yield made
    gone(site, made.record.id)
    log = made.record.directory / "workers" / "gcam-1.log"
    assert "call" in log.read_text(), "what workers have said came here"


def gone(site: Site, cluster: str) -> None:
    """Nothing of this cluster is on the hosts."""
    assert site.processes(cluster) == []
    assert site.left(cluster) == []
    assert not list(site.hosts.folder.glob(f"node?/.elsewhere/machines/{cluster}*"))


def until(true: Callable[[], Any], why: str = "it did not come about") -> Any:
    end = time.monotonic() + BOUND
    while not (found := true()):
        assert time.monotonic() < end, why
        time.sleep(0.05)
    return found


def test_workers_are_spread_over_the_hosts_and_calls_find_the_project_there(cluster: Cluster, site: Site) -> None:
    import work  # type: ignore[import-not-found]

    with cluster.client() as client:
        first, second = (row["name"] for row in cluster.status()["tags"]["gcam"]["workers"])
        told = [client.submit(work.where, n, workers=[name], tag="gcam", pure=False).result(BOUND)
                for n, name in enumerate((first, second))]  # fmt: skip
    assert [(one[0], one[2], one[3]) for one in told] == [(1, "gcam", "gcam/1"), (2, "gcam", "gcam/2")]
    assert {one[1] for one in told} == {"node1", "node2"}
    if find_spec("bokeh"):
        with urllib.request.urlopen(cluster.dashboard_link, timeout=BOUND) as page:
            assert page.status == 200


def test_no_key_is_in_a_boot_text_or_a_process_list(cluster: Cluster, site: Site) -> None:
    key = Path(cluster.papers.key).read_text().splitlines()[1]
    texts = [path.read_text() for path in site.hosts.folder.glob("node?/.elsewhere/machines/clu-*/boot")]
    assert len(texts) >= 3
    assert not [text for text in texts if key in text]
    shown = [" ".join(process.cmdline()) + str(process.environ()) for process in site.processes()]
    assert shown
    assert not [words for words in shown if key in words]
    papers = list(site.hosts.folder.glob("node?/.elsewhere/machines/clu-*/papers/cluster.key"))
    assert {path.stat().st_mode & 0o777 for path in papers} == {0o600}
    assert not list(site.hosts.folder.glob("node?/.elsewhere/cache/clu-*"))


def test_a_worker_that_is_killed_is_replaced_and_others_see_it_by_name(cluster: Cluster, site: Site) -> None:
    import work

    with Cluster.attach("mine").client() as client:
        *_, name, pid = client.submit(work.where, 1, tag="gcam", pure=False).result(BOUND)
        os.kill(pid, signal.SIGKILL)
        until(lambda: name not in named(cluster) and len(named(cluster)) == 2, "another has come")
        assert client.submit(work.where, 5, tag="gcam", pure=False).result(BOUND)[0] == 6
    words = [sys.executable, "-m", "elsewhere", "logs", f"mine/{name}"]
    assert "call 1" in subprocess.run(words, capture_output=True, text=True, check=True).stdout


def named(cluster: Cluster) -> list[str]:
    return [row["name"] for row in cluster.status()["tags"]["gcam"]["workers"] if row["is"] == "here"]


def test_more_than_the_hosts_have_room_for_waits_and_more_than_one_has_is_refused(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="no machine of lab has what huge asks for: 4000 CPUs"):
        cluster.add_container("huge", cpus=4000)
    with pytest.raises(UsageError, match=r"node[12]: the interpreter /nowhere/python"):
        cluster.add_container("absent", python="/nowhere/python")
    cluster.add_container("broad", cpus=os.cpu_count() or 1)
    cluster.add_workers("broad", 1)
    until(lambda: "no room" in cluster.status()["tags"]["broad"]["note"])
    cluster.remove_workers("broad", 1)
    with pytest.raises(UsageError, match="lab has no login node for a scheduler"):
        Cluster(on="lab", scheduler="login")
    with pytest.raises(UsageError, match="workers of lab cannot reach this machine"):
        Cluster(on="lab", scheduler="here")


@pytest.mark.soak
def test_a_host_that_does_not_answer_at_first_is_told_of_and_taken_in_when_it_does(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import work

    monkeypatch.setattr(late, "AGAIN", 0.5)
    site.hosts.stop("node2")
    with Cluster(on="lab", name="small") as made:
        assert "elsewhere: small goes on without node2: node2" in capsys.readouterr().err
        made.add_container("a", cpus=os.cpu_count() or 1)
        made.add_workers("a", 2)
        made.wait_for_workers("a", 1, BOUND)
        for action in (["cluster", "status"], ["explain"]):
            words = [sys.executable, "-m", "elsewhere", *action, "small"]
            assert "node2" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
        site.hosts.start("node2")
        made.wait_for_workers("a", 2, BOUND)
        assert made.status()["absent"] == {}
        with made.client() as client:
            names = [row["name"] for row in made.status()["tags"]["a"]["workers"]]
            told = [client.submit(work.where, 1, workers=[name], tag="a", pure=False).result(BOUND) for name in names]
        assert {one[1] for one in told} == {"node1", "node2"}
    assert "elsewhere: small" not in capsys.readouterr().err, "once is enough"
    gone(site, made.record.id)


SCRIPT = """
import sys, time
import work
from elsewhere import Cluster, Environment
from elsewhere.api.dask import records
from elsewhere.api.dask import hosts

hosts.QUIET = 15.0
if __name__ == "__main__":
    with Cluster(on="lab", name="killed") as cluster:
        cluster.add_container("a")
        cluster.add_workers("a", 2)
        cluster.wait_for_workers("a", 2)
        cluster.client().submit(work.where, 1, 600, tag="a")
        print("up", flush=True)
        time.sleep(600)
"""


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_script_that_is_killed_or_interrupted_leaves_nothing_on_the_hosts(site: Site, number: int) -> None:
    (site.project / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    made = records.find("killed").id
    assert len(site.processes(made)) >= 3
    process.send_signal(number)
    process.communicate(timeout=BOUND)
    until(lambda: not site.processes(made), "all of it has left")
    until(lambda: not site.left(made), "it has put its things away")
    if number == signal.SIGKILL:
        words = [sys.executable, "-m", "elsewhere", "cluster", "down", "killed"]
        assert "nothing of it was left" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    gone(site, made)


@pytest.mark.soak
def test_one_of_the_command_line_stays_until_it_is_ended(site: Site) -> None:
    (site.project / "containers.yaml").write_text("model: {cpus: 1, workers: 1}\n")

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "elsewhere", "cluster", *words], capture_output=True, text=True,
                              check=False, timeout=BOUND)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("up", "containers.yaml", "--on", "lab", "--name", "stands")
    made = records.find("stands").id
    run("scale", "model=2", "--cluster", "stands")
    until(lambda: [row["is"] for row in json.loads(run("status", "stands", "--json"))["tags"]["model"]["workers"]]
          == ["here", "here"])  # fmt: skip
    assert run("down", "stands") == "The cluster stands has ended.\n"
    gone(site, made)


@pytest.mark.soak
def test_a_cut_of_half_a_minute_loses_nothing(site: Site) -> None:
    import work

    for name in ("node1", "node2"):
        site.hosts.wire(name)
    with Cluster(on="lab", name="cut") as made:
        made.add_container("a")
        made.add_workers("a", 2)
        made.wait_for_workers("a", 2, BOUND)
        with made.client() as client:
            futures = client.map(work.where, range(20), [2.0] * 20, tag="a", pure=False)
            futures[0].result(BOUND)
            for one in site.hosts.relays.values():
                one.mute("out", "home")
            time.sleep(30)
            for one in site.hosts.relays.values():
                one.mute()
            assert [told[0] for told in client.gather(futures)] == list(range(1, 21))
        assert [row["name"] for row in made.status()["tags"]["a"]["workers"]] == ["a/1", "a/2"], "they stayed"
    gone(site, made.record.id)


@pytest.mark.soak
@pytest.mark.needs("busybox", "ch-run")
def test_containers_and_environments_are_had_and_built_on_the_hosts(site: Site, tmp_path: Path) -> None:
    from ship import rootfs

    image = rootfs.archive(tmp_path / "model.tar", packages=["distributed"],
                           files={f"{rootfs.SITE}/standin.py": b"__version__ = '5.4'"})  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in").write_text("mounted")

    def inside() -> tuple[str, str, str]:
        import standin  # type: ignore[import-not-found]

        return standin.__version__, Path("/given/in").read_text(), os.environ["MODEL"]

    def plain() -> tuple[str, bool]:
        import iniconfig

        return iniconfig.__name__, "environments" in sys.executable

    def once() -> int:
        return time.time_ns()

    with Cluster(on="lab", name="boxed") as made:
        made.add_container("model", image=f"oci-archive:{image}", runtime="charliecloud",
                           mounts={str(tmp_path / "data"): "/given"}, env={"MODEL": "secret word"})  # fmt: skip
        made.add_container("small", environment=Environment(pip=("iniconfig",)))
        made.add_container("here")
        made.scale(model=1, small=1, here=1)
        with made.client() as client:
            assert client.submit(inside, tag="model").result(BOUND) == ("5.4", "mounted", "secret word")
            assert client.submit(plain, tag="small").result(BOUND) == ("iniconfig", True)
            first = client.submit(once, tag="here", cache=True, pure=False).result(BOUND)
            assert client.submit(once, tag="here", cache=True, pure=False).result(BOUND) == first
        boots = [
            path.read_text() for path in site.hosts.folder.glob(f"node?/.elsewhere/machines/{made.record.id}*/boot")
        ]
        shown = [" ".join(process.cmdline()) for process in site.processes(made.record.id)]
        assert not [words for words in (*boots, *shown) if "secret word" in words]
    gone(site, made.record.id)
