"""The reactor: what it commands after each event, and that it commands nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from elsewhere.backends.base import Condition, Sighting
from elsewhere.model.place import KEPT, Offer
from elsewhere.model.resources import Resources
from elsewhere.model.states import AllocationMove, AllocationState
from elsewhere.pool.capacity import (
    Accepted,
    Ask,
    Bounds,
    CannotBoot,
    Command,
    Condemn,
    Failed,
    Heard,
    Listed,
    Need,
    Read,
    Refused,
    Said,
    Scope,
    Shape,
    State,
    Stop,
    Unanswered,
    Warn,
    Write,
    begin,
    booked,
    only_kept,
    settled,
)
from elsewhere.pool.reactor import react

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PLAIN = Shape(Offer("plain", Resources()), 2)
BOUNDS = Bounds("job-1", most=4, shapes=(PLAIN,), lag=4 * MINUTE, flight=5 * MINUTE, asking=30 * MINUTE)
DEAR = Shape(Offer("dear", Resources(), price=Decimal(6)), 2)
PAID = replace(BOUNDS, shapes=(DEAR,), budget=Decimal(10))  # ten cents a minute


def at(minutes: float) -> datetime:
    return T0 + minutes * MINUTE


def seen(native: str, condition: Condition = Condition.RUNNING, launch: str = "job-1-0-1", **more: object) -> Sighting:
    labels = {"job": "job-1", "launch": launch}
    return Sighting(native, condition, labels, started=T0, **more)  # type: ignore[arg-type]


class Story:
    """A reactor that is told one thing after another."""

    def __init__(self, bounds: Bounds = BOUNDS, todo: int = 3) -> None:
        self.state = State(bounds)
        self.tell(Need(todo), 0)

    def tell(self, event: object, minutes: float) -> tuple[Command, ...]:
        self.state, commands = react(self.state, event, at(minutes))  # type: ignore[arg-type]
        return commands

    def list(self, minutes: float, *sightings: Sighting, asked: float | None = None) -> tuple[Command, ...]:
        return self.tell(Listed(at(minutes if asked is None else asked), sightings), minutes)


def running(bounds: Bounds = BOUNDS, todo: int = 1) -> Story:
    """One machine, `m1`, that runs."""
    story = Story(bounds, todo)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1",)), 0)
    story.tell(Heard(("m1",)), 1)
    story.list(1, seen("m1"))
    return story


def test_a_launch_is_written_down_before_it_is_asked_for() -> None:
    *writes, ask = Story(todo=3).list(0)
    assert [type(w) for w in writes] == [Write, Write]
    assert ask == Ask("job-1-0-1", 2, timedelta(hours=12), at(0) + 55 * MINUTE, PLAIN.offer, 2)
    assert {w.allocation.state for w in writes if isinstance(w, Write)} == {AllocationState.PLANNED}


def test_a_launch_without_an_answer_is_asked_for_again_under_its_id_and_no_other_is_made() -> None:
    story = Story()
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 1)
    assert [c for c in story.list(2)] == [Ask("job-1-0-1", 2, timedelta(hours=12), at(0) + 55 * MINUTE, PLAIN.offer, 2)]


def test_a_first_refusal_frees_what_was_booked_and_the_next_launch_waits() -> None:
    story = Story(PAID)
    story.list(0)
    assert booked(story.state) == 10
    refused = story.tell(Refused("job-1-0-1", "none left", chance=1.0), 0)
    assert [w.move for w in refused if isinstance(w, Write)] == [AllocationMove.REFUSE] * 2
    assert booked(story.state) == 0 and story.state.trouble == "none left"
    assert story.list(1 / 60) == ()
    assert isinstance(story.list(3 / 60)[-1], Ask)


def test_the_pause_after_refusals_grows_to_its_limit() -> None:
    story, pauses = Story(), []
    for k in range(12):
        story.list(k * 60)
        story.tell(Refused(f"job-1-0-{k + 1}", "none left", chance=1.0), k * 60)
        until = story.state.rests[PLAIN.offer.key].until
        assert until is not None
        pauses.append((until - at(k * 60)).total_seconds())
    assert pauses[:4] == [2, 4, 8, 16] and pauses[-1] == 300


def test_a_refusal_after_a_lost_reply_decides_nothing_until_the_labels_can() -> None:
    story = Story(PAID, todo=1)
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 0)
    story.tell(Refused("job-1-0-1", "quota"), 1)
    assert booked(story.state) == 10
    assert story.list(20) == ()  # the launch is not asked for again
    assert story.list(39) == ()  # it may still come: not before 30 + 5 + 4 minutes
    assert moved(story.list(40, seen("m1"))) == [(AllocationMove.ACCEPT, "m1")]


def test_machines_for_so_many_tasks_each_are_as_many_as_the_tasks_want_and_no_more() -> None:
    few = Shape(PLAIN.offer, 1, serves=3, abreast=4)
    story = Story(replace(BOUNDS, shapes=(few,), most=100), todo=10)
    ask = story.list(0)[-1]
    assert isinstance(ask, Ask) and (ask.count, ask.serves, ask.abreast) == (4, 3, 4)
    story.tell(Accepted("job-1-0-1", ("m1", "m2", "m3", "m4")), 0)
    story.tell(Heard(("m1", "m2", "m3", "m4")), 1)
    story.tell(Need(8), 1)
    there = [seen(f"m{k}") for k in range(1, 5)]
    assert not [c for c in story.list(1, *there) if isinstance(c, Ask)], "one that has done two still counts for three"
    gone = [seen(f"m{k}", Condition.STOPPED, ended=at(3)) for k in range(1, 5)]
    story.tell(Need(4), 3)
    [again] = [c for c in story.list(3, *gone) if isinstance(c, Ask)]
    assert again.count == 2, "what came back has machines of its own"


def moved(commands: tuple[Command, ...]) -> list[tuple[AllocationMove, str]]:
    return [(c.move, c.allocation.native) for c in commands if isinstance(c, Write) and c.move]


def test_what_the_labels_show_is_ours_at_once_once_the_launch_is_not_asked_for_again() -> None:
    story = Story(todo=4)
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 0)
    assert [c for c in story.list(1, seen("m1")) if not isinstance(c, Ask)] == [], "it is asked for again, as it was"
    story.tell(Refused("job-1-0-1", "quota"), 1)
    assert moved(story.list(2, seen("m1"))) == [(AllocationMove.ACCEPT, "m1")]
    story.list(3, seen("m1"))
    story.tell(Need(0, over=True), 4)
    assert [c for c in story.list(4, seen("m1")) if isinstance(c, Stop)] == [Stop(("m1",))]
    story.list(5, seen("m1", Condition.STOPPED, ended=at(5)))
    assert story.list(6, seen("m1", Condition.STOPPED, ended=at(5))) == (), "it is not taken for the other one"
    assert moved(story.list(40)) == [(AllocationMove.REFUSE, "")]


def test_a_launch_of_which_the_labels_show_all_is_not_asked_for_again() -> None:
    story = Story(todo=4)
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 0)
    commands = story.list(1, seen("m1"), seen("m2"))
    assert moved(commands) == [(AllocationMove.ACCEPT, "m1"), (AllocationMove.ACCEPT, "m2")]
    assert not [c for c in commands if isinstance(c, Ask | Stop | Condemn)]


def test_what_the_labels_do_not_show_stays_booked_in_full() -> None:
    story = Story(PAID, todo=1)
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 0)
    story.list(40)
    assert booked(story.state) == 10
    assert not [a for a in story.state.allocations.values() if a.launch == "job-1-0-1"]


def test_the_labels_are_not_read_from_an_answer_that_was_asked_for_too_early() -> None:
    story = Story(todo=1)
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 0)
    assert story.list(45, asked=38) == ()


def test_a_partial_yes_is_a_yes_for_those_it_names() -> None:
    story = Story(todo=3)
    story.list(0)
    moves = [w.move for w in story.tell(Accepted("job-1-0-1", ("m1",)), 0) if isinstance(w, Write)]
    assert moves == [AllocationMove.ACCEPT, AllocationMove.REFUSE]


def test_an_answer_that_comes_twice_changes_nothing_the_second_time() -> None:
    story = running()
    before = story.state.allocations
    assert story.tell(Accepted("job-1-0-1", ("m1",)), 2) == ()
    assert story.state.allocations == before


def test_one_absence_is_out_of_sight_two_more_than_the_lag_apart_are_gone() -> None:
    story = running()
    assert [w.move for w in story.list(2) if isinstance(w, Write)] == [AllocationMove.LOSE_CONTACT]
    assert story.list(5) == ()
    vanished, *_ = story.list(7)
    assert isinstance(vanished, Write) and vanished.move is AllocationMove.VANISH
    assert vanished.allocation.used is None  # it costs its whole term


def test_an_absence_is_as_old_as_its_question() -> None:
    story = running()
    story.list(2)
    assert story.list(7, asked=5) == ()


def test_a_report_after_an_absence_makes_it_void() -> None:
    story = running()
    story.list(2)
    story.tell(Heard(("m1",)), 4)
    assert story.list(7) == ()


def test_one_that_is_seen_again_is_regained() -> None:
    story = running()
    story.list(2)
    assert [w.move for w in story.list(3, seen("m1")) if isinstance(w, Write)] == [AllocationMove.REGAIN]


def test_one_that_ended_costs_what_it_lived_and_its_death_is_told() -> None:
    story = running(PAID)
    ended, *_ = story.list(9, seen("m1", Condition.FAILED, ended=at(9)))
    assert isinstance(ended, Write) and ended.move is AllocationMove.END
    assert ended.allocation.used == 9 * MINUTE and ended.allocation.crashed


def test_the_sum_of_open_terms_never_exceeds_the_budget() -> None:
    story = Story(PAID, todo=8)
    story.list(0)
    assert booked(story.state) == 10
    story.tell(Accepted("job-1-0-1", tuple(f"m{k}" for k in range(1, 5))), 0)
    for minutes in range(1, 60, 7):
        story.list(minutes, *[seen(f"m{k}") for k in range(1, 5)])
        assert booked(story.state) <= 10


def test_terms_are_renewed_by_steps_up_to_what_is_bought_ahead() -> None:
    story = running()
    assert story.list(5, seen("m1")) == ()
    (bought,) = story.list(11, seen("m1"))
    assert isinstance(bought, Write) and bought.allocation.term == timedelta(hours=12) + 11 * MINUTE


def test_terms_that_are_nearly_due_are_renewed_with_one_that_is() -> None:
    story = Story(todo=3)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1", "m2")), 0)
    story.tell(Heard(("m1", "m2")), 1)
    both = seen("m1"), replace(seen("m2"), started=at(4))
    story.list(1, *both)
    assert story.list(9, *both) == ()
    renewed = [w.allocation for w in story.list(11, *both) if isinstance(w, Write)]
    assert {a.native: a.term for a in renewed} == {
        "m1": timedelta(hours=12) + 11 * MINUTE,
        "m2": timedelta(hours=12) + 7 * MINUTE,
    }


def test_a_stranger_that_bears_our_labels_is_written_down_and_stopped() -> None:
    story = running()
    assert story.list(2, seen("m1"), seen("m9", launch="job-1-0-0")) == (Condemn("m9", "job-1-0-0"), Stop(("m9",)))


def test_machines_of_other_jobs_are_left_alone() -> None:
    story = running()
    other = Sighting("m9", Condition.RUNNING, {"job": "job-2", "launch": "job-2-0-1"})
    assert story.list(2, seen("m1"), other) == ()


def test_when_all_is_over_each_is_stopped_until_it_is_seen_gone() -> None:
    story = running()
    story.tell(Need(0, over=True), 2)
    write, stop = story.list(3, seen("m1"))
    assert isinstance(write, Write) and write.move is AllocationMove.STOP and stop == Stop(("m1",))
    assert story.list(4, seen("m1")) == (Stop(("m1",)),)
    assert not settled(story.state)
    story.list(5, seen("m1", Condition.STOPPED, ended=at(5)))
    assert settled(story.state)


def test_never_more_machines_than_the_most_also_while_some_are_stopping() -> None:
    story = running(replace(BOUNDS, most=1), todo=9)
    assert story.list(2, seen("m1")) == ()
    assert story.list(3, seen("m1", Condition.STOPPED, ended=at(3)))[-1] == Ask(
        "job-1-0-2", 1, timedelta(hours=12), at(3) + 55 * MINUTE, PLAIN.offer, 2
    )


def test_at_least_so_many_while_there_is_work_and_none_when_there_is_none() -> None:
    bounds = replace(BOUNDS, least=3)
    assert [c.count for c in Story(bounds, todo=1).list(0) if isinstance(c, Ask)] == [3]
    assert Story(bounds, todo=0).list(0) == ()


def test_a_place_that_will_never_say_yes_is_not_asked_again() -> None:
    story = Story()
    story.list(0)
    story.tell(Refused("job-1-0-1", "no such account", hopeless=True), 0)
    assert story.list(600) == () and story.state.trouble == "no such account"


def test_a_spent_budget_is_told_and_launches_nothing() -> None:
    story = Story(replace(PAID, budget=Decimal("0.5")))
    assert story.list(0) == ()
    assert "budget" in story.state.trouble


def test_a_new_controller_goes_on_from_what_was_written_down() -> None:
    story = Story(PAID)
    writes = [c.allocation for c in story.list(0) if isinstance(c, Write)]
    again = begin(PAID, 2, writes)
    assert booked(again) == booked(story.state)
    state, _ = react(again, Need(3), at(1))
    state, commands = react(state, Listed(at(1), ()), at(1))
    assert commands == (Ask("job-1-0-1", 2, writes[0].term, at(0) + 55 * MINUTE, DEAR.offer, 2),)


def test_a_machine_that_runs_after_its_launch_was_asked_for_and_never_answered_is_no_stranger() -> None:
    story = Story(todo=1)
    story.list(0)
    story.tell(Unanswered("job-1-0-1"), 0)
    commands = story.list(1, seen("m1"))
    assert not [c for c in commands if isinstance(c, Stop | Condemn)]


# --- a mix of shapes ------------------------------------------------------------------------------------------------


def shape(name: str, price: str, slots: int = 2, most: int | None = None, spot: bool = True) -> Shape:
    return Shape(Offer(name, Resources(cpus=slots), "a", Decimal(price), spot), slots, most)


MIX = replace(BOUNDS, most=10, budget=Decimal(1000),
              shapes=(shape("x", "1", most=2), shape("y", "2", most=3), shape("z", "6", 4, spot=False)))  # fmt: skip


def asks(commands: tuple[Command, ...]) -> list[tuple[str, int]]:
    return [(c.offer.name, c.count) for c in commands if isinstance(c, Ask)]


def test_shapes_are_asked_for_in_order_of_preference_up_to_their_shares_until_all_slots_are_had() -> None:
    assert asks(Story(MIX, todo=13).list(0)) == [("x", 2), ("y", 3), ("z", 1)]
    assert asks(Story(MIX, todo=3).list(0)) == [("x", 2)]


def test_a_refused_shape_rests_and_the_next_is_asked_at_once() -> None:
    story = Story(MIX, todo=4)
    story.list(0)
    assert asks(story.tell(Refused("job-1-0-1", "none left", chance=1.0), 0)) == [("y", 2)]
    story.tell(Accepted("job-1-0-2", ("m1",)), 0)  # one of two: the rest comes from the next one
    assert [a.offer.name for a in story.state.allocations.values()] == ["y", "z"]


def test_a_quota_rests_all_of_its_market_and_no_other() -> None:
    story = Story(MIX, todo=4)
    story.list(0)
    assert asks(story.tell(Refused("job-1-0-1", "quota", scope=Scope.MARKET), 0)) == [("z", 1)]


def test_a_throttled_place_is_not_asked_for_any_shape_until_its_pause_is_over() -> None:
    story = Story(MIX, todo=4)
    story.list(0)
    assert asks(story.tell(Refused("job-1-0-1", "too often", chance=1.0, scope=Scope.PLACE), 0)) == []
    assert asks(story.list(1 / 60)) == []
    assert asks(story.list(3 / 60)) == [("x", 2)]


def test_the_pool_stops_with_the_reason_when_every_shape_is_hopeless() -> None:
    story = Story(MIX, todo=4)
    story.list(0)
    for k in (1, 2, 3):
        assert story.state.stopped == ""
        story.tell(Refused(f"job-1-0-{k}", "not allowed", hopeless=True), 0)
    assert story.state.stopped == "not allowed" and story.list(600) == ()


def test_the_ceilings_of_price_per_hour_and_of_cpus_hold_over_all_shapes() -> None:
    assert asks(Story(replace(MIX, price_per_hour=Decimal(5)), todo=40).list(0)) == [("x", 2), ("y", 1)]
    assert asks(Story(replace(MIX, cpus=6), todo=40).list(0)) == [("x", 2), ("y", 1)]


def test_where_tasks_are_short_fewer_machines_are_asked_for() -> None:
    story = Story(replace(MIX, worth=2 * MINUTE), todo=40)
    story.tell(Need(40, pace=timedelta(seconds=12)), 0)
    assert asks(story.list(0)) == [("x", 2)]


def test_an_idle_machine_that_is_not_needed_is_told_to_end_and_stopped_if_it_does_not() -> None:
    story = Story(replace(MIX, linger=2 * MINUTE), todo=5)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("x1", "x2")), 0)
    story.tell(Accepted("job-1-0-2", ("y1",)), 0)
    here = [seen("x1"), seen("x2"), seen("y1", launch="job-1-0-2")]
    story.tell(Heard(("x1", "x2", "y1")), 1)
    story.tell(Need(2, idle=frozenset(["x1", "y1"])), 1)
    story.list(2, *here)
    assert not [a for a in story.state.allocations.values() if a.reason]  # not yet: it has not stood long
    story.list(4, *here)
    assert sorted(a.native for a in story.state.allocations.values() if a.reason) == ["x1", "y1"]
    assert Stop(("x1", "y1")) in story.list(14, *here)


def test_one_that_would_be_asked_for_again_is_kept_though_it_is_idle() -> None:
    story = running(todo=2)
    story.tell(Need(2, idle=frozenset(["m1"])), 1)
    story.list(60, seen("m1"))
    assert [a.reason for a in story.state.allocations.values()] == [""]


def test_a_machine_that_never_speaks_is_stopped_after_its_time_and_one_that_cannot_boot_at_once() -> None:
    story = Story(todo=3)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1", "m2")), 0)
    story.list(1, seen("m1"), seen("m2"))
    story.tell(CannotBoot("m2", "python: not found"), 2)
    assert Stop(("m2",)) in story.list(2, seen("m1"), seen("m2"))
    assert {"m1"} == {a.native for a in story.state.allocations.values() if a.state is AllocationState.RUNNING}
    late = story.list(26, seen("m1"), seen("m2"))
    assert Read("m1") in late and Stop(("m1", "m2")) in late


def test_why_a_machine_could_not_boot_stays_its_reason_when_it_has_ended() -> None:
    story = Story(todo=1)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1",)), 0)
    story.list(1, seen("m1"))
    story.tell(CannotBoot("m1", "startup script: it ended with status 2\n| no such file"), 2)
    commands = story.list(2, seen("m1", Condition.STOPPED))
    [write] = [c for c in commands if isinstance(c, Write) and c.move is AllocationMove.END]
    assert write.allocation.reason == "it could not boot: startup script: it ended with status 2\n| no such file"
    assert not any(isinstance(c, Read) for c in commands)


def test_after_some_machines_in_a_row_that_did_not_boot_the_pool_stops_with_the_last_words() -> None:
    story = Story(replace(BOUNDS, duds=2), todo=1)
    for k in (1, 2):
        story.list(2 * k)
        launch = f"job-1-0-{k}"
        story.tell(Accepted(launch, (f"m{k}",)), 2 * k)
        story.list(2 * k + 1, seen(f"m{k}", Condition.FAILED, launch, ended=at(2 * k + 1)))
        story.tell(Said("no module named numpy"), 2 * k + 1)
    assert asks(story.list(60)) == []
    assert story.state.stopped == "none of the last 2 machines could boot; the last one said: no module named numpy"


def test_four_fifths_of_the_budget_are_told_once() -> None:
    story = running(PAID)
    assert not [c for c in story.list(79, seen("m1")) if isinstance(c, Warn)]
    assert [c for c in story.list(81, seen("m1")) if isinstance(c, Warn)] == [Warn(Decimal("8.1"))]
    assert not [c for c in story.list(82, seen("m1")) if isinstance(c, Warn)]


def test_machines_that_cost_money_may_be_asked_for_without_a_budget() -> None:
    bounds = Bounds("job-1", most=1, shapes=(Shape(Offer("small", Resources(), price=Decimal("0.05"))),))
    state, _ = react(begin(bounds, 1, ()), Need(1), T0)
    _, commands = react(state, Listed(T0, ()), T0)
    [ask] = [command for command in commands if isinstance(command, Ask)]
    assert ask.term == bounds.unattended


# --- machines that are kept on failure ------------------------------------------------------------------------------

KEEPING = replace(PAID, keep=30 * MINUTE)


def two(bounds: Bounds = KEEPING) -> Story:
    """Two machines that run, and a task that failed for good on the first."""
    story = Story(bounds, todo=3)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1", "m2")), 0)
    story.tell(Heard(("m1", "m2")), 1)
    story.list(1, seen("m1"), seen("m2"))
    story.tell(Failed(frozenset(["m1"])), 2)
    return story


def test_at_the_end_a_machine_on_which_a_task_failed_is_kept_and_the_others_are_stopped() -> None:
    story = two()
    story.tell(Need(0, over=True), 10)
    commands = story.list(10, seen("m1"), seen("m2"))
    assert [c for c in commands if isinstance(c, Stop)] == [Stop(("m2",))]
    [kept] = [a for a in story.state.allocations.values() if a.kept]
    assert (kept.native, kept.term, kept.reason) == ("m1", 42 * MINUTE, KEPT)
    story.list(11, seen("m1"), seen("m2", Condition.STOPPED, ended=at(11)))
    assert only_kept(story.state) and not settled(story.state)
    assert not [c for c in story.list(40, seen("m1")) if isinstance(c, Stop)]
    assert booked(story.state) == Decimal("4.2") + Decimal("1.1"), "what it may cost is booked, and no more"
    assert Stop(("m1",)) in story.list(43, seen("m1")), "one that does not end by itself is ended"


def test_nothing_is_kept_that_was_not_asked_for_nor_beyond_its_term() -> None:
    story = two(PAID)
    story.tell(Need(0, over=True), 10)
    assert Stop(("m1", "m2")) in story.list(10, seen("m1"), seen("m2"))
    story = two(replace(KEEPING, budget=Decimal(6)))
    term = story.state.allocations["job-1-0-1-1"].term
    story.tell(Need(0, over=True), 10)
    story.list(10, seen("m1"), seen("m2"))
    assert story.state.allocations["job-1-0-1-1"].term == term == 30 * MINUTE


def test_whoever_goes_on_with_a_job_ends_what_was_kept() -> None:
    story = two()
    story.tell(Need(0, over=True), 10)
    story.list(10, seen("m1"), seen("m2"))
    later = Story()
    later.state = begin(KEEPING, 2, list(story.state.allocations.values()))
    later.tell(Need(0, over=True), 11)
    assert Stop(("m1", "m2")) in later.list(11, seen("m1"), seen("m2"))
    assert not only_kept(later.state), "its end is waited for, as that of the others"


def test_an_idle_machine_on_which_a_task_failed_takes_nothing_more_and_is_not_stopped() -> None:
    story = two(replace(BOUNDS, keep=30 * MINUTE))
    story.tell(Need(1, idle=frozenset(["m1"])), 5)
    story.tell(Need(1, idle=frozenset(["m1"])), 7)
    story.list(7, seen("m1"), seen("m2"))
    assert [a.native for a in story.state.allocations.values() if a.kept] == ["m1"]
    assert not [c for c in story.list(20, seen("m1"), seen("m2")) if isinstance(c, Stop)]
    story.tell(Need(4), 21)
    assert asks(story.list(21, seen("m1"), seen("m2"))) == [("plain", 1)], "its slots count no more"


def test_one_whose_agent_has_left_and_that_stays_gives_no_slots_any_more() -> None:
    story = two(replace(BOUNDS, keep=30 * MINUTE))
    story.tell(Failed(frozenset(["m1"]), frozenset(["m1"])), 3)
    assert asks(story.list(4, seen("m1"), seen("m2"))) == [("plain", 1)]
    assert [a.native for a in story.state.allocations.values() if a.kept] == ["m1"]


def test_where_the_work_that_remains_has_no_room_beside_one_that_is_kept_that_one_ends() -> None:
    story = running(replace(BOUNDS, keep=30 * MINUTE, most=1), todo=1)
    story.tell(Failed(frozenset(["m1"]), frozenset(["m1"])), 3)
    assert Stop(("m1",)) in story.list(4, seen("m1"))
    assert asks(story.list(9, seen("m1", Condition.STOPPED, ended=at(5)))) == [("plain", 1)]


def test_a_machine_that_could_not_boot_is_kept_and_where_there_is_room_for_no_other_the_pool_stops() -> None:
    story = Story(replace(KEEPING, most=1), todo=1)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1",)), 0)
    story.list(1, seen("m1"))
    story.tell(CannotBoot("m1", "setup: exit 3"), 2)
    assert not [c for c in story.list(2, seen("m1")) if isinstance(c, Stop)]
    [kept] = story.state.allocations.values()
    assert (kept.reason, kept.term) == (f"{KEPT}: it could not boot: setup: exit 3", 34 * MINUTE)
    assert story.state.stopped.endswith("no room for another; the last one said: setup: exit 3")
    story.tell(Need(0, over=True), 3)
    story.list(32, seen("m1", Condition.STOPPED, ended=at(32)))
    assert (story.state.duds, settled(story.state)) == (1, True)


def test_a_machine_that_says_that_no_other_would_boot_is_the_last_and_those_that_run_go_on() -> None:
    story = Story(todo=3)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1", "m2")), 0)
    story.tell(Heard(("m1",)), 1)
    story.list(1, seen("m1"), seen("m2"))
    story.tell(CannotBoot("m2", "container: there is no image box", final=True), 2)
    commands = story.list(2, seen("m1"), seen("m2"))
    assert Stop(("m2",)) in commands and asks(commands) == [] and story.state.stopped == ""
    assert asks(story.list(60, seen("m1"), seen("m2", Condition.STOPPED))) == []
    story.list(70, seen("m1", Condition.STOPPED))
    assert story.state.stopped == "no machine can boot: container: there is no image box"


def test_an_answer_that_took_longer_than_the_lag_is_not_more_than_one_absence() -> None:
    story = Story(todo=1)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ["m1"]), 0)  # type: ignore[arg-type]
    story.list(1, seen("m1"))
    story.list(8, asked=2)
    story.list(10, asked=9)
    assert {a.state for a in story.state.allocations.values()} == {AllocationState.UNREACHABLE}
    story.list(13, asked=12.5)
    assert AllocationState.UNREACHABLE not in {a.state for a in story.state.allocations.values()}


def test_a_machine_that_came_and_went_between_two_looks_has_spoken_all_the_same() -> None:
    story = Story(todo=1)
    story.list(0)
    story.tell(Accepted("job-1-0-1", ("m1",)), 0)
    story.tell(Heard(("m1",)), 1)
    commands = story.list(5, seen("m1", Condition.STOPPED, ended=at(2)))
    [last] = [one.allocation for one in commands if isinstance(one, Write) and one.allocation.state.ended]
    assert last.spoke == at(2) and story.state.duds == 0
