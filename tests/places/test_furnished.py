"""What machines of a place are furnished with: settings that ask, environments, files, logs. In the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.cloud import Sandbox, sandbox, until
from ship.wheels import wheel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: the archive of our agent is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox() as cloud:
        monkeypatch.setenv("ELSEWHERE_HOME", str(home))
        for name in ("AWS_PROFILE", "AWS_CONFIG_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in cloud.variables.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def elsewhere(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "elsewhere", *words], cwd=project, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def nothing_is_left(cloud: Sandbox) -> None:
    until(lambda: all(machine["state"] == "terminated" for machine in cloud.machines()), "every machine has ended")
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []


BETA = "import alpha\ndef main():\n    print('beta', alpha.VALUE)\n"
PLACE = "places:\n  cloud: {backend: aws, region: us-east-1, machine-types: 'c5.*', max-machines: 2, budget: 3}\n"


def test_a_job_of_settings_runs_with_its_environment_on_machines_that_its_place_asks_for(
    cloud: Sandbox, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "alpha", "1.0", "VALUE = 1\n")
    wheel(
        wheels, "beta", "1.5", "import alpha\ndef main():\n    print('beta', alpha.VALUE)\n", ["alpha<2"], program=True
    )
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    (project / "elsewhere.yaml").write_text(
        PLACE + "environments:\n  model: {pip: [beta], apt: [libgomp1], setup: 'cp \"$(command -v beta)\" mark'}\n"
        "default: {on: cloud, environment: model, machine-cpus: ..2}\n"
        "jobs:\n  list: {tasks: tasks.json, entry: 'work:look'}\n"
    )
    (project / "work.py").write_text(
        "import beta, os, sys\ndef look():\n    return [beta.alpha.VALUE, os.path.exists('mark'), sys.prefix]\n"
    )
    (project / "tasks.json").write_text(json.dumps([{"task_id": "t", "data": {}}]))
    ran = elsewhere(project, "run", "list", "--quiet")
    assert ran.returncode == 0, ran.stderr
    [row] = [json.loads(line) for line in elsewhere(project, "results", "list").stdout.splitlines()]
    assert row["result"][:2] == [1, True]
    assert row["result"][2].endswith("/environment")
    assert {machine["type"] for machine in cloud.machines()} == {"c5.large"}
    command = elsewhere(project, "run", "--quiet", "--", "beta")
    assert (command.returncode, command.stdout) == (0, "beta 1\n"), command.stderr
    nothing_is_left(cloud)


def test_a_setup_that_fails_is_said_in_its_own_last_lines_and_no_task_is_run(cloud: Sandbox, project: Path) -> None:
    (project / "elsewhere.yaml").write_text(
        PLACE + "environments:\n  broken: {setup: ['echo there is no compiler', 'exit 3']}\n"
        "default: {on: cloud, environment: broken}\n"
    )
    ran = elsewhere(project, "run", "--name", "x", "--", "echo", "never")
    assert ran.returncode != 0
    assert "It stopped: none of the last" in ran.stderr, ran.stderr
    assert "there is no compiler\n+ exit 3\nexit status 3" in ran.stderr and "never" not in ran.stdout, ran.stderr
    nothing_is_left(cloud)


def test_inputs_are_there_and_outputs_come_home(cloud: Sandbox, project: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "far.txt").write_text("of a site\n")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "near.txt").write_text("of here\n")
    (project / "own.txt").write_text("of the project\n")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    )  # fmt: skip
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (project / "elsewhere.yaml").write_text(
        PLACE + "jobs:\n  fit:\n    script: cat *.txt given/near.txt > all.out; mkdir plots; echo x > plots/a\n"
        f"    on: cloud\n    inputs: [../given, 'http://127.0.0.1:{server.server_port}/far.txt']\n"
        "    outputs: [all.out, plots]\n"
    )
    try:
        ran = elsewhere(project, "run", "fit", "--quiet")
    finally:
        server.shutdown()
        server.server_close()
    assert ran.returncode == 0, ran.stderr
    fetched = elsewhere(project, "results", "fit", "--files", "-o", "out")
    assert fetched.returncode == 0, fetched.stderr
    found = {str(p.relative_to(project / "out")): p.read_text() for p in (project / "out").rglob("*") if p.is_file()}
    assert found == {"1/all.out": "of a site\nof the project\nof here\n", "1/plots/a": "x\n"}
    nothing_is_left(cloud)
