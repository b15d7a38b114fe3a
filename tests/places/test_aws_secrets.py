"""A secret of a task is in its environment and nowhere else: not where others may look, while it runs or afterwards."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psutil
import pytest

from cli.command import Shell, end
from elsewhere.sandbox.sqs import Queues
from places.far import world
from sandbox.cloud import Sandbox, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PLANTED = "planted-secret-4711"
WORK = """
import os, time
from pathlib import Path
def whisper(place):
    Path(place, "runs").touch()
    while not Path(place, "go").exists():
        time.sleep(0.02)
    print("the token is known:", os.environ["TOKEN"], flush=True)
    return os.environ["TOKEN"][::-1]
"""


def argument_lists() -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def stored(cloud: Sandbox) -> list[bytes]:
    """Names and contents of all objects of all buckets."""
    s3, found = cloud.client("s3"), list[bytes]()
    for bucket in s3.list_buckets()["Buckets"]:
        for entry in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            found.append(entry["Key"].encode())
            if "/bundles/" not in entry["Key"]:  # archives of packages and of the project's files
                with closing(s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"]) as body:
                    found.append(body.read())
    return found


def queued(cloud: Sandbox) -> list[str]:
    queues = cloud.cloud.front.services["sqs"]
    assert isinstance(queues, Queues)
    return [message.body for queue in queues._queues.values() for message in queue._messages.values()]


def test_a_secret_is_in_the_environment_of_its_task_and_nowhere_else(far_home: Path, tmp_path: Path) -> None:
    with world(far_home) as cloud:
        shell = Shell(tmp_path)
        shell.env |= {**cloud.variables, "ELSEWHERE_HOME": str(far_home), "KEPT": PLANTED}
        shell.write("elsewhere.yaml", 'default:\n  env: {TOKEN: "env:KEPT"}\n')
        shell.write("work.py", WORK)
        shell.write("tasks.json", f'[{{"task_id": "one", "data": {{"place": "{tmp_path}"}}}}]')
        process = shell.start("run", "tasks.json", "--entry", "work:whisper", "--on", "aws", "--budget", "1",
                              "--results", "out.jsonl")  # fmt: skip
        try:
            until(lambda: process.poll() is not None or (tmp_path / "runs").exists(), "the task runs", 200)
            seen = [*stored(cloud), *(word.encode() for word in (*argument_lists(), *queued(cloud)))]
            (tmp_path / "go").touch()
            out, err = process.communicate(timeout=200)
        finally:
            end(process)
        assert process.returncode == 0, err
        assert PLANTED[::-1] in (shell.directory / "out.jsonl").read_text()
        [machine] = cloud.cloud.fleet.known()
        seen += [
            out,
            err,
            machine.order.user_data,
            machine.machine.console(),
            str(machine.tags).encode(),
            *stored(cloud),
        ]
        jobs = [
            path
            for path in (far_home / "jobs").glob("job-*")
            if str(tmp_path).encode() in (path / "ledger.db").read_bytes()
        ]
        assert len(jobs) == 1
        seen += [path.read_bytes() for job in jobs for path in job.rglob("*") if path.is_file()]
        assert [part[:200] for part in seen if PLANTED.encode() in part] == []
