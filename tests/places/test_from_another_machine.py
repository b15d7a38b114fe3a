"""A laptop is lost, or sleeps and wakes: another machine of the same user goes on, from the log in the job's store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere import session
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Limits, Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.task import NewTask
from elsewhere.session import JobFiles
from sandbox.cloud import PATIENCE, Sandbox, sandbox, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
WORK = """
import time, uuid
from pathlib import Path
def step(x, mark, size):
    (Path(mark) / f"began-{x}-{uuid.uuid4().hex}").touch()
    while not (Path(mark) / f"go-{x}").exists():
        time.sleep(0.05)
    return str(x) * size
"""
LARGE = 100_000
HASTY = """
import runpy
from elsewhere.controller import afar, compaction, distant
from elsewhere.ledger import bases
from elsewhere.ledger.journal import Journal
distant.HOLD, afar.TELL, Journal.check.__defaults__ = 3.0, 2.0, (2.0,)
bases.LEAST, bases.INLINE, compaction.LOOK = 4, 0, 0.0
runpy.run_module("elsewhere", run_name="__main__", alter_sys=True)
"""
"""The command, where what the last poll of a controller took that sleeps or is dead comes again after 3 s, not 30, and
who was overtaken looks for that as often; and where copies of the ledger are put into the log all the time."""


class Laptop:
    """A state directory of its own, and the command there."""

    def __init__(self, home: Path, cloud: Sandbox) -> None:
        self.home = home
        home.mkdir(mode=0o700, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ELSEWHERE_", "AWS_"))}
        self.env = {**kept, **cloud.variables, "ELSEWHERE_HOME": str(home)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", HASTY, *words], env=self.env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.home.parent,
        )  # fmt: skip

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Its status, and what it prints."""
        process = self.start(*words)
        out, err = process.communicate(timeout=4 * PATIENCE)
        return process.returncode, out, err

    def files(self, job: str) -> JobFiles:
        return JobFiles(job, self.home / "jobs" / job)

    def fact(self, job: str, key: str) -> Any:
        try:
            with closing(self.files(job).open()) as ledger:
                return ledger.get(key, None)
        except Exception:  # it is just being made
            return None

    def lend_key_to(self, other: Laptop) -> None:
        self("key", "export", str(self.home.parent / "key.pem"))
        assert other("key", "import", str(self.home.parent / "key.pem"))[0] == 0
        (self.home.parent / "key.pem").unlink()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of our agent is made once for all."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    from elsewhere import aws

    with sandbox() as cloud:
        for name in ("AWS_PROFILE", "AWS_CONFIG_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in cloud.variables.items():
            monkeypatch.setenv(name, value)
        aws.forget()
        yield cloud
        aws.forget()


@pytest.fixture
def laptop(cloud: Sandbox, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    made = Laptop(tmp_path / "laptop", cloud)
    (made.home / "cache").symlink_to(cache)
    monkeypatch.setenv("ELSEWHERE_HOME", str(made.home))
    return made


@pytest.fixture
def other(cloud: Sandbox, tmp_path: Path, laptop: Laptop) -> Laptop:
    return Laptop(tmp_path / "other", cloud)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def job(tmp_path: Path, marks: Path, sizes: list[int], price: str = "0.085", budget: str = "5") -> JobFiles:
    """A task for each size, two at a time; each waits for its mark."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "work.py").write_text(WORK)
    shape = Shape(Offer("c5.large", Resources(2, 4 << 30), "us-east-1a", Decimal(price)), 2, None, "")
    spec = JobSpec(
        ids.new("job"), "steps", Entry("function", f"{project / 'work.py'}:step", name="step"), place="aws",
        channel="sqs", slots=2, machines=(shape,), limits=Limits(budget=Decimal(budget), machines=1),
        python=sys.executable, cwd=str(project),
    )  # fmt: skip
    data = [{"x": x, "mark": str(marks), "size": size} for x, size in enumerate(sizes)]
    return session.create(spec, [NewTask(f"t{x}", json.dumps(words).encode()) for x, words in enumerate(data)])


def patiently(true: Callable[[], Any], what: str) -> None:
    """As `until`, for what takes a boot and a busy machine's time."""
    for left in (2, 1, 0):
        try:
            until(true, what)
            return
        except AssertionError:
            if not left:
                raise


def began(marks: Path) -> Counter[int]:
    """How often each task has been begun."""
    return Counter(int(path.name.split("-")[1]) for path in marks.glob("began-*"))


def assert_begun(marks: Path, xs: range) -> None:
    """Each once: what somebody had when it was taken over is not begun again, and what nobody had yet is sent again,
    but there is one machine, and it remembers."""
    assert began(marks) == dict.fromkeys(xs, 1)


def go(marks: Path, *xs: int) -> None:
    for x in xs:
        (marks / f"go-{x}").touch()


def results(laptop: Laptop, job: str) -> dict[str, Any]:
    status, out, err = laptop("results", job)
    assert status == 0, err
    return {row["task_id"]: row["result"] for row in map(json.loads, out.splitlines())}


def nothing_is_left(cloud: Sandbox) -> None:
    until(lambda: all(machine["state"] == "terminated" for machine in cloud.machines()), "every machine has ended")
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    assert [key for key in keys(cloud) if "/bundles/" not in key] == []


def keys(cloud: Sandbox) -> list[str]:
    s3 = cloud.client("s3")
    [bucket] = [b["Name"] for b in s3.list_buckets()["Buckets"]]
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def copies(cloud: Sandbox) -> list[str]:
    return sorted(key for key in keys(cloud) if "/base/at/" in key)


def forget_before(cloud: Sandbox, copy: str) -> None:
    """What that copy has of the log: whoever comes does not read it, and is not to miss it; but for the last of it, by
    which he sees that the log goes on from there, and which is the end of it now and then."""
    corner, _, last = copy.partition("/base/at/")
    s3 = cloud.client("s3")
    [bucket] = [b["Name"] for b in s3.list_buckets()["Buckets"]]
    for number in range(1, int(last)):
        s3.delete_object(Bucket=bucket, Key=f"{corner}/log/{number:012d}")


def running(laptop: Laptop, files: JobFiles, marks: Path, *xs: int) -> tuple[subprocess.Popen[str], str]:
    """Its controller, and where the job is kept, once these tasks run and the ledger knows who has them."""
    process = laptop.start("resume", files.id, "--quiet")
    patiently(lambda: set(began(marks)) >= set(xs), f"tasks {xs} run")
    with closing(files.open()) as ledger:
        until(lambda: len(ledger.db.execute("SELECT n FROM held").fetchall()) >= len(xs), "the claims are known")
    return process, str(laptop.fact(files.id, "kept"))


def taken_over(second: subprocess.Popen[str], other: Laptop, files: JobFiles) -> None:
    """By this process of the other machine, which goes on."""
    patiently(lambda: other.fact(files.id, "epoch") == 2 or second.poll() is not None, "the other machine has the job")
    assert second.poll() is None, second.communicate()


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def ended(process: subprocess.Popen[str]) -> None:
    """With success."""
    _, err = process.communicate(timeout=3 * PATIENCE)
    assert process.returncode == 0, err


def test_a_laptop_is_lost_and_another_machine_finishes_the_job(
    cloud: Sandbox, laptop: Laptop, other: Laptop, tmp_path: Path, marks: Path
) -> None:
    files = job(tmp_path, marks, [LARGE, 3, 4, LARGE, 5])
    process, url = running(laptop, files, marks, 0, 1)
    go(marks, 0, 1)
    until(lambda: (laptop.fact(files.id, "counts") or {}).get("succeeded") == 2, "two are recorded")
    patiently(lambda: {2, 3} <= set(began(marks)), "the next two run")
    until(lambda: copies(cloud), "a copy of the ledger is in the log")
    killed(process)
    forget_before(cloud, copies(cloud)[-1])
    laptop.lend_key_to(other)
    shutil.rmtree(laptop.home)
    shutil.rmtree(tmp_path / "project")
    second = other.start("resume", "--from", url, "--quiet")
    taken_over(second, other, files)
    assert results(other, files.id) == {"t0": "0" * LARGE, "t1": "111"}
    go(marks, 2, 3, 4)
    ended(second)
    expected = {"t0": "0" * LARGE, "t1": "111", "t2": "2222", "t3": "3" * LARGE, "t4": "44444"}
    assert results(other, files.id) == expected
    assert_begun(marks, range(5))
    assert len(cloud.bill()["machines"]) == 1
    nothing_is_left(cloud)
    status, _, err = Laptop(tmp_path / "third", cloud)("resume", "--from", url)
    assert status == 2 and "there is no job at" in err


def test_a_laptop_that_wakes_finds_itself_overtaken_and_stops_nothing(
    cloud: Sandbox, laptop: Laptop, other: Laptop, tmp_path: Path, marks: Path
) -> None:
    files = job(tmp_path, marks, [3] * 4)
    first, url = running(laptop, files, marks, 0, 1)
    laptop.lend_key_to(other)
    first.send_signal(signal.SIGSTOP)
    try:
        second = other.start("resume", "--from", url, "--quiet")
        taken_over(second, other, files)
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate(timeout=2 * PATIENCE)
        assert first.returncode == 2
        assert err.splitlines()[0].endswith("another controller has taken the job over"), err
        assert [machine["state"] for machine in cloud.machines()] == ["running"]
        go(marks, 0, 1, 2, 3)
        ended(second)
    finally:
        killed(first)
        killed(second)
    assert results(other, files.id) == {f"t{x}": str(x) * 3 for x in range(4)}
    assert_begun(marks, range(4))
    nothing_is_left(cloud)
    status, _, err = laptop("resume", files.id)
    assert status == 2 and "the job has ended on another machine" in err


def test_a_laptop_that_wakes_when_all_is_over_and_swept_does_nothing_again(
    cloud: Sandbox, laptop: Laptop, other: Laptop, tmp_path: Path, marks: Path
) -> None:
    files = job(tmp_path, marks, [3] * 2)
    first, url = running(laptop, files, marks, 0, 1)
    laptop.lend_key_to(other)
    first.send_signal(signal.SIGSTOP)
    try:
        go(marks, 0, 1)
        status, _, err = other("resume", "--from", url, "--quiet")
        assert status == 0, err
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate(timeout=2 * PATIENCE)
        assert first.returncode == 2
        assert "the job has ended on another machine" in err, err
    finally:
        killed(first)
    assert began(marks) == {0: 1, 1: 1}
    assert len(cloud.bill()["machines"]) == 1
    nothing_is_left(cloud)


def test_what_somebody_else_wrote_into_the_log_is_not_believed_and_without_the_key_nothing_is_told(
    cloud: Sandbox, laptop: Laptop, other: Laptop, tmp_path: Path, marks: Path
) -> None:
    files = job(tmp_path, marks, [3] * 2)
    process, url = running(laptop, files, marks, 0, 1)
    killed(process)
    assert laptop("jobs")[0] == 0
    status, _, err = other("resume", "--from", url)
    assert (status, "elsewhere key export" in err) == (2, True), err
    assert not (other.home / "key").exists() and not list((other.home / "jobs").iterdir())
    laptop.lend_key_to(other)
    s3, (bucket, _, corner) = cloud.client("s3"), url.removeprefix("s3://").partition("/")
    log = sorted(key for key in keys(cloud) if key.startswith(f"{corner}/log/"))
    last = s3.get_object(Bucket=bucket, Key=log[-1])["Body"].read()
    forged = f"{corner}/log/{len(log):012d}"
    for data in (b"EWJ1" + bytes(12), last, last[:-1] + bytes([last[-1] ^ 1])):
        s3.put_object(Bucket=bucket, Key=forged, Body=data)
        status, _, err = other("resume", "--from", url)
        assert (status, "was not written by this job's owner" in err) == (2, True), err
        assert not list((other.home / "jobs").iterdir())
    s3.delete_object(Bucket=bucket, Key=forged)
    go(marks, 0, 1)
    status, out, err = other("resume", "--from", url, "--detach")
    assert (status, out.strip()) == (0, files.id), err
    assert other("resume", "--from", url)[0] == 2  # it is here already
    assert other("watch", files.id, "--quiet")[0] == 0
    until(lambda: session.holder(other.files(files.id)) is None, "its controller has put everything away")
    assert results(other, files.id) == {"t0": "000", "t1": "111"}
    nothing_is_left(cloud)


SHORT = """
import sys
from dataclasses import replace
from datetime import timedelta
from elsewhere import session
from elsewhere.controller import distant
whole = distant.bounds_of
distant.bounds_of = lambda *given: replace(whole(*given), shortest=timedelta(seconds=30))
session.run_here(session.find(sys.argv[1]))
"""
TERM = 75
"""Seconds that the budget buys at that price, which is what a machine costs with its disk and its address, and more."""


def test_with_no_controller_ever_again_machines_end_within_their_term_and_the_budget(
    cloud: Sandbox, laptop: Laptop, tmp_path: Path, marks: Path
) -> None:
    files = job(tmp_path, marks, [3] * 4, price="0.10", budget="0.0021")
    process = subprocess.Popen([sys.executable, "-c", SHORT, files.id], env=laptop.env, stdin=subprocess.DEVNULL)
    patiently(lambda: set(began(marks)) >= {0, 1}, "two tasks run")
    process.kill()
    process.wait()
    patiently(lambda: all(machine["state"] == "terminated" for machine in cloud.machines()), "the machine has ended")
    [machine] = cloud.bill()["machines"]
    assert TERM / 2 < machine["seconds"] <= TERM + 60
    assert float(machine["total"]) <= 0.0021, machine
