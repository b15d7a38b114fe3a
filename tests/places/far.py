"""Jobs on the sandbox's machines, for tests of faults: made by hand, run here or in a process that may die, and judged
by the sandbox's own books: its fleet and its bill, which no code of the product writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere import session
from elsewhere.ledger.allocations import allocations
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Limits, Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.task import NewTask
from elsewhere.observe import results
from elsewhere.sandbox.fleet import Instance
from elsewhere.session import JobFiles
from sandbox.cloud import Sandbox, sandbox, until

HERE = Path(__file__).parent
DYING = HERE / "dying.py"
WORK = """
import os, socket, time
from pathlib import Path
def machine():
    return os.environ.get("HOSTNAME", "")
def square(x):
    return {"x": x * x, "on": machine()}
def nap(x, seconds):
    time.sleep(seconds)
    return {"x": x, "on": machine()}
def wait(x, place):
    place = Path(place)
    (place / f"began-{x}-{machine()}-{os.getpid()}").touch()
    while not (place / "go").exists():
        time.sleep(0.02)
    (place / f"done-{x}-{machine()}-{os.getpid()}").touch()
    return {"x": x, "on": machine()}
"""


@contextmanager
def world(home: Path, **words: Any) -> Iterator[Sandbox]:
    """A sandbox that this process, and those it starts, take for AWS. `words`: as `sandbox` takes them."""
    from elsewhere import aws

    with sandbox(**words) as cloud, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELSEWHERE_HOME", str(home))
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, str(home / "nothing"))
        for name, value in cloud.variables.items():
            patch.setenv(name, value)
        aws.forget()
        try:
            yield cloud
        finally:
            aws.forget()


def shape(slots: int = 2, spot: bool = False, most: int | None = None, zone: str = "us-east-1a") -> Shape:
    return Shape(Offer("c5.large", Resources(2, 4 << 30), zone, Decimal("0.085"), spot), slots, most, "")


def make(
    project: Path, function: str, tasks: Sequence[dict[str, Any]], *shapes: Shape, slots: int = 2, **more: Any
) -> JobFiles:
    """A job of these tasks, `slots` at a time; nothing is launched."""
    project.mkdir(exist_ok=True)
    (project / "work.py").write_text(WORK)
    entry = Entry("function", f"{project / 'work.py'}:{function}", name=function)
    more.setdefault("limits", Limits(budget=Decimal(5)))
    spec = JobSpec(
        ids.new("job"), function, entry, place="aws", channel="sqs", slots=slots, machines=shapes or (shape(),),
        python=sys.executable, cwd=str(project), **more,
    )  # fmt: skip
    return session.create(spec, [NewTask(f"t{i}", json.dumps(data).encode()) for i, data in enumerate(tasks)])


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "elsewhere", *words]


def dying(files: JobFiles, flow: str, point: str = "") -> subprocess.CompletedProcess[str]:
    """A controller's process that dies by SIGKILL at this point, if it comes there (dying.py)."""
    words = [sys.executable, str(DYING), flow, files.id, point]
    return subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, env=dict(os.environ))


def resume(files: JobFiles) -> subprocess.CompletedProcess[str]:
    """As a user would."""
    words = command("resume", files.id, "--quiet")
    return subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, env=dict(os.environ))


# --- the books -----------------------------------------------------------------------------------------------------


def told(files: JobFiles) -> list[dict[str, Any]]:
    with closing(files.open()) as ledger:
        text = b"".join(results.write(ledger, files.store, "jsonl"))
    return [json.loads(line) for line in text.splitlines()]


def billed(cloud: Sandbox, files: JobFiles) -> list[Instance]:
    """Every machine that the cloud has ever started for this job."""
    return [i for i in cloud.cloud.fleet.known() if i.tags.get("elsewhere:job") == files.id]


def at_once(machines: Sequence[Instance]) -> int:
    """How many of them lived at the same time, at most."""
    moments = [(i.launched, 1) for i in machines] + [(i.at("shutting-down") or float("inf"), -1) for i in machines]
    alive = most = 0
    for _, change in sorted(moments):
        alive += change
        most = max(most, alive)
    return most


def nothing_is_left(cloud: Sandbox, files: JobFiles) -> None:
    """No machine, no queue, and of the bucket only archives that the next job will find."""
    until(lambda: all(i.move.state == "terminated" for i in billed(cloud, files)), "every machine has ended")
    queues = cloud.client("sqs").list_queues().get("QueueUrls", [])
    assert [url for url in queues if files.id in url] == []
    s3 = cloud.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        found = s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
        assert [entry["Key"] for entry in found if files.id in entry["Key"]] == []


def nobody_is_forgotten(cloud: Sandbox, files: JobFiles) -> None:
    """The ledger knows each machine that is on the bill, and claims none that is not."""
    with closing(files.open()) as ledger:
        known = Counter(a.native for a in allocations(ledger) if a.native)
    assert known == Counter(i.id for i in billed(cloud, files))


def recorded_once(files: JobFiles, tasks: int) -> None:
    rows = told(files)
    assert sorted(row["task_id"] for row in rows) == sorted(f"t{i}" for i in range(tasks))
    assert {row["state"] for row in rows} == {"succeeded"}
    with closing(files.open()) as ledger:
        counts = ledger.count()
    assert (counts.succeeded, counts.total, counts.over, counts.retries) == (tasks, tasks, True, 0)
