"""A spool beyond the suite: races, lapses as a reader observes them, lost replies, signatures, how many files."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.channels.base import Claim, Room
from elsewhere.channels.orders import read_orders, write_orders
from elsewhere.channels.registry import join, spool_in
from elsewhere.channels.spool import Spool
from elsewhere.errors import NotFound, Refused, Unreachable, UsageError
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import ranges
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.stores import DirectoryStore, MemoryStore, Store
from elsewhere.testing.fake import FakeClock

LEASE = timedelta(seconds=60)


def end(store: Store, clock: FakeClock | None = None, **more: object) -> Spool:
    return Spool(store, "job-1", clock=clock or FakeClock(), patience=timedelta(seconds=1), **more)  # type: ignore[arg-type]


def deliveries(count: int, first: int = 1) -> list[Delivery]:
    return [Delivery(n, 1, f"task-{n}", b"{}") for n in range(first, first + count)]


def ended(n: int) -> Ended:
    return Ended(n, 1, Outcome.SUCCEEDED, 1.0, 0.01, Form.JSON, b"1", None, "a")


def ns(claims: Iterable[Claim]) -> list[int]:
    return sorted(claim.delivery.n for claim in claims)


class Flaky:
    """A store whose replies get lost, before or after the effect, as its dice say."""

    def __init__(self, inner: Store, seed: int, share: float = 0.3) -> None:
        self.inner, self.chance, self.share = inner, random.Random(seed), share

    def _lose(self, share: float) -> None:
        if self.chance.random() < share:
            raise Unreachable("no answer")

    def get(self, key: str) -> bytes:
        self._lose(self.share / 4)
        return self.inner.get(key)

    def put(self, key: str, data: bytes) -> None:
        self._lose(self.share / 2)
        self.inner.put(key, data)
        self._lose(self.share / 2)

    def create(self, key: str, data: bytes) -> bool:
        self._lose(self.share / 2)
        made = self.inner.create(key, data)
        self._lose(self.share / 2)
        return made

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        self._lose(self.share / 4)
        return self.inner.list(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._lose(self.share / 4)
            self.inner.delete([key])

    def url(self, key: str) -> str:
        return self.inner.url(key)


def test_many_agents_at_once_get_each_delivery_once(tmp_path: Path) -> None:
    clock = FakeClock()
    home = end(DirectoryStore(tmp_path, sync=False), clock)
    home.send(deliveries(2000))

    def work(name: str) -> list[int]:
        away, got = end(DirectoryStore(tmp_path, sync=False), clock), []
        while claims := away.claim(name, Room(random.Random(name).randint(1, 90)), LEASE):
            got += ns(claims)
            away.report([ended(n) for n in ns(claims)], claims)
        return got

    with ThreadPoolExecutor(4) as crowd:
        shares = list(crowd.map(work, ["a", "b", "c", "d"]))
    assert sorted(n for share in shares for n in share) == list(range(1, 2001))
    receipts = home.collect(10_000)
    assert sorted(r.report.n for r in receipts if isinstance(r.report, Ended)) == list(range(1, 2001))
    home.confirm(receipts)
    assert [key for key in DirectoryStore(tmp_path).list() if not key.startswith("beats/")] == []


def test_a_million_tasks_are_a_few_thousand_files_even_when_all_are_sent_at_once() -> None:
    store = MemoryStore()
    end(store).send(deliveries(20_000))
    assert len(list(store.list())) <= 20


def test_a_lapse_is_what_a_reader_saw_by_its_own_clock_not_what_clocks_or_files_say() -> None:
    """Given agents whose clocks are a year apart, a claim lapses only after a lease of the reader's own watching."""
    store, slow, fast = MemoryStore(), FakeClock(), FakeClock()
    fast.advance(timedelta(days=365))
    end(store, slow).send(deliveries(1))
    holder, other = end(store, slow), end(store, fast)
    claims = holder.claim("a", Room(1), LEASE)
    assert other.claim("b", Room(1), LEASE) == []
    fast.advance(LEASE * 0.9)
    assert other.claim("b", Room(1), LEASE) == []
    assert holder.renew(claims, LEASE) == claims
    fast.advance(LEASE * 0.9)
    assert other.claim("b", Room(1), LEASE) == []
    fast.advance(LEASE * 1.1)
    assert ns(other.claim("b", Room(1), LEASE)) == [1]
    assert holder.renew(claims, LEASE) == []


