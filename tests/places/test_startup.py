"""The quick start of Cloud Tasks with provider aws, as it is written, on the sandbox's machines: steps 2 to 6."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from elsewhere import session
from elsewhere.controller.distant import SCRIPTS
from elsewhere.ledger.allocations import allocations
from elsewhere.observe import results
from sandbox.cloud import Sandbox, sandbox, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORKER = '''
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, Tuple
from elsewhere.compat.cloud_tasks.worker import Worker, WorkerData

def process_task(task_id: str, task_data: Dict[str, Any], worker_data: WorkerData) -> Tuple[bool, Any]:
    """
    Process a task.
    """
    here = Path(__file__).parent
    print("doing", task_id, flush=True)
    if task_data.get("wait"):
        Path(task_data["wait"], f"began-{task_id}").touch()
        while not Path(task_data["wait"], "go").exists():
            time.sleep(0.05)
    if task_data.get("notice"):
        Path(task_data["notice"], f"began-{task_id}").touch()
        while not worker_data.received_termination_notice:
            time.sleep(0.05)
        return True, {"key": "was told", "spot": worker_data.is_spot}
    if task_data.get("again") and not (here / f"tried-{task_id}").exists():
        (here / f"tried-{task_id}").touch()
        return False, "not yet"
    return True, {
        "key": task_data.get("key1"), "dest": os.environ.get("MY_WORKER_DEST_BUCKET"), "cwd": os.getcwd(),
        "type": worker_data.instance_type, "slots": worker_data.num_simultaneous_tasks, "job": worker_data.job_id,
        "left": [name for name in os.environ if name.startswith("ELSEWHERE_AGENT_")],
    }

async def main():
    # These command line arguments are used to override environment variables when
    # specifying the behavior of the worker process manager.
    worker = Worker(process_task, args=sys.argv[1:])
    await worker.start()

if __name__ == "__main__":
    asyncio.run(main())
'''
SCRIPT = """
echo installing
cd
mkdir MY-REPO && cp REPO/my_worker.py MY-REPO
cd MY-REPO
export MY_WORKER_DEST_BUCKET=s3://my-bucket/results-4711
python3 my_worker.py
"""
CONFIG = """\
provider: aws
aws:
  job_id: my-processing-job
  startup_script_file: startup_script.sh
  max-instances: 5
  max-cpu: 8
  min-memory-per-cpu: 2  # GB
  max-total-price-per-hour: 1.00  # USD/hour
  instance-types: "c5\\\\."
"""


class Ran(NamedTuple):
    status: int
    out: str
    err: str


class Project:
    """A directory as the text has it, in which commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("my_worker.py", WORKER)
        self.write("startup_script.sh", SCRIPT.replace("REPO/", f"{folder}/"))
        self.write("myconfig.yml", CONFIG)
        self.write("my_tasks.json", json.dumps([{"task_id": f"task-{i}", "data": {"key1": i}} for i in range(6)]))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "elsewhere.compat.cloud_tasks", *words]

    def __call__(self, *words: str, native: bool = False) -> Ran:
        line = [sys.executable, "-m", "elsewhere", *words] if native else self.words(*words)
        done = subprocess.run(line, cwd=self.folder, capture_output=True, text=True, timeout=240, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def results(self, job: str = "my-processing-job") -> list[dict[str, Any]]:
        files = session.find(job)
        with closing(files.open()) as ledger:
            return [json.loads(line) for line in b"".join(results.write(ledger, files.store, "jsonl")).splitlines()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: the archive of our agent is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox() as cloud:
        for name in [name for name in os.environ if name.startswith(("ELSEWHERE_", "RMS_CLOUD_TASKS_"))]:
            monkeypatch.delenv(name)
        for name, value in {**cloud.variables, "ELSEWHERE_HOME": str(home)}.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder)


def patiently(true: Callable[[], Any], what: str) -> None:
    """As `until`, for what begins with a controller's start and a machine's boot."""
    for _ in range(3):
        with contextlib.suppress(AssertionError):
            until(true, what)
            return
    until(true, what)


def nothing_is_running(cloud: Sandbox) -> None:
    until(lambda: all(machine["state"] == "terminated" for machine in cloud.machines()), "every machine has ended")


def nothing_is_left(cloud: Sandbox) -> None:
    nothing_is_running(cloud)
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    s3 = cloud.client("s3")
    keys = [entry["Key"] for bucket in s3.list_buckets()["Buckets"]
            for entry in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])]  # fmt: skip
    assert all("/bundles/" in key for key in keys), keys


