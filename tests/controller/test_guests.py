"""Who is let in: machines that their place vouches for, under their own name, and nobody else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from elsewhere.agent.arrival import ANSWER, arrive
from elsewhere.agent.meeting import JobKey, OwnKey
from elsewhere.channels.frames import Verifies
from elsewhere.controller.guests import Guests
from elsewhere.errors import Refused, Unreachable
from elsewhere.model.job import Entry, JobSpec
from elsewhere.ship import letters, proofs, seal
from elsewhere.ship.charter import Charter
from elsewhere.stores import MemoryStore, Store

JOB = "job-1"
CONTENTS = letters.Contents(b"k" * 32, {"TOKEN": "planted-secret"})


class Vouching:
    """A place whose proofs are the machine's name and the claim."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0

    def identify(self, proof: bytes, claim: bytes) -> str:
        self.asked += 1
        if self.away:
            raise Unreachable("the place does not answer")
        name, _, over = proof.partition(b"|")
        if over != claim:
            raise Refused("a proof over something else")
        return name.decode()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def place() -> Vouching:
    return Vouching()


def desk(store: MemoryStore, place: Vouching, clock: Callable[[], float] | None = None) -> Guests:
    """By its clock a minute passes between two looks, unless another is given."""
    own = OwnKey()
    return Guests(store, place, JOB, own, own, lambda _: CONTENTS, clock or itertools.count(0.0, 60.0).__next__)


def believed(guests: Guests, agent: str, data: bytes, signature: bytes) -> bool:
    try:
        return guests.of(agent).verify(data, signature)
    except Refused:
        return False


def say_hello(store: MemoryStore, keys: letters.Keys, name: str, who: str = "") -> None:
    hello = keys.hello(name)
    proof = (who or name).encode() + b"|" + letters.claim(JOB, hello)
    store.put(f"hello/{name}", letters.pack(msgspec.structs.replace(hello, proof=proof)))


def test_a_machine_that_is_vouched_for_gets_its_letter_and_its_reports_count(
    store: MemoryStore, place: Vouching
) -> None:
    guests, keys = desk(store, place), letters.Keys()
    assert not believed(guests, "i-1", b"report", keys.sign(b"report"))
    say_hello(store, keys, "i-1")
    assert guests.look(["i-1"]) == []
    assert believed(guests, "i-1", b"report", keys.sign(b"report"))
    assert not believed(guests, "i-1", b"report!", keys.sign(b"report"))
    assert not believed(guests, "i-2", b"report", keys.sign(b"report"))
    assert b"planted-secret" not in store.get("letters/i-1")


def test_who_claims_another_name_is_turned_away_once_and_for_all(store: MemoryStore, place: Vouching) -> None:
    guests, keys = desk(store, place), letters.Keys()
    say_hello(store, keys, "i-1", who="i-2")
    assert guests.look(["i-1"]) == ["a hello says that it is i-1, and is not"]
    assert guests.look(["i-1"]) == []
    assert place.asked == 1
    assert not believed(guests, "i-1", b"report", keys.sign(b"report"))
    assert list(store.list("letters/")) == []
    honest = letters.Keys()
    say_hello(store, honest, "i-1")
    assert guests.look(["i-1"]) == []
    assert believed(guests, "i-1", b"report", honest.sign(b"report"))


def test_a_machine_that_is_not_in_the_ledger_is_not_even_asked_about(store: MemoryStore, place: Vouching) -> None:
    guests = desk(store, place)
    say_hello(store, letters.Keys(), "i-9")
    assert guests.look(["i-1"]) == []
    assert place.asked == 0


def test_while_the_place_is_silent_nobody_is_turned_away(store: MemoryStore, place: Vouching) -> None:
    guests, keys = desk(store, place), letters.Keys()
    say_hello(store, keys, "i-1")
    place.away = True
    assert guests.look(["i-1"]) == []
    place.away = False
    guests.look(["i-1"])
    assert believed(guests, "i-1", b"report", keys.sign(b"report"))


class Counting(MemoryStore):
    listed = 0

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        self.listed += 1
        return super().list(prefix, after)


def test_each_look_is_paid_for_so_a_machine_that_boots_for_ten_minutes_costs_few(place: Vouching) -> None:
    store, now = Counting(), [0.0]
    guests = desk(store, place, lambda: now[0])
    for tick in range(10 * 60 * 10):
        now[0] = tick / 10
        guests.look(["i-1"])
    assert 100 <= store.listed <= 150
    guests.look(["i-1", "i-2"])
    say_hello(store, letters.Keys(), "i-2")
    before = store.listed
    now[0] += 0.3
    assert guests.look(["i-1", "i-2"]) == []
    assert store.listed == before + 1, "one who has just become expected is not kept waiting"
    assert list(store.list("letters/")) == ["letters/i-2"]
    assert list(store.list("hello/")) == [], "who was let in is not listed again"


def test_the_next_controller_knows_whom_the_last_has_let_in_by_its_own_signature(
    store: MemoryStore, place: Vouching
) -> None:
    guests, keys, forger = desk(store, place), letters.Keys(), letters.Keys()
    say_hello(store, keys, "i-1")
    guests.look(["i-1"])
    store.put("letters/i-2", letters.pack(letters.answer(JOB, forger.hello("i-2"), CONTENTS)))
    after = desk(store, place)
    after.open()
    assert believed(after, "i-1", b"report", keys.sign(b"report"))
    assert not believed(after, "i-2", b"report", forger.sign(b"report"))


class Meeting:
    def __init__(self, store: MemoryStore) -> None:
        self.store: Store = store
        self.words: Mapping[str, str] = {"proof": "vouched"}
        self.verifier: Verifies | None = JobKey(seal.public())


def charter() -> Charter:
    spec = JobSpec(JOB, "one", Entry("function", "/home/me/p/work.py:f"), cwd="/home/me/p", path=("/home/me/lib",))
    return Charter(spec, "", b"", {"/home/me/p": "code/0", "/home/me/lib": "code/1"}, ("software",))


def test_a_machine_arrives_with_the_job_as_it_reads_there(
    store: MemoryStore, place: Vouching, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemes = {"vouched": lambda words, claim: b"i-1|" + claim}
    monkeypatch.setattr(proofs, "_SCHEMES", schemes)
    guests = desk(store, place)

    def pause(_: float) -> None:
        guests.look(["i-1"])

    found = arrive(Meeting(store), letters.Keys(), charter(), "i-1", Path("/m"), "/usr/bin/python3", pause=pause)
    assert (found.key, found.spec.env, found.directory) == (CONTENTS.key, {"TOKEN": "planted-secret"}, "/m")
    assert (found.spec.entry.target, found.spec.cwd) == ("/m/code/0/work.py:f", "/m/code/0")
    assert found.spec.path == ("/m/code/1", "/m/software")
    assert found.spec.python == "/usr/bin/python3"


def test_a_letter_to_an_earlier_process_of_this_machine_is_not_ours(
    store: MemoryStore, place: Vouching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "_SCHEMES", {"vouched": lambda words, claim: b"i-1|" + claim})
    guests, now = desk(store, place), [0.0]
    say_hello(store, letters.Keys(), "i-1")
    guests.look(["i-1"])

    def pause(seconds: float) -> None:
        now[0] += seconds + 1

    with pytest.raises(Unreachable, match="no controller"):
        arrive(
            Meeting(store), letters.Keys(), charter(), "i-1", Path("/m"), "python", clock=lambda: now[0], pause=pause
        )
    assert now[0] >= timedelta(minutes=14).total_seconds() and timedelta(minutes=15) == ANSWER
