"""An agent in a process of its own: real processes, real slots, over a spool and over a pipe."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from elsewhere.agent.claims import Ways
from elsewhere.agent.join import Process
from elsewhere.agent.meeting import JobKey, OwnKey
from elsewhere.agent.runner import Boot, Slots
from elsewhere.backends.base import Condition, Launch
from elsewhere.backends.local import Local, LocalSettings
from elsewhere.channels.pipe import Pipe
from elsewhere.channels.registry import spool_in
from elsewhere.channels.spool import Spool
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import ranges
from elsewhere.model.reports import Claimed, Ended, Heartbeat
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery, RetryPolicy
from elsewhere.ship import seal
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.script import BootText, render

WORK = """
import os, time
def double(x): return x * 2
def linger(x):
    open(x, "w").close()
    while True: time.sleep(0.05)
def wait_for(x):
    open(f"{x}/began.{os.getpid()}", "w").close()
    while not os.path.exists(f"{x}/go"): time.sleep(0.02)
def carry(x):
    from elsewhere import Again, current_task
    task = current_task()
    left, told = task.time_left.total_seconds(), False
    try:
        while x == "is told" or not task.stopping: time.sleep(0.02)
    except BaseException:
        told = True
    return Again(state={"left": left, "told": told})
def flaky(path):
    with open(path, "a") as file: file.write("x")
    if os.path.getsize(path) < 3: raise ValueError("not yet")
    return "at last"
"""
BOUND = 200.0


@dataclass
class Job:
    """A job's channel, its machines, and what came home."""

    directory: Path
    channel: Spool | Pipe
    machines: Local
    natives: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    claimed: list[Claimed] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)

    def boot(
        self, count: int = 1, idle: float = 60.0, lease: float = 120.0, slots: int = 2,
        term: timedelta = timedelta(minutes=10), **more: Any,
    ) -> None:  # fmt: skip
        text = BootText(
            self.channel.address,
            str(self.directory / "machines"),
            sys.executable,
            term,
            datetime.now(UTC) + timedelta(minutes=5),
            slots,
            timedelta(seconds=lease),
            timedelta(seconds=idle),
            **more,
        )
        launch = Launch(
            f"lch-{len(self.natives)}", count, render(text), Resources(), text.term, text.start_by, {"job": "job-1"}
        )
        self.natives += self.machines.submit(launch)

    def look(self) -> None:
        receipts = self.channel.collect(10_000)
        self.ended += [r.report for r in receipts if isinstance(r.report, Ended)]
        self.claimed += [r.report for r in receipts if isinstance(r.report, Claimed)]
        self.beats += [r.report for r in receipts if isinstance(r.report, Heartbeat)]
        self.channel.confirm(receipts)

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND
        while not true():
            assert time.monotonic() < end, [self.machines.logs(native).decode() for native in self.natives]
            self.look()
            time.sleep(0.01)  # between two looks at another process; what is waited for is `true`

    def condition(self, native: str) -> Condition:
        return self.machines.status([native])[native].condition


@pytest.fixture
def function() -> str:
    """What the tasks do; a test may say otherwise."""
    return "double"


@pytest.fixture(params=["spool", "pipe"])
def job(
    request: pytest.FixtureRequest, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Job]:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    (tmp_path / "work.py").write_text(WORK)
    entry = Entry("function", f"{tmp_path / 'work.py'}:{function}")
    spec = JobSpec("job-1", "test", entry, cwd=str(tmp_path), retry=RetryPolicy(2, delay=timedelta(milliseconds=1)))
    charter = pack(Charter(spec, str(tmp_path), b"k" * 32))
    channel: Spool | Pipe
    if request.param == "spool":
        public = seal.public()
        channel = spool_in(tmp_path / "spool", "job-1", OwnKey(), JobKey(public), charter, public)
    else:
        channel = Pipe(tmp_path / "socket", charter)
    channel.create()
    made = Job(tmp_path, channel, Local(LocalSettings(str(tmp_path / "records"))))
    yield made
    for _ in range(2):
        made.machines.cancel(made.natives)
        made.machines._asked = dict.fromkeys(made.natives, float("-inf"))  # the second asking kills
    made.until(lambda: all(made.condition(native) is not Condition.RUNNING for native in made.natives))
    channel.destroy()


def deliveries(count: int) -> list[Delivery]:
    return [Delivery(n, 1, f"task-{n}", json.dumps({"x": n}).encode()) for n in range(1, count + 1)]


