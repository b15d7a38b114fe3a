"""What an agent decides about what it holds, and about its own end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from elsewhere.agent.claims import Hands, Steps, Ways, first_switch
from elsewhere.channels.base import Claim, Room
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Claimed, Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery, RetryPolicy

WAYS = Ways("m1", "job-1", term=3600.0, retry=RetryPolicy(retries=2))


def claim(n: int, attempt: int = 1, alone: bool = False, receipt: str = "", options: bytes | None = None) -> Claim:
    return Claim(Delivery(n, attempt, f"t{n}", b"{}", options, alone), receipt or f"{n}/{attempt}")


def ended(n: int, attempt: int = 1, outcome: Outcome = Outcome.SUCCEEDED) -> Ended:
    return Ended(n, attempt, outcome, 0.0, 0.0, Form.FAILURE if outcome else Form.JSON, b"{}")


def holding(*claims: Claim) -> Hands:
    hands = Hands(WAYS)
    hands.took(claims)
    return hands


def soon(_: int) -> float:
    return 1.0


def late(_: int) -> float:
    return 3600.0


def test_what_is_taken_is_said_and_run() -> None:
    one, two = claim(1), claim(2)
    steps = Hands(WAYS).took([one, two])
    assert steps == Steps(reports=(Claimed("m1", ((1, 1), (2, 1))),), run=(one.delivery, two.delivery))


def test_what_orders_have_ended_or_superseded_is_acknowledged_and_not_run() -> None:
    hands = Hands(WAYS)
    hands.told(Orders("job-1", 1, ended=((1, 2),), numbers={2: 3}))
    assert hands.took([claim(1), claim(2, 2)]) == Steps(done=(claim(1), claim(2, 2)))


def test_an_echo_of_what_is_in_hand_is_acknowledged() -> None:
    assert holding(claim(1)).took([claim(1, receipt="echo")]).done == (claim(1, receipt="echo"),)


def test_what_has_ended_here_is_not_begun_again_while_its_report_is_on_its_way() -> None:
    hands = holding(claim(1))
    hands.ended([ended(1)], 0.0, soon)
    assert hands.took([claim(1, receipt="echo")]) == Steps(done=(claim(1, receipt="echo"),))
    assert hands.took([claim(1, 2)]).run == (claim(1, 2).delivery,)


def test_what_has_ended_here_is_forgotten_once_the_orders_know_of_it() -> None:
    hands = holding(claim(1), claim(2), claim(3))
    hands.ended([ended(1), ended(2), ended(3)], 0.0, soon)
    hands.told(Orders("job-1", 1, ended=((1, 2),), numbers={2: 2}))
    assert hands._ended == {3: 1}


RECALL = Orders("job-1", 1, recall="1.1", recalled={1: 1, 2: 1, 3: 1, 4: 1, 5: 1})


def test_a_recall_is_answered_once_with_what_is_here_or_has_been() -> None:
    hands = holding(claim(1), claim(2), claim(4, 2), claim(6))
    hands.ended([ended(2)], 0.0, soon)
    assert hands.told(RECALL) == Steps(reports=(Claimed("m1", ((2, 1), (1, 1)), "1.1"),))
    assert hands.told(replace(RECALL, logs=(1,))) == Steps()
    assert hands.told(replace(RECALL, recall="", recalled={})) == Steps()
    assert hands.told(replace(RECALL, recall="1.2", recalled={7: 1})).reports == (Claimed("m1", (), "1.2"),)


def test_what_is_recalled_and_not_here_is_not_begun_and_its_next_number_is() -> None:
    hands = holding(claim(1))
    hands.told(RECALL)
    assert hands.took([claim(2), claim(1, receipt="echo")]) == Steps(done=(claim(2), claim(1, receipt="echo")))
    assert hands.took([claim(2, 2), claim(6)]).run == (claim(2, 2).delivery, claim(6).delivery)
    hands.told(replace(RECALL, recall="", recalled={}))
    assert hands.took([claim(3)]).run == (claim(3).delivery,)


def test_a_newer_number_of_what_is_in_hand_ends_the_old_one_first() -> None:
    steps = holding(claim(1)).took([claim(1, 2)])
    assert steps == Steps(stop=(1,), done=(claim(1),), release=(claim(1, 2),))


def test_one_that_wants_to_be_alone_is_alone() -> None:
    assert holding(claim(1)).took([claim(2, alone=True)]).release == (claim(2, alone=True),)
    hands = holding(claim(2, alone=True))
    assert hands.room(4) is None
    assert hands.took([claim(1)]).release == (claim(1),)


def test_an_empty_machine_says_so() -> None:
    assert Hands(WAYS).room(3) == Room(3, alone=True)
    assert holding(claim(1)).room(2) == Room(2, alone=False)


def test_what_lapsed_is_stopped_and_never_reported() -> None:
    hands = holding(claim(1), claim(2))
    assert hands.renewed(hands.claims, [claim(2)]) == Steps(stop=(1,))
    assert hands.ended([ended(1)], 0.0, soon) == Steps()


def test_what_was_taken_while_others_were_renewed_has_not_lapsed() -> None:
    hands = holding(claim(1))
    asked = hands.claims
    hands.took([claim(2)])
    assert hands.renewed(asked, asked) == Steps()


def test_an_end_is_reported_with_its_acknowledgement() -> None:
    assert holding(claim(1)).ended([ended(1)], 0.0, soon) == Steps(
        reports=(ended(1)._replace(agent="m1"),), done=(claim(1),)
    )


def test_an_end_of_another_number_is_not_ours_to_report() -> None:
    assert holding(claim(1, 2)).ended([ended(1, 1)], 0.0, soon) == Steps()


def test_an_error_that_is_due_soon_is_tried_again_here_and_each_try_is_counted() -> None:
    hands = holding(claim(1))
    assert hands.ended([ended(1, outcome=Outcome.ERRORED)], 10.0, soon) == Steps()
    assert hands.due(10.5) == () and hands.next_due() == 11.0
    assert hands.due(11.0) == (claim(1).delivery,)
    assert hands.due(12.0) == ()
    hands.ended([ended(1, outcome=Outcome.ERRORED)], 12.0, soon)
    hands.due(13.0)
    (report,) = hands.ended([ended(1, outcome=Outcome.ERRORED)], 13.0, soon).reports
    assert isinstance(report, Ended) and json.loads(report.value) == {"tries": 3}


def test_a_retry_goes_with_the_claim_that_it_waits_under() -> None:
    """Given a task that waits to be tried again, when a higher number of it comes, then nothing of the old is due."""
    hands = holding(claim(1))
    hands.ended([ended(1, outcome=Outcome.ERRORED)], 10.0, soon)
    assert hands.next_due() == 11.0
    assert hands.took([claim(1, 2)]).release == (claim(1, 2),)
    assert hands.took([claim(1, 2)]).run == (claim(1, 2).delivery,)
    assert hands.next_due() is None and hands.due(100.0) == ()


def test_a_retry_that_is_due_later_is_left_to_the_ledger() -> None:
    assert holding(claim(1)).ended([ended(1, outcome=Outcome.ERRORED)], 0.0, late).reports


def test_tries_of_earlier_deliveries_and_a_tasks_own_limit_count() -> None:
    spent = holding(claim(1, options=b'{"spent": 2}'))
    assert spent.ended([ended(1, outcome=Outcome.ERRORED)], 0.0, soon).reports
    none = holding(claim(1, options=b'{"retries": 0}'))
    assert none.ended([ended(1, outcome=Outcome.ERRORED)], 0.0, soon).reports


def test_only_errors_are_tried_again_here() -> None:
    for outcome in (Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.ASKED_AGAIN, Outcome.REJECTED, Outcome.LOST):
        assert holding(claim(1)).ended([ended(1, outcome=outcome)], 0.0, soon).reports


def test_what_orders_end_is_stopped_and_acknowledged_without_a_report() -> None:
    steps = holding(claim(1), claim(2)).told(Orders("job-1", 1, ended=((1, 2),)))
    assert steps == Steps(stop=(1,), done=(claim(1),))


def test_orders_of_an_older_epoch_are_not_heeded() -> None:
    hands = holding(claim(1))
    hands.told(Orders("job-1", 2))
    assert hands.told(Orders("job-1", 1, ended=((1, 2),), drain=("m1",), over=True)) == Steps()
    assert not hands.draining and not hands.orders.over


def test_terms_grow_and_never_shrink() -> None:
    hands = Hands(WAYS)
    hands.told(Orders("job-1", 1, terms={"m1": timedelta(hours=2)}))
    hands.told(Orders("job-1", 1, terms={"m1": timedelta(hours=1)}))
    assert hands.term == 7200.0


def test_what_is_given_up_is_reported_as_interrupted() -> None:
    steps = holding(claim(1), claim(2)).give_up([1], at=5.0)
    (report,) = steps.reports
    assert isinstance(report, Ended) and (report.n, report.outcome) == (1, Outcome.INTERRUPTED)
    assert (steps.stop, steps.done) == ((1,), (claim(1),))


def test_a_drained_agent_takes_nothing_and_leaves_when_its_hands_are_empty() -> None:
    hands = holding(claim(1))
    hands.told(Orders("job-1", 1, drain=("m1",)))
    assert hands.room(4) is None and hands.leaves(1.0) == ""
    hands.ended([ended(1)], 1.0, soon)
    assert hands.leaves(1.0) == "drained"


def test_an_agent_leaves_when_it_idles_when_all_is_over_and_when_its_time_is_up() -> None:
    hands = Hands(WAYS, age=100.0)
    assert hands.leaves(160.0) == "" and hands.leaves(161.0) == "idle"
    assert hands.leaves(500.0, heard=False) == "" and hands.leaves(560.0) == "", "what it did is not recorded yet"
    assert holding(claim(1)).leaves(3600.0) == "its time is up"
    hands.told(Orders("job-1", 1, over=True))
    assert hands.leaves(101.0) == "all work has ended"


def test_the_switch_stands_a_little_ahead_and_never_past_the_term() -> None:
    hands = Hands(WAYS)
    assert hands.switch(10.0) == 1210.0 and hands.switch(3000.0) == 3600.0
    assert first_switch(WAYS, 1200.0) == 1200.0 and first_switch(Ways("m", "j", 60.0), 1200.0) == 60.0


def test_a_task_that_failed_for_good_is_remembered_and_one_that_is_tried_again_is_not() -> None:
    hands = holding(claim(1), claim(2))
    hands.ended([ended(1)], 1.0, soon)
    assert not hands.failed
    hands.ended([ended(2)._replace(outcome=Outcome.TIMED_OUT)], 1.0, soon)
    assert hands.failed


def final(**more: object) -> Hands:
    return Hands(Ways("a", "job-1", term=100.0, final=True, **more))  # type: ignore[arg-type]


def test_a_term_that_is_final_lets_nothing_begin_that_would_outlast_it() -> None:
    hands = final(lasts=30.0)
    hands.in_time(67.0, None)
    assert hands.room(1) is not None
    hands.in_time(67.0, 20.0)  # what was seen is less than what is allowed
    assert hands.room(1) is not None
    hands.in_time(71.0, None)
    assert hands.room(1) is None and hands.leaves(71.0) == "drained"


def test_the_first_task_of_a_fresh_machine_is_begun_though_it_may_not_fit_for_it_would_nowhere() -> None:
    hands = final(lasts=99.0)
    hands.in_time(5.0, None)
    assert hands.room(1) is not None
    hands.took([claim(1)])
    hands.in_time(6.0, None)
    assert hands.room(1) is None


def test_near_a_final_end_nothing_is_begun_tasks_are_warned_and_then_have_their_grace() -> None:
    ways = Ways("a", "job-1", term=100.0, final=True, grace=5.0)
    assert (ways.ends, ways.warns) == (93.0, 88.0)
    assert Ways("a", "job-1", term=7200.0, final=True, grace=5.0).warns == 7200.0 - 7 - 60
    assert Ways("a", "job-1", term=100.0, grace=5.0).ends == float("inf")
    hands = Hands(ways)
    hands.in_time(87.0, 0.1)
    assert hands.room(1) is not None
    hands.in_time(88.0, 0.1)
    assert hands.room(1) is None


def test_a_machine_for_so_many_tasks_takes_no_more_in_all_and_then_ends() -> None:
    hands = Hands(Ways("a", "job-1", term=100.0, serves=2))
    assert hands.room(8, stock=100) == Room(2, alone=True)
    hands.took([claim(1)])
    assert hands.room(8, stock=100) == Room(1)
    hands.ended([ended(1)], 1.0, soon)
    assert hands.room(8) == Room(1, alone=True) and not hands.leaves(1.0)
    hands.took([claim(2)])
    assert hands.room(8) is None and not hands.leaves(1.0), "it is at work"
    hands.ended([ended(2)], 2.0, soon)
    assert hands.room(8) is None
    assert hands.leaves(2.0, heard=False) == "" and hands.leaves(2.0) == "it has done what it was for"


def test_what_was_seen_counts_up_to_what_is_allowed_and_a_term_that_grows_ends_nothing() -> None:
    hands = final()
    hands.in_time(92.0, None)
    assert hands.room(1) is not None, "nobody knows how long it takes, so it is tried"
    hands.in_time(61.0, 40.0)
    assert hands.room(1) is None
    grows = Hands(Ways("a", "job-1", term=100.0))
    grows.in_time(99.0, 40.0)
    assert grows.room(1) is not None


def test_what_ran_for_all_of_a_final_term_has_timed_out_and_the_rest_was_interrupted() -> None:
    hands = final()
    hands.took([Claim(Delivery(1, 1, "t1", b"null")), Claim(Delivery(2, 1, "t2", b"null"))])
    reports = hands.give_up([1, 2], 1000.0, {1: 95.0, 2: 40.0}).reports
    assert [(r.n, r.outcome, r.took) for r in reports] == [  # type: ignore[union-attr]
        (1, Outcome.TIMED_OUT, 95.0),
        (2, Outcome.INTERRUPTED, 40.0),
    ]
    assert b"longer walltime" in reports[0].value  # type: ignore[union-attr]
