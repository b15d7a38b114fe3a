"""Controllers that sit on another machine, behind a real sshd: put there, asked there, gone on with there."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hosts import sshd
from places.lab import Lab, until

pytestmark = [pytest.mark.needs("sshd", "ssh"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Hosts]:
    """What comes to them once stays there for all these tests."""
    with sshd.running(tmp_path_factory.mktemp("s"), "node1", "node2") as found:
        yield found


@pytest.fixture
def lab(tmp_path: Path, hosts: sshd.Hosts, far_home: Path) -> Iterator[Lab]:
    found = Lab(tmp_path, hosts, far_home / "cache")
    config = f'config: "{hosts.config}"'
    (found.folder / "elsewhere.yaml").write_text(
        f"places:\n  seat: {{backend: ssh, hosts: [node1], {config}}}\n"
        f"  lab: {{backend: ssh, hosts: [node2], slots: 2, {config}}}\n"
        f'default: {{env: {{RAN: "{found.ran}"}}}}\n'
    )
    yield found
    for one in [*controllers(found), *found.agents()]:
        one.kill()


def works(lab: Lab) -> set[str]:
    """The directories that jobs are run from there."""
    folder = lab.hosts.folder / "node1" / ".elsewhere" / "controller" / "work"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def controllers(lab: Lab) -> list[psutil.Process]:
    """Those that run on the host, by what they were started with there."""
    home = str(lab.hosts.folder / "node1" / ".elsewhere" / "controller")
    found = [(one, one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [one for one, words in found if "elsewhere.controller" in words and any(home in word for word in words)]


def test_a_job_goes_on_where_its_controller_sits_and_is_asked_from_here(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = works(lab)
    (lab.folder / "part.txt").write_text("of the project")
    text = 'cat part.txt; echo "$TOKEN $0"; while [ ! -e "$RAN/go" ]; do sleep 0.05; done; echo made >made.txt'
    (lab.folder / ".elsewhereignore").write_text("*.jsonl\n")
    lines = [{"task_id": f"t{n}", "command": ["sh", "-c", text, f"word {n}"]} for n in range(3)]
    (lab.folder / "tasks.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    monkeypatch.setenv("TOKEN", "s3cret")
    said = lab.run("run", "tasks.jsonl", "--controller", "seat", "--slots", "2", "--name", "far", "--detach",
                   "--secret", "TOKEN", "--output", "made.txt")  # fmt: skip
    assert "The controller of far sits on node1: this machine may go." in said
    assert len(controllers(lab)) == 1 and lab.agents() == []
    assert not any("s3cret" in str(one.info["cmdline"]) for one in psutil.process_iter(["cmdline"]))
    assert "far" in lab.run("jobs", "--state", "away")
    until(lambda: "running in 2 of 2 slots" in lab.run("status", "far"), "it is asked there")
    (lab.ran / "go").touch()
    assert "3 of 3 done" in lab.run("watch", "far")
    said = lab.run("logs", "far/t1")
    assert "of the project" in said and "word 1" in said and "s3cret" not in said
    lab.run("results", "far", "-o", "far.csv")
    assert (lab.folder / "far.csv").read_text().count("succeeded") == 3
    lab.run("results", "far", "--files", "-o", "brought")
    assert (lab.folder / "brought" / "far" / "t2" / "made.txt").read_text() == "made\n"
    until(lambda: not controllers(lab), "it leaves when all is over")
    lab.run("rm", "far")
    assert "there is no job" in lab.run("status", "far", status=2)
    assert works(lab) == before


def test_a_controller_that_died_there_goes_on_from_here_with_machines_of_another_place(lab: Lab) -> None:
    watching = lab.start("run", lab.tasks(80, seconds=0.05), "--entry", "work:f", "--controller", "seat",
                         "--on", "lab", "--quiet")  # fmt: skip
    until(lambda: len(lab.attempts()) > 5)
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 130 and "the job goes on" in err, out + err
    before = len(lab.attempts())
    until(lambda: len(lab.attempts()) > before + 5, "nobody here is needed for it")
    (controller,) = controllers(lab)
    controller.kill()
    until(lambda: not controllers(lab))
    assert "stopped" in lab.run("status")
    lab.run("resume", "--quiet")
    results = lab.results()
    assert len(results) == 80 and {one["state"] for one in results.values()} == {"succeeded"}
    assert set(lab.attempts().values()) == {1}, "hosts of that place tell the next controller what they did"
    assert "Cancelled" not in lab.run("cancel")


def test_one_command_has_its_output_and_its_status_here(lab: Lab) -> None:
    said = lab.run("run", "--controller", "seat", "--", "sh", "-c", "basename $HOME; echo bad >&2; exit 7", status=7)
    assert "node1\n" in said and "bad\n" in said


def test_what_is_wrong_is_said_before_anything_runs_there(lab: Lab) -> None:
    before = works(lab)
    said = lab.run("run", "nothing.jsonl", "--entry", "work:f", "--controller", "seat", status=2)
    assert "nothing.jsonl" in said
    assert works(lab) == before
    outside = lab.folder.parent / "outside.jsonl"
    outside.write_text('{"task_id": "t", "command": ["true"]}\n')
    said = lab.run("run", str(outside), "--controller", "seat", status=2)
    assert f"{outside} lies outside of {lab.folder}" in said
    said = lab.run("run", "-", "--controller", "seat", status=2)
    assert "standard input does not travel" in said
    said = lab.run("run", lab.tasks(1), "--entry", "work:f", "--controller", "local", status=2)
    assert "no controller can sit at local" in said
    assert "away" not in lab.run("jobs")
