"""What machines of a place are furnished with: settings that ask, environments, files, logs. In the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from elsewhere.model import ids
from elsewhere.model.job import JobSpec
from elsewhere.model.place import Limits
from sandbox.cloud import Sandbox, sandbox
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


def until(true: Callable[[], Any], what: str) -> Any:
    """The first true answer; fails after a generous while."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came true: {what}")


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
    assert "elsewhere: none of the last" in ran.stderr, ran.stderr
    last = [line.strip() for line in ran.stderr.splitlines()]
    assert {"there is no compiler", "+ exit 3", "exit status 3"} <= set(last) and "never" not in ran.stdout, ran.stderr
    for machine in cloud.machines():
        told = elsewhere(project, "logs", "x", "--machine", machine["id"][:8])
        assert "there is no compiler" in told.stdout, told.stderr
    until(lambda: all(machine["state"] == "terminated" for machine in cloud.machines()), "every machine has ended")


@pytest.mark.soak
def test_machines_on_which_something_failed_are_kept_to_be_looked_at_and_ended_at_a_word(
    cloud: Sandbox, project: Path
) -> None:
    (project / "elsewhere.yaml").write_text(
        PLACE + "environments:\n  broken: {setup: ['echo there is no compiler', 'exit 3']}\n"
        "default: {on: cloud, keep-on-failure: 30m, machine-cpus: ..2}\n"
    )
    ran = elsewhere(project, "run", "--name", "x", "--", "sh", "-c", "exit 4")
    assert ran.returncode == 4, ran.stderr
    assert "is kept for 30m" in ran.stderr and "nothing left running" not in ran.stderr
    [machine] = cloud.machines()
    assert f"  {machine['id']} is kept until" in ran.stderr, ran.stderr
    assert machine["state"] == "running"
    assert "elsewhere: kept for" in elsewhere(project, "logs", "x", "--machine", machine["id"]).stdout
    ended_at_a_word(cloud, project, "x", "is ended and put away")

    ran = elsewhere(project, "run", "--name", "y", "--environment", "broken", "--machines", "1", "--", "true")
    assert ran.returncode != 0 and "there is no compiler" in ran.stderr, ran.stderr
    [kept] = [one for one in cloud.machines() if one["state"] == "running"]
    assert f"{kept['id']} is kept until" in ran.stderr
    ended_at_a_word(cloud, project, "y", "what ran is being stopped")


def ended_at_a_word(cloud: Sandbox, project: Path, job: str, told: str) -> None:
    """By a controller of its own, which also puts away what the job had."""
    said = elsewhere(project, "cancel", job)
    assert (said.returncode, told in said.stdout) == (0, True), said
    until(lambda: cloud.client("sqs").list_queues().get("QueueUrls", []) == [], "the queues are gone")
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
    assert found == {"fit/1/all.out": "of a site\nof the project\nof here\n", "fit/1/plots/a": "x\n"}
    nothing_is_left(cloud)


@pytest.mark.soak
def test_a_machine_whose_archives_cannot_be_fetched_sends_what_its_boot_has_said(
    cloud: Sandbox, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elsewhere import aws, session
    from elsewhere.controller import freight
    from elsewhere.model.job import Entry
    from elsewhere.model.task import NewTask
    from places.test_aws import shape

    aws.forget()
    put = freight.put
    monkeypatch.setattr(freight, "put", lambda store, packed: put(store, packed) or store.put(packed.key, b"forged"))
    spec = JobSpec(
        ids.new("job"), "x", Entry("command", command=("true",)), place="aws", channel="sqs", slots=1,
        machines=(shape(),), limits=Limits(budget=Decimal(5)), python=sys.executable, cwd=str(project),
    )  # fmt: skip
    files = session.create(spec, [NewTask("1", b"null")])
    assert session.run_here(files).ended == 0
    native = cloud.machines()[0]["id"]
    said = session.boot_log(files, native)
    assert (files.boots / native).read_bytes() == said
    assert b"could not be fetched" in said
    aws.forget()


SLOW = """
import os, time
from pathlib import Path
def wait(mark):
    if not mark:
        return
    print("begun", flush=True)
    Path(mark, "draft").write_text(str(os.getpid()))
    Path(mark, "draft").rename(Path(mark, "began"))
    while not Path(mark, "go").exists():
        time.sleep(0.05)
"""


def test_a_task_beside_short_ones_is_followed_and_cancelled_within_seconds(
    cloud: Sandbox, project: Path, tmp_path: Path
) -> None:
    """Who does short work looks at its orders each half minute, and is called. The bounds are a busy machine's."""
    (project / "work.py").write_text(SLOW)
    (project / "elsewhere.yaml").write_text(PLACE + "default: {on: cloud}\n")
    tasks = [{"task_id": f"short-{k}", "data": {"mark": ""}} for k in range(8)]
    (project / "tasks.json").write_text(json.dumps([*tasks, {"task_id": "t", "data": {"mark": str(tmp_path)}}]))
    ran = elsewhere(
        project, "run", "tasks.json", "--entry", "work:wait", "--name", "slow", "--machines", "1", "--detach", "--quiet"
    )
    assert ran.returncode == 0, ran.stderr
    until(lambda: (tmp_path / "began").exists(), "the task runs")
    words = [sys.executable, "-m", "elsewhere", "logs", "-f", "slow/t"]
    began = time.monotonic()
    follower = subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE)
    try:
        assert follower.stdout is not None and follower.stdout.readline() == b"begun\n"
        followed = time.monotonic() - began
        [machine] = cloud.machines()
        told = elsewhere(project, "logs", "slow", "--machine", machine["id"])
        assert told.returncode == 0, told.stderr
        process, began = int((tmp_path / "began").read_text()), time.monotonic()
        assert elsewhere(project, "cancel", "slow/t").returncode == 0
        until(lambda: not psutil.pid_exists(process), "the task is gone")
        cancelled = time.monotonic() - began
    finally:
        follower.kill()
        follower.communicate()
    print(f"followed after {followed:.1f} s, gone after {cancelled:.1f} s")
    assert followed < 25 and cancelled < 25
    elsewhere(project, "cancel", "slow")
    assert "nothing left running" in elsewhere(project, "watch", "slow").stderr  # so long it is watched
    nothing_is_left(cloud)


def test_a_task_gets_the_gpu_of_its_machine_and_a_broken_driver_is_a_boot_failure(
    cloud: Sandbox, project: Path
) -> None:
    cloud.quota("g", 64)
    cloud.fault("nvidia-smi", "error")
    (project / "elsewhere.yaml").write_text(PLACE.replace("c5.*", "g4dn.xlarge") + "default: {on: cloud, gpus: 1}\n")
    ran = elsewhere(project, "run", "--name", "x", "--", "sh", "-c", 'echo "has $CUDA_VISIBLE_DEVICES"; nvidia-smi -L')
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "has 0"
    assert "T4" in ran.stdout
    first, *_ = machines = cloud.machines()
    assert len(machines) == 2, "the first had a broken driver"
    told = elsewhere(project, "logs", "x", "--machine", first["id"])
    assert "NVIDIA-SMI has failed" in told.stdout, told.stderr
    image = cloud.client("ec2").describe_instances(InstanceIds=[first["id"]])["Reservations"][0]["Instances"][0]
    [found] = cloud.client("ec2").describe_images(ImageIds=[image["ImageId"]])["Images"]
    assert "Nvidia Driver" in found["Name"]
    nothing_is_left(cloud)
