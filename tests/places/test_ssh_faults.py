"""What goes wrong with hosts behind a real sshd: odd shells and clocks, full disks, other keys, cuts, deaths."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from places.lab import BOUND, Lab, laboratory, until

pytestmark = [pytest.mark.needs("sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def lab(tmp_path: Path, far_home: Path) -> Iterator[Lab]:
    with laboratory(tmp_path, far_home / "cache", "node1", "node2") as found:
        yield found


CLOCK = """
import time
_time, _time_ns = time.time, time.time_ns
time.time, time.time_ns = (lambda: _time() + {ahead}), (lambda: _time_ns() + {ahead} * 10**9)
"""


def shifted(home: Path, ahead: int) -> str:
    """The time of day, as `date` and Python tell it on a host, is so many seconds ahead; the variables for that."""
    (home / "bin").mkdir(parents=True)
    date = home / "bin" / "date"
    date.write_text(f'#!/bin/sh\necho $(($({shutil.which("date")} "$@") + {ahead}))\n')
    date.chmod(0o755)
    site = home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CLOCK.format(ahead=ahead))
    for name in ("python3", f"python3.{sys.version_info.minor}"):
        program = home / "bin" / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={site}:$PYTHONPATH exec {sys._base_executable} "$@"\n')  # type: ignore[attr-defined]
        program.chmod(0o755)
    return f"PATH={home / 'bin'}:{os.environ['PATH']}"


@pytest.mark.parametrize("shell", [
    pytest.param("fish", marks=pytest.mark.needs("fish")),
    pytest.param("tcsh", marks=[pytest.mark.needs("tcsh"), pytest.mark.soak]),
    pytest.param("dash", marks=[pytest.mark.needs("dash"), pytest.mark.soak]),
])  # fmt: skip
def test_one_session_a_connection_shells_that_are_not_bash_and_print_and_clocks_that_are_off(
    tmp_path: Path, far_home: Path, shell: str
) -> None:
    run = f'exec {shutil.which(shell)} -c "$SSH_ORIGINAL_COMMAND"'
    force = f"ForceCommand echo welcome; echo 'mind the gap' >&2; {run}"
    with laboratory(tmp_path, far_home / "cache") as lab:
        lab.hosts.add("node1", "MaxSessions 1", env=shifted(tmp_path / "clock1", 3600))
        lab.hosts.add("node2", force, env=shifted(tmp_path / "clock2", -3600))
        words = ("--entry", "work:f", "--on", "lab", "--quiet")
        lab.run("run", lab.tasks(60, size=70_000, hosts=True), *words)
        results = lab.results()
        assert len(results) == 60 and {one["state"] for one in results.values()} == {"succeeded"}
        assert {one["result"]["home"] for one in results.values()} == {"node1", "node2"}  # type: ignore[index]
        assert set(lab.attempts().values()) == {1}
        assert "task 7" in lab.run("logs", "@last/t7")
        assert lab.agents() == []
        assert "died" not in lab.run("explain"), "no clock is believed to say that a machine came too late"


def test_a_host_that_shows_another_key_is_not_spoken_to_and_its_work_waits_for_it(lab: Lab) -> None:
    running = lab.start("run", lab.tasks(300, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > 20)
    folder = lab.hosts.folder
    other = folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    settings, before = folder / "node1.sshd", (folder / "node1.sshd").read_text()
    lab.hosts.stop("node1")
    settings.write_text(before.replace(f"HostKey {folder / 'host'}", f"HostKey {other}"))
    lab.hosts.start("node1")
    until(lambda: "another host key" in lab.run("places", "check", "lab", status=None), "it is said")
    count = len(lab.attempts())
    until(lambda: len(lab.attempts()) > count + 40, "others go on")
    assert running.poll() is None
    lab.hosts.stop("node1")
    settings.write_text(before)
    lab.hosts.start("node1")
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert len(lab.results()) == 300
    assert set(lab.attempts().values()) == {1}


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_a_controller_that_is_killed_again_and_again_loses_nothing_and_runs_nothing_twice(lab: Lab, times: int) -> None:
    running = lab.start("run", lab.tasks(60 * times, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
    for k in range(1, times + 1):
        until(lambda k=k: len(lab.attempts()) >= 40 * k)  # type: ignore[misc]
        running.kill()
        running.communicate()
        running = lab.start("resume", "--quiet")
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert len(lab.results()) == 60 * times
    assert set(lab.attempts().values()) == {1}
    assert lab.agents() == []


def test_a_task_that_left_its_session_is_gone_after_cancel(lab: Lab) -> None:
    long = f"9{time.time_ns() % 10**9}"

    def asleep() -> int:
        return sum(one.info["cmdline"] == ["sleep", long] for one in psutil.process_iter(["cmdline"]))

    text = f"(setsid sh -c 'sleep {long} & sleep {long}' &); exec sleep {long}"
    running = lab.start("run", "--on", "lab", "--", "sh", "-c", text)
    until(lambda: asleep() == 3)
    lab.run("cancel")
    running.communicate(timeout=BOUND)
    until(lambda: asleep() == 0, "it lives on")
    assert lab.agents() == []


@pytest.mark.soak
def test_what_is_cut_half_way_up_or_home_comes_whole_in_the_end(lab: Lab) -> None:
    wires = [lab.hosts.wire(name) for name in ("node1", "node2")]
    (lab.folder / "big.bin").write_bytes(os.urandom(4_000_000))
    text = 'touch "$RAN/$1-$$"; while [ ! -e "$RAN/../go" ]; do sleep 0.05; done; cat big.bin >"out-$1"'
    tasks = [{"task_id": f"t{n}", "command": ["sh", "-c", text, "sh", str(n)]} for n in range(8)]
    (lab.folder / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)) + "\n")
    for wire in wires:
        wire.cut_after(2_000_000)  # in the middle of our archive, or of the project
    running = lab.start("run", "tasks.jsonl", "--output", "out-*", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) == 4 or running.poll() is not None)
    assert all(wire.cuts == 1 for wire in wires)
    for wire in wires:
        wire.cut_after(3_000_000)  # in the middle of what a task has left
    (lab.ran.parent / "go").touch()
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert all(wire.cuts >= 2 for wire in wires)
    lab.run("results", "--files", "-o", "all")
    whole = (lab.folder / "big.bin").read_bytes()
    found = sorted((lab.folder / "all").rglob("out-*"))
    assert [path.name for path in found] == [f"out-{n}" for n in range(8)]
    assert all(path.read_bytes() == whole for path in found)


def test_a_full_disk_of_a_host_is_said_before_anything_runs_and_pauses_what_does(lab: Lab) -> None:
    home = lab.hosts.folder / "node1"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(home)], capture_output=True).returncode:
        pytest.skip("needs root, to mount a small disk")
    try:
        settings = lab.folder / "elsewhere.yaml"
        settings.write_text(settings.read_text().replace("node[1-2]", "node1"))
        fill(home)
        said = lab.run("run", lab.tasks(2), "--entry", "work:f", "--on", "lab", status=3)
        assert "node1" in said and "no space left" in said
        (home / "filler").unlink()
        running = lab.start("run", lab.tasks(200, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
        until(lambda: len(lab.attempts()) > 10)
        fill(home)
        time.sleep(1)  # some tasks end while nothing can be written
        (home / "filler").unlink()
        out, err = running.communicate(timeout=BOUND)
        assert running.returncode == 0, out + err
        assert len(lab.results()) == 200
    finally:
        for process in lab.agents():
            process.kill()
        subprocess.run(["umount", "-l", str(home)], check=True)


def fill(home: Path) -> None:
    with contextlib.suppress(OSError), (home / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    with contextlib.suppress(OSError), (home / "filler").open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass


@pytest.mark.soak
def test_hosts_that_have_done_all_they_had_wait_until_somebody_has_heard_of_it(lab: Lab) -> None:
    """Longer than an agent stays without work: gone, all that it did would be done again."""
    wires = [lab.hosts.wire(name) for name in ("node1", "node2")]
    running = lab.start("run", lab.tasks(40, seconds=0.3), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > 8)
    for wire in wires:
        wire.mute("out", "home")
    time.sleep(85)
    for wire in wires:
        wire.cut()
        wire.mute()
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert len(lab.results()) == 40
    assert set(lab.attempts().values()) == {1}
