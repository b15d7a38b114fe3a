"""What machines of a place are furnished with: settings that ask, environments, files, logs. In the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
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


PLACE = "places:\n  cloud: {backend: aws, region: us-east-1, machine-types: 'c5.*', max-machines: 2, budget: 3}\n"


def test_a_job_of_settings_runs_with_its_environment_on_machines_that_its_place_asks_for(
    cloud: Sandbox, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "alpha", "1.0", "VALUE = 1\n")
    wheel(wheels, "beta", "1.5", "import alpha\ndef main():\n    print('beta', alpha.VALUE)\n", ["alpha<2"], program=True)
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
    assert "there is no compiler" in ran.stderr and "never" not in ran.stdout, ran.stderr
    nothing_is_left(cloud)
