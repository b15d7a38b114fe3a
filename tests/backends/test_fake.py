"""The fakes do as they are ordered, and keep a log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from elsewhere.backends.base import Condition, Launch
from elsewhere.channels.base import Room
from elsewhere.errors import NoCapacity, QuotaExceeded, Unreachable
from elsewhere.model.reports import Ended, Form
from elsewhere.model.resources import Resources
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.testing.fake import FakeBackend, FakeChannel, FakeClock, FakeSettings

LAUNCH = Launch("lch-1", 3, "", Resources(), timedelta(hours=1), datetime(2030, 1, 1, tzinfo=UTC))
LEASE = timedelta(minutes=1)


def test_a_refusal_has_no_effect_and_is_the_one_that_was_ordered() -> None:
    place = FakeBackend(FakeClock())
    place.refuse_next()
    place.refuse_next(QuotaExceeded("no more"))
    for error in (NoCapacity, QuotaExceeded):
        with pytest.raises(error):
            place.submit(LAUNCH)
    assert list(place.owned()) == []
    assert len(place.submit(LAUNCH)) == 3
    assert [verb for verb, _ in place.log] == ["submit", "submit", "owned", "submit"]


@pytest.mark.parametrize(("when", "left"), [("before", 0), ("after", 3)])
def test_a_lost_reply_is_lost_before_or_after_the_effect(when: str, left: int) -> None:
    place = FakeBackend(FakeClock())
    place.lose_reply_next(when)
    with pytest.raises(Unreachable):
        place.submit(LAUNCH)
    assert len(list(place.owned())) == left
    assert len(place.submit(LAUNCH)) == len(list(place.owned())) == 3


def test_a_machine_boots_hides_and_is_preempted() -> None:
    clock = FakeClock()
    place = FakeBackend(clock, boot=timedelta(seconds=30))
    first, second, third = place.submit(LAUNCH)
    assert place.status([first])[first].condition is Condition.PENDING
    clock.advance(31)
    assert place.status([first])[first].condition is Condition.RUNNING
    place.hide(second, timedelta(seconds=10))
    assert {s.native for s in place.owned()} == {first, third}
    clock.advance(timedelta(seconds=11))
    place.preempt(second)
    seen = place.status([second])[second]
    assert (seen.condition, seen.reason, seen.ended) == (Condition.PREEMPTED, "spot reclaimed", clock.now())
    place.cancel([second])
    assert place.status([second])[second].condition is Condition.PREEMPTED


def test_a_place_that_is_nearly_full_says_yes_in_part() -> None:
    place = FakeBackend(FakeClock(), FakeSettings(most=2))
    assert len(place.submit(LAUNCH)) == 2
    with pytest.raises(NoCapacity):
        place.submit(Launch("lch-2", 1, "", Resources(), LAUNCH.term, LAUNCH.start_by))


def test_a_channel_sends_twice_and_late_by_seed() -> None:
    clock = FakeClock()
    channel = FakeChannel(clock, 1, duplicates=1.0, delay=timedelta(seconds=100))
    channel.send([Delivery(1, 1, "t", b"")])
    first = channel.claim("a", Room(5), LEASE)
    clock.advance(100)
    assert len([*first, *channel.claim("a", Room(5), LEASE)]) == 2
    clock.advance(LEASE)
    assert len(channel.claim("b", Room(5), LEASE)) == 2


@pytest.mark.parametrize(("when", "came"), [("before", 0), ("after", 1)])
def test_a_channel_loses_the_reply_that_it_was_told_to(when: str, came: int) -> None:
    channel = FakeChannel(FakeClock())
    channel.lose_reply_next("report", when)
    channel.send([])
    with pytest.raises(Unreachable):
        channel.report([Ended(1, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.NOTHING, b"")])
    assert len(channel.collect(5)) == came
    assert [verb for verb, _ in channel.log] == ["send", "report", "collect"]
