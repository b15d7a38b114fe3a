"""Jobs on hosts behind a real sshd, by the command: broken connections, controllers that die, hosts that restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from places.lab import BOUND, Lab, laboratory, until

pytestmark = [pytest.mark.needs("sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def lab(tmp_path: Path, far_home: Path) -> Iterator[Lab]:
    with laboratory(tmp_path, far_home / "cache", "node1", "node2") as found:
        yield found


def test_a_list_runs_on_all_hosts_and_all_of_it_comes_home(lab: Lab) -> None:
    lab.run("run", lab.tasks(60, size=70_000, hosts=True), "--entry", "work:f", "--on", "lab", "--quiet")
    results = lab.results()
    assert len(results) == 60 and all(one["state"] == "succeeded" for one in results.values())
    values = [one["result"] for one in results.values()]
    assert {value["home"] for value in values if isinstance(value, dict)} == {"node1", "node2"}
    assert all(len(value["text"]) == 70_000 for value in values if isinstance(value, dict))
    assert set(lab.attempts().values()) == {1}
    assert "task 7" in lab.run("logs", "@last/t7")
    assert lab.agents() == []
    for name in ("node1", "node2"):
        ours = lab.hosts.folder / name / ".elsewhere"
        assert list((ours / "machines").iterdir()) == [] and list((ours / "jobs").iterdir()) == []


def test_a_connection_that_breaks_loses_nothing_and_runs_nothing_twice(lab: Lab) -> None:
    running = lab.start("run", lab.tasks(400, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > 20)
    lab.hosts.stop("node1")
    before = len(lab.attempts())
    until(lambda: len(lab.attempts()) > before + 40, "tasks go on while a host is not reached")
    lab.hosts.start("node1")
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert len(lab.results()) == 400
    assert set(lab.attempts().values()) == {1}


def test_hosts_that_nobody_reaches_go_on_with_what_lies_ahead(lab: Lab) -> None:
    running = lab.start("run", lab.tasks(900, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > 150)
    for name in ("node1", "node2"):
        lab.hosts.stop(name)
    before = len(lab.attempts())
    until(lambda: len(lab.attempts()) > before + 100, "there is work for the time of an outage")
    for name in ("node1", "node2"):
        lab.hosts.start(name)
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert len(lab.results()) == 900
    assert set(lab.attempts().values()) == {1}


def test_connections_that_are_reset_in_the_middle_of_a_message_lose_nothing(lab: Lab) -> None:
    """As long as it works without a word of it, it also works in the middle of one."""
    wires = [lab.hosts.wire(name) for name in ("node1", "node2")]
    running = lab.start("run", lab.tasks(400, seconds=0.05, size=2_000), "--entry", "work:f", "--on", "lab", "--quiet")
    for k in range(3):
        until(lambda k=k: len(lab.attempts()) > 40 + 80 * k)  # type: ignore[misc]
        for count, wire in enumerate(wires, 1):
            wire.cut_after(3_001 * count)
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert all(wire.cuts >= 2 for wire in wires)
    assert len(lab.results()) == 400
    assert set(lab.attempts().values()) == {1}


@pytest.mark.parametrize(
    ("ways", "seconds"),
    [(("home",), 15), pytest.param(("out",), 20, marks=pytest.mark.soak),
     pytest.param(("out", "home"), 60, marks=pytest.mark.soak),
     pytest.param(("out", "home"), 600, marks=[pytest.mark.soak, pytest.mark.timeout(1500)])],
)  # fmt: skip
def test_a_wire_that_is_silent_for_a_while_idles_nobody_and_runs_nothing_twice(
    lab: Lab, ways: tuple[str, ...], seconds: int
) -> None:
    """Longer than three signs of life are waited for: the connection is given up, and made again when it can be."""
    count = 60 * seconds
    wires = [lab.hosts.wire(name) for name in ("node1", "node2")]
    running = lab.start("run", lab.tasks(count, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > min(count // 5, 1000))
    for wire in wires:
        wire.mute(*ways)
    before = len(lab.attempts())
    time.sleep(seconds)
    assert len(lab.attempts()) > before + count // 10, "there is work for the time of an outage"
    for wire in wires:
        wire.cut()
        wire.mute()
    out, err = running.communicate(timeout=BOUND + seconds)
    assert running.returncode == 0, out + err
    assert len(lab.results()) == count
    assert set(lab.attempts().values()) == {1}


def test_a_controller_that_is_killed_leaves_the_hosts_at_work_and_resume_finds_them(lab: Lab) -> None:
    running = lab.start("run", lab.tasks(300, seconds=0.05), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > 10)
    running.kill()
    running.communicate()
    assert lab.agents(), "agents outlive their controller"
    lab.run("resume", "--quiet")
    assert len(lab.results()) == 300
    assert set(lab.attempts().values()) == {1}, "what they had in hand they report to the next one"
    assert lab.agents() == []


def test_what_a_host_had_in_hand_when_it_was_restarted_is_done_again(lab: Lab) -> None:
    running = lab.start("run", lab.tasks(60, seconds=0.5), "--entry", "work:f", "--on", "lab", "--quiet")
    until(lambda: len(lab.attempts()) > 8)
    one = lab.agents()[0]
    group = os.getpgid(one.pid)
    os.killpg(group, signal.SIGKILL)  # its shell and its switch, its agent and its slots, as a restart does
    out, err = running.communicate(timeout=BOUND)
    assert running.returncode == 0, out + err
    assert all(found["state"] == "succeeded" for found in lab.results().values())
    assert sum(lab.attempts().values()) <= 60 + 60 // 2
    assert lab.agents() == []


def test_of_a_folder_that_changed_only_that_travels_and_no_task_changes_what_others_find(lab: Lab) -> None:
    data, store = lab.folder / "data", lab.hosts.folder / "node1" / ".elsewhere" / "cache" / "unpacked"
    data.mkdir()
    for k in range(50):
        (data / f"{k}.dat").write_text(f"of {k}")
    (lab.folder / "elsewhere.yaml").write_text(
        f'places:\n  one: {{backend: ssh, hosts: [node1], slots: 1, config: "{lab.hosts.config}"}}\n'
    )
    spoils = "cat data/*.dat | sha256sum; chmod 600 data/*; for one in data/*; do echo spoilt >$one; done"

    def run() -> str:
        return lab.run("run", "--on", "one", "--quiet", "--input", "data", "--", "sh", "-c", spoils)

    def trees() -> list[Path]:
        return sorted((path.parent for path in store.glob("*/.sums")), key=lambda path: path.stat().st_mtime)

    first = run()
    assert len(trees()) == 1
    (data / "7.dat").write_text("changed")
    changed = run()
    old, new = trees()
    assert changed != first and (new / "data/7.dat").read_text() == "changed"
    links = {k: (new / f"data/{k}.dat").stat().st_ino == (old / f"data/{k}.dat").stat().st_ino for k in range(50)}
    assert [k for k, same in links.items() if not same] == [7], "the others are those that were there"
    (new / "data/8.dat").chmod(0o600)
    (new / "data/8.dat").write_text("damaged")
    assert run() == changed, "it is seen, and brought again"


def test_functions_of_a_program_run_there(lab: Lab, tmp_path: Path) -> None:
    (lab.folder / "calls.py").write_text(
        "import os\nfrom elsewhere import remote\n"
        "@remote(on='lab')\ndef where(x, blob=b''):\n    return x, len(blob), os.path.basename(os.environ['HOME'])\n"
        "if __name__ == '__main__':\n"
        "    print(where(1), where(2, b'x' * 3_000_000))\n"
        "    try:\n        @remote(on='lab')\n        def bad():\n            raise KeyError('gone')\n"
        "        bad()\n    except KeyError as error:\n        print('KeyError', error)\n"
    )
    env = {**os.environ, "ELSEWHERE_HOME": str(lab.home)}
    done = subprocess.run([sys.executable, "calls.py"], cwd=lab.folder, env=env, capture_output=True, text=True,
                          timeout=BOUND, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(1, 0, 'node" in done.stdout and "(2, 3000000, 'node" in done.stdout
    assert "KeyError 'gone'" in done.stdout
    left = [str(path) for node in ("node1", "node2") for path in (lab.hosts.folder / node).glob(".elsewhere/jobs/*")]
    assert (left, lab.agents()) == ([], []), "what they left there goes with the program"


def test_hosts_that_cannot_be_used_are_named_before_anything_is_made(lab: Lab) -> None:
    settings = lab.folder / "elsewhere.yaml"
    settings.write_text(settings.read_text().replace("node[1-2]", "nowhere.invalid"))
    said = lab.run("run", lab.tasks(2), "--entry", "work:f", "--on", "lab", status=3)
    assert "there is no host nowhere.invalid" in said
    assert not list((lab.home / "jobs").glob("job-*"))


def test_a_job_of_the_file_runs_there_and_what_each_combination_leaves_comes_home(lab: Lab) -> None:
    (lab.folder / "lib").mkdir()
    (lab.folder / "lib" / "part.py").write_text("VALUE = 'of lib'\n")
    (lab.folder / "input.dat").write_text("of input")
    (lab.folder / "fit.py").write_text(
        "import os, sys\nfrom lib.part import VALUE\n"
        "with open(f'out-{sys.argv[1]}.dat', 'w') as file:\n"
        "    print(sys.argv[1:], VALUE, open('input.dat').read(), os.environ['W'], file=file)\n"
        "print('on', os.path.basename(os.environ['HOME']))\n"
    )
    with (lab.folder / "elsewhere.yaml").open("a") as file:
        file.write(
            "jobs:\n  fit:\n    script: fit.py {seed} '{word}'\n    inputs: [lib/, input.dat]\n"
            "    outputs: ['out-{seed}.dat']\n    env: {W: '{word}'}\n"
            "    matrix: {seed: [1, 2, 3], word: [x, \"a 'b' $(c)\"]}\n"
            "  none: {script: fit.py 9, env: {W: w}, outputs: [never.dat]}\n"
        )
    lab.run("run", "fit", "--on", "lab", "--quiet")
    lab.run("results", "fit", "--files", "-o", "results")
    found = {str(p.relative_to(lab.folder)): p.read_text() for p in lab.folder.glob("results/*/*/*")}
    assert len(found) == 6
    assert found["results/fit/3/out-2.dat"] == "['2', 'x'] of lib of input x\n"
    assert found["results/fit/6/out-3.dat"] == "['3', \"a 'b' $(c)\"] of lib of input a 'b' $(c)\n"
    assert "on node" in lab.run("logs", "fit/6")
    said = lab.run("run", "none", "--on", "lab", status=None)
    assert "it left no never.dat" in said
    assert lab.agents() == []
