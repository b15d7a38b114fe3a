"""Jobs on machines of AWS, as the sandbox has them: real processes that boot our text, behind the real API."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere import session
from elsewhere.controller import distant
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Limits, Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.task import NewTask
from elsewhere.observe import results
from elsewhere.session import JobFiles
from sandbox.cloud import Sandbox, sandbox, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORK = """
import os, sys, time
def square(x):
    print("squared", x, flush=True)
    return {"x": x * x, "where": os.getcwd()}
def large(x):
    return "y" * x
def whisper(x):
    return {"told": os.environ["TOKEN"][::-1]}
def wait(x):
    from pathlib import Path
    mark = Path(x)
    (mark / f"began-{os.getpid()}").touch()
    with (mark / "runs").open("a") as runs:
        print("once", file=runs)
    while not (mark / "go").exists():
        time.sleep(0.05)
    return "done"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: the archive of our agent is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cloud(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox() as cloud:
        monkeypatch.setenv("ELSEWHERE_HOME", str(home))
        for name in ("AWS_PROFILE", "AWS_CONFIG_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in cloud.variables.items():
            monkeypatch.setenv(name, value)
        from elsewhere import aws

        aws.forget()
        yield cloud
        aws.forget()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    return folder


def shape(slots: int = 2, spot: bool = False, most: int | None = None, zone: str = "us-east-1a") -> Shape:
    return Shape(Offer("c5.large", Resources(2, 4 << 30), zone, Decimal("0.085"), spot), slots, most, "")


def job(
    project: Path, function: str, tasks: list[dict[str, Any]], *shapes: Shape, slots: int = 2, **more: Any
) -> JobFiles:
    spec = JobSpec(
        ids.new("job"), function, Entry("function", f"{project / 'work.py'}:{function}", name=function), place="aws",
        channel="sqs", slots=slots, machines=shapes or (shape(),), limits=Limits(budget=Decimal(5)),
        python=sys.executable, cwd=str(project), **more,
    )  # fmt: skip
    return session.create(spec, [NewTask(f"t{i}", json.dumps(data).encode()) for i, data in enumerate(tasks)])


def told(files: JobFiles) -> list[dict[str, Any]]:
    with closing(files.open()) as ledger:
        text = b"".join(results.write(ledger, files.store, "jsonl"))
    return [json.loads(line) for line in text.splitlines()]


def nothing_is_left(cloud: Sandbox) -> None:
    until(lambda: all(machine["state"] == "terminated" for machine in cloud.machines()), "every machine has ended")
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []


def test_a_list_runs_on_a_machine_and_leaves_nothing(cloud: Sandbox, project: Path) -> None:
    files = job(project, "square", [{"x": i} for i in range(50)])
    counts = session.run_here(files)
    assert (counts.succeeded, counts.total) == (50, 50)
    found = told(files)
    assert {row["task_id"]: row["result"]["x"] for row in found} == {f"t{i}": i * i for i in range(50)}
    assert all(row["result"]["where"].startswith(str(cloud.cloud.directory)) for row in found)
    nothing_is_left(cloud)
    assert len(cloud.bill()["machines"]) == 1
    bucket = cloud.client("s3")
    [name] = [b["Name"] for b in bucket.list_buckets()["Buckets"]]
    left = [o["Key"] for o in bucket.list_objects_v2(Bucket=name).get("Contents", [])]
    assert all("/bundles/" in key for key in left), left
    output = b"".join(path.read_bytes() for path in sorted(files.slots.rglob("*.out")))
    assert output.count(b"squared") == 50


def test_large_results_come_home(cloud: Sandbox, project: Path) -> None:
    files = job(project, "large", [{"x": 300_000}, {"x": 3}])
    assert session.run_here(files).succeeded == 2
    assert [len(row["result"]) for row in told(files)] == [300_000, 3]


def test_a_secret_reaches_the_task_and_nothing_else(
    cloud: Sandbox, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "planted-secret-4711")
    files = job(project, "whisper", [{"x": 1}], secrets={"TOKEN": "env:PLANTED"})
    seen: list[bytes] = []
    s3, put = cloud.client("s3"), distant.Crowd.turn

    def look(self: Any, wait: float) -> None:
        put(self, wait)
        for bucket in s3.list_buckets()["Buckets"]:
            for entry in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                if "/jobs/" in entry["Key"]:
                    seen.append(
                        entry["Key"].encode() + s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()
                    )

    monkeypatch.setattr(distant.Crowd, "turn", look)
    assert session.run_here(files).succeeded == 1
    assert told(files)[0]["result"]["told"] == "planted-secret-4711"[::-1]
    [machine] = cloud.cloud.fleet.instances.values()
    assert seen and not any(b"planted-secret" in part for part in seen)
    assert "planted-secret" not in str(machine.order) + machine.machine.console().decode(errors="replace")
    assert b"planted-secret" not in files.ledger.read_bytes()


def test_a_machine_that_is_taken_back_gives_its_work_to_another(cloud: Sandbox, project: Path, tmp_path: Path) -> None:
    files = job(project, "wait", [{"x": str(tmp_path)}, {"x": str(tmp_path)}], shape(spot=True))
    process = detached(files)
    try:
        until(lambda: len(list(tmp_path.glob("began-*"))) == 2, "both tasks run")
        [first] = [m["id"] for m in cloud.machines()]
        cloud.preempt(first, notice=17)
        until(lambda: len(list(tmp_path.glob("began-*"))) == 4, "both tasks run again")
        (tmp_path / "go").touch()
        assert process.wait(120) == 0
    finally:
        process.kill()
    assert [(row["state"], row["attempt"]) for row in told(files)] == [("succeeded", 2)] * 2
    nothing_is_left(cloud)


def test_killing_the_controller_loses_nothing_and_resume_goes_on(cloud: Sandbox, project: Path, tmp_path: Path) -> None:
    files = job(project, "wait", [{"x": str(tmp_path)} for _ in range(4)])
    process = detached(files)
    until(lambda: len(list(tmp_path.glob("began-*"))) == 2, "two tasks run")
    process.kill()
    process.wait()
    (tmp_path / "go").touch()
    counts = session.run_here(files)
    assert (counts.succeeded, counts.total) == (4, 4)
    # What nobody took for seconds after a takeover may go out under its next number, and nothing is begun twice.
    assert max(row["attempt"] for row in told(files)) <= 2
    assert (tmp_path / "runs").read_text().count("once") == 4
    assert len(cloud.bill()["machines"]) == 1
    nothing_is_left(cloud)


def test_who_cannot_prove_to_be_our_machine_is_not_believed(cloud: Sandbox, project: Path, tmp_path: Path) -> None:
    """Somebody who may write the bucket and the queues says that a task succeeded."""
    from datetime import UTC, datetime

    from elsewhere.channels.frames import pack_reports, seal
    from elsewhere.channels.parcels import Parcel, wrap
    from elsewhere.model.reports import Ended, Form
    from elsewhere.model.states import Outcome
    from elsewhere.ship.letters import Keys
    from elsewhere.stores import MemoryStore

    files = job(project, "wait", [{"x": str(tmp_path)}])
    process = detached(files)
    try:
        until(lambda: list(tmp_path.glob("began-*")), "the task runs")
        [machine] = [m["id"] for m in cloud.machines()]
        queues = cloud.client("sqs")
        [url] = [u for u in queues.list_queues()["QueueUrls"] if u.endswith("-reports")]
        report = Ended(
            1, 1, Outcome.SUCCEEDED, datetime.now(UTC).timestamp(), 0.0, Form.JSON, b'"forged"', agent=machine
        )
        forged = seal(Keys(), f"reports of {files.id}", pack_reports([report]))
        queues.send_message(QueueUrl=url, MessageBody=wrap(Parcel("f1", forged, by=machine), MemoryStore()))
        (tmp_path / "go").touch()
        assert process.wait(120) == 0
    finally:
        process.kill()
    assert [row["result"] for row in told(files)] == ["done"]


def detached(files: JobFiles) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "elsewhere", "resume", files.id, "--quiet"]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)


