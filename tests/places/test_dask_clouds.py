"""A Dask cluster on machines that are started for it, behind walls: each with its address, in a group that holds."""

from __future__ import annotations

import base64
import gzip
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from elsewhere import Cluster
from elsewhere.api.dask.attached import Attached
from elsewhere.errors import UsageError
from elsewhere.sandbox import standins, walls
from elsewhere.sandbox.fleet import Instance
from places.far import world
from sandbox.cloud import Sandbox, until

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(420), pytest.mark.skipif(bool(walls.lacking()), reason=walls.lacking()),
    pytest.mark.filterwarnings("ignore:Mismatched versions found"),
]  # fmt: skip
BOUND = 240.0
WORK = """
import os, time
from pathlib import Path
from distributed import get_worker

def where(x):
    print("call", x)
    return x + 1, os.environ.get("MODEL", "")[::-1], get_worker().name, Path("notes.txt").read_text()

def outlast(marks):
    (Path(marks) / get_worker().name.replace("/", "-")).touch()
    while not (Path(marks) / "go").exists():
        time.sleep(0.05)
    return get_worker().name
"""
SECRET = "planted-variable"
SCRIPT = """
import sys, time
from elsewhere import Cluster
from elsewhere.api.dask import afar, clouds
heavy = ("numpy", "pandas", "bokeh")
needs = [name for name in afar.needs() if name not in heavy]
afar.needs = lambda: needs
clouds.QUIET = 20.0
if __name__ == "__main__":
    with Cluster(on="gathered", name=sys.argv[1]) as cluster:
        cluster.add_container("Model", cpus=2, memory="2G", env={"MODEL": "planted-variable"})
        cluster.add_container("other")
        cluster.scale(model=1, other=1)
        cluster.wait_for_workers("model", 1)
        cluster.wait_for_workers("other", 1)
        print("up", flush=True)
        sys.stdin.read()
"""


