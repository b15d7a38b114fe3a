"""The story of machines, told from the rows of a real ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from elsewhere.ledger.allocations import Holdings, allocations
from elsewhere.model.place import Allocation, Offer
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationMove, AllocationState
from elsewhere.observe import machines
from elsewhere.observe.explain import Scene, of_job
from observe.told import NOW, Told

SPOT = Offer("c7g.large", Resources(), "east-a", Decimal("0.60"), True)
T0 = datetime.fromtimestamp(NOW, UTC)
A, M = AllocationState, AllocationMove


class Fleet:
    """The machines of one job, moved by name."""

    def __init__(self, job: Told) -> None:
        self.job, self.holdings = job, Holdings(job.ledger)
        self.of: dict[str, Allocation] = {}

    def move(self, name: str, state: AllocationState, move: AllocationMove | None = None, **changes: Any) -> None:
        found = self.of.get(name) or Allocation(f"job-1-1-1-{name}", "job-1-1-1", state, offer=SPOT)
        self.of[name] = replace(found, state=state, **changes)
        with self.job.ledger.moving():
            self.holdings.write(self.of[name], move)

    def up(self, *names: str) -> None:
        """Asked for, given, running, heard of after nine seconds."""
        for name in names:
            self.move(name, A.PLANNED)
        for name in names:
            self.move(name, A.PENDING, M.ACCEPT, native=f"i-{name}")
        for name in names:
            self.move(name, A.RUNNING, M.START, started=T0)
            self.move(name, A.RUNNING, spoke=T0 + timedelta(seconds=9))

    def told(self) -> list[str]:
        """What is told, without the times of day."""
        rows = [event for event in self.job.ledger.events() if event.kind == "machine"]
        return [line.split("  ", 1)[1] for line in machines.told(rows, allocations(self.job.ledger), NOW)]


@pytest.fixture
def fleet(told: Callable[..., Told]) -> Iterator[Fleet]:
    yield Fleet(told())


def test_machines_that_come_up_are_told_together(fleet: Fleet) -> None:
    fleet.up("a", "b")
    assert fleet.told() == [
        "It asked for 2 machines of c7g.large in east-a, spot, at $0.60 an hour each.",
        "It was given 2 machines of c7g.large in east-a, spot, at $0.60 an hour each: i-a, i-b.",
        "Machine i-a runs, and spoke first after 9s; i-b runs, and spoke first after 9s.",
    ]


def test_a_refusal_is_told_with_its_reason(fleet: Fleet) -> None:
    fleet.move("a", A.PLANNED)
    fleet.move("a", A.FAILED, M.REFUSE, used=timedelta(0), reason="there is none left")
    assert fleet.told()[1] == (
        "1 machine of c7g.large in east-a, spot, at $0.60 an hour was refused: there is none left."
    )


def test_what_was_taken_back_is_told_with_its_cost_and_what_comes_in_its_place(fleet: Fleet) -> None:
    fleet.up("a", "b")
    fleet.move("a", A.STOPPED, M.END, reclaimed=True, used=timedelta(minutes=10), reason="spot reclaimed")
    fleet.move("c", A.PLANNED)
    fleet.move("c", A.PENDING, M.ACCEPT, native="i-c")
    fleet.move("d", A.PLANNED)
    fleet.move("b", A.STOPPING, M.STOP, reason="no longer needed")
    fleet.move("b", A.STOPPED, M.END, used=timedelta(minutes=20), reason="terminated")
    assert fleet.told()[3:] == [
        "Machine i-a was taken back by the place after 10m00s, which cost $0.10: spot reclaimed.",
        "It asked for 1 machine of c7g.large in east-a, spot, at $0.60 an hour, in place of 1 that was lost.",
        "It was given 1 machine of c7g.large in east-a, spot, at $0.60 an hour: i-c.",
        "It asked for 1 machine of c7g.large in east-a, spot, at $0.60 an hour.",
        "Machine i-b is told to end: no longer needed.",
        "Machine i-b ended after 20m00s, which cost $0.20: terminated.",
    ]


def test_a_machine_that_died_or_was_never_heard_of_is_told_so(fleet: Fleet) -> None:
    fleet.move("a", A.PLANNED)
    fleet.move("a", A.PENDING, M.ACCEPT, native="i-a")
    fleet.move("a", A.RUNNING, M.START, started=T0)
    assert fleet.told()[2] == "Machine i-a runs, and has not spoken yet."
    fleet.move("a", A.STOPPED, M.END, crashed=True, used=timedelta(minutes=1), reason="kernel panic")
    assert fleet.told()[2:] == [
        "Machine i-a runs, and never spoke.",
        "Machine i-a died after 1m00s, which cost $0.01: kernel panic.",
    ]


def test_the_story_of_a_job_names_no_number_of_our_own_records(fleet: Fleet) -> None:
    fleet.up("a")
    with fleet.job.ledger.moving():
        fleet.job.ledger.note("closing", machines=1)
    fleet.move("a", A.STOPPED, M.END, used=timedelta(minutes=1), reason="terminated")
    with fleet.job.ledger.moving():
        fleet.job.ledger.note("settled", machines=0)
    ledger = fleet.job.ledger
    scene = Scene(ledger.spec, ledger.count(), NOW, machines=allocations(ledger))
    text = "\n".join(of_job(scene, ledger.events()))
    assert "Nothing was left running." in text
    assert "i-a: " not in text and "job-1-1-1" not in text and "state " not in text
