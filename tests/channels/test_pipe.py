"""A pipe beyond the suite: cuts at any moment, a journal that a crash tore, strangers at the door."""

from __future__ import annotations

import os
import random
import socket
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.channels.away import Away, to_socket
from elsewhere.channels.base import Claim, Room
from elsewhere.channels.journal import Journal
from elsewhere.channels.pipe import Pipe
from elsewhere.errors import NotFound
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Claimed, Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.testing.fake import FakeClock

LEASE = timedelta(seconds=60)


def deliveries(count: int) -> list[Delivery]:
    return [Delivery(n, 1, f"task-{n}", b"{}") for n in range(1, count + 1)]


def ended(n: int) -> Ended:
    return Ended(n, 1, Outcome.SUCCEEDED, 1.0, 0.01, Form.JSON, b"1", None, "a")


class Line:
    """Both ends, and a wire between them that can be cut."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.whole = folder, FakeClock(), True
        self.home = Pipe(clock=self.clock, charter=b"words")
        self.away = self.start()
        self.ran: list[int] = []

    def start(self) -> Away:
        return Away("a", self.connect, self.folder / "journal", lease=LEASE, clock=self.clock)

    def connect(self) -> tuple[int, int] | None:
        if not self.whole:
            return None
        ours, theirs = socket.socketpair()
        fd = ours.detach()
        self.home.attach(fd, fd)
        fd = theirs.detach()
        return fd, fd

    def cut(self) -> None:
        if self.away._stream is not None:
            self.away._stream.close()

    def close(self) -> None:
        self.away.close()
        self.home.destroy()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(8))
def test_cuts_at_any_moment_lose_nothing_and_run_nothing_twice(line: Line, seed: int) -> None:
    chance = random.Random(seed)
    line.home.send(deliveries(300))
    held: list[Claim] = []
    heard: list[int] = []
    for _ in range(5000):
        line.clock.advance(0.5)
        held += line.away.claim("a", Room(chance.randint(1, 20)), LEASE)
        if chance.random() < 0.15:
            line.cut()
        if held and chance.random() < 0.5:
            done, held = held[:9], held[9:]
            line.ran += [claim.delivery.n for claim in done]
            line.away.report([ended(claim.delivery.n) for claim in done], done)
        receipts = line.home.collect(50)
        if chance.random() < 0.5:
            line.home.confirm(receipts)
            heard += [r.report.n for r in receipts if isinstance(r.report, Ended)]
        if set(heard) == set(range(1, 301)) and line.away.settled:
            break
    assert sorted(line.ran) == list(range(1, 301))
    assert sorted(set(heard)) == list(range(1, 301))


def test_what_was_done_while_the_line_was_cut_comes_home_afterwards(line: Line) -> None:
    line.home.send(deliveries(5))
    claims: list[Claim] = []
    while len(claims) < 5:
        claims += line.away.claim("a", Room(5 - len(claims)), LEASE)
        line.home.collect(0)
    line.whole = False
    line.cut()
    line.away.report([ended(c.delivery.n) for c in claims], claims)
    assert line.home.collect(10) == []
    line.whole = True
    line.clock.advance(5)
    line.away.claim("a", Room(1), LEASE)
    assert {r.report for r in line.home.collect(10)} == {ended(n) for n in range(1, 6)}


def test_what_a_killed_agent_had_said_is_said_by_the_next(line: Line) -> None:
    line.whole = False
    line.away.report([ended(1)])
    line.away.close()
    line.away = line.start()
    line.whole = True
    line.clock.advance(5)
    line.away.claim("a", Room(0), LEASE)
    (receipt,) = line.home.collect(10)
    assert receipt.report == ended(1)
    line.home.confirm([receipt])
    line.clock.advance(1)
    line.home.collect(10)
    assert line.away.settled


def test_what_was_confirmed_goes_with_the_next_delivery(line: Line) -> None:
    line.away.claim("a", Room(9), LEASE)
    line.home.collect(10)
    line.home.send(deliveries(1))
    claims = line.away.claim("a", Room(9), LEASE)
    line.away.report([ended(1)], claims)
    line.home.confirm(line.home.collect(10))
    assert not line.away.settled, "it waits for company"
    line.home.send([Delivery(2, 1, "task-2", b"{}")])
    assert line.away.settled and len(line.away.claim("a", Room(9), LEASE)) == 1


def test_what_ended_need_not_be_synced_where_home_says_soon_that_it_has_it(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    line.away.claim("a", Room(0), LEASE)
    line.away.report([ended(1)])
    assert not line.away.safe
    line.home.confirm(line.home.collect(10))
    line.clock.advance(0.04)
    line.home.collect(10)
    assert line.away.settled and line.away.safe and synced == []
    line.away.report([ended(2)])
    line.clock.advance(0.04)
    assert not line.away.safe and synced == []
    line.clock.advance(0.02)
    assert line.away.safe and len(synced) == 1, "nobody has said so"


def test_an_agent_that_cannot_reach_home_for_a_lease_knows_that_its_claims_lapsed(line: Line) -> None:
    line.home.send(deliveries(1))
    claims: list[Claim] = []
    while not claims:
        claims += line.away.claim("a", Room(1), LEASE)
        line.home.collect(0)
    line.whole = False
    line.cut()
    line.clock.advance(LEASE * 0.9)
    assert list(line.away.renew(claims, LEASE)) == claims
    line.clock.advance(LEASE * 0.2)
    assert list(line.away.renew(claims, LEASE)) == []


def test_orders_are_pushed_and_told_to_who_joins_later(line: Line) -> None:
    orders = Orders("job-1", 3, drain=("a",))
    line.home.order(orders)
    line.away.claim("a", Room(0), LEASE)
    line.home.collect(0)
    assert line.away.told() == orders
    line.home.order(Orders("job-1", 3, over=True))
    assert line.away.told().over


def test_orders_that_have_come_are_known_of_until_they_are_read(line: Line) -> None:
    assert not line.away.pushed
    line.home.collect(0)
    line.home.order(Orders("job-1", 1))
    assert line.away.pushed and line.away.told().epoch == 1 and not line.away.pushed


def test_the_charter_comes_down_the_pipe_or_it_is_said_that_nobody_answers(line: Line, tmp_path: Path) -> None:
    assert line.away.read_charter() == b"words"
    lonely = Away("b", lambda: None, tmp_path / "b", lease=LEASE)
    with pytest.raises(NotFound):
        lonely.read_charter(timedelta(seconds=0.1))
    lonely.close()


def test_the_door_is_ours_alone_and_a_stranger_is_shown_out(tmp_path: Path) -> None:
    home = Pipe(tmp_path / "socket")
    home.create()
    home.create()
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
    stranger = socket.socket(socket.AF_UNIX)
    stranger.connect(str(tmp_path / "socket"))
    home.collect(0)
    stranger.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    home.collect(0)
    stranger.settimeout(5)
    while stranger.recv(100):
        pass  # until it is closed
    away = Away("a", to_socket(str(tmp_path / "socket")), tmp_path / "j", lease=LEASE)
    home.send(deliveries(1))
    claims: list[Claim] = []
    while not claims:
        claims += away.claim("a", Room(1), LEASE)
        home.collect(0)
    for thing in (stranger, away):
        thing.close()
    home.destroy()
    assert not (tmp_path / "socket").exists()


def test_a_journal_keeps_what_was_not_confirmed_through_any_tear(tmp_path: Path) -> None:
    """Cut at every byte, it holds a beginning of what was written, and goes on from there."""
    path = tmp_path / "journal"
    journal = Journal(path)
    for n in range(1, 6):
        journal.add(b"x" * n * 10)
    journal.confirm(2)
    journal.close()
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        torn = Journal(path)
        kept = sorted(torn.pending)
        assert kept in ([], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 3, 4, 5])
        number = torn.add(b"more")
        assert number not in kept
        torn.close()
        again = Journal(path)
        assert sorted(again.pending) == [*kept, number]
        assert again.pending[number] == b"more"
        again.close()


@pytest.mark.parametrize("said_meanwhile", [1, 2, 63, 64, 65, 200])
def test_a_number_that_was_said_and_lost_with_its_machine_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_meanwhile: int
) -> None:
    path = tmp_path / "journal"
    on_disk = b""

    def sync(fd: int) -> None:
        nonlocal on_disk
        on_disk = path.read_bytes()

    monkeypatch.setattr("elsewhere.channels.journal.os.fsync", sync)
    said = 0
    for _ in range(4):
        journal = Journal(path)
        numbers = [journal.add(b"said, and perhaps not on the disk") for _ in range(said_meanwhile)]
        journal.close()
        assert numbers[0] > said
        said = numbers[-1]
        path.write_bytes(on_disk)  # as a power cut leaves it


def test_what_ended_is_said_first_and_on_the_disk_before_it_is_let_go(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slot keeps it until then. Of what has only begun nothing is kept for a power cut, which ends it, too."""
    line.away.claim("a", Room(0), LEASE)
    log: list[str] = []
    monkeypatch.setattr("elsewhere.channels.journal.os.fsync", lambda fd: log.append("on disk"))
    monkeypatch.setattr(line.away, "_say", lambda kind, body=b"": log.append("said"))
    line.away.report([Claimed("a", ((1, 1),))])
    assert log == ["said"]
    line.away.report([ended(1)])
    assert log == ["said", "said"] and not line.away.safe
    line.clock.advance(1)
    assert line.away.safe and log == ["said", "said", "on disk"], "and what was said before it is there, too"