class Site:
    """A project whose places are the sandbox, with a group that admits its members, one that does not, and none."""

    def __init__(self, folder: Path, cloud: Sandbox) -> None:
        self.cloud, self.folder, self.marks = cloud, folder / "project", folder / "marks"
        for one in (self.folder, self.marks):
            one.mkdir()
        ec2 = cloud.client("ec2")
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        made = [ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
                for name in ("members", "closed")]  # fmt: skip
        rule = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": made[0]}]}
        ec2.authorize_security_group_ingress(GroupId=made[0], IpPermissions=[rule])
        self.group = made[0]
        (self.folder / "work.py").write_text(WORK)
        (self.folder / "script.py").write_text(SCRIPT)
        (self.folder / "notes.txt").write_text("of the project")
        (self.folder / "elsewhere.yaml").write_text(
            f"places:\n  gathered: {{backend: aws, security-group: {made[0]}, spot: true}}\n"
            f"  closed: {{backend: aws, security-group: {made[1]}}}\n  bare: {{backend: aws}}\n"
            "environments: {small: {pip: [iniconfig]}}\n"
        )

    def machines(self) -> list[Instance]:
        """Those of clusters, the dead too."""
        return [one for one in self.cloud.cloud.fleet.known() if one.tags.get("elsewhere:job", "").startswith("clu-")]

    def alive(self) -> list[Instance]:
        return [one for one in self.machines() if one.alive]

    def keys(self) -> list[tuple[str, str]]:
        """Bucket and key of each object."""
        s3 = self.cloud.client("s3")
        return [(bucket["Name"], each["Key"]) for bucket in s3.list_buckets()["Buckets"]
                for each in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])]  # fmt: skip

    def objects(self) -> dict[str, bytes]:
        s3 = self.cloud.client("s3")
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for bucket, key in self.keys()}

    def consoles(self) -> str:
        return "\n".join(self.cloud.console(one.id)[-1500:] for one in self.machines())

    def __call__(self, *words: str) -> str:
        words = (sys.executable, "-m", "elsewhere", *words)
        done = subprocess.run(words, capture_output=True, text=True, timeout=BOUND, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, far_home: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dc")
    standins.lay(folder / "bin", command_line=True)
    with world(far_home, isolation="netns") as cloud, pytest.MonkeyPatch.context() as patch:
        made = Site(folder, cloud)
        patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        patch.chdir(made.folder)
        patch.syspath_prepend(str(made.folder))
        yield made


def begun(site: Site, name: str) -> subprocess.Popen[str]:
    """A script with a cluster of that name."""
    return subprocess.Popen([sys.executable, "script.py", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, cwd=site.folder)  # fmt: skip


def is_up(process: subprocess.Popen[str], site: Site) -> None:
    assert process.stdout and process.stderr
    if process.stdout.readline() != "up\n":
        pytest.fail(process.stderr.read() + site.consoles())


@pytest.fixture(scope="module")
def owner(site: Site) -> Iterator[subprocess.Popen[str]]:
    """The script whose cluster it is."""
    process = begun(site, "mine")
    is_up(process, site)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def cluster(owner: subprocess.Popen[str]) -> Attached:
    return Cluster.attach("mine")


def names(cluster: Attached, tag: str) -> list[str]:
    return [row["name"] for row in cluster.status()["tags"][tag]["workers"] if row["is"] == "here"]


def test_calls_run_on_a_machine_of_their_tag_with_the_project_and_its_variables(cluster: Attached, site: Site) -> None:
    import work  # type: ignore[import-not-found]

    with cluster.client() as client:
        first = client.submit(work.where, 1, tag="model").result(BOUND)
        second = client.submit(work.where, 2, tag="other").result(BOUND)
    assert first == (2, SECRET[::-1], "model/1", "of the project")
    assert second == (3, "", "other/1", "of the project")
    assert sorted(one.order.cpus for one in site.alive()) == [1, 1, 2], "each has a machine of its size"
    assert {one.order.groups for one in site.alive()} == {(site.group,)}
    state = cluster.status()
    assert state["price"] > 0.05 and state["spent"] > 0
    assert [one["type"].endswith("/spot") for one in state["tags"]["model"]["workers"]] == [True]
    assert sorted(one.order.spot for one in site.alive()) == [False, True, True], "the scheduler's is not taken back"
    until(lambda: "call 1" in site("logs", "mine/model/1"), "what it prints is read from here", BOUND)
    assert "an hour for its machines now" in site("cluster", "status", "mine")


def test_no_certificate_and_no_variable_is_in_a_boot_text_or_in_the_bucket(cluster: Attached, site: Site) -> None:
    parts = [Path(path).read_text().splitlines()[1] for path in (cluster.papers.key, cluster.papers.certificate)]
    key = Path(cluster.papers.key).read_text()
    secrets = [word.encode() for word in (SECRET, *parts, base64.b64encode(key.encode())[:60].decode())]
    texts = [one.order.user_data for one in site.machines()]
    texts = [gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text for text in texts]
    objects = site.objects()
    assert len(texts) >= 3 and any("letters/" in name for name in objects)
    assert all(b"elsewhere.api.dask.guest" in text for text in texts)
    assert not [word for word in secrets for text in (*texts, *objects.values()) if word in text]
    shown = [" ".join(one.cmdline()) for i in site.alive() for one in i.machine.processes() if one.is_running()]
    assert any("dask_worker" in words for words in shown)
    assert not [words for words in shown if any(word.decode() in words for word in secrets)]


def test_who_is_outside_the_group_reaches_neither_scheduler_nor_workers(cluster: Attached, site: Site) -> None:
    [outside] = site.cloud.run("", IamInstanceProfile={"Name": "elsewhere"})
    until(lambda: site.cloud.state(outside) == "running")
    doors = [_door(cluster.address)]
    with cluster.client() as client:
        doors += [_door(address) for address in client.scheduler_info(n_workers=-1)["workers"]]
    assert len(doors) == 3
    prefix = site.cloud.cloud.walls and site.cloud.cloud.walls.prefix
    member = next(one.id for one in site.alive() if one.private == doors[0][0])

    def opens(machine: str, door: tuple[str, int], seconds: float) -> bool:
        try:
            walls.inside(f"{prefix}{machine}", lambda: socket.create_connection(door, seconds)).close()
        except OSError:
            return False
        return True

    assert all(opens(member, door, 30) for door in doors)
    assert not any(opens(outside, door, 1) for door in doors)
    site.cloud.kill(outside)


def _door(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("//")[2].rpartition(":")
    return host, int(port)


def test_a_machine_that_is_taken_back_is_replaced_and_what_ran_there_runs_again(cluster: Attached, site: Site) -> None:
    import work

    with cluster.client() as client:
        future = client.submit(work.outlast, str(site.marks), tag="other")
        [first] = until(lambda: [path.name for path in site.marks.iterdir()], "it runs", BOUND)
        [row] = cluster.status()["tags"]["other"]["workers"]
        assert row["name"].replace("/", "-") == first
        site.cloud.preempt(row["machine"], notice=0)
        until(lambda: len(list(site.marks.iterdir())) == 2, "it runs again", BOUND)
        (site.marks / "go").touch()
        assert future.result(BOUND) != row["name"]
    until(lambda: len(names(cluster, "other")) == 1, "another is there in its place", BOUND)


@pytest.mark.parametrize(("place", "words", "why"), [
    ("bare", {}, "security-group"),
    ("closed", {}, "does not admit its own members"),
    ("gathered", {"scheduler": "here"}, "workers of gathered cannot reach this machine"),
    ("gathered", {"scheduler": "login"}, "gathered has no login node"),
])  # fmt: skip
def test_what_cannot_stand_there_is_refused_before_anything_is_made(
    site: Site, place: str, words: dict[str, Any], why: str
) -> None:
    before, keys = len(site.machines()), site.keys()
    with pytest.raises(UsageError, match=why) as refusal:
        Cluster(on=place, **words)
    assert refusal.value.hint
    assert len(site.machines()) == before and site.keys() == keys


def test_a_program_that_leads_in_is_missing_and_that_is_said_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    before = len(site.machines())
    with pytest.raises(UsageError, match="needs the program"):
        Cluster(on="gathered")
    assert len(site.machines()) == before


def test_a_container_that_no_machine_can_be_is_refused_with_what_could(cluster: Attached, site: Site) -> None:
    with pytest.raises(UsageError, match=r"huge: no machine does"):
        cluster.add_container("huge", _words(cpus=4000))
    with pytest.raises(UsageError, match="has no /data to mount"):
        cluster.add_container("mounted", _words(image="docker.io/x/y:1", mounts={"/data": "/data"}))
    with pytest.raises(UsageError, match="is a file of this machine"):
        cluster.add_container("filed", _words(image="model.sif"))


def _words(**given: Any) -> dict[str, Any]:
    plain = {"image": "", "environment": "", "python": "", "cpus": 1, "memory": None, "gpus": 0, "threads": 1,
             "mounts": {}, "env": {}, "runtime": "", "runtime_options": ()}  # fmt: skip
    return {**plain, **given}


def test_of_an_owner_that_is_killed_nothing_is_left_once_it_is_taken_down(
    owner: subprocess.Popen[str], site: Site
) -> None:
    made = {one.tags["elsewhere:job"] for one in site.alive()}
    assert len(made) == 1
    children = psutil.Process(owner.pid).children(recursive=True)
    assert any("start-session" in " ".join(one.cmdline()) for one in children), "a way leads in"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    said = site("cluster", "down", "mine")
    assert "of it was left at gathered, and is ended now" in said or "nothing of it was left" in said
    until(lambda: not site.alive(), "its machines end", BOUND)
    listed = site.keys()
    assert not [key for _, key in listed if made.copy().pop() in key]
    until(lambda: not any(one.is_running() and one.status() != "zombie" for one in children), "the ways are closed")
    assert "call 1" in site("logs", "mine/model/1"), "what was said is kept here"


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_script_that_is_killed_or_interrupted_leaves_nothing_by_itself(site: Site, number: int) -> None:
    process = begun(site, "killed")
    is_up(process, site)
    process.send_signal(number)
    process.communicate(timeout=BOUND)
    until(lambda: not site.alive(), "all of it has left", BOUND)
    if number == signal.SIGKILL:
        assert "nothing of it was left" in site("cluster", "down", "killed")
    listed = site.keys()
    assert not [key for _, key in listed if "/clusters/" in key]


@pytest.mark.soak
@pytest.mark.parametrize("words", [["script.py", "early"], ["-m", "elsewhere", "cluster", "up", "--on", "gathered"]])
def test_interrupted_while_it_starts_it_leaves_nothing(site: Site, words: list[str]) -> None:
    process = subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd=site.folder)  # fmt: skip
    until(site.alive, "the scheduler's machine is there", BOUND)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=BOUND)
    assert not site.alive()
    listed = site.keys()
    assert not [key for _, key in listed if "/clusters/" in key]


@pytest.mark.soak
def test_an_environment_is_built_on_its_machine_and_one_that_is_warned_hands_on_what_it_keeps(site: Site) -> None:
    import work

    def small() -> tuple[str, bool]:
        import iniconfig

        return iniconfig.__name__, "environments" in sys.executable

    process = begun(site, "warned")
    try:
        is_up(process, site)
        cluster = Cluster.attach("warned")
        cluster.add_container("small", _words(environment="small"))
        cluster.scale({"small": 1, "model": 2})
        with cluster.client() as client:
            assert client.submit(small, tag="small").result(BOUND) == ("iniconfig", True)
            until(lambda: len(names(cluster, "model")) == 2, "two are there", BOUND)
            kept = client.submit(work.where, 1, tag="model")
            name = kept.result(BOUND)[2]
            [machine] = [row["machine"] for row in cluster.status()["tags"]["model"]["workers"] if row["name"] == name]
            site.cloud.preempt(machine, notice=600)
            until(lambda: name not in names(cluster, "model"), "it has left long before it is taken", BOUND)
            assert kept.result(BOUND)[2] == name, "the other has it: it was not computed again"
            until(lambda: len(names(cluster, "model")) == 2, "another is there in its place", BOUND)
    finally:
        process.kill()
        process.communicate()
        site("cluster", "down", "warned")
    assert not site.alive()
