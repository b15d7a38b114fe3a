"""Seeded worlds that drive the project's own code: with every rule in force nothing that must not happen happens;
without any one of them something does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worlds.rules import RULES
from worlds.survey import Shown, broken, shown, table
from worlds.world import World

BUNCH = 25
BUNCHES, MANY = 12, 400
"""Of 25 worlds: so many in each run, and with `-m soak`."""
ASIDE = 3
"""Of those in which a call to the cloud takes its time, in each run."""
FEW = 150
"""Worlds that are looked at before it is said that nobody misses a rule."""
UNSEEN = {
    "an answer is as old as its question",
    "claimed by the dead",
    "late claims are blamed",
    "deaths count alone",
    "term is renewed",
    "a late answer is void",
    "asked before handed out again",
}
"""Rules that no world among those looked at has shown since the joint changed last: look further with survey.py."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "worlds.md"


def play(bunch: int, aside: bool = False) -> None:
    for seed in range(bunch * BUNCH, (bunch + 1) * BUNCH):
        found = broken(seed, aside=aside)
        assert found is None, f"world {seed}: {found}"


@pytest.mark.parametrize("bunch", range(BUNCHES))
def test_every_invariant_holds_while_every_rule_does(bunch: int) -> None:
    play(bunch)


@pytest.mark.parametrize("bunch", range(ASIDE))
def test_every_invariant_holds_where_controllers_go_on_while_the_cloud_is_asked(bunch: int) -> None:
    play(bunch, aside=True)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bunch", range(ASIDE, BUNCHES))
def test_every_invariant_holds_in_many_worlds_where_controllers_go_on_while_the_cloud_is_asked(bunch: int) -> None:
    play(bunch, aside=True)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bunch", range(BUNCHES, MANY))
def test_every_invariant_holds_in_thousands_of_worlds(bunch: int) -> None:
    play(bunch)


@pytest.mark.parametrize("mutant", shown(), ids=lambda mutant: mutant.title)
def test_a_rule_that_is_taken_out_is_missed(mutant: Shown) -> None:
    """The world that is noted shows it. Where the code has changed so that fate took another turn, another may."""
    assert broken(mutant.seed) is None
    others = (seed for seed in range(FEW) if seed != mutant.seed)
    assert any(broken(seed, mutant.rules) for seed in (mutant.seed, *others)), (
        f"nothing breaks without {mutant.title}: look further with tests/worlds/survey.py --mutants --write"
    )


def test_every_rule_is_in_the_table() -> None:
    known = {name for mutant in shown() for name in mutant.rules}
    assert set(RULES) - known == UNSEEN, "look for a world: python tests/worlds/survey.py --mutants --missing --write"


def test_a_world_is_the_same_each_time_it_is_played() -> None:
    def tale(seed: int) -> tuple[object, ...]:
        world = World(seed).play()
        return world.now, dict(world.runs), world.judge.shown, world.judge.spent

    assert tale(7) == tale(7)


def test_the_documents_table_is_that_of_the_rules() -> None:
    if os.environ.get("REWRITE"):
        head, _, _ = DOCUMENT.read_text().partition("| rule |")
        DOCUMENT.write_text(head + table())
    assert DOCUMENT.read_text().endswith(table()), "run it once with REWRITE=1 and look at what changed"