def test_a_journal_does_not_grow_for_ever(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for _ in range(40):
        journal.confirm(journal.add(os.urandom(100_000)))
    assert (tmp_path / "j").stat().st_size < 1_300_000
    last = journal.add(b"x")
    journal.close()
    assert last == 41
    assert list(Journal(tmp_path / "j").pending) == [41]


class Team:
    """Several agents at one end of pipes, each of which could do so many in the time that is stocked for."""

    def __init__(self, folder: Path, *able: int) -> None:
        self.clock, self.able = FakeClock(), able
        self.home = Pipe(clock=self.clock, charter=b"words")
        self.agents = [Away(f"a{k}", self.connect, folder / f"journal-{k}", lease=LEASE, clock=self.clock)
                       for k in range(len(able))]  # fmt: skip
        self.hands: list[list[Claim]] = [[] for _ in able]

    def connect(self) -> tuple[int, int]:
        ours, theirs = socket.socketpair()
        fd = ours.detach()
        self.home.attach(fd, fd)
        fd = theirs.detach()
        return fd, fd

    def turn(self, done: int = 0) -> None:
        """Each ends so many of what it has, and asks for more: two at once, the rest for later."""
        for _ in range(6):
            for agent, hands, able in zip(self.agents, self.hands, self.able, strict=True):
                ended_now, hands[:], done_now = hands[:done], hands[done:], done
                if done_now:
                    agent.report([ended(claim.delivery.n) for claim in ended_now], ended_now)
                room = Room(max(0, 2 - len(hands)), stock=max(0, able - max(2, len(hands))))
                hands += agent.claim("a", room, LEASE)
            done = 0
            self.home.confirm(self.home.collect(5000))

    def sizes(self) -> list[int]:
        return [len(hands) for hands in self.hands]


def test_half_of_what_is_there_lies_ahead_by_what_each_would_do(tmp_path: Path) -> None:
    team = Team(tmp_path, 300, 100)
    team.turn()
    team.home.send(deliveries(200))
    team.turn()
    quick, slow = team.sizes()
    assert 70 <= quick <= 80 and 20 <= slow <= 30
    team.turn()
    assert team.sizes() == [quick, slow], "nothing is asked for again and again"
    left = 200
    while left:
        team.turn(done=2)
        left -= 4
        assert sum(team.sizes()) <= left // 2 + 4, "the nearer the end, the less lies ahead"


def test_where_there_is_plenty_each_has_as_much_as_it_would_do(tmp_path: Path) -> None:
    team = Team(tmp_path, 40, 20)
    team.turn()
    team.home.send(deliveries(1000))
    team.turn()
    assert team.sizes() == [40, 20]