def test_every_delivery_comes_home_with_its_result_and_the_agent_leaves_when_idle(job: Job) -> None:
    job.channel.send(deliveries(300))
    job.boot(count=2, idle=0.5)
    job.until(lambda: len(job.ended) >= 300)
    assert {(e.n, e.outcome, e.value) for e in job.ended} == {
        (n, Outcome.SUCCEEDED, b"%d" % (2 * n)) for n in range(1, 301)
    }
    assert {e.agent for e in job.ended} <= set(job.natives)
    assert {pair for c in job.claimed for pair in c.deliveries} == {(n, 1) for n in range(1, 301)}
    job.until(lambda: all(job.condition(native) is Condition.STOPPED for native in job.natives))
    assert b": idle" in job.machines.logs(job.natives[0])


@pytest.mark.parametrize("function", ["linger"])
def test_a_cancelled_task_is_stopped_by_orders_and_nothing_is_said_of_it(job: Job) -> None:
    marks = [job.directory / f"began-{n}" for n in (1, 2)]
    job.channel.send([Delivery(n, 1, f"t{n}", json.dumps({"x": str(m)}).encode()) for n, m in enumerate(marks, 1)])
    job.boot(lease=8.0)
    job.until(lambda: all(mark.exists() for mark in marks))
    job.channel.order(Orders("job-1", 1, ended=ranges([1])))
    native = job.natives[0]
    job.until(lambda: [n for n, _ in _running(job.directory, native)] == [2])
    job.channel.order(Orders("job-1", 1, ended=ranges([1, 2]), over=True))
    job.until(lambda: job.condition(native) is Condition.STOPPED)
    assert job.ended == []
    assert b"all work has ended" in job.machines.logs(native)


@pytest.mark.parametrize("function", ["wait_for"])
def test_a_busy_agent_that_is_told_to_take_nothing_more_says_what_it_has_and_finishes_it(job: Job) -> None:
    body = json.dumps({"x": str(job.directory)}).encode()
    job.channel.send([Delivery(n, 1, f"task-{n}", body) for n in (1, 2, 3)])
    job.boot(lease=3600.0)  # so that it is no renewal that tells it
    job.until(lambda: len(list(job.directory.glob("began.*"))) == 2)
    job.channel.order(Orders("job-1", 1, drain=tuple(job.natives)))
    job.until(lambda: bool(job.beats) and job.beats[-1].draining)
    assert {n for n, _ in job.beats[-1].running} == {n for c in job.claimed for n, _ in c.deliveries} == {1, 2}
    (job.directory / "go").touch()
    job.until(lambda: len(job.ended) == 2)
    job.until(lambda: job.condition(job.natives[0]) is Condition.STOPPED)
    assert {(e.n, e.outcome) for e in job.ended} == {(1, Outcome.SUCCEEDED), (2, Outcome.SUCCEEDED)}


@pytest.mark.parametrize("function", ["linger"])
def test_an_agent_that_is_told_to_go_hands_back_what_it_had(job: Job) -> None:
    mark = job.directory / "began"
    job.channel.send([Delivery(1, 1, "t", json.dumps({"x": str(mark)}).encode())])
    job.boot()
    job.until(mark.exists)
    job.machines.cancel(job.natives)
    job.until(lambda: bool(job.ended))
    assert [(e.n, e.attempt, e.outcome) for e in job.ended] == [(1, 1, Outcome.INTERRUPTED)]


@pytest.mark.parametrize("function", ["flaky"])
def test_retries_that_are_due_soon_are_made_under_the_same_claim(job: Job) -> None:
    path = job.directory / "tries"
    job.channel.send([Delivery(1, 1, "t", json.dumps({"path": str(path)}).encode())])
    job.boot()
    job.until(lambda: bool(job.ended))
    assert [(e.attempt, e.outcome, e.value) for e in job.ended] == [(1, Outcome.SUCCEEDED, b'"at last"')]
    assert path.read_text() == "xxx"


