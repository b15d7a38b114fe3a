"""The place of hosts that are reached by SSH: a real sshd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elsewhere.backends.base import Condition
from elsewhere.backends.ssh import Ssh, SshSettings
from elsewhere.backends.ssh.said import mark, sightings, spread, usable
from elsewhere.errors import ConfigError, NotFound, PlaceError, Refused, UsageError
from elsewhere.hosts import Ran
from elsewhere.hosts.openssh import OpenSsh
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources
from elsewhere.testing.backend_suite import BackendConformance
from hosts import sshd

pytestmark = pytest.mark.needs("sshd", "ssh")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Hosts]:
    with sshd.running(tmp_path_factory.mktemp("sshd"), "node1", "node2") as found:
        yield found


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


@pytest.fixture
def backend(hosts: sshd.Hosts) -> Iterator[Ssh]:
    place = Ssh(SshSettings(["node1", "node2"], config=str(hosts.config)))
    yield place
    left = [one.native for one in place.owned()]
    place.cancel(left)
    for host in place.hosts.values():
        host.close()


class TestSsh(BackendConformance):
    @pytest.fixture
    def backend(self, hosts: sshd.Hosts) -> Iterator[Ssh]:
        place = Ssh(SshSettings(["node1", "node2"], config=str(hosts.config)))
        yield place
        place.cancel([one.native for one in place.owned()])

    def again(self, backend: Ssh) -> Ssh:  # type: ignore[override]
        return Ssh(backend.settings)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("alice@node1", ["alice@node1"]),
        ("node[3-5].cluster", ["node3.cluster", "node4.cluster", "node5.cluster"]),
        ("n[08-10,2]", ["n08", "n09", "n10", "n2"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    ],
)
def test_brackets_stand_for_several_hosts(word: str, names: list[str]) -> None:
    assert spread(word) == names


def test_what_stands_in_brackets_must_be_numbers() -> None:
    with pytest.raises(ConfigError, match="no number and no range"):
        spread("node[a-c]")
    with pytest.raises(ConfigError, match="named twice"):
        Ssh(SshSettings(["node[1-2]", "node2"]))


def test_each_host_is_an_offer_with_what_it_has(backend: Ssh) -> None:
    offers = backend.offers(Resources())
    assert [offer.name for offer in offers] == ["node1", "node2"]
    assert all(offer.resources.cpus >= 1 and (offer.resources.memory or 0) > 1 << 28 for offer in offers)
    assert backend.offers(Resources(cpus=10_000)) == []


def test_a_host_that_is_not_reached_shows_what_it_showed_last(hosts: sshd.Hosts, tmp_path: Path) -> None:
    with sshd.running(tmp_path, "node7") as own:
        place = Ssh(SshSettings("node7", config=str(own.config)))
        suite = TestSsh()
        suite.shape = Resources()
        launch = suite.launch()
        natives = place.submit(launch)
        for host in place.hosts.values():
            host.close()
        own.stop("node7")
        after = Ssh(place.settings)
        seen = list(after.owned())
        assert [one.native for one in seen] == natives
        assert seen[0].ended is None and "no contact" in seen[0].reason
        with pytest.raises(PlaceError):
            after.cancel(natives)
        own.start("node7")
        after.cancel(natives)
        for host in after.hosts.values():
            host.close()


def test_a_place_without_hosts_says_how_to_name_them() -> None:
    with pytest.raises(NotFound, match="names no host"):
        Ssh().offers(Resources())
    assert [finding.ok for finding in Ssh().check()] == [False]


def test_a_terminal_opens_in_a_machines_directory_or_a_hosts_home(backend: Ssh, hosts: sshd.Hosts) -> None:
    with pytest.raises(UsageError, match="no host of it"):
        backend.shell("")
    with pytest.raises(UsageError, match="node9 is no host"):
        backend.shell("node9")
    suite = TestSsh()
    suite.shape = Resources()
    [native] = backend.submit(suite.launch())
    on = hosts.folder / ("node1" if native.endswith(mark("node1")) else "node2")
    for name, begins in (("node2", hosts.folder / "node2"), (native, on / ".elsewhere" / "machines" / native)):
        ran = subprocess.run(backend.shell(name), input=b"pwd; exit 7\n", capture_output=True, timeout=60, check=False)
        assert (ran.returncode, ran.stdout.splitlines()[-1]) == (7, os.fsencode(begins))


def test_what_is_left_of_a_machine_goes_also_if_its_processes_were_killed_and_never_while_they_live(
    backend: Ssh, hosts: sshd.Hosts
) -> None:
    suite = TestSsh()
    suite.shape = Resources()
    native, other = (backend.submit(replace(suite.launch(), id=f"k{k}", offer=Offer("node1", Resources())))[0]
                     for k in (1, 2))  # fmt: skip
    machines = hosts.folder / "node1" / ".elsewhere" / "machines"
    until(lambda: (machines / native / "started").exists() and (machines / other / "started").exists())
    os.killpg(int((machines / native / "pid").read_text()), signal.SIGKILL)
    until(lambda: backend.status([native])[native].condition is Condition.FAILED)
    backend.forget([native, other])
    assert (machines / other).exists()
    assert not (machines / native).exists()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_a_machine_fetches_is_brought_once_and_asked_for_by_the_command_that_starts_it(
    backend: Ssh, hosts: sshd.Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "freight").write_bytes(b"freight")
    told: list[str] = []
    run = OpenSsh.run

    def counted(host: OpenSsh, *words: Any) -> Ran:
        told.append(host.name)
        return run(host, *words)

    monkeypatch.setattr(OpenSsh, "run", counted)
    suite = TestSsh()
    suite.shape = Resources()
    for commands in (3, 1):  # it lacks something, that is put there, it starts; and from then on it starts
        told.clear()
        launch = suite.launch(script='test -s "$HOME/.elsewhere/cache/bundles/aa" && sleep 60')
        offer = Offer("node2", Resources())
        [native] = backend.submit(replace(launch, offer=offer, freight={"bundles/aa": tmp_path / "freight"}))
        assert told == ["node2"] * commands
        assert (hosts.folder / "node2/.elsewhere/cache/bundles/aa").read_bytes() == b"freight"
        suite.until(backend, lambda native=native: suite.is_in(backend, native, Condition.RUNNING))  # type: ignore[misc]


def test_a_dial_waits_there_for_an_agent_that_boots(backend: Ssh) -> None:
    suite = TestSsh()
    suite.shape = Resources()
    boots = (
        'cd "$HOME/.elsewhere" && mkdir -p jobs/job-7 && cd jobs/job-7 || exit 1\n'
        "sleep 0.7; echo 'echo come in' >new; mv new bridge; sleep 60\n"
    )
    [native] = backend.submit(suite.launch(script=boots, job="job-7"))
    connection = backend.dial(native)
    out, _ = connection.process.communicate(timeout=60)
    assert out.partition(connection.begins)[2] == b"come in\n"


def test_one_command_starts_a_machine_and_dials_its_agent_and_a_second_start_finds_it_running(
    backend: Ssh, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = TestSsh()
    suite.shape = Resources()
    boots = (
        'cd "$HOME/.elsewhere" && mkdir -p jobs/job-8 && cd jobs/job-8 && echo boots >>said || exit 1\n'
        "echo 'cat $HOME/.elsewhere/jobs/job-8/said; read -r word; echo $word' >new; mv new bridge; sleep 60\n"
    )
    launch = replace(suite.launch(script=boots, job="job-8"), offer=Offer("node1", Resources()), dialled=True)
    begun: list[str] = []
    start = OpenSsh._start

    def counted(host: OpenSsh, *words: Any) -> Any:
        begun.append(host.name)
        return start(host, *words)

    monkeypatch.setattr(OpenSsh, "_start", counted)
    for _ in range(2):
        [native] = backend.submit(launch)
        connection = backend.dial(native)
        assert connection.process.communicate(b"come in\n", timeout=60)[0] == b"boots\ncome in\n"
    assert begun == ["node1", "node1"], "one command each time"
    with backend.dial(native).process as anew:
        assert begun == ["node1"] * 3, "and from then on it is dialled anew"
        anew.kill()


def test_at_a_programs_exit_when_no_thread_begins_any_more_all_hosts_are_still_asked(
    backend: Ssh, hosts: sshd.Hosts
) -> None:
    suite = TestSsh()
    suite.shape = Resources()
    [native] = backend.submit(replace(suite.launch(), offer=Offer("node2", Resources())))
    program = (
        "import atexit, sys\nfrom elsewhere.backends.ssh import Ssh, SshSettings\n"
        "place = Ssh(SshSettings(['node1', 'node2'], config=sys.argv[1]))\n"
        "atexit.register(lambda: print(*[one.native for one in place.owned()]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, hosts.config], capture_output=True, text=True, check=True)
    assert (native in done.stdout, done.stderr) == (True, "")


def test_a_machine_that_cannot_be_started_says_why_though_it_was_to_be_dialled(backend: Ssh, hosts: sshd.Hosts) -> None:
    suite = TestSsh()
    suite.shape = Resources()
    launch = replace(suite.launch(job="job-9"), id="l9", offer=Offer("node1", Resources()), dialled=True)
    (hosts.folder / "node1" / ".elsewhere" / "machines").mkdir(parents=True, exist_ok=True)
    (hosts.folder / "node1" / ".elsewhere" / "machines" / f"l9-0.{mark('node1')}").write_text("no directory")
    with pytest.raises(Refused, match="node1: "):
        backend.submit(launch)


@pytest.mark.parametrize("ahead", [0, 3600, -3600, 20])
def test_what_a_host_tells_of_its_machines_is_told_by_our_clock(ahead: int) -> None:
    now = 1_790_000_000.0
    out = f'{int(now) + ahead}\none ended 0 {int(now) + ahead - 60} {int(now) + ahead - 10} {{"job": "j"}}\n'.encode()
    (seen,) = sightings(out, now)
    assert seen.started is not None and seen.ended is not None
    assert (seen.ended - seen.started).total_seconds() == 50
    assert abs(seen.started.timestamp() - (now - 60)) <= 20, "a clock that is off by less is not mended"


@pytest.mark.parametrize(
    ("status", "out", "err", "why"),
    [
        (73, "", "mkdir: cannot create directory '/home/a/.elsewhere': Read-only file system", "Read-only file system"),
        (0, "cpus 4\nroom 90000\n", "sh: 1: cannot create /home/a/try.1: Permission denied", "Permission denied"),
        (0, "cpus 4\nroom 90000\nwrites yes\n", "try.1: Permission denied", "mounted noexec"),
        (0, "cpus 4\nroom 9000\nwrites yes\nruns yes\n", "", "no space left: 8 MiB are free"),
        (0, "cpus 4\nroom 90000\nwrites yes\nruns yes\n", "", ""),
        (0, "cpus 4\nroom \nwrites yes\nruns yes\n", "", ""),
    ],
)
def test_a_host_on_which_nothing_of_ours_can_be_says_why(status: int, out: str, err: str, why: str) -> None:
    done = Ran(status, out.encode(), err.encode())
    if not why:
        assert usable("node1", done) is done
        return
    with pytest.raises(Refused, match="node1 cannot be used: ") as refused:
        usable("node1", done)
    assert why in refused.value.message and "`directory:`" in refused.value.hint
