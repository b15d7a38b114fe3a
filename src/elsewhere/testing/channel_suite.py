"""What a channel must do: one test for each answer of its verbs' docstrings.

At least once, in any order, late: the tests wait for what must come, and never count what may come twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from elsewhere.channels.base import Channel, Claim, Receipt, Room
from elsewhere.model.reports import BootStep, Claimed, Ended, Form, Heartbeat, Notice, Output, Report
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery

LEASE = timedelta(seconds=60)
BOUND = 20.0


@dataclass
class Ends:
    """A channel under test, created, empty."""

    home: Channel
    """The controller's end."""
    join: Callable[[str], Channel]
    """The end of an agent of this name; the same name gives the same end."""
    restart: Callable[[], Channel] | None = None
    """The end of a controller that comes after one that was killed; None: the channel dies with it."""
    pass_time: Callable[[timedelta], None] | None = None
    """Move the clock of all ends; None: it has none, and nothing lapses."""
    joined: set[str] = field(default_factory=set)
    """Agents that were asked for; each looks at its end now and then, as a living agent does."""

    def agent(self, name: str) -> Channel:
        self.joined.add(name)
        return self.join(name)

    def claim(self, agent: str, count: int, alone: bool = False, lease: timedelta = LEASE) -> list[Claim]:
        """Claim until there are `count`."""
        claims: list[Claim] = []
        self.until(lambda: self._claim_more(agent, count, alone, lease, claims))
        return claims

    def claim_whatever(self, agent: str, count: int, alone: bool = False) -> list[Claim]:
        """Claim what comes within a few moments: for what must not come."""
        claims: list[Claim] = []
        for _ in range(10):
            self._claim_more(agent, count, alone, LEASE, claims)
            self._breathe()
        return claims

    def collect(self, count: int, true: Callable[[Report], bool] = lambda _: True) -> list[Receipt]:
        """Collect until `count` different reports of the wanted kind have come; every receipt that came."""
        found: list[Receipt] = []

        def enough() -> bool:
            found.extend(r for r in self.home.collect(1000) if r not in found)
            return len({repr(r.report) for r in found if true(r.report)}) >= count

        self.until(enough)
        return found

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND
        while not true():
            assert time.monotonic() < end, "it did not come"
            self._breathe()

    def _claim_more(self, agent: str, count: int, alone: bool, lease: timedelta, claims: list[Claim]) -> bool:
        if len(claims) < count:
            claims += self.agent(agent).claim(agent, Room(count - len(claims), alone and not claims), lease)
        self.home.collect(0)  # a stream moves when both ends look at it
        return len(claims) >= count

    def _breathe(self) -> None:
        if self.pass_time is not None:
            self.pass_time(timedelta(seconds=1))
        for name in self.joined:
            self.join(name).claim(name, Room(0), LEASE)
        time.sleep(0.002)  # gives other processes and services a turn; what is waited for is a condition


def deliveries(count: int, first: int = 1, alone: bool = False) -> list[Delivery]:
    return [Delivery(n, 1, f"task-{n}", b'{"x":%d}' % n, None, alone) for n in range(first, first + count)]


def ended(n: int, agent: str = "a", attempt: int = 1) -> Ended:
    return Ended(n, attempt, Outcome.SUCCEEDED, 1.5, 0.25, Form.JSON, b"%d" % n, None, agent)


def pairs(claims: Sequence[Claim]) -> set[tuple[int, int]]:
    return {(claim.delivery.n, claim.delivery.attempt) for claim in claims}