def test_a_claim_of_a_segment_that_others_have_finished_and_swept_is_not_renewed() -> None:
    """Given an agent that slept through the claim of another, and through the sweep that took that claim away."""
    store, clock = MemoryStore(), FakeClock()
    end(store, clock).send(deliveries(1))
    sleeper, other = end(store, clock), end(store, clock)
    [claim] = sleeper.claim("sleeper", Room(1), LEASE)
    assert other.claim("other", Room(1), LEASE) == []
    clock.advance(LEASE + timedelta(seconds=2))
    [taken] = other.claim("other", Room(1), LEASE)
    other.report([ended(1)], [taken])
    assert not [key for key in store.list() if key.startswith("claims/")]
    assert sleeper.renew([claim], LEASE) == []


def test_what_an_earlier_process_of_an_agent_held_lapses_though_a_later_one_lives() -> None:
    store, clock = MemoryStore(), FakeClock()
    end(store, clock).send(deliveries(2))
    end(store, clock).claim("a", Room(1), LEASE)  # and is killed
    later = end(store, clock)
    mine = later.claim("a", Room(2), LEASE)
    assert ns(mine) == [2]
    for _ in range(5):
        clock.advance(LEASE / 2)
        assert later.renew(mine, LEASE) == mine
        if more := later.claim("a", Room(1), LEASE):
            break
    assert ns(more) == [1]


def test_a_claim_of_a_segment_that_was_finished_and_swept_meanwhile_is_no_claim() -> None:
    """Two agents have read the same segment; one finishes it; the other, late, must not begin it again."""
    for before in (0, 1):
        store, clock = MemoryStore(), FakeClock()
        end(store, clock).send(deliveries(4))
        quick, late = end(store, clock), end(store, clock)
        first = quick.claim("a", Room(1), LEASE)
        if before:
            late.claim("b", Room(0), LEASE)
            segment = next(iter(late._shelf.open(False)))
            late._shelf.catch_up(segment)
        else:
            segment = next(iter(late._shelf.open(False)))
        rest = quick.claim("a", Room(3), LEASE)
        quick.report([ended(n) for n in ns([*first, *rest])], [*first, *rest])
        assert [key for key in store.list() if not key.startswith(("beats/", "reports/"))] == []
        from elsewhere.channels.claimlog import taking

        assert late._shelf.append(segment, taking("b", 60.0, [2, 3], "")) is False
        assert [key for key in store.list() if key.startswith("claims/")] == []


@pytest.mark.parametrize("seed", range(12))
def test_lost_replies_lose_nothing(seed: int) -> None:
    """Whatever call fails, before or after its effect, every delivery ends in a report that comes home."""
    inner, clock = MemoryStore(), FakeClock()
    flaky = Flaky(inner, seed)
    home, away = end(flaky, clock), end(flaky, clock)
    todo, sent, held, heard = deliveries(60), False, dict[int, Claim](), set[int]()
    for _ in range(4000):
        clock.advance(2)
        try:
            if not sent:
                home.send(todo)
                sent = True
            for claim in away.claim("a", Room(7), LEASE):
                held[claim.delivery.n] = claim
            kept = {claim.delivery.n for claim in away.renew(list(held.values()), LEASE)}
            held = {n: claim for n, claim in held.items() if n in kept}
            away.report([ended(n) for n in held], list(held.values()))
            held.clear()
            receipts = home.collect(1000)
            heard |= {r.report.n for r in receipts if isinstance(r.report, Ended)}
            home.confirm(receipts)
        except Unreachable:
            # what was claimed by a call whose answer was lost lapses, and comes to a process that begins anew
            if flaky.chance.random() < 0.1:
                away, held = end(flaky, clock), {}
                clock.advance(LEASE * 2)
        if len(heard) == 60:
            return
    raise AssertionError(f"only {len(heard)} came home")