@pytest.mark.parametrize("function", ["carry"])
@pytest.mark.parametrize("job", ["spool"], indirect=True)
def test_before_a_final_end_tasks_hear_of_it_then_are_told_and_what_they_hand_on_counts(job: Job) -> None:
    kinds = ("asks", "is told")
    job.channel.send([Delivery(n, 1, kind, json.dumps({"x": kind}).encode()) for n, kind in enumerate(kinds)])
    ways, now = Ways("m1", "job-1", term=100.0, final=True, grace=20.0), [1.0]
    entry = Entry("function", f"{job.directory / 'work.py'}:carry")
    boot = Boot(entry, cwd=str(job.directory), home=str(job.directory), ends=time.time() + 1000)
    with selectors.DefaultSelector() as selector:
        slots = Slots(boot, 2, job.directory / "slots" / "m1", selector)
        process = Process(ways, cast(Spool, job.channel), slots, job.directory, lambda: now[0])

        def until(true: Callable[[], bool]) -> None:
            job.until(lambda: process.turn() or true())  # type: ignore[func-returns-value]

        try:
            until(lambda: len(slots.running()) == 2)
            now[0] = ways.warns
            until(lambda: len(job.ended) == 1)
            now[0] = ways.ends
            until(lambda: len(job.ended) == 2)
        finally:
            slots.close(now=True)
    states = {e.n: json.loads(e.value)["state"] for e in job.ended}
    assert {e.outcome for e in job.ended} == {Outcome.INTERRUPTED}, "which spends no budget"
    assert [states[n]["told"] for n in (0, 1)] == [False, True]
    assert all(900 < state["left"] < 1000 for state in states.values())


@pytest.mark.parametrize("job", ["spool"], indirect=True)
def test_an_agent_for_so_many_tasks_leaves_the_rest_to_others(job: Job) -> None:
    job.channel.send(deliveries(5))
    job.boot(slots=1, serves=2)
    job.until(lambda: job.condition(job.natives[0]) is Condition.STOPPED)
    job.look()
    assert len(job.ended) == 2
    assert b"it has done what it was for" in job.machines.logs(job.natives[0])


def _running(directory: Path, native: str) -> list[tuple[int, int]]:
    """What the slots' own pages say is running."""
    from elsewhere.slot import wire

    found = []
    for page in (directory / "machines" / native / "slots" / native).glob("*.page"):
        fields = wire.PAGE.unpack_from(page.read_bytes())
        if fields[3] == 1:
            found.append((fields[1], fields[2]))
    return sorted(found)


@pytest.mark.parametrize("function", ["linger"])
@pytest.mark.parametrize("job", ["spool"], indirect=True)
def test_what_a_killed_machine_held_is_run_by_another_after_its_lease(job: Job) -> None:
    marks = [job.directory / f"began-{n}" for n in (1, 2)]
    job.channel.send([Delivery(n, 1, f"t{n}", json.dumps({"x": str(m)}).encode()) for n, m in enumerate(marks, 1)])
    job.boot(lease=1.5)
    job.until(lambda: all(mark.exists() for mark in marks))
    os.killpg(_leader(job, job.natives[0]), signal.SIGKILL)
    for mark in marks:
        mark.unlink()
    job.boot(lease=1.5)
    job.until(lambda: all(mark.exists() for mark in marks))
    assert job.ended == []
    assert {c.agent for c in job.claimed if c.deliveries} == set(job.natives)


@pytest.mark.parametrize("function", ["wait_for"])
def test_an_agent_that_was_frozen_past_its_lease_says_nothing_of_what_it_did(job: Job) -> None:
    """Both machines finish the same attempt; the one whose claim had lapsed keeps silent."""
    job.channel.send([Delivery(1, 1, "t", json.dumps({"x": str(job.directory)}).encode())])
    job.boot(lease=1.0)
    job.until(lambda: len(list(job.directory.glob("began.*"))) == 1)
    frozen = _agent(job, job.natives[0])
    frozen.suspend()
    job.boot(lease=60.0)  # its own claim must not lapse, however busy the machine is
    job.until(lambda: len(list(job.directory.glob("began.*"))) == 2)
    (job.directory / "go").touch()
    job.until(lambda: bool(job.ended))
    frozen.resume()
    job.channel.order(Orders("job-1", 1, over=True))
    job.until(lambda: all(job.condition(native) is Condition.STOPPED for native in job.natives))
    assert [(e.n, e.agent, e.outcome) for e in job.ended] == [(1, job.natives[1], Outcome.SUCCEEDED)]


def _leader(job: Job, native: str) -> int:
    launch, _, number = native.rpartition(".")
    return int((job.machines.directory / launch / number / "pid").read_text())


def _agent(job: Job, native: str) -> psutil.Process:
    children = psutil.Process(_leader(job, native)).children(recursive=True)
    (agent,) = [child for child in children if "elsewhere.agent" in child.cmdline()]
    return agent


def test_who_waits_for_something_to_happen_hears_a_signal_at_once() -> None:
    code = (
        "import os, select, signal; from elsewhere.agent.__main__ import _bell; bell = _bell();"
        "signal.signal(signal.SIGTERM, lambda *_: None); os.kill(os.getpid(), signal.SIGTERM);"
        "print(select.select([bell], [], [], 30)[0] == [bell] and os.read(bell, 64))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.strip() == str(bytes([signal.SIGTERM]))
