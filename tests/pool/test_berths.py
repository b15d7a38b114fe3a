"""On which machine there is room for one more."""

from __future__ import annotations

import pytest

from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources
from elsewhere.pool.berths import berth

SMALL, LARGE = Offer("small", Resources(cpus=2, memory=10, gpus=1)), Offer("large", Resources(cpus=4, memory=10))


@pytest.mark.parametrize(
    ("held", "need", "goes"),
    [
        ([], Resources(), "large"),
        ([("large", Resources(cpus=3))], Resources(), "small"),
        ([("large", Resources(cpus=2))], Resources(), "small"),
        ([("small", Resources(cpus=2)), ("large", Resources(cpus=3.5))], Resources(), ""),
        ([("large", Resources(memory=8))], Resources(memory=5), "small"),
        ([], Resources(gpus=1), "small"),
        ([("small", Resources(gpus=1))], Resources(gpus=1), ""),
        ([("gone", Resources(cpus=9))], Resources(cpus=4), "large"),
    ],
)
def test_a_launch_goes_where_most_is_left_and_nowhere_if_all_are_full(
    held: list[tuple[str, Resources]], need: Resources, goes: str
) -> None:
    found = berth([SMALL, LARGE], held, need)
    assert (found.name if found else "") == goes
