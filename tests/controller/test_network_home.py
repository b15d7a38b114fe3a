"""A state directory on a network file system, as a cluster's home is: the live ledger lies on this host's own disk.

The network file system is a real one (sshfs, over a real sshd), and it has neither sockets nor much else; another host
is this one under another name.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.controller import directory, homecoming
from elsewhere.controller import files as job_files
from elsewhere.errors import InvalidTask, JobHeld
from elsewhere.ledger.closed import Closed
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import NewTask
from elsewhere.ship.box import Box
from elsewhere.stores import DirectoryStore
from hosts.sshd import Hosts, running

pytestmark = [
    pytest.mark.needs("sshd", "ssh", "sshfs", "fusermount"),
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="needs /dev/fuse"),
]
ELSEWHERE = str(Path(sys.executable).with_name("elsewhere"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with running(tmp_path_factory.mktemp("server")) as hosts:
        hosts.add("node1", "Subsystem sftp internal-sftp")
        yield hosts


@pytest.fixture
def home(server: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state directory, on the network."""
    for name in ("exported", "mounted"):
        (tmp_path / name).mkdir()
    mounted = tmp_path / "mounted"
    subprocess.run(["sshfs", "-F", server.config, f"node1:{tmp_path / 'exported'}", mounted], check=True)
    monkeypatch.setenv("ELSEWHERE_HOME", str(mounted / "state"))
    try:
        yield mounted / "state"
    finally:
        subprocess.run(["fusermount", "-u", "-z", mounted], check=True)
        said = [path.read_text() for path in job_files.local_disk().glob("job-*/of")]
        assert not [job for job in said if job.startswith(str(mounted))], "something is left on this host's disk"


def make(names: list[str]) -> session.JobFiles:
    spec = JobSpec(ids.new("job"), "far-home", Entry("function", "math:sqrt"), slots=1, python=sys.executable, cwd="/")
    return session.create(spec, [NewTask(name, b"{}") for name in names])


def move_to(host: str, files: session.JobFiles) -> None:
    """As if the job were another host's: no program of ours is asked for that."""
    where = files.directory / "where"
    where.write_text(json.dumps({**json.loads(where.read_text()), "host": host}))


def ours(*words: str, host: str = "") -> tuple[int, str]:
    """The command, on this host or on one of that name: its exit status, and all that it says."""
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', host] if host else []
    done = subprocess.run([*named, ELSEWHERE, *words], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_live_ledger_is_local_and_a_copy_is_left_beside_its_job(home: Path) -> None:
    files = make(["a", "b"])
    assert files.ledger == job_files.local_disk() / files.id / "ledger.db"
    assert not (files.directory / "ledger.db").exists()
    session.run_here(files)
    assert files.open().count().failed == 2
    assert files.copy.exists()
    session.remove(files)


def test_another_host_reads_the_copy_and_may_change_nothing(home: Path) -> None:
    files = make(["a"])
    session.run_here(files)
    pointer = (files.directory / "where").read_text()
    move_to("node7", files)
    assert files.ledger == files.copy
    assert files.open().count().failed == 1
    for change in (session.run_here, session.retry, session.cancel):
        with pytest.raises(JobHeld, match="node7"):
            change(files)
    (files.directory / "where").write_text(pointer)
    session.remove(files)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give this host another name")
def test_a_job_that_runs_is_seen_and_let_be_by_another_host(home: Path) -> None:
    assert ours("run", "--detach", "--name", "long", "--", "sleep", "600")[0] == 0
    (pid,) = [found.pid for found in [session.holder(session.find("long"))] if found is not None]
    status, said = ours("status", "long", host="node7")
    assert (status, "held" in said, f"process {pid}" in said) == (0, True, True)
    for words in (("cancel", "long"), ("resume", "long"), ("rm", "--force", "long")):
        status, said = ours(*words, host="node7")
        assert (status, f"Log in to {os.uname().nodename}" in said) == (2, True), (words, said)
    assert ours("cancel", "long")[0] == 0
    assert ours("watch", "long")[0] == 1
    assert json.loads((session.find("long").directory / "where").read_text())["pid"] == 0
    assert ours("rm", "long", host="node7")[0] == 0  # it is over, and its ledger's copy says so
    assert ours("clean")[0] == 0  # what that host could not remove


def test_a_job_that_is_refused_or_removed_leaves_nothing_on_the_disk(home: Path) -> None:
    with pytest.raises(InvalidTask):
        make(["a", "a"])
    session.remove(make(["a"]))


def test_only_what_was_removed_is_swept(home: Path) -> None:
    files = make(["a"])
    directory.sweep_disk()
    assert files.open().count().ready == 1
    session.remove(files)


def test_the_local_directory_is_private() -> None:
    path = job_files.local_directory("job-test")
    try:
        assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        path.rmdir()


def test_a_job_whose_seat_was_on_a_network_comes_home_with_its_ledger(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make(["a", "b"])
    assert files.elsewhere() is not None
    closed = Closed(DirectoryStore(tmp_path / "corner"), box=Box(bytes(range(32)), "seat-1"))
    homecoming.put(closed, [files], 1.0)
    [kept] = homecoming.head(closed) or []
    directory.remove(files)
    for there, own_disk in ((tmp_path / "laptop", True), (home, False)):
        monkeypatch.setenv("ELSEWHERE_HOME", str(there))
        came = homecoming.bring(closed, kept)
        assert (came.elsewhere() is None) is own_disk
        with contextlib.closing(came.open()) as ledger:
            assert ledger.count().total == 2 and ledger.spec.name == "far-home"
        directory.remove(came)