class Key:
    """A signature that is enough to tell who signed; the real one is Ed25519."""

    def __init__(self, name: bytes = b"job") -> None:
        self.name = name

    def sign(self, data: bytes) -> bytes:
        import hashlib

        return hashlib.blake2b(data, key=self.name).digest()

    def verify(self, data: bytes, signature: bytes) -> bool:
        return signature == self.sign(data)


def test_a_segment_that_is_not_signed_by_the_job_is_not_run() -> None:
    store, clock = MemoryStore(), FakeClock()
    end(store, clock, signer=Key(b"other")).send(deliveries(1))
    end(store, clock).send(deliveries(1, first=2))
    away = end(store, clock, verifier=Key())
    assert away.claim("a", Room(5), LEASE) == []
    assert len(away._shelf.refused) == 2
    end(store, clock, signer=Key(), verifier=Key()).send(deliveries(1, first=9))
    clock.advance(5)
    assert ns(away.claim("a", Room(5), LEASE)) == [9]


def test_a_signed_object_cannot_stand_for_another() -> None:
    store, clock = MemoryStore(), FakeClock()
    home = end(store, clock, signer=Key(), charter=b"the charter")
    home.create()
    home.send(deliveries(1))
    segment = next(iter(store.list("segments/")))
    store.put("segments/00000000000000000000000000", store.get(segment))
    store.put("charter", store.get(segment))
    away = end(store, clock, verifier=Key())
    assert ns(away.claim("a", Room(5), LEASE)) == [1]
    with pytest.raises(Refused):
        away.read_charter()


def test_the_charter_is_what_create_was_given() -> None:
    store = MemoryStore()
    with pytest.raises(NotFound):
        end(store).read_charter()
    end(store, signer=Key(), charter=b"words").create()
    assert end(store, verifier=Key()).read_charter() == b"words"


def test_orders_of_the_highest_epoch_hold_and_forged_ones_do_not() -> None:
    store = MemoryStore()
    assert read_orders(store, "job-1", Key()) == Orders("job-1")
    new = Orders("job-1", 11, ended=ranges([1, 2, 3]), numbers={7: 2}, terms={"m": LEASE}, drain=("m",))
    write_orders(store, new, Key())
    write_orders(store, Orders("job-1", 9), Key())
    write_orders(store, Orders("job-1", 99, over=True), Key(b"other"))
    write_orders(store, Orders("job-2", 100, over=True), Key())
    read = read_orders(store, "job-1", Key())
    assert read == new
    assert [read.stale(n, 1) for n in (1, 3, 4, 7)] == [True, True, False, True]
    assert not read.stale(7, 2)


def test_a_damaged_object_stops_nobody() -> None:
    store, clock = MemoryStore(), FakeClock()
    home, away = end(store, clock), end(store, clock)
    home.send(deliveries(2))
    store.put("segments/0", b"rubbish")
    store.put("reports/0", b"rubbish")
    store.put("beats/z", b"rubbish")
    segment = next(key for key in store.list("segments/") if key != "segments/0").partition("/")[2]
    store.put(f"claims/{segment}/1", b"rubbish")
    claims = away.claim("a", Room(5), LEASE)
    assert ns(claims) == [1, 2]
    away.report([ended(1)], claims[:1])
    assert [r.report for r in home.collect(10)] == [ended(1)]


def test_an_address_is_all_that_an_agent_needs(tmp_path: Path) -> None:
    home = spool_in(tmp_path / "it's here?", "job-1", Key(), Key(), b"words", b"\x01\xff")
    home.create()
    home.send(deliveries(1))
    asked: list[bytes] = []

    def trust(public: bytes) -> Key:
        asked.append(public)
        return Key()

    away = join(home.address, "a", tmp_path, LEASE, trust)
    assert away.read_charter() == b"words"
    assert ns(away.claim("a", Room(1), LEASE)) == [1]
    assert asked == [b"\x01\xff"]
    for wrong in ("", "spool:", "sqs:x", "spool:/x", home.address):
        with pytest.raises(UsageError):
            join(wrong, "a", tmp_path, LEASE)
