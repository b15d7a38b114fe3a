"""The cheapest mix: never below its bound, never against a constraint, and the best there is where all can be tried."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choose import small
from elsewhere.api import solver
from elsewhere.choose.bound import FREE, QUARTER, bound, goal, reduced, widen
from elsewhere.choose.filter import sift
from elsewhere.choose.market import Market, market
from elsewhere.choose.mix import ENOUGH, SOLVED, Caps, Program, Solution, cheapest, keeps, mix_of, reach
from elsewhere.choose.packing import packed
from elsewhere.choose.plan import Plan, plan
from elsewhere.choose.wants import SPOT, Span, Wants
from elsewhere.model.catalog import Catalog

MUCH = Span(None, Decimal(10_000))


@st.composite
def catalogs(draw: st.DrawFn, most: int) -> Catalog:
    """Up to `most` offers: a few families of a few sizes in a few zones, spot."""
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=3, unique=True))
    families = draw(st.integers(1, 3))
    types = [small.machine(f"f{family}.{cpus}", cpus) for family in range(families) for cpus in sizes]
    places = [(kind, zone) for kind in range(len(types)) for zone in range(3)]
    sold = draw(st.lists(st.sampled_from(places), min_size=1, max_size=most, unique=True))
    rows = [(kind, zone, 1, types[kind].cpus * draw(st.integers(10_000, 30_000))) for kind, zone in sold]
    return small.catalog(types, rows)


def spot_market(found: Catalog, kept: int = 10) -> Market:
    return market(sift(found.types, Wants(spot=SPOT)), found, spot=True, duration=None, kept=kept)


@st.composite
def limits(draw: st.DrawFn) -> Caps:
    return Caps(
        draw(st.none() | st.integers(1, 6)), draw(st.none() | st.integers(4, 20)),
        draw(st.none() | st.integers(50_000, 400_000)), draw(st.sampled_from([0, 0, 2])),
        draw(st.sampled_from([0, 0, 6])),
    )  # fmt: skip


@given(catalogs(4), st.integers(1, 6), st.booleans(), limits(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_mix_of_all_that_hold_is_cheaper_than_the_bound_and_what_is_found_holds(
    found: Catalog, slots: int, spread: bool, caps: Caps, exact: bool
) -> None:
    aim = goal(spot_market(found), slots, spread)
    truth = small.best(aim, caps)
    mix = cheapest(aim, caps, solver.solve if exact else None)
    if truth is None:
        assert not keeps(aim, mix, caps)
        return
    if mix.bound:
        assert mix.bound <= truth.cost * (1 + 1e-9)
    if keeps(aim, mix, caps):
        assert mix.cost >= truth.cost


@st.composite
def wide(draw: st.DrawFn) -> Catalog:
    """Four or five pools of spot, at prices that let them all qualify; one family has machines of two sizes."""
    sizes = [(family, draw(st.integers(1, 3))) for family in range(4)]
    sizes.append((draw(st.integers(0, 4)), 4))
    types = [small.machine(f"f{family}.{cpus}", cpus) for family, cpus in sizes]
    return small.catalog(
        types, [(k, 0, 1, one.cpus * draw(st.integers(10_000, 18_000))) for k, one in enumerate(types)]
    )


@given(wide(), st.integers(4, 6), st.sampled_from([Caps(), Caps(machines=4), Caps(cpus=8)]))
@settings(max_examples=40, deadline=None)
def test_spread_over_pools_the_bound_holds_the_shares_are_kept_and_the_best_is_found(
    found: Catalog, slots: int, caps: Caps
) -> None:
    aim = goal(spot_market(found), slots, True)
    assert aim.share
    truth = small.best(aim, caps)
    mix = cheapest(aim, caps, solver.solve)
    if truth is None:
        assert not keeps(aim, mix, caps)
    elif mix.slots >= slots:
        assert keeps(aim, mix, caps)
        assert mix.bound <= truth.cost * (1 + 1e-9)
        assert truth.cost <= mix.cost <= truth.cost * (1 + ENOUGH + SOLVED)


@given(wide(), st.integers(4, 6))
@settings(max_examples=40, deadline=None)
def test_packed_pools_bound_every_mix_and_the_reduced_cost_every_mix_that_holds_an_offer(
    found: Catalog, slots: int
) -> None:
    aim = goal(spot_market(found), slots, True)
    relaxed, truth = bound(aim, None, None), small.best(aim, Caps())
    assert relaxed is not None and truth is not None
    numbers = widen(aim, relaxed, FREE, truth.cost - relaxed.value)
    sharper = packed(aim, numbers, relaxed, FREE, 0)
    assert sharper is not None
    assert max(relaxed.value, sharper.value) <= truth.cost * (1 + 1e-9)
    for k in truth.counts:
        assert relaxed.value + reduced(aim, relaxed, FREE, k) <= truth.cost * (1 + 1e-9)
        assert sharper.value + sharper.reduced(aim, FREE, k) <= truth.cost * (1 + 1e-9)


@given(catalogs(4), st.integers(1, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_solver_finds_the_best_mix_there_is(found: Catalog, slots: int, spread: bool) -> None:
    aim = goal(spot_market(found), slots, spread)
    truth = small.best(aim, Caps())
    mix = cheapest(aim, Caps(), solver.solve)
    if truth is None:
        assert mix.slots < slots
    else:
        assert keeps(aim, mix, Caps())
        assert mix.cost <= truth.cost * (1 + ENOUGH + SOLVED)


@given(catalogs(30), st.integers(1, 200), st.booleans(), limits())
@settings(max_examples=150, deadline=None)
def test_a_goal_within_reach_is_met_within_every_limit(
    found: Catalog, slots: int, spread: bool, caps: Caps
) -> None:  # fmt: skip
    plain = Caps(caps.machines, caps.cpus, caps.price)
    aim = reach(goal(spot_market(found), slots, spread), plain)
    if aim.slots:
        mix = cheapest(aim, plain)
        assert keeps(aim, mix, plain)
        assert 0 < mix.bound <= mix.cost


@given(catalogs(8), st.integers(4, 7))
@settings(max_examples=60, deadline=None)
def test_zones_that_were_left_out_of_the_market_do_not_lower_the_bound(found: Catalog, slots: int) -> None:
    few, many = goal(spot_market(found, kept=1), slots, False), goal(spot_market(found), slots, False)
    assert small_cost(few) == small_cost(many)


def small_cost(aim: object) -> int:
    return cheapest(aim, Caps(), solver.solve).cost  # type: ignore[arg-type]


def test_a_solver_that_lies_is_not_believed() -> None:
    types = [small.machine("a.large", 2), small.machine("b.large", 3)]
    aim = goal(spot_market(small.catalog(types, [(0, 0, 1, 50_000), (1, 0, 1, 70_000)])), 5, False)

    def liar(program: Program) -> Solution:
        return Solution([0] * len(program.costs), 1e12)

    mix = cheapest(aim, Caps(), liar)
    assert mix.slots >= 5
    assert mix.cost == 120_000


def test_one_machine_that_is_the_cheapest_needs_no_solver() -> None:
    types = [small.machine("a.large", 2), small.machine("b.large", 3)]
    aim = goal(spot_market(small.catalog(types, [(0, 0, 1, 50_000), (1, 0, 1, 70_000)])), 1, False)

    def unasked(program: Program) -> Solution:
        raise AssertionError("the solver was asked")

    mix = cheapest(aim, Caps(), unasked)
    assert (mix.cost, mix.bound) == (50_000, 50_000)


# --- spreading ------------------------------------------------------------------------------------------------------


def spot_plan(families: int, slots: int, **more: object) -> Plan:
    types = [small.machine(f"f{k}.large", 1) for k in range(families)]
    rows = [(k, 0, 1, 10_000 + 100 * k) for k in range(families)]
    return plan(small.catalog(types, rows), Wants(spot=SPOT, **more), slots, solver=solver.solve)  # type: ignore[arg-type]


def test_no_pool_of_spot_holds_more_than_a_quarter_where_four_qualify() -> None:
    made = spot_plan(6, 40)
    assert [row.count for row in made.rows] == [10, 10, 10, 10]
    assert {row.offer.name for row in made.rows} == {f"f{k}.large" for k in range(4)}


def test_three_pools_are_not_enough_to_spread_over() -> None:
    made = spot_plan(3, 40)
    assert [(row.offer.name, row.count) for row in made.rows] == [("f0.large", 40)]


def test_pools_at_more_than_twice_the_price_do_not_count() -> None:
    types = [small.machine(f"f{k}.large", 1) for k in range(4)]
    rows = [(k, 0, 1, price) for k, price in enumerate((10_000, 10_000, 10_000, 25_000))]
    made = plan(small.catalog(types, rows), Wants(spot=SPOT), 40)
    assert sum(row.count for row in made.rows if row.offer.name == "f3.large") == 0


def test_what_is_not_spot_is_not_spread() -> None:
    types = [small.machine(f"f{k}.large", 1) for k in range(6)]
    made = plan(small.catalog(types, [(k, 0, 0, 10_000 + k) for k in range(6)]), Wants(), 40)
    assert [(row.offer.name, row.count) for row in made.rows] == [("f0.large", 40)]


def test_the_relaxed_optimum_of_four_pools_is_a_quarter_of_each() -> None:
    types = [small.machine(f"f{k}.large", 1) for k in range(5)]
    found = spot_market(small.catalog(types, [(k, 0, 1, price) for k, price in enumerate((10, 20, 30, 40, 50))]))
    found.price[:] = [60, 70, 80, 90, 100]
    relaxed = bound(goal(found, 40, True), None, None)
    assert relaxed is not None
    assert relaxed.value == 10 * (60 + 70 + 80 + 90)
    assert len(relaxed.front) == QUARTER


# --- limits ---------------------------------------------------------------------------------------------------------


def test_few_machines_are_larger_ones_though_they_cost_more() -> None:
    types = [small.machine("a.large", 2), small.machine("b.8xlarge", 32)]
    found = small.catalog(types, [(0, 0, 0, 20_000), (1, 0, 0, 640_000)])
    free = plan(found, Wants(price_per_hour=MUCH), 64)
    held = plan(found, Wants(price_per_hour=MUCH, machines=Span(None, 2)), 64)
    assert (free.machines, held.machines, held.slots) == (32, 2, 64)


def test_what_the_ceiling_does_not_allow_is_not_planned_and_said() -> None:
    types = [small.machine("a.large", 2)]
    made = plan(small.catalog(types, [(0, 0, 0, 1_000_000)]), Wants(price_per_hour=Span(None, Decimal(5))), 100)
    assert (made.slots, made.wanted, made.price) == (10, 100, Decimal(5))


def test_without_a_word_ten_dollars_an_hour_is_the_most() -> None:
    made = plan(small.catalog([small.machine("a.large", 2)], [(0, 0, 0, 1_000_000)]), Wants(), 1000)
    assert made.price == 10


def test_a_least_number_of_machines_is_kept() -> None:
    types = [small.machine("a.large", 2), small.machine("a.4xlarge", 16)]
    found = small.catalog(types, [(0, 0, 0, 21_000), (1, 0, 0, 160_000)])
    made = plan(found, Wants(machines=Span(3, None)), 16, solver=solver.solve)
    assert made.machines == 8
    assert made.price == Decimal("0.168")


def test_the_sum_of_a_mix_is_that_of_its_machines() -> None:
    types = [small.machine("a.large", 2), small.machine("b.large", 3)]
    aim = goal(spot_market(small.catalog(types, [(0, 0, 1, 50_000), (1, 0, 1, 70_000)])), 5, False)
    mix = mix_of(aim, {0: 2, 1: 1})
    assert (mix.slots, mix.machines, mix.cpus, mix.cost) == (7, 3, 7, 170_000)


@pytest.mark.parametrize("gap", [0.0, 0.0012])
def test_the_certificate_never_says_less_than_the_gap(gap: float) -> None:
    made = Plan((), 1, 1, 1, 1, Decimal(1), Decimal(1), gap, 1)
    said = made.certificate
    assert (said == "the best possible price") if not gap else float(said.split()[1]) / 100 >= gap