class ChannelConformance:
    """Subclass it and give a fixture `ends`."""

    def test_create_again_changes_nothing(self, ends: Ends) -> None:
        ends.home.send(deliveries(2))
        ends.home.create()
        assert pairs(ends.claim("a", 2)) == {(1, 1), (2, 1)}

    def test_a_delivery_arrives_as_it_was_sent(self, ends: Ends) -> None:
        odd = Delivery(7, 3, "ä\n'", bytes(range(256)) * 9000, b'{"timeout": 1.5}', False)
        plain = Delivery(2**31, 1, "plain", b"null")
        ends.home.send([odd, plain])
        assert {claim.delivery for claim in ends.claim("a", 2)} == {odd, plain}

    def test_sending_again_is_harmless(self, ends: Ends) -> None:
        ends.home.send(deliveries(3))
        ends.home.send(deliveries(3))
        ends.home.send([])
        assert pairs(ends.claim("a", 3)) <= {(1, 1), (2, 1), (3, 1)}

    def test_nothing_to_claim_is_no_claim(self, ends: Ends) -> None:
        assert ends.claim_whatever("a", 5) == []

    def test_an_agent_gets_no_more_than_it_has_room_for(self, ends: Ends) -> None:
        ends.home.send(deliveries(10))
        ends.until(lambda: ends._claim_more("a", 1, False, LEASE, []))
        for tasks in (3, 0, 2):
            claims = ends.agent("a").claim("a", Room(tasks), LEASE)
            assert len(claims) <= tasks

    def test_what_one_agent_holds_no_other_gets(self, ends: Ends) -> None:
        ends.home.send(deliveries(6))
        first = ends.claim("a", 4)
        second = ends.claim("b", 2)
        assert pairs(first) | pairs(second) == {(n, 1) for n in range(1, 7)}
        assert ends.claim_whatever("c", 6) == []

    def test_what_wants_to_be_alone_comes_only_to_an_empty_machine_and_nothing_with_it(self, ends: Ends) -> None:
        ends.home.send(deliveries(1, alone=True))
        assert ends.claim_whatever("a", 3) == []
        ends.home.send(deliveries(2, first=2))
        got = ends.claim("a", 1, alone=True)
        while not got[0].delivery.alone:
            assert not any(claim.delivery.alone for claim in got[1:])
            ends.agent("a").report([], got)
            got = ends.claim("a", 1, alone=True)
        assert [claim.delivery.n for claim in got] == [1]

    def test_what_is_held_may_be_renewed_and_renewed_again(self, ends: Ends) -> None:
        ends.home.send(deliveries(3))
        claims = ends.claim("a", 3)
        for _ in range(2):
            assert set(ends.agent("a").renew(claims, LEASE)) == set(claims)
        assert list(ends.agent("a").renew([], LEASE)) == []

    def test_what_is_renewed_does_not_lapse(self, ends: Ends) -> None:
        if ends.pass_time is None:
            pytest.skip("nothing lapses here")
        ends.home.send(deliveries(1))
        claims = ends.claim("a", 1)
        for _ in range(6):
            ends.pass_time(LEASE / 2)
            assert set(ends.agent("a").renew(claims, LEASE)) == set(claims)
            ends.home.collect(0)
            ends.agent("b").claim("b", Room(1), LEASE)
            ends.home.collect(0)
        assert ends.claim_whatever("b", 1) == []

    def test_what_is_not_renewed_is_offered_again_and_its_first_holder_told(self, ends: Ends) -> None:
        if ends.pass_time is None:
            pytest.skip("nothing lapses here")
        ends.home.send(deliveries(2))
        first = ends.claim("a", 2)
        second: list[Claim] = []

        def again() -> bool:
            assert ends.pass_time is not None
            ends.pass_time(LEASE / 3)
            second.extend(ends.agent("b").claim("b", Room(2 - len(second)), LEASE))
            ends.agent("b").renew(second, LEASE)
            ends.home.collect(0)
            return len(second) == 2

        ends.until(again)
        assert pairs(second) == pairs(first)
        assert list(ends.agent("a").renew(first, LEASE)) == []

    def test_what_is_handed_back_is_offered_again(self, ends: Ends) -> None:
        ends.home.send(deliveries(2))
        claims = ends.claim("a", 2)
        for _ in range(2):
            ends.agent("a").release(claims[:1])
        assert pairs(ends.claim("b", 1)) == pairs(claims[:1])
        assert set(ends.agent("a").renew(claims[1:], LEASE)) == set(claims[1:])

    def test_what_is_handed_back_rests_as_long_as_was_said(self, ends: Ends) -> None:
        if ends.pass_time is None:
            pytest.skip("it has no clock that can be moved")
        ends.home.send(deliveries(1))
        ends.agent("a").release(ends.claim("a", 1), timedelta(minutes=10))
        assert ends.claim_whatever("b", 1) == []
        ends.pass_time(timedelta(minutes=11))
        assert pairs(ends.claim("b", 1)) == {(1, 1)}

    def test_every_report_comes_home_as_it_was(self, ends: Ends) -> None:
        now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        told: list[Report] = [
            ended(1),
            Ended(2, 4, Outcome.ERRORED, 1e9, 3.5, Form.FAILURE, bytes(range(256)), Output(1, 2, 3, 4, 5, 6), "a"),
            Claimed("a", ((1, 1), (2, 4))),
            Heartbeat("a", now, ((2, 4),), 3),
            BootStep("a", "python", "no such file"),
            Notice("a", "spot reclaimed", now),
            Notice("a", "soon"),
        ]
        ends.agent("a").report(told)
        found = {repr(receipt.report) for receipt in ends.collect(len(told))}
        assert found == {repr(report) for report in told}

    def test_reports_of_several_agents_come_and_reporting_again_is_harmless(self, ends: Ends) -> None:
        ends.agent("a").report([ended(1, "a")])
        ends.agent("b").report([ended(2, "b")])
        ends.agent("a").report([ended(1, "a")])
        ends.agent("a").report([])
        assert {r.report for r in ends.collect(2)} == {ended(1, "a"), ended(2, "b")}

    def test_what_is_done_is_not_offered_again_though_its_agent_goes_silent(self, ends: Ends) -> None:
        ends.home.send(deliveries(2))
        claims = ends.claim("a", 2)
        ends.agent("a").report([ended(c.delivery.n) for c in claims], claims)
        ends.collect(2)
        if ends.pass_time is not None:
            ends.pass_time(LEASE * 3)
        assert ends.claim_whatever("b", 2) == []

    def test_collect_gives_no_more_than_asked_for_until_these_are_confirmed(self, ends: Ends) -> None:
        ends.agent("a").report([ended(n) for n in range(1, 8)])
        ends.collect(7)
        seen: set[int] = set()

        def some() -> bool:
            receipts = ends.home.collect(3)
            assert len([r for r in receipts if isinstance(r.report, Ended)]) <= 3
            seen.update(r.report.n for r in receipts if isinstance(r.report, Ended))
            ends.home.confirm(receipts)
            return len(seen) == 7

        ends.until(some)

    def test_what_was_not_confirmed_comes_again_and_what_was_does_not(self, ends: Ends) -> None:
        ends.agent("a").report([ended(1), ended(2), ended(3)])
        receipts = ends.collect(3)
        kept = [r for r in receipts if r.report == ended(2)]
        gone = [r for r in receipts if r.report != ended(2)]
        ends.home.confirm(gone)
        ends.home.confirm(gone)
        assert {r.report for r in ends.collect(1)} == {ended(2)}
        ends.home.confirm(kept)
        for _ in range(5):
            assert [r for r in ends.home.collect(10) if r.report != ended(2)] == []

    def test_each_receipt_has_a_token_of_its_own(self, ends: Ends) -> None:
        ends.agent("a").report([ended(1), ended(2), Heartbeat("a", datetime(2026, 1, 1, tzinfo=UTC))])
        ends.agent("b").report([ended(3, "b"), Heartbeat("b", datetime(2026, 1, 1, tzinfo=UTC))])
        receipts = ends.collect(5)
        assert len({r.token for r in receipts}) == len({(r.token, repr(r.report)) for r in receipts}) >= 5

    def test_a_controller_that_comes_later_gets_what_was_not_confirmed(self, ends: Ends) -> None:
        if ends.restart is None:
            pytest.skip("it dies with its controller")
        ends.agent("a").report([ended(1), ended(2)])
        ends.home.confirm([r for r in ends.collect(2) if r.report == ended(1)])
        ends.home = ends.restart()
        ends.home.create()
        ends.until(lambda: ended(2) in [r.report for r in self._from_new(ends)])

    def test_what_a_controller_that_comes_later_sends_again_and_is_held_is_harmless(self, ends: Ends) -> None:
        if ends.restart is None:
            pytest.skip("it dies with its controller")
        ends.home.send(deliveries(2))
        claims = ends.claim("a", 2)
        ends.home = ends.restart()
        ends.home.create()
        ends.home.send(deliveries(3))
        more = ends.claim("b", 1)
        assert pairs(more) <= {(1, 1), (2, 1), (3, 1)}
        ends.agent("a").report([ended(c.delivery.n) for c in claims], claims)
        ends.until(lambda: {ended(1), ended(2)} <= {r.report for r in self._from_new(ends)})

    def test_destroy_twice_and_of_nothing_is_harmless(self, ends: Ends) -> None:
        ends.home.send(deliveries(1))
        ends.agent("a").report([ended(1)])
        for _ in range(2):
            ends.home.destroy()

    def _from_new(self, ends: Ends) -> Sequence[Receipt]:
        ends.claim_whatever("a", 0)  # an agent notices the new controller when it next looks
        return ends.home.collect(100)
