"""The pace and the live line, from views alone."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from elsewhere.controller.view import View
from elsewhere.ledger.views import Counts
from elsewhere.observe.cost import Spending
from elsewhere.observe.progress import Pace, facts, line, show_rate, stopping


def view(**counts: int) -> View:
    asks = counts.pop("asks", 0)
    slots, busy = counts.pop("slots", 4), counts.pop("busy", 4)
    return View(Counts(complete=True, asks=asks, **counts), slots, busy, (("a", 12.0), ("b", 3.0)))


def test_the_rate_is_that_of_the_last_moments() -> None:
    pace = Pace()
    for second in range(100):
        pace.note(second, second)  # one a second ...
    for second in range(100, 131):
        pace.note(second, 99 + (second - 99) * 10)  # ... then ten

    assert pace.rate(130, 409) == pytest.approx(10, rel=0.1)
    assert pace.left(130, 409, 509) == pytest.approx(10, rel=0.1)


def test_nothing_is_said_before_there_is_anything_to_say() -> None:
    pace = Pace()
    assert pace.rate(0, 0) is None
    pace.note(0, 0)
    assert pace.rate(5, 0) is None
    assert pace.left(5, 0, 10) is None


def test_slow_tasks_are_paced_over_the_whole_time() -> None:
    pace = Pace()
    for second in range(0, 1000):
        pace.note(second, second // 100)

    assert pace.rate(999, 9) == pytest.approx(0.009, rel=0.1)


def test_a_job_taken_up_again_is_paced_from_there() -> None:
    pace = Pace()
    pace.note(0, 5000)
    pace.note(10, 5100)

    assert pace.rate(10, 5100) == pytest.approx(10)


def test_failed_tasks_made_ready_again_do_not_make_the_rate_negative() -> None:
    pace = Pace()
    pace.note(0, 100)
    pace.note(1, 40)
    pace.note(11, 50)

    assert pace.rate(11, 50) == pytest.approx(1)


def test_the_line_tells_everything_when_there_is_room() -> None:
    pace = Pace()
    pace.note(0, 0)
    pace.note(10, 1200)
    seen = view(total=10000, succeeded=1197, failed=3, ready=8790, handed_out=6, waiting=4, asks=12)

    assert line(seen, pace, 10) == (
        "done 1,197/10,000  failed 3  running 4  waiting 8,796  120/s  1m13s left  slots 4/4  asked again 12"
    )


@pytest.mark.parametrize("width", [10, 30, 50, 79, 100])
def test_a_narrow_line_keeps_what_matters(width: int) -> None:
    seen = view(total=10000, succeeded=1197, failed=3, ready=8790, handed_out=6, waiting=4, asks=12)
    text = line(seen, Pace(), 0, width)

    assert len(text) <= width
    assert text.startswith("done 1,197")
    assert "failed 3" in text or width < 30


def test_a_job_that_still_grows_has_no_time_left() -> None:
    seen = View(Counts(total=10, succeeded=5, ready=5), 1, 0)
    pace = Pace()
    pace.note(0, 0)
    text = line(seen, pace, 5)

    assert text.startswith("done 5/10+")
    assert "left" not in text


def test_the_figures_are_numbers_for_programs() -> None:
    figures = facts(view(total=10, succeeded=2, ready=4, handed_out=4, busy=3), Pace(), 0)

    assert (figures["done"], figures["running"], figures["waiting"], figures["rate"]) == (2, 3, 5, None)


def test_stopping_shows_what_runs_and_for_how_long_at_most() -> None:
    text = stopping(view(total=10), {}, 30.0)

    assert text == "stopping: 2 running (a 12s, 18s left at most; b 3s, 27s left at most); Ctrl-C again: now"
    assert len(stopping(view(total=10), {}, 30.0, 60)) <= 60
    assert stopping(view(total=10), {}, 30.0, 60).endswith("Ctrl-C again: now")


def test_stopping_without_a_limit_shows_how_long_they_have_run() -> None:
    assert "a 12s; b 3s" in stopping(view(total=10), {}, None)


@pytest.mark.parametrize(("rate", "shown"), [(1234.4, "1,234/s"), (1.5, "1.5/s"), (0.2, "12/min"), (0.001, "3.6/h")])
def test_a_rate_is_shown_in_a_unit_that_suits_it(rate: float, shown: str) -> None:
    assert show_rate(rate) == shown


def test_a_place_with_prices_shows_machines_money_so_far_and_to_the_end() -> None:
    pace = Pace()
    pace.note(0, 0)
    pace.note(10, 1200)
    paid = Spending(3, Decimal("0.12"), Decimal("3.60"), Decimal(5))
    seen = replace(view(total=10000, succeeded=1200, ready=8796, handed_out=4), money=paid)

    assert "slots 4/4  machines 3  $0.12, $0.19 to the end" in line(seen, pace, 10)
    assert facts(seen, pace, 10)["money"] == {
        "machines": 3, "spent": 0.12, "rate": 3.6, "to_end": pytest.approx(0.193333), "budget": 5.0, "near": False,
    }  # fmt: skip
    assert "$" not in line(view(total=10), pace, 10) and facts(view(total=10), pace, 10)["money"] is None


@pytest.mark.parametrize("width", [None, 60])
def test_a_budget_that_is_nearly_spent_is_named_also_on_a_narrow_line(width: int | None) -> None:
    seen = replace(view(total=10000, ready=9996, handed_out=4),
                   money=Spending(3, Decimal("4.00"), Decimal(2), Decimal(5)))  # fmt: skip

    assert "$4.00 of the budget of $5.00" in line(seen, Pace(), 0, width)
    assert facts(seen, Pace(), 0)["money"]["near"]