def test_the_quick_start_runs_as_it_is_written(cloud: Sandbox, project: Project) -> None:
    tasks = [{"task_id": f"task-{i}", "data": {"key1": i, "again": i == 3}} for i in range(8)]
    project.write("my_tasks.json", json.dumps(tasks))
    ran = project("run", "--config", "myconfig.yml", "--tasks", "my_tasks.json", "--output-file", "events.log")
    assert ran.status == 0, ran.err
    found = {row["task_id"]: row for row in project.results()}
    assert {name: row["result"]["key"] for name, row in found.items()} == {f"task-{i}": i for i in range(8)}
    assert found["task-3"]["attempt"] == 2
    said = found["task-1"]["result"]
    assert said["dest"] == "s3://my-bucket/results-4711"
    assert said["cwd"].endswith("/root/MY-REPO") and said["left"] == [] and said["job"] == "my-processing-job"
    assert said["type"].startswith("c5.") and said["slots"] >= 2
    assert "8 of 8 done" in ran.err and "spent $" in ran.err and "nothing left running" in ran.err
    events = [json.loads(line) for line in (project.folder / "events.log").read_text().splitlines()]
    assert sorted(event["task_id"] for event in events if not event["retry"]) == [f"task-{i}" for i in range(8)]
    nothing_is_left(cloud)
    orders = [str(instance.order) for instance in cloud.cloud.fleet.instances.values()]
    assert orders and not any("results-4711" in order for order in orders)
    output = b"".join(path.read_bytes() for path in session.find("my-processing-job").slots.rglob("*.out"))
    assert output.count(b"doing task-") == 9


@pytest.mark.parametrize(
    ("script", "said"),
    [("set -e\necho first\ncd /no/such/place\npython3 my_worker.py\n", "cd: /no/such/place"),
     pytest.param("echo first\npython3 no_such_worker.py\n", "no_such_worker.py", marks=pytest.mark.soak),
     pytest.param("echo first\necho I start nothing\n", "I start nothing", marks=pytest.mark.soak)],
)  # fmt: skip
def test_a_script_that_fails_shows_its_last_lines_and_leaves_nothing(
    cloud: Sandbox, project: Project, script: str, said: str
) -> None:
    project.write("startup_script.sh", script)
    project.write("my_tasks.json", '[{"task_id": "task-1", "data": {}}]')
    ran = project("run", "--config", "myconfig.yml", "--tasks", "my_tasks.json")
    assert ran.status == 1, ran.err
    [first] = [line for line in ran.err.splitlines() if line.startswith("It stopped: ")]
    assert "could boot; the last one said: startup script: it ended with status" in first
    quoted = [line for line in ran.err.splitlines() if line.startswith("  | ")]
    assert quoted[0] == "  | first" and said in quoted[-1]
    assert "0 of 1 done, 1 left" in ran.err and "nothing left running" in ran.err
    nothing_is_running(cloud)
    assert len(cloud.bill()["machines"]) == SCRIPTS
    told = project("explain", "my-processing-job", native=True).out
    assert said in told
    with closing(session.find("my-processing-job").open()) as ledger:
        assert all(one.reason.startswith("it could not boot: startup script: ") for one in allocations(ledger))
    assert project("delete_queue", "--config", "myconfig.yml", "--force").status == 0
    nothing_is_left(cloud)


def test_a_task_hears_that_its_spot_machine_is_taken_back_and_ends_in_time(
    cloud: Sandbox, project: Project, tmp_path: Path
) -> None:
    project.write("my_tasks.json", json.dumps([{"task_id": "task-1", "data": {"notice": str(tmp_path)}}]))
    words = ("run", "--config", "myconfig.yml", "--tasks", "my_tasks.json", "--use-spot")
    with subprocess.Popen(
        project.words(*words), cwd=project.folder, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            patiently(lambda: (tmp_path / "began-task-1").exists(), "the task runs")
            cloud.preempt(*[machine["id"] for machine in cloud.machines()], notice=120)
            assert running.wait(120) == 0
        finally:
            running.kill()
    [row] = project.results()
    assert (row["attempt"], row["result"]) == (1, {"key": "was told", "spot": True})
    nothing_is_left(cloud)


def test_stop_ends_the_machines_and_the_queue_stays(cloud: Sandbox, project: Project, tmp_path: Path) -> None:
    tasks = [{"task_id": f"task-{i}", "data": {"key1": i, "wait": str(tmp_path)}} for i in range(2)]
    project.write("my_tasks.json", json.dumps(tasks))
    with subprocess.Popen(
        project.words("run", "--config", "myconfig.yml", "--tasks", "my_tasks.json"), cwd=project.folder,
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        try:
            patiently(lambda: len(list(tmp_path.glob("began-*"))) == 2, "both tasks run")
            status = project("status", "--config", "myconfig.yml").out
            assert "i-" in status and "        2  handed out" in status
            assert project("stop", "--config", "myconfig.yml").status == 0
            assert running.wait(120) == 1
        finally:
            running.kill()
    nothing_is_running(cloud)
    assert "Queue my-processing-job: 2 tasks" in project("show_queue", "--config", "myconfig.yml").out
    (tmp_path / "go").touch()
    ran = project("run", "--config", "myconfig.yml", "--continue")
    assert ran.status == 0, ran.err
    assert [row["result"]["key"] for row in project.results()] == [0, 1]
    nothing_is_left(cloud)


def test_natively_a_place_may_have_the_script(cloud: Sandbox, project: Project) -> None:
    project.write("elsewhere.yaml", "places:\n  aws:\n    startup-script: startup_script.sh\n    limits: {budget: 1}\n")
    ran = project("run", "my_tasks.json", "--on", "aws", "--name", "native", "--machines", "1", native=True)
    assert ran.status == 0, ran.err
    assert [row["result"]["key"] for row in project.results("native")] == list(range(6))
    nothing_is_left(cloud)