def test_the_ledger_tells_what_became_of_each_machine(cloud: Sandbox, project: Path) -> None:
    cloud.stock("c5.large", 0, "us-east-1a")
    files = job(project, "square", [{"x": 1}], shape(), shape(zone="us-east-1b"))
    assert session.run_here(files).succeeded == 1
    with closing(files.open()) as ledger:
        refused = [event for event in ledger.events() if "InsufficientInstanceCapacity" in str(event)]
    assert refused
    assert [m["zone"] for m in cloud.machines()] == ["us-east-1b"]


CALLS = """
import sys
from elsewhere import remote

@remote(on="aws", slots=2, budget=1)
def double(x):
    return x + x

if __name__ == "__main__":
    print(double([1, 2]), list(double.map(range(5))), len(double(b"x" * 200_000)))
    try:
        double(object())
    except TypeError as error:
        print(type(error).__name__)
"""


def test_a_function_is_called_there_with_arguments_of_any_size(cloud: Sandbox, project: Path) -> None:
    (project / "calls.py").write_text(CALLS)
    done = subprocess.run(
        [sys.executable, "calls.py"], cwd=project, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout.splitlines() == ["[1, 2, 1, 2] [0, 2, 4, 6, 8] 400000", "TypeError"], done.stderr
    nothing_is_left(cloud)


def test_one_command_there_has_its_own_output_and_exit_status(cloud: Sandbox, project: Path) -> None:
    words = [sys.executable, "-m", "elsewhere", "run", "--on", "aws", "--budget", "1", "--", "sh", "-c"]
    done = subprocess.run(
        [*words, 'echo "here: $0"; echo oh >&2; exit 7', "it"], cwd=project, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (7, "here: it\n"), done.stderr
    assert "oh\n" in done.stderr
    assert "  spent $" in done.stderr and "  nothing left running\n" in done.stderr
    nothing_is_left(cloud)
