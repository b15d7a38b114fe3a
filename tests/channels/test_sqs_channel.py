"""The channel over queues and a bucket: the suite, and beyond it what queues do and what it costs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from elsewhere import aws
from elsewhere.channels.base import Channel, Claim, Room
from elsewhere.channels.frames import Verifies
from elsewhere.channels.registry import join, sqs_address, sqs_in
from elsewhere.channels.sqs import Sqs
from elsewhere.channels.sqs_agent import SqsAgent
from elsewhere.errors import AccessDenied, CredentialsExpired, NotFound, Refused, Unreachable, UsageError
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import ranges
from elsewhere.model.reports import Ended, Form, Heartbeat
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.sandbox.sqs import Queues
from elsewhere.stores import MemoryStore
from elsewhere.testing.conformance import ChannelConformance, Ends
from elsewhere.testing.fake import FakeClock
from sandbox.served import account_of, client, direct, served

LEASE = timedelta(seconds=60)


@dataclass
class Ground:
    """A job's queues and store, and ends of its channel."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.queues = Queues(self.clock)
        self.client: Any = direct(self.queues)

    def home(self, **more: Any) -> Sqs:
        return Sqs(
            "us-east-1", "e-1", self.store, "job-1", client=lambda: self.client, clock=self.clock, wait=0, **more
        )

    def agent(self, name: str = "a", **more: Any) -> SqsAgent:
        return SqsAgent("us-east-1", "e-1", self.store, "job-1", name, client=lambda: self.client, clock=self.clock,
                        wait=0, **more)  # fmt: skip

    def made(self, **more: Any) -> Sqs:
        home = self.home(**more)
        home.create()
        return home


@pytest.fixture
def ground() -> Ground:
    return Ground()


def deliveries(count: int, first: int = 1, size: int = 2) -> list[Delivery]:
    chance = random.Random(first)
    return [Delivery(n, 1, f"task-{n}", chance.randbytes(size)) for n in range(first, first + count)]


def ended(n: int, agent: str = "a", took: float = 60.0, value: bytes = b"1") -> Ended:
    return Ended(n, 1, Outcome.SUCCEEDED, 1.0, took, Form.JSON, value, None, agent)


def ns(claims: Iterable[Claim]) -> list[int]:
    return sorted(claim.delivery.n for claim in claims)


class TestSqs(ChannelConformance):
    @pytest.fixture
    def ends(self, ground: Ground) -> Ends:
        agents = dict[str, SqsAgent]()

        def of(agent: str) -> Channel:
            if agent not in agents:
                agents[agent] = ground.agent(agent)
            return agents[agent]

        return Ends(ground.made(), of, ground.home, ground.clock.advance)


class TestSqsThatRepeatsAndReorders(TestSqs):
    """What a test counts once may come twice here, so those that say so are left to the plain queue."""

    @pytest.fixture
    def ends(self, ground: Ground) -> Ends:
        ground.queues.dial(seed=5, late=0.5, late_by=8.0, shuffled=0.5)
        return TestSqs.ends.__wrapped__(self, ground)  # type: ignore[attr-defined, no-any-return]


class TestSqsByThreads(ChannelConformance):
    """Over sockets, in real time, by long polls; nothing lapses within a test."""

    @pytest.fixture
    def ends(self) -> Iterator[Ends]:
        queues, store, made = Queues(), MemoryStore(), list[Sqs | SqsAgent]()
        agents = dict[str, SqsAgent]()
        with served(queues) as url:
            sqs = client("sqs", url)

            def home() -> Sqs:
                for one in made:
                    if isinstance(one, Sqs):
                        one.close()
                made.append(end := Sqs("us-east-1", "e-1", store, "job-1", client=lambda: sqs))
                return end

            def of(agent: str) -> Channel:
                if agent not in agents:
                    agents[agent] = SqsAgent("us-east-1", "e-1", store, "job-1", agent, client=lambda: sqs)
                    made.append(agents[agent])
                return agents[agent]

            first = home()
            first.create()
            yield Ends(first, of)
            for one in made:
                one.close()


# --- holding ----------------------------------------------------------------------------------------------------------


