"""What is shown to run on machines that speak now and then: what they said, and what they have taken since."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from elsewhere.controller.muster import LATE, Muster
from elsewhere.model.reports import Ended, Form, Heartbeat
from elsewhere.model.states import Outcome

SLOTS = {"a": 2, "b": 2}


def beat(agent: str, *running: tuple[int, int], free: int = 0, draining: bool = False) -> Heartbeat:
    return Heartbeat(agent, datetime(2026, 1, 1, tzinfo=UTC), running, free, draining)


def ended(n: int, attempt: int = 1) -> Ended:
    return Ended(n, attempt, Outcome.SUCCEEDED, 0.0, 1.0, Form.NOTHING, b"")


@pytest.fixture
def muster() -> Muster:
    """Agent a has taken three tasks, b one."""
    found = Muster()
    found.took("a", [(1, 1), (2, 1), (3, 1)], now=10.0)
    found.took("b", [(4, 2)], now=12.0)
    return found


def test_what_was_taken_runs_before_its_agent_says_so_but_no_more_than_it_has_slots(muster: Muster) -> None:
    assert muster.running(SLOTS, 13.0) == [(1, 1, 3.0), (2, 1, 3.0), (4, 2, 1.0)]


def test_a_heartbeat_that_is_older_than_a_claim_does_not_hide_it(muster: Muster) -> None:
    muster.beat(beat("a", free=2), now=11.0)
    assert [n for n, _, _ in muster.running(SLOTS, 13.0)] == [1, 2, 4]


def test_what_an_agent_says_to_run_comes_first(muster: Muster) -> None:
    muster.beat(beat("a", (3, 1), (9, 1), (2, 7)), now=11.0)
    assert [n for n, _, _ in muster.running(SLOTS, 13.0)] == [3, 1, 4], "what it was never known to take is not shown"


def test_what_a_free_slot_does_not_run_waits_to_be_tried_again(muster: Muster) -> None:
    muster.beat(beat("a", (3, 1), free=1), now=10.0 + LATE + 1)
    assert [n for n, _, _ in muster.running(SLOTS, 40.0)] == [3, 4]


@pytest.mark.parametrize(("report", "left"), [(ended(4, 2), [1, 2]), (ended(4, 3), [1, 2]), (ended(4), [1, 2, 4])])
def test_what_has_ended_runs_no_more_but_an_older_attempts_end_is_not_its_end(
    muster: Muster, report: Ended, left: list[int]
) -> None:
    muster.ended([report])
    assert [n for n, _, _ in muster.running(SLOTS, 13.0)] == left


def test_what_another_agent_takes_is_that_ones(muster: Muster) -> None:
    muster.took("b", [(1, 2)], now=20.0)
    assert muster.running(SLOTS, 21.0) == [(2, 1, 11.0), (3, 1, 11.0), (4, 2, 9.0), (1, 2, 1.0)]


def test_what_a_machine_that_has_ended_had_runs_no_more(muster: Muster) -> None:
    muster.beat(beat("a", draining=True), now=11.0)
    muster.keep({"b": 2})
    assert [n for n, _, _ in muster.running(SLOTS, 13.0)] == [4]
    assert not muster.has_spoken("a") and not muster.takes_nothing("a")


def test_an_agent_takes_nothing_more_once_it_has_said_so(muster: Muster) -> None:
    muster.beat(beat("a"), now=11.0)
    assert muster.has_spoken("b") and not muster.has_spoken("c") and not muster.takes_nothing("a")
    muster.beat(beat("a", (1, 1), draining=True), now=12.0)
    assert muster.takes_nothing("a") and not muster.takes_nothing("b")
    assert muster.idle() == set()
