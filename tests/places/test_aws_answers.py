"""Answers that are lost, wrong, late or partial, and requests that are refused: the bill and the ledger agree.

The sandbox's bill is the judge of what there was; the ledger's is what a user is told in the receipt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from elsewhere import session
from elsewhere.backends.aws import clients
from elsewhere.ledger.allocations import allocations
from elsewhere.model.place import Limits
from elsewhere.observe import cost
from elsewhere.sandbox.fleet import Instance
from places.far import (
    at_once,
    billed,
    make,
    nobody_is_forgotten,
    nothing_is_left,
    recorded_once,
    shape,
    world,
)
from sandbox.cloud import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FIVE = [{"x": i} for i in range(5)]
SECONDS = 1.0
"""In which moments are told."""


def settle_up(cloud: Sandbox, files: session.JobFiles, machines: int) -> None:
    """So many machines, no more at once, all gone; and the receipt says what the cloud will ask for them."""
    nothing_is_left(cloud, files)
    nobody_is_forgotten(cloud, files)
    ours = {instance.id: instance for instance in billed(cloud, files)}
    assert (len(ours), at_once(list(ours.values()))) == (machines, machines)
    lines = {line["machine"]: line for line in cloud.bill()["machines"]}
    now = datetime.now(UTC)
    with closing(files.open()) as ledger:
        known = allocations(ledger)
    receipt = cost.bill(known, now, timedelta(0), 0, 5)
    assert (receipt.machines, receipt.held, receipt.unsure) == (machines, 0, 0)
    for allocation in [a for a in known if a.native]:
        told, instance = cost.lived(allocation, now).total_seconds(), ours[allocation.native]
        assert told == pytest.approx(lived(instance), abs=SECONDS)
        # nothing tells a client how long it was pending, which is free: it is counted, and never less than is asked for
        pending = (instance.at("running") or instance.launched) - instance.launched
        assert -SECONDS <= told - float(lines[instance.id]["seconds"]) <= pending + SECONDS


def lived(instance: Instance) -> float:
    """Seconds from its launch to when its end was asked for, a minute at least."""
    end = instance.at("shutting-down")
    assert end is not None
    return max(end - instance.launched, 60.0)


@pytest.mark.parametrize(
    "kind",
    [
        "error-after",
        "lose-after",
        pytest.param("error", marks=pytest.mark.soak),
        pytest.param("lose", marks=pytest.mark.soak),
    ],
)
def test_a_launch_that_was_answered_wrongly_or_not_at_all_is_made_once(
    far_home: Path, tmp_path: Path, kind: str
) -> None:
    with world(far_home) as cloud:
        cloud.fault("RunInstances", kind, times=2)
        files = make(tmp_path / "project", "square", FIVE)
        session.run_here(files)
        recorded_once(files, 5)
        settle_up(cloud, files, 1)


def test_ten_minutes_of_throttling_are_waited_for(far_home: Path, tmp_path: Path) -> None:
    """By the sandbox's clock, which runs sixty times as fast: what is asked meanwhile is refused, whatever it is."""
    with world(far_home, speed=60.0) as cloud:
        files = make(tmp_path / "project", "square", FIVE)
        notes: set[str] = set()
        ordered = False

        def watch(view: session.View) -> None:
            nonlocal ordered
            notes.add(view.note)
            if not ordered:
                ordered = True
                cloud.throttle("*Instances", 600)

        session.run_here(files, watch=watch)
        assert any("RequestLimitExceeded" in note for note in notes), notes
        recorded_once(files, 5)
        settle_up(cloud, files, 1)


def test_answers_that_lag_behind_start_nothing_twice_and_forget_nothing(far_home: Path, tmp_path: Path) -> None:
    with world(far_home, lag=5.0) as cloud:
        files = make(tmp_path / "project", "square", FIVE)
        session.run_here(files)
        recorded_once(files, 5)
        settle_up(cloud, files, 1)


def test_of_ten_machines_three_are_given_and_do_all_the_work(far_home: Path, tmp_path: Path) -> None:
    with world(far_home) as cloud:
        cloud.stock("c5.large", 3, "us-east-1a")
        tasks = [{"x": i, "seconds": 0.3} for i in range(30)]
        files = make(tmp_path / "project", "nap", tasks, shape(1), slots=10, limits=Limits(10, budget=Decimal(5)))
        session.run_here(files)
        recorded_once(files, 30)
        settle_up(cloud, files, 3)
        assert cloud.bill()["calls"]["ec2 RunInstances"] > 1, "it never asked for the others"


@pytest.mark.soak
def test_while_the_place_does_not_answer_the_controller_does(far_home: Path, tmp_path: Path) -> None:
    with world(far_home) as cloud:
        files = make(tmp_path / "project", "nap", [{"x": i, "seconds": 0.5} for i in range(20)])
        turns: list[float] = []
        silent = False

        def watch(view: session.View) -> None:
            nonlocal silent
            turns.append(time.monotonic())
            if view.running and not silent:
                silent = True
                cloud.fault("DescribeInstances", "hang", seconds=600)
            elif view.counts.succeeded == 20:
                cloud.order("fault", clear=True)

        session.run_here(files, watch=watch)
        longest = max(after - before for before, after in pairwise(turns))
        assert silent and longest < clients.ANSWER / 2, f"{longest:.0f} s passed between two turns"
        recorded_once(files, 20)
        settle_up(cloud, files, 1)


# --- the end races the beginning -----------------------------------------------------------------------------------


def _cancel(files: session.JobFiles, stop: session.Stop) -> None:
    import threading

    threading.Thread(target=session.cancel, args=(files,)).start()


ENDS: dict[str, Callable[[session.JobFiles, session.Stop], None]] = {
    "Ctrl-C once": lambda _, stop: stop.soft(),
    "Ctrl-C twice": lambda _, stop: stop.hard(),
    "cancel": _cancel,
}


@pytest.mark.parametrize("how", ENDS)
def test_who_stops_while_a_launch_is_unanswered_leaves_nothing_running(
    far_home: Path, tmp_path: Path, how: str
) -> None:
    """The machine is there; no answer has told of it, and none will show it for seconds."""
    with world(far_home, lag=4.0) as cloud:
        cloud.lose_reply_next("RunInstances", times=2)
        files, stop = make(tmp_path / "project", "square", FIVE), session.Stop()

        def watch(view: session.View) -> None:
            if not stop.asked and billed(cloud, files) and not ended:
                ended.append(how)
                ENDS[how](files, stop)

        ended: list[str] = []
        session.run_here(files, watch=watch, stop=stop)
        stop.close()
        assert ended, "the launch came too late to be raced"
        machines = billed(cloud, files)
        assert len(machines) == 1 and machines[0].move.state == "terminated"
        nobody_is_forgotten(cloud, files)
        if how == "cancel":
            nothing_is_left(cloud, files)
