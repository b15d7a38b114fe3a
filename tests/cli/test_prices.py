"""`elsewhere offers` and `elsewhere plan`, at a place that sells thirty types and has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import Ran, Shell


@pytest.fixture
def market(shell: Shell, tmp_path: Path) -> Shell:
    """A shell to which the place `market` is known, as an installed backend is."""
    point = tmp_path / "points" / "fakemarket-1.dist-info"
    point.mkdir(parents=True)
    (point / "METADATA").write_text("Metadata-Version: 2.1\nName: fakemarket\nVersion: 1\n")
    (point / "entry_points.txt").write_text("[elsewhere.backends]\nmarket = elsewhere.testing.market:FakeMarket\n")
    shell.env["PYTHONPATH"] = str(point.parent)
    return shell


def types(ran: Ran) -> list[str]:
    assert ran.status == 0, ran.err
    return [row["type"] for row in ran.json()]


def test_offers_are_listed_cheapest_per_slot_first_and_the_refused_are_counted(market: Shell) -> None:
    ran = market("offers", "market", "--limit", "2")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[1].split()[:2] == ["c1.8xlarge", "32"]
    assert len(ran.out.splitlines()) == 3
    assert "refused: 5 types by --architecture, 2 types by --cpus" in ran.err
    assert "without a price: x9.metal" in ran.err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--machine-types", "r1.*", "--types", "--limit", "1"], ["r1.8xlarge"]),
        (["--machine-types", "re:c1[.][24]xlarge", "--types"], ["c1.4xlarge", "c1.2xlarge"]),
        (["--gpus", "t4:2", "--types", "--limit", "2"], ["g1.8xlarge", "g1.4xlarge"]),
        (["--architecture", "arm64", "--machine-cpus", "..2", "--zone", "east-b"], ["c2g.large"]),
    ],
)
def test_flags_choose_among_them(market: Shell, words: list[str], found: list[str]) -> None:
    assert types(market("offers", "market", *words, "--json")) == found


def test_regions_and_images_are_listed_where_asked_for(market: Shell) -> None:
    assert market("offers", "market", "--regions").out == "east\nwest\n"
    assert [one["id"] for one in market("offers", "market", "--images", "--json").json()] == ["img-1", "img-2"]
    assert {one["zone"] for one in market("offers", "market", "--region", "west", "--json").json()} == {
        "west-a",
        "west-b",
    }


def test_why_a_type_is_refused_is_told_with_every_reason(market: Shell) -> None:
    ran = market("offers", "market", "--why", "--machine-cpus", "4..", "--machine-types", "c2g.large")
    assert "c2g.large: --architecture: it is arm64, not x86_64; --machine-cpus: it has 2, less than 4" in ran.out


def test_where_nothing_does_the_smallest_change_is_named_and_the_status_is_2(market: Shell) -> None:
    ran = market("offers", "market", "--machine-cpus", "64..")
    assert ran.status == 2
    assert "--machine-cpus from 32 would admit 5 types from $0.64/h" in ran.err


def test_a_snapshot_stands_for_the_place(market: Shell) -> None:
    saved = market("offers", "market", "--save", "prices.json", "--json")
    again = market("offers", "market", "--from", "prices.json", "--json")
    assert again.json() == saved.json()
    market.write("prices.json", "{}")
    assert market("offers", "market", "--from", "prices.json").status == 2


def test_a_place_without_prices_says_so(market: Shell) -> None:
    assert "local has no prices" in market("offers", "local").out
    assert "3 tasks, 2 slots on local, which has no prices" in market("plan", "--tasks", "3", "--slots", "2").out


def test_a_plan_shows_choice_price_time_and_dollars_and_creates_nothing(market: Shell) -> None:
    market.tasks(100)
    words = ("plan", "tasks.jsonl", "--entry", "m:f", "--on", "market", "--spot", "--task-time", "5m")
    ran = market(*words)
    assert ran.status == 0, ran.err
    assert ran.out.startswith("   TYPE")
    assert "100 tasks at a time: $1.8674 an hour, the best possible price" in ran.out
    assert "100 tasks of 5m00s: about 7m00s and $0.22 to the end, $0.14 at the very least" in ran.out
    assert ran.out.endswith("nothing was created\n")
    assert market("jobs", "--json").json() == []

    facts = market(*words, "--json").json()
    assert facts["slots"] == sum(row["machines"] * row["slots"] for row in facts["chosen"]) >= 100
    assert facts["price"] >= facts["bound"] > 0
    assert all(row["spot"] for row in facts["chosen"])


def test_a_budget_below_the_least_is_refused(market: Shell) -> None:
    ran = market("plan", "--tasks", "1000", "--on", "market", "--task-time", "5m", "--budget", "0.1")
    assert ran.status == 2
    assert "below the least that this can cost: $3.35" in ran.err


def test_what_a_place_limits_holds_in_its_plans(market: Shell) -> None:
    market.write("elsewhere.yaml", "places:\n  shop:\n    backend: market\n    limits:\n      machines: 2\n")
    facts = market("plan", "--tasks", "1000", "--on", "shop", "--json").json()
    assert (facts["machines"], facts["slots"], facts["wanted"]) == (2, 64, 1000)


def test_spot_alone_and_spot_preferred_are_told_apart(market: Shell) -> None:
    assert market("plan", "--tasks", "1", "--on", "market", "--spot=perhaps").status == 2
    facts = market("plan", "--tasks", "1", "--on", "market", "--spot=prefer", "--json").json()
    assert facts["chosen"][0]["spot"] and not facts["alternatives"][-1]["spot"]


def test_a_probe_runs_the_first_five_here_and_keeps_nothing(market: Shell) -> None:
    market.write("m.py", "import time\ndef f(n):\n    open(f'ran-{n}', 'w').close()\n    time.sleep(0.2)\n")
    market.write("list.jsonl", "".join(f'{{"task_id": "{n}", "data": {{"n": {n}}}}}\n' for n in range(50)))
    ran = market("plan", "list.jsonl", "--entry", "m:f", "--on", "market", "--probe")
    assert ran.status == 0, ran.err
    assert ran.err.startswith("5 tasks took ") and " here (" in ran.err
    assert sorted(path.name for path in market.directory.glob("ran-*")) == [f"ran-{n}" for n in range(5)]
    facts = market("plan", "list.jsonl", "--entry", "m:f", "--on", "market", "--probe", "--json").json()
    assert facts["cost"] > 0
    assert market("jobs", "--json").json() == []


def test_a_probe_of_tasks_that_fail_is_an_answer(market: Shell) -> None:
    market.write("m.py", "def f(n):\n    raise ValueError('no such thing')\n")
    market.write("list.jsonl", '{"task_id": "a", "data": {"n": 1}}\n')
    ran = market("plan", "list.jsonl", "--entry", "m:f", "--on", "market", "--probe")
    assert (ran.status, "none of the first 5 tasks succeeded here: " in ran.err) == (2, True), ran.err
    assert "no such thing" in ran.err
    assert market("plan", "--tasks", "3", "--on", "market", "--probe").status == 2
    assert market("jobs", "--json").json() == []
