"""The pool over the sandbox's EC2, with machines that are entries and no processes, in a process of its own.

fleet.py steady MACHINES SECONDS   control calls a minute, % of a core, requests throttled, while nothing happens
fleet.py ask VCPUS                 seconds until all are asked for and given, the published buckets held to
fleet.py reclaim TIMES             seconds from a machine's end to the asking for another, the most of them
Prints JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from elsewhere.controller.pace import CALL, TIMES
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.pool.capacity import Bounds

LARGE = 96


class Still:
    """A machine that does nothing."""

    wall = None
    frozen = False

    def __init__(self, id: str, *_: str) -> None:
        self.id = self.mark = id

    def boot(self, data: bytes) -> None: ...

    def kill(self) -> None: ...


def cloud(line: Connection, directory: str, lag: float) -> None:
    """The sandbox's process: answers until it hears None; True and False hold to the buckets or not."""
    from elsewhere.sandbox.cloud import Cloud, Settings

    made = Cloud(Path(directory) / "sandbox", Settings(lag=lag))
    made.fleet._make = Still  # type: ignore[assignment]
    made.start()
    made.limits.quotas.update(dict.fromkeys(made.limits.quotas, 1e9))
    line.send((made.found, made.found.variables()))
    while (held := line.recv()) is not None:
        made.limits._held = held
        line.send(held)
    os._exit(0)


def shapes(count: int, cpus: float) -> tuple[Shape, ...]:
    """Machines of that size in ten or so pairs of type and zone, so many of each that all are needed."""
    from elsewhere.sandbox import catalog

    kinds = {name for name, kind in catalog.types().items() if kind.cpus == cpus and "x86_64" in kind.architectures}
    pairs = [
        (name, zone) for zone, names in catalog.offered("us-east-1").items() for name in sorted(kinds & set(names))
    ]
    pairs = pairs[::7][:10]
    each = -(-count // len(pairs))
    offers = [Offer(name, Resources(cpus), zone, Decimal("0.1")) for name, zone in pairs]
    return tuple(Shape(offer, 1, each) for offer in offers)


class Bench:
    def __init__(self, directory: str, line: Connection, found: Any, count: int, cpus: float = 2) -> None:
        from elsewhere.backends.aws import Aws, AwsSettings
        from elsewhere.backends.base import Launch
        from elsewhere.ledger.ledger import Ledger
        from elsewhere.pool import reaper
        from elsewhere.pool.pool import Pool

        self.line, self.found, self.count = line, found, count
        job = ids.new("job")
        ledger = Ledger.create(
            Path(directory) / "ledger.db", JobSpec(job, "fleet", Entry("command", command=("true",)))
        )
        bounds = Bounds(job, most=count, shapes=shapes(count, cpus), lag=timedelta(seconds=10))

        def order(ask: Any) -> Launch:
            labels = reaper.labels(job, ask.launch, "bench", ask.start_by + ask.term)
            return Launch(ask.launch, ask.count, "#!/bin/sh\n", Resources(), ask.term, ask.start_by, labels, ask.offer)

        self.pool = Pool(Aws(AwsSettings(region="us-east-1", instance_profile="")), ledger, bounds, 1, order)
        self.due = 0.0

    def hold(self, held: bool) -> None:
        self.line.send(held)
        self.line.recv()

    def turn(self) -> None:
        """One look, at the controller's own pace."""
        time.sleep(max(0.0, self.due - time.monotonic()))
        self.pool.need(self.count)
        self.pool.look()
        self.pool.heard(self.pool.state.alive)
        self.due = time.monotonic() + max(CALL, TIMES * self.pool.took.total_seconds())

    def until(self, true: Callable[[], bool], hurry: bool = False) -> None:
        end = time.monotonic() + 600
        while not true():
            if time.monotonic() > end:
                raise SystemExit(f"it never came true; the place says: {self.pool.silence or self.pool.state.trouble}")
            self.turn()
            self.due = 0.0 if hurry else self.due

    def given(self) -> int:
        return sum(bool(a.native) for a in self.pool.state.allocations.values())

    def ask(self, verb: str, **words: Any) -> Any:
        from elsewhere.sandbox import control

        return control.ask(self.found, verb, **words)

    def calls(self, action: str = "") -> int:
        found = self.ask("bill")["calls"]
        return int(sum(n for name, n in found.items() if name.startswith("ec2 ") and name.endswith(action)))


def steady(bench: Bench, seconds: float) -> dict[str, float]:
    bench.hold(False)
    bench.until(lambda: len(bench.pool.state.alive) == bench.count, hurry=True)
    bench.hold(True)
    bench.turn()
    calls, cpu, began = bench.calls(), time.process_time(), time.monotonic()
    while time.monotonic() - began < seconds:
        bench.turn()
    took = bench.due - began  # the pause after the last look belongs to it
    share = (time.process_time() - cpu) / took * 100
    return {"calls": (bench.calls() - calls) / took * 60, "share": share, "throttled": bench.ask("status")["throttled"]}


def asked(bench: Bench) -> dict[str, float]:
    began = time.monotonic()
    bench.until(lambda: bench.given() == bench.count)
    return {"seconds": time.monotonic() - began}


def reclaim(bench: Bench, times: int) -> dict[str, float]:
    bench.until(lambda: len(bench.pool.state.alive) == bench.count, hurry=True)
    took = []
    for _ in range(times):
        before, victim = bench.calls("RunInstances"), min(bench.pool.state.alive)
        bench.ask("kill", ids=[victim])
        began = time.monotonic()
        bench.until(lambda before=before: bench.calls("RunInstances") > before)  # type: ignore[misc]
        took.append(time.monotonic() - began)
        bench.until(lambda victim=victim: bench.given() == bench.count and victim not in bench.pool.state.alive)  # type: ignore[misc]
    return {"seconds": max(took)}


def main() -> None:
    what, number = sys.argv[1], int(sys.argv[2])
    count = {"steady": number, "ask": -(-number // LARGE), "reclaim": 20}[what]
    near, far = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["ELSEWHERE_HOME"] = directory
        lag = 0.0 if what == "steady" else 5.0
        process = multiprocessing.get_context("spawn").Process(target=cloud, args=(far, directory, lag), daemon=True)
        process.start()
        found, variables = near.recv()
        os.environ.update(
            {**variables, "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
        )
        bench = Bench(directory, near, found, count, LARGE if what == "ask" else 2)
        if what == "steady":
            said = steady(bench, float(sys.argv[3]))
        else:
            said = asked(bench) if what == "ask" else reclaim(bench, number)
        near.send(None)
        process.join(30)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
