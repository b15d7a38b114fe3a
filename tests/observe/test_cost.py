"""What machines have cost and what that bought, from allocations made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from elsewhere.model.events import Event
from elsewhere.model.place import Allocation, Offer
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationState
from elsewhere.observe.bill import Kept, Paid, lines
from elsewhere.observe.cost import Spending, bill, broke, cost, left, money, receipt

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NO_MORE = Decimal(0)
HOUR, MINUTE, NONE = timedelta(hours=1), timedelta(minutes=1), timedelta(0)
SPOT = Offer("c7g.large", Resources(), "a", Decimal("0.60"), True, Decimal("1.50"))
DEAR = Offer("m7g.large", Resources(), "b", Decimal("1.20"))


def machine(name: str = "m1", state: AllocationState = AllocationState.STOPPED, **more: Any) -> Allocation:
    """One that was started at T0, and ended after an hour unless something else is said."""
    story: dict[str, Any] = {"native": name, "offer": SPOT, "slots": 2, "term": 4 * HOUR, "started": T0,
                             "spoke": T0 + MINUTE, "used": HOUR}  # fmt: skip
    return Allocation(name, "L1", state, **{**story, **more})


def running(name: str = "m1", **more: Any) -> Allocation:
    return machine(name, AllocationState.RUNNING, used=None, **more)


def test_one_that_ended_costs_what_it_lived_and_one_that_runs_what_it_has_lived() -> None:
    assert cost(machine(), T0 + 9 * HOUR) == Decimal("0.60")
    assert cost(running(), T0 + HOUR / 2) == Decimal("0.30")
    assert cost(running(), T0 + 9 * HOUR) == Decimal("2.40"), "never more than was bought"


def test_a_machine_that_started_is_paid_for_a_minute_at_least() -> None:
    a_minute = Decimal("0.01")
    assert cost(machine(used=timedelta(seconds=5)), T0) == a_minute
    assert cost(machine(used=NONE), T0) == a_minute
    assert cost(running(), T0 + timedelta(seconds=5)) == a_minute
    assert cost(machine(used=timedelta(seconds=61)), T0) > a_minute


def test_what_was_refused_or_only_asked_for_costs_nothing() -> None:
    refused = machine("", AllocationState.FAILED, started=None, used=NONE)
    planned = machine("", AllocationState.PLANNED, started=None, used=None)
    found = bill([refused, planned], T0, NONE, 0, 0)
    assert (found.machines, found.held, found.spent, found.per_dollar) == (0, 0, Decimal(0), None)
    assert receipt(found) == ["spent $0.00 for 0 machines"]


def test_one_of_which_it_is_not_known_how_long_it_lived_is_counted_in_full_and_said() -> None:
    lost = machine(state=AllocationState.LOST, used=None)
    found = bill([lost], T0 + HOUR, NONE, 0, 0)
    assert (found.spent, found.unsure) == (Decimal("2.40"), 1)
    assert "spent $2.40 for 1 machine at most: how long 1 of them lived is not known" in receipt(found)[0]


def test_the_bill_tells_what_was_saved_and_where_the_rest_went() -> None:
    whole = machine("m1")
    taken = machine("m2", used=HOUR / 2, reclaimed=True, spoke=T0 + 3 * MINUTE)
    held = running("m3", offer=DEAR)
    # 2 slots for 1 h, 0.5 h and 1 h: 5 slot-hours; tasks of 12 minutes ran for 2 of them
    found = bill([whole, taken, held], T0 + HOUR, 2 * HOUR, 10, 9)

    assert (found.machines, found.held, found.rate) == (3, 1, Decimal("1.20"))
    assert found.spent == Decimal("0.60") + Decimal("0.30") + Decimal("1.20")
    assert found.saved == Decimal("0.90") * 3 / 2, "the third has no price on demand"
    assert found.preempted == Decimal("0.60") * 9 / 60, "three minutes of boot and half a task of twelve"
    assert found.idle == pytest.approx(Decimal("2.10") * 3 / 5 - found.preempted)
    assert found.per_dollar == 9 / Decimal("2.10")
    assert [(s.name, s.machines, s.spent) for s in found.shapes] == [
        ("m7g.large", 1, Decimal("1.20")), ("c7g.large", 2, Decimal("0.90")),
    ]  # fmt: skip
    assert receipt(found) == [
        "spent $2.10 for 3 machines; saved $1.35 against on-demand (39%)",
        "lost $0.09 to preemption and $1.17 to idling, about; 4 tasks per dollar",
    ]


def test_what_was_lost_to_preemption_is_never_more_than_the_machine_cost() -> None:
    mute = machine(used=MINUTE, reclaimed=True, spoke=None)
    assert bill([mute], T0, 10 * HOUR, 1, 1).preempted == Decimal("0.01")


def test_the_figures_are_numbers_for_programs() -> None:
    figures = bill([machine()], T0, HOUR, 4, 3).figures()
    assert (figures["spent"], figures["saved"], figures["idle"], figures["tasks_per_dollar"]) == (0.6, 0.9, 0.3, 5.0)
    assert figures["shapes"] == [
        {"type": "c7g.large", "zone": "a", "spot": True, "machines": 1, "hours": 1.0, "spent": 0.6}
    ]


def test_the_cost_to_the_end_is_what_is_held_for_the_time_that_is_left() -> None:
    spending = Spending(3, Decimal("0.50"), Decimal("1.80"), Decimal(1))
    assert spending.to_end(1800) == Decimal("1.40")
    assert spending.to_end(None) is None
    assert not spending.near and replace(spending, spent=Decimal("0.80")).near
    assert Spending.read(spending.plain()) == spending
    assert Spending.read(None) is None


def events(*kinds: str, **detail: object) -> list[Event]:
    return [Event(T0, kind, detail=dict(detail)) for kind in kinds]


def test_what_may_still_run_is_what_the_last_controller_said_else_what_has_not_ended() -> None:
    held = [running("m1"), machine("m2"), machine("", AllocationState.PLANNED, started=None, used=None)]
    assert left(events("machine", "closing", "settled", "ended"), held) == 0
    assert left(events("closing", "left running", machines=2), held) == 2
    assert left(events("closing"), held) == 1, "it was killed while it closed"
    assert left(events("settled", "resumed", "machine"), held) == 1, "the next controller started others"


def test_a_spent_budget_is_told_from_other_ends() -> None:
    spent = events("gave up", why="the budget of $5 is spent")
    assert broke([*spent, *events("drained", "left")])
    assert not broke([*spent, *events("resumed", "left")])
    assert not broke([*spent, *events("drained", "ended")]), "what ran was all that was left"
    assert not broke(events("gave up", why="there is none left"))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "$0.00"), ("0.00421", "$0.0042"), ("0.125", "$0.12"), ("1204.5", "$1,204.50"),
     ("0.000001", "less than $0.0001")],
)  # fmt: skip
def test_small_amounts_keep_two_digits(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


def test_last_lines_say_which_machines_are_kept_until_when_how_to_look_and_how_to_end_them() -> None:
    later = datetime.now(UTC) + HOUR
    kept = (Kept("i-1", later, Decimal("0.30")), Kept("i-2", T0, NO_MORE))
    said = lines(Paid("aws", bill([], T0, NONE, 0, 0), 0, job="job-1", kept=kept))
    assert "nothing left running" not in " ".join(said)
    assert said[-4].startswith("  i-1 is kept until") and said[-4].endswith(
        "$0.30 more at most; then it ends by itself"
    )
    assert said[-3] == "    elsewhere shell job-1 i-1; elsewhere logs job-1 --machine i-1"
    assert said[-2].startswith("  i-2 was kept until") and said[-2].endswith("has ended by itself")
    assert said[-1] == "  elsewhere cancel job-1 ends them now, and puts away what the job has at its place"
