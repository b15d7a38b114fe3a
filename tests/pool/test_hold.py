"""A hold: what it asks of a place so that as many as are wanted are there, and nothing else."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from elsewhere.backends.base import Sighting
from elsewhere.errors import NoCapacity, PlaceError, Refused
from elsewhere.model.place import Limits, Offer
from elsewhere.model.resources import Resources
from elsewhere.pool.hold import TRIES, Hold, Member, Text
from elsewhere.testing.fake import FakeBackend, FakeClock

LONG = 3600.0


class Kept:
    """A hold of kind `a` at a fake place; `step` lets a second pass and looks."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.place = FakeBackend(self.clock, boot=timedelta(0))
        self.hold = Hold(self.place, "clu-1", lambda member: f"last words of {member.name}")
        self.hold.declare("a", Text(self.render, Resources(cpus=2), timedelta(hours=1)))

    def render(self, number: int, start_by: datetime, machine: str) -> str:
        return f"worker {number}"

    def step(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.hold.step(self.clock())

    def want(self, count: int) -> list[Member]:
        self.hold.want("a", count)
        self.step()
        return self.hold.staying("a")

    def asked(self, verb: str) -> list[object]:
        return [what for said, what in self.place.log if said == verb]


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_so_many_as_are_wanted_are_launched_each_with_its_text_and_our_full_signature(kept: Kept) -> None:
    first, second = kept.want(2)
    assert (first.launch.script, second.launch.script) == ("worker 1", "worker 2")
    assert first.launch.shape == Resources(cpus=2)
    assert first.launch.labels["job"] == "clu-1"
    assert set(first.launch.labels) == {"job", "launch", "owner", "expiry"}
    kept.step()
    assert kept.asked("submit") == ["clu-1-a-1", "clu-1-a-2"]


def test_one_that_dies_is_replaced_by_another_number(kept: Kept) -> None:
    first, second = kept.want(2)
    for member in (first, second):
        kept.hold.arrive(member.name)
    kept.place.crash(first.native)
    kept.step()
    assert [member.name for member in kept.hold.staying("a")] == ["a/2", "a/3"]


def test_what_never_arrives_is_tried_three_times_and_then_no_more(kept: Kept) -> None:
    kept.want(1)
    for _ in range(10):
        for member in kept.hold.staying("a"):
            kept.place.crash(member.native, "ended with status 1")
        kept.step(LONG)
    assert len(kept.asked("submit")) == TRIES
    assert kept.hold.trouble("a") == f"a/{TRIES} ended before it arrived (ended with status 1): last words of a/{TRIES}"
    kept.want(1)
    assert not kept.hold.trouble("a")
    assert len(kept.asked("submit")) == TRIES + 1


def test_of_too_many_those_that_have_not_arrived_go_first_and_then_the_youngest(kept: Kept) -> None:
    members = kept.want(4)
    for member in (members[0], members[1], members[3]):
        kept.hold.arrive(member.name)
    assert [member.number for member in kept.want(2)] == [1, 2]
    assert kept.asked("cancel")[-1] == ("clu-1-a-3.0", "clu-1-a-4.0")


def test_one_that_leaves_by_itself_is_not_replaced_and_is_ended_when_its_grace_is_over(kept: Kept) -> None:
    first, _ = kept.want(2)
    kept.hold.arrive(first.name)
    kept.hold.release([first], kept.clock(), 60.0)
    kept.want(1)
    kept.step(30.0)
    assert kept.asked("cancel") == []
    kept.step(31.0)
    assert kept.asked("cancel") == [(first.native,)]
    kept.step()
    assert len(kept.hold.members) == 1


def test_after_a_lost_reply_the_same_launch_is_asked_for_again(kept: Kept) -> None:
    kept.place.lose_reply_next()
    kept.want(1)
    kept.step(LONG)
    assert kept.asked("submit") == ["clu-1-a-1", "clu-1-a-1"]
    assert len(list(kept.place.owned())) == 1


def test_a_place_that_has_none_left_is_asked_again_later(kept: Kept) -> None:
    kept.place.refuse_next(NoCapacity("there is none left"))
    kept.want(1)
    assert (kept.hold.staying("a"), kept.hold.trouble("a"), kept.hold.note("a")) == ([], "", "there is none left")
    kept.step(LONG)
    assert len(kept.hold.staying("a")) == 1


def test_what_a_place_refuses_for_good_is_raised_for_whoever_asks_and_not_asked_again(kept: Kept) -> None:
    kept.place.refuse_next(Refused("there is no partition x"))
    kept.hold.want("a", 1)
    with pytest.raises(Refused, match="no partition x"):
        kept.hold.step(kept.clock(), raising=True)
    kept.step(LONG)
    assert len(kept.asked("submit")) == 1
    assert kept.hold.trouble("a") == "there is no partition x"


def test_an_answer_that_does_not_come_says_nothing_and_two_without_it_say_that_it_is_gone(kept: Kept) -> None:
    (member,) = kept.want(1)
    kept.hold.arrive(member.name)
    kept.place.refuse_next(PlaceError("no answer"))
    kept.step()
    kept.place.hide(member.native, timedelta(seconds=1.5))
    kept.step()
    assert kept.hold.staying("a") == [member]
    kept.step()
    kept.place.hide(member.native, timedelta(days=1))
    kept.step()
    assert kept.hold.staying("a") == [member]
    kept.step()
    assert [one.number for one in kept.hold.staying("a")] == [2]


def test_at_close_all_that_bears_its_label_is_ended_also_what_it_forgot(kept: Kept) -> None:
    kept.want(2)
    kept.hold.members.clear()
    stranger = Hold(kept.place, "clu-2")
    stranger.declare("a", Text(kept.render, Resources(), timedelta(hours=1)))
    stranger.want("a", 1)
    stranger.step(kept.clock())
    assert kept.hold.close() == []
    assert [seen.labels["job"] for seen in kept.place.owned() if not seen.ended] == ["clu-2"]


def test_who_takes_its_time_to_end_is_not_pressed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    (member,) = kept.want(1)
    ending = kept.place.cancel
    monkeypatch.setattr(kept.place, "cancel", lambda ids: kept.place.log.append(("asked", tuple(ids))))
    seen: list[None] = []

    def owned() -> list[Sighting]:
        seen.append(None)
        if len(seen) == 4:
            ending([member.native])
        return list(FakeBackend.owned(kept.place))

    monkeypatch.setattr(kept.place, "owned", owned)
    assert kept.hold.close() == []
    assert kept.asked("asked") == [(member.native,)]


def test_where_there_are_so_many_machines_launches_go_where_there_is_room_and_the_rest_waits(kept: Kept) -> None:
    kept.hold.machines = [Offer("first", Resources(cpus=4)), Offer("second", Resources(cpus=2))]
    members = kept.want(4)
    assert [one.launch.offer.name for one in members if one.launch.offer] == ["first", "first", "second"]
    assert kept.hold.note("a") == "there is no room for more on its machines"
    kept.place.crash(members[0].native)
    kept.hold.arrive(members[0].name)
    kept.step(LONG)
    assert len(kept.hold.staying("a")) == 3


def test_a_machine_that_is_not_reached_is_left_alone_for_a_while_and_another_is_used(kept: Kept) -> None:
    kept.hold.machines = [Offer("first", Resources(cpus=4)), Offer("second", Resources(cpus=4))]
    kept.place.lose_reply_next()
    (member,) = kept.want(1)
    assert member.launch.offer == kept.hold.machines[1]
    kept.want(2)
    assert [one.launch.offer for one in kept.hold.staying("a")] == [kept.hold.machines[1]] * 2
    kept.step(LONG)
    kept.want(3)
    assert kept.hold.staying("a")[-1].launch.offer == kept.hold.machines[0]


def test_a_kind_that_belongs_on_one_machine_is_asked_for_there_again_and_takes_no_room(kept: Kept) -> None:
    one = Offer("first", Resources(cpus=2))
    kept.hold.machines = [one]
    kept.hold.declare("_s", Text(kept.render, Resources(cpus=2), timedelta(hours=1), machine=one))
    kept.place.lose_reply_next()
    kept.hold.want("_s", 1)
    kept.step()
    kept.step(LONG)
    assert kept.asked("submit") == ["clu-1-_s-1", "clu-1-_s-1"]
    assert len(kept.want(1)) == 1


def test_a_kind_that_can_be_on_some_machines_only_is_launched_on_these(kept: Kept) -> None:
    kept.hold.machines = [Offer("first", Resources(cpus=8)), Offer("second", Resources(cpus=2))]
    kept.hold.declare("a", Text(kept.render, Resources(cpus=2), timedelta(hours=1), only=("second",)))
    (member,) = kept.want(2)
    assert member.launch.offer == kept.hold.machines[1]
    assert kept.hold.note("a") == "there is no room for more on its machines"


CHEAP, DEAR = Offer("small", Resources(cpus=2), "a", Decimal(1)), Offer("large", Resources(cpus=2), "a", Decimal(3))


def sold(kept: Kept) -> None:
    text = Text(kept.render, Resources(cpus=2), timedelta(hours=1), offers=(CHEAP, DEAR), starts=timedelta(minutes=20))
    kept.hold.declare("a", text)


def test_of_what_is_sold_the_next_is_asked_for_where_there_is_none_left_and_the_first_again_later(kept: Kept) -> None:
    sold(kept)
    kept.place.refuse_next(NoCapacity("small is sold out"))
    (member,) = kept.want(1)
    assert (member.launch.offer, kept.hold.note("a")) == (DEAR, "")
    kept.want(2)
    assert kept.hold.staying("a")[-1].launch.offer == DEAR
    kept.step(LONG)
    kept.want(3)
    assert kept.hold.staying("a")[-1].launch.offer == CHEAP


def test_where_all_that_is_sold_is_sold_out_it_waits_with_the_words_of_the_place(kept: Kept) -> None:
    sold(kept)
    for _ in range(2):
        kept.place.refuse_next(NoCapacity("sold out"))
    assert kept.want(1) == []
    assert (kept.hold.note("a"), kept.hold.trouble("a"), len(kept.asked("submit"))) == ("sold out", "", 2)
    kept.step(10)
    assert len(kept.asked("submit")) == 2
    kept.step(LONG)
    assert len(kept.hold.staying("a")) == 1


def test_what_is_sold_is_asked_for_again_under_its_name_after_a_lost_reply(kept: Kept) -> None:
    sold(kept)
    kept.place.lose_reply_next()
    kept.want(1)
    kept.step(LONG)
    assert kept.asked("submit") == ["clu-1-a-1", "clu-1-a-1"]


def test_what_launches_have_cost_is_known_while_they_live_and_after(kept: Kept) -> None:
    sold(kept)
    (member,) = kept.want(1)
    kept.hold.arrive(member.name)
    kept.step(1800 - 1)
    assert (kept.hold.price, round(kept.hold.spent(kept.clock()), 3)) == (Decimal(1), Decimal("0.5"))
    kept.hold.want("a", 0)
    kept.place.crash(member.native)
    kept.step()
    assert (kept.hold.price, round(kept.hold.spent(kept.clock() + LONG), 2)) == (Decimal(0), Decimal("0.5"))


@pytest.mark.parametrize(("limits", "why"), [
    (Limits(machines=1), "the place allows 1 machines"),
    (Limits(price_per_hour=Decimal("1.5")), r"the place allows \$1.5 an hour, and another \$1 would be more"),
])  # fmt: skip
def test_no_more_is_asked_for_than_the_place_allows(kept: Kept, limits: Limits, why: str) -> None:
    sold(kept)
    kept.hold.limits = limits
    assert len(kept.want(2)) == 1
    assert re.match(why, kept.hold.note("a"))
    kept.hold.limits = Limits()
    kept.step(LONG)
    assert len(kept.hold.staying("a")) == 2


def test_with_the_budget_spent_nothing_more_is_asked_for(kept: Kept) -> None:
    sold(kept)
    kept.hold.limits = Limits(budget=Decimal("0.5"))
    assert len(kept.want(1)) == 1
    kept.step(1800)
    assert len(kept.want(2)) == 1
    assert kept.hold.note("a") == "the place's budget of $0.5 is spent"


def test_at_close_launches_may_end_by_themselves_for_a_while_before_they_are_ended(kept: Kept) -> None:
    (member,) = kept.want(1)
    kept.hold.grace = 30.0
    ends = threading.Timer(0.1, lambda: kept.place.crash(member.native))
    ends.start()
    assert kept.hold.close() == []
    ends.join()
    assert kept.asked("cancel") == []
    kept.hold.grace = 0.2
    kept.step()
    kept.step(LONG)
    assert len(kept.hold.staying("a")) == 1
    assert kept.hold.close() == []
    assert len(kept.asked("cancel")) >= 1
