"""The reaper: what it would stop, from labels alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from elsewhere.backends.base import Condition, Sighting
from elsewhere.pool.reaper import SIGNATURE, find, labels

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def machine(condition: Condition = Condition.RUNNING, expiry: datetime = NOW + HOUR, owner: str = "me") -> Sighting:
    return Sighting("m1", condition, labels("job-1", "job-1-1-1", owner, expiry))


def test_what_is_past_its_expiry_is_listed_with_the_reason() -> None:
    (doomed,) = find([machine(expiry=NOW - HOUR)], NOW, "me")
    assert "expired" in doomed.why


def test_what_has_not_expired_is_left_alone_unless_it_is_named() -> None:
    assert find([machine()], NOW, "me") == []
    assert len(find([machine()], NOW, "me", jobs=["job-1"])) == 1
    assert len(find([machine()], NOW, "me", all_of_mine=True)) == 1


def test_what_lacks_any_part_of_our_signature_is_never_listed() -> None:
    whole = machine(expiry=NOW - HOUR)
    for name in SIGNATURE:
        part = {k: v for k, v in whole.labels.items() if k != name}
        assert find([Sighting("m1", Condition.RUNNING, part)], NOW, "me", jobs=["job-1"], all_of_mine=True) == []


def test_machines_of_other_owners_and_those_that_ended_are_never_listed() -> None:
    assert find([machine(expiry=NOW - HOUR, owner="you")], NOW, "me", all_of_mine=True) == []
    assert find([machine(Condition.STOPPED, NOW - HOUR)], NOW, "me", all_of_mine=True) == []


def test_an_expiry_that_cannot_be_read_dooms_nobody() -> None:
    odd = Sighting("m1", Condition.RUNNING, {**labels("j", "l", "me", NOW), "expiry": "soon"})
    assert find([odd], NOW, "me") == []