def test_a_message_is_a_portion_and_goes_when_all_of_it_is_done(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    home.send(deliveries(4))
    ground.queues.counts.clear()
    claims = [*away.claim("a", Room(1), LEASE), *away.claim("a", Room(3), LEASE)]
    assert (ns(claims), ground.queues.counts["ReceiveMessage"]) == ([1, 2, 3, 4], 1)
    away.report([ended(n) for n in (1, 2, 3)], claims[:3])
    assert ground.queues.counts["DeleteMessageBatch"] == 0
    away.report([ended(4)], claims[3:])
    assert ground.queues.counts["DeleteMessageBatch"] == 1
    ground.clock.advance(LEASE * 3)
    assert ground.agent("b").claim("b", Room(9), LEASE) == []


def test_what_is_handed_back_of_a_portion_comes_without_the_rest(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    home.send(deliveries(4))
    claims = away.claim("a", Room(4), LEASE)
    away.report([ended(1)], claims[:1])
    away.release(claims[1:3])
    assert ns(ground.agent("b").claim("b", Room(9), LEASE)) == [2, 3]
    assert away.renew(claims, LEASE) == claims[3:]


def test_rest_is_rested_in_full(ground: Ground) -> None:
    home, away, other = ground.made(), ground.agent(), ground.agent("b")
    home.send(deliveries(2))
    hour = timedelta(hours=2)
    claims = away.claim("a", Room(2), hour)
    away.release(claims[:1], timedelta(minutes=40))
    got: list[Claim] = []
    began = ground.clock()
    while not got:
        ground.clock.advance(timedelta(minutes=1))
        got += other.claim("b", Room(9), hour)
    assert ns(got) == [1]
    assert 40 <= (ground.clock() - began) / 60 <= 43  # longer than SQS delays anything by itself


def test_what_lies_unused_while_slots_are_busy_is_handed_on(ground: Ground) -> None:
    home, away, other = ground.made(), ground.agent(), ground.agent("b")
    home.send(deliveries(4))
    mine = away.claim("a", Room(1), LEASE)
    ground.clock.advance(LEASE / 2)
    assert away.renew(mine, LEASE) == mine
    assert ns(other.claim("b", Room(9), LEASE)) == [2, 3, 4]
    assert away.claim("a", Room(9), LEASE) == []


def test_an_answer_that_lay_about_while_the_machine_stood_still_is_no_lease(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    home.send(deliveries(1))
    real = ground.client.receive_message

    class Frozen:
        def __getattr__(self, name: str) -> Any:
            return getattr(direct_client, name)

        def receive_message(self, **words: Any) -> Any:
            answer = real(**words)
            ground.clock.advance(LEASE * 2)
            return answer

    direct_client, ground.client = ground.client, Frozen()
    assert away.claim("a", Room(1), LEASE) == []


def test_after_eleven_hours_a_task_goes_on_without_its_message(ground: Ground) -> None:
    home, away, other = ground.made(), ground.agent(), ground.agent("b")
    home.send(deliveries(1))
    lease = timedelta(hours=1)
    claims = away.claim("a", Room(1), lease)
    for _ in range(40):
        ground.clock.advance(lease / 2)
        assert away.renew(claims, lease) == claims
        assert other.claim("b", Room(1), lease) == []


def test_who_leaves_hands_back_what_it_has_not_begun(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    home.send(deliveries(4))
    away.claim("a", Room(1), LEASE)
    away.close()
    assert ns(ground.agent("b").claim("b", Room(9), LEASE)) == [2, 3, 4]


# --- what queues do ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_twice_late_and_out_of_order_loses_nothing(ground: Ground, seed: int) -> None:
    home = ground.made()
    ground.queues.dial(seed=seed, twice=0.3, late=0.4, late_by=50, shuffled=0.5)
    agents = [ground.agent(name) for name in "abc"]
    home.send(deliveries(200))
    heard: list[int] = []
    for _ in range(400):
        ground.clock.advance(7)
        for away in agents:
            claims = away.claim(away.agent, Room(5), LEASE)
            away.report([ended(n, away.agent) for n in ns(claims)], claims)
        receipts = home.collect(1000)
        heard += [r.report.n for r in receipts if isinstance(r.report, Ended)]
        home.confirm(receipts)
        if len(set(heard)) == 200:
            break
    assert set(heard) == set(range(1, 201))
    assert len(heard) < 400


class Flaky:
    """A client whose replies get lost, before or after the effect, as its dice say."""

    def __init__(self, inner: Any, seed: int, share: float = 0.25) -> None:
        self.inner, self.chance, self.share = inner, random.Random(seed), share

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**words: Any) -> Any:
            self._lose()
            answer = getattr(self.inner, name)(**words)
            self._lose()
            return answer

        return call

    def _lose(self) -> None:
        if self.chance.random() < self.share / 2:
            raise ConnectionClosedError(endpoint_url="http://q")


@pytest.mark.parametrize("seed", range(8))
def test_lost_replies_lose_nothing(ground: Ground, seed: int) -> None:
    """Whatever call fails, before or after its effect, every delivery ends in a report that comes home."""
    home, away = ground.made(), ground.agent()
    flaky = ground.client = Flaky(ground.client, seed)
    todo, sent, held, heard = deliveries(60), False, dict[int, Claim](), set[int]()
    for _ in range(3000):
        ground.clock.advance(2)
        try:
            if not sent:
                home.send(todo)
                sent = True
            held.update({claim.delivery.n: claim for claim in away.claim("a", Room(7), LEASE)})
            kept = {claim.delivery.n for claim in away.renew(list(held.values()), LEASE)}
            held = {n: claim for n, claim in held.items() if n in kept}
            away.report([ended(n) for n in held], list(held.values()))
            held.clear()
            receipts = home.collect(1000)
            heard |= {r.report.n for r in receipts if isinstance(r.report, Ended)}
            home.confirm(receipts)
        except Unreachable:
            if flaky.chance.random() < 0.1:  # and its process dies
                away, held = ground.agent(), {}
        if len(heard) == 60:
            return
    raise AssertionError(f"only {len(heard)} came home")


def test_what_is_too_large_for_a_message_lies_in_the_store(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    big = deliveries(1, size=900_000)
    home.send([*big, *deliveries(2, first=2)])
    assert len(list(ground.store.list("bodies/"))) == 1
    claims: list[Claim] = []
    while len(claims) < 3:
        claims += away.claim("a", Room(3), LEASE)
    assert {claim.delivery for claim in claims} == {*big, *deliveries(2, first=2)}
    value = random.Random(7).randbytes(700_000)
    away.report([ended(1, value=value)], claims)
    receipts = home.collect(9)
    assert [r.report for r in receipts] == [ended(1, value=value)]
    home.confirm(receipts)
    home.confirm(receipts)
    home.close()
    assert len(list(ground.store.list("bodies/"))) == 1
    home.destroy()
    assert list(ground.store.list()) == []


# --- who may speak ----------------------------------------------------------------------------------------------------


class Key:
    """A signature that is enough to tell who signed; the real one is Ed25519."""

    def __init__(self, name: bytes = b"job") -> None:
        self.name = name

    def sign(self, data: bytes) -> bytes:
        import hashlib

        return hashlib.blake2b(data, key=self.name).digest()

    def verify(self, data: bytes, signature: bytes) -> bool:
        return signature == self.sign(data)


def test_only_what_the_job_signed_is_run(ground: Ground) -> None:
    ground.made(signer=Key(b"other")).send(deliveries(1))
    ground.home().send(deliveries(1, first=2))
    away = ground.agent(verifier=Key())
    for _ in range(3):
        assert away.claim("a", Room(5), LEASE) == []
    assert len(away.refused) == 2
    home = ground.home(signer=Key(), charter=b"words")
    home.create()
    home.send(deliveries(1, first=9))
    assert ns(away.claim("a", Room(5), LEASE)) == [9]
    assert away.read_charter() == b"words"
    with pytest.raises(Refused):
        ground.agent(verifier=Key(b"else")).read_charter()


def test_a_report_is_believed_only_from_the_machine_that_it_speaks_of(ground: Ground) -> None:
    def of(name: str) -> Verifies:
        if name == "unknown":
            raise Refused("no machine of that name has proved itself")
        return Key(name.encode())

    home = ground.made(agents=of)
    ground.agent("a", signer=Key(b"a")).report([ended(1, "a")])
    ground.agent("b", signer=Key(b"a")).report([ended(2, "b")])
    ground.agent("a", signer=Key(b"a")).report([ended(3, "b")])
    ground.agent("unknown", signer=Key(b"unknown")).report([ended(4, "unknown")])
    ground.agent("a").report([ended(5, "a")])
    assert [r.report for r in home.collect(10)] == [ended(1, "a")]
    assert len(home.refused) == 4


def test_rubbish_in_the_queues_stops_nobody(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    for queue in ("e-1-tasks", "e-1-reports"):
        url = ground.client.get_queue_url(QueueName=queue)["QueueUrl"]
        for text in ("rubbish", "eJwDAAAAAAE=", "e30="):
            ground.client.send_message(QueueUrl=url, MessageBody=text)
    home.send(deliveries(1))
    claims: list[Claim] = []
    for _ in range(5):
        claims += away.claim("a", Room(1 - len(claims)), LEASE)
    assert ns(claims) == [1]
    away.report([ended(1)], claims)
    assert [r.report for r in home.collect(10)] == [ended(1)]


# --- orders -----------------------------------------------------------------------------------------------------------


class Counting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def get(self, key: str) -> bytes:
        self.calls.append("get")
        return super().get(key)

    def put(self, key: str, data: bytes) -> None:
        self.calls.append("put")
        super().put(key, data)

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        self.calls.append("list")
        return super().list(prefix, after)


def test_orders_are_read_now_and_then_and_a_new_controllers_soon(ground: Ground) -> None:
    store = ground.store = Counting()
    first, away = ground.made(), ground.agent()
    first.send(deliveries(1))
    assert away.claim("a", Room(1), timedelta(hours=1))
    first.order(Orders("job-1", 1, drain=("x",)))
    store.calls.clear()
    for _ in range(60):
        assert away.told().epoch == 1
        ground.clock.advance(2)
    assert store.calls == ["list", "get", "get", "get", "get"]  # in two minutes
    assert away.told().drain == ("x",)
    first.order(Orders("job-1", 1, drain=("x", "y")))
    assert away.told().drain == ("x",) and away.told_now().drain == ("x", "y")  # it was called
    first.order(Orders("job-1", 1, drain=("x",)))
    idle = ground.agent("b")
    assert idle.told().epoch == 1
    store.calls.clear()
    ground.clock.advance(4)
    idle.told()
    assert store.calls == ["get"]  # who has nothing to do must hear soon that all is over
    second = ground.home()
    second.order(Orders("job-1", 2))
    first.order(Orders("job-1", 1, over=True))  # it was overtaken and does not know
    second.order(Orders("job-1", 2, drain=("y",)))
    ground.clock.advance(1801)
    assert away.told() == Orders("job-1", 2, drain=("y",))
    third = ground.home()
    third.order(Orders("job-1", 3))
    ground.clock.advance(31)
    assert away.told().epoch == 3


def test_forged_orders_do_not_hold(ground: Ground) -> None:
    home, away = ground.made(signer=Key()), ground.agent(verifier=Key())
    home.order(Orders("job-1", 1, drain=("x",)))
    ground.home(signer=Key(b"other")).order(Orders("job-1", 9, over=True))
    home.order(Orders("job-1", 1, drain=("y",)))
    for _ in range(3):
        ground.clock.advance(61)
        away.told()
    assert away.told() == Orders("job-1", 1, drain=("y",))


def test_that_more_tasks_have_ended_is_not_published_at_once_all_else_is(ground: Ground) -> None:
    store = ground.store = Counting()
    home = ground.made()

    def published(orders: Orders) -> bool:
        store.calls.clear()
        home.order(orders)
        return "put" in store.calls

    assert published(Orders("job-1", 1, ended=ranges([1])))
    assert not published(Orders("job-1", 1, ended=ranges([1, 2])))
    assert published(Orders("job-1", 1, ended=ranges([1, 2]), drain=("a",)))
    assert not published(Orders("job-1", 1, ended=ranges([1, 2, 3]), drain=("a",)))
    home.urgent = True  # somebody has cancelled it
    assert published(Orders("job-1", 1, ended=ranges([1, 2, 3]), drain=("a",)))
    assert not published(Orders("job-1", 1, ended=ranges([1, 2, 3, 4]), drain=("a",)))
    ground.clock.advance(31)
    assert published(Orders("job-1", 1, ended=ranges([1, 2, 3]), drain=("a",)))
    assert published(Orders("job-1", 2, ended=ranges([1, 2, 3]), drain=("a",)))


# --- joining, and what is refused ------------------------------------------------------------------------------------


def test_classes_have_queues_of_their_own(ground: Ground) -> None:
    home = ground.made(classes=["gpu"], sort=lambda d: "gpu" if d.n % 2 else "")
    home.send(deliveries(4))
    assert ns(ground.agent("a", sort="gpu").claim("a", Room(9), LEASE)) == [1, 3]
    assert ns(ground.agent("b").claim("b", Room(9), LEASE)) == [2, 4]


def test_an_address_is_all_that_an_agent_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Queues()) as url:
        account_of(monkeypatch, url)
        aws.forget()
        bucket = f"file://{tmp_path}/bucket"
        home = sqs_in("us-east-1", "e-1", bucket, "job-1", Key(), b"words", b"\x01\xff")
        home.create()
        home.send(deliveries(1))
        away = join(home.address, "a", tmp_path, LEASE, lambda public: Key())
        assert isinstance(away, SqsAgent)
        assert away.read_charter() == b"words"
        far = away
        assert ns(Ends(home, lambda _: far).claim("a", 1)) == [1]
        for wrong in (
            "sqs:",
            "sqs:x/y",
            "sqs:x?job=j&bucket=s3://b",
            sqs_address("r", "p/q", bucket, "j"),
            home.address,
        ):
            with pytest.raises(UsageError):
                join(wrong, "a", tmp_path, LEASE)
        away.close()
        home.destroy()
    aws.forget()


@pytest.mark.parametrize(("code", "kind", "hint"), [
    ("AccessDenied", AccessDenied, '"Action": "sqs:SendMessage"'),
    ("ExpiredToken", CredentialsExpired, "aws sso login"),
    ("RequestThrottled", Unreachable, "less often"),
])  # fmt: skip
def test_what_sqs_refuses_is_said_in_our_words(ground: Ground, code: str, kind: type[Exception], hint: str) -> None:
    home = ground.made()
    inner = ground.client

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def send_message_batch(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "SendMessageBatch")

    ground.client = Refusing()
    with pytest.raises(kind, match="sqs:SendMessage") as caught:
        home.send(deliveries(1))
    assert hint in getattr(caught.value, "hint", "")


def test_queues_that_are_gone_are_not_found(ground: Ground) -> None:
    home, away = ground.made(), ground.agent()
    home.destroy()
    with pytest.raises(NotFound):
        away.claim("a", Room(1), LEASE)
    with pytest.raises(NotFound):
        ground.home().send(deliveries(1))


class Machine:
    """A fake agent of sixteen slots, whose tasks take about a minute, in the way of agent/join.py."""

    lease = timedelta(minutes=2)

    def __init__(self, away: SqsAgent, clock: FakeClock, seed: int) -> None:
        self.away, self.clock, self.chance = away, clock, random.Random(seed)
        self.running: list[tuple[float, Claim]] = []
        self.gathered: list[tuple[Ended, Claim]] = []
        self.since = 0.0
        self.beat = clock() + self.chance.uniform(0, 60)

    def turn(self) -> None:
        away, now, name = self.away, self.clock(), self.away.agent
        if now >= self.beat:
            self.beat = now + self.lease.total_seconds() / 2
            away.told()
            pairs = tuple((claim.delivery.n, 1) for _, claim in self.running)
            away.report([Heartbeat(name, self.clock.now(), pairs, 16 - len(self.running))])
            away.renew([claim for _, claim in self.running], self.lease)
        room = 16 - len(self.running)
        if room and (claims := away.claim(name, Room(room), self.lease)):
            away.told()
            self.running += [(now + self.chance.uniform(30, 90), claim) for claim in claims]
        self.gathered += [(ended(c.delivery.n, name), c) for end, c in self.running if end <= now]
        self.running = [(end, claim) for end, claim in self.running if end > now]
        if not self.gathered:
            self.since = now
        elif now - self.since >= away.gather:
            away.report([report for report, _ in self.gathered], [claim for _, claim in self.gathered])
            self.gathered = []


@pytest.mark.slow
def test_a_million_one_minute_tasks_cost_less_than_half_a_dollar(ground: Ground) -> None:
    """All that queues and store bill for eight machines of sixteen slots, in dollars for a million tasks."""
    store = ground.store = Counting()
    home = ground.made()
    machines = [Machine(ground.agent(f"m-{i}"), ground.clock, i) for i in range(8)]
    ground.queues.billed, sent, heard = 0, 0, set[int]()
    store.calls.clear()
    while len(heard) < 4000:
        ground.clock.advance(0.5)
        if sent - len(heard) < 256 and sent < 4000:
            home.send(deliveries(128, first=sent + 1, size=100))
            sent += 128
        for machine in machines:
            machine.turn()
        if ground.clock() % 5 == 0:
            receipts = home.collect(1000)
            heard |= {r.report.n for r in receipts if isinstance(r.report, Ended)}
            home.confirm(receipts)
            home.order(Orders("job-1", 1, ended=ranges(heard)))
    price = {"get": 0.4, "list": 5.0, "put": 5.0, "create": 5.0}
    dollars = ground.queues.billed * 0.4 + sum(price[call] for call in store.calls)
    assert dollars / len(heard) < 0.5, (dollars / len(heard), ground.queues.counts, Counter(store.calls))
