"""Beside a channel: large values and output go through the job's store, and come out as they went in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.channels.carried import Sending, Taking
from elsewhere.channels.output import MOST, Segment, Upload, parse
from elsewhere.controller.printed import Printed
from elsewhere.errors import Unreachable
from elsewhere.model.reports import Ended, Form, Report
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.ship.codec import Codec
from elsewhere.slot import values
from elsewhere.stores import MemoryStore

KEY = b"k" * 32


class Straight:
    """A channel that gives what it was given, and notes what the store held at that moment."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.sent: list[Delivery] = []
        self.said: list[Report] = []
        self.there: list[list[str]] = []

    def send(self, deliveries: Sequence[Delivery]) -> None:
        self.there.append(list(self.store.list()))
        self.sent += deliveries

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        return [Claim(delivery) for delivery in self.sent]

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        self.there.append(list(self.store.list()))
        self.said += reports

    def collect(self, limit: int) -> Sequence[Receipt]:
        return [Receipt(report) for report in self.said]


def test_a_large_argument_is_in_the_store_before_its_delivery_and_on_the_machine_before_it_runs(tmp_path: Path) -> None:
    store = MemoryStore()
    straight, here, there = Straight(store), tmp_path / "here", tmp_path / "there"
    codec = Codec(here, KEY)
    body, _, stored = codec.call(codec.function(len), [b"x" * 100_000], {})
    sending = Sending(straight, store, here, calls=True)  # type: ignore[arg-type]
    sending.send([Delivery(1, 1, "one", body)])
    assert len(straight.there[0]) == 2 and stored
    taking = Taking(straight, store, there, calls=True)  # type: ignore[arg-type]
    assert [claim.delivery.id for claim in taking.claim("a", Room(1), timedelta(0))] == ["one"]
    assert values.open_pickle(str(there), KEY, stored) == ((b"x" * 100_000,), {})


def test_what_a_channel_gives_once_is_not_lost_with_the_connection_to_the_store(tmp_path: Path) -> None:
    store = MemoryStore()
    straight = Straight(store)
    codec = Codec(tmp_path / "here", KEY)
    body, _, stored = codec.call(codec.function(len), [b"x" * 100_000], {})
    Sending(straight, store, tmp_path / "here", calls=True).send([Delivery(1, 1, "one", body)])  # type: ignore[arg-type]
    taking = Taking(straight, store, tmp_path / "there", calls=True)  # type: ignore[arg-type]
    get = store.get

    def cut(key: str) -> bytes:
        straight.sent, store.get = [], get  # type: ignore[method-assign]
        raise Unreachable("the connection was lost")

    store.get = cut  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        taking.claim("a", Room(1), timedelta(0))
    assert [claim.delivery.id for claim in taking.claim("a", Room(1), timedelta(0))] == ["one"]
    assert values.open_pickle(str(tmp_path / "there"), KEY, stored) == ((b"x" * 100_000,), {})
    assert not taking.claim("a", Room(1), timedelta(0))


def test_who_goes_on_from_another_machine_sends_what_the_first_one_laid_down(tmp_path: Path) -> None:
    store = MemoryStore()
    codec = Codec(tmp_path / "lost", KEY)
    body, _, stored = codec.call(codec.function(len), [b"x" * 100_000], {})
    Sending(Straight(store), store, tmp_path / "lost", calls=True).deposit([body])  # type: ignore[arg-type]
    straight = Straight(store)
    Sending(straight, store, tmp_path / "other", calls=True).send([Delivery(1, 1, "one", body)])  # type: ignore[arg-type]
    Taking(straight, store, tmp_path / "there", calls=True).claim("a", Room(1), timedelta(0))  # type: ignore[arg-type]
    assert values.open_pickle(str(tmp_path / "there"), KEY, stored) == ((b"x" * 100_000,), {})


def test_a_large_result_is_in_the_store_before_its_report_and_home_before_it_is_recorded(tmp_path: Path) -> None:
    store = MemoryStore()
    straight, here, there = Straight(store), tmp_path / "here", tmp_path / "there"
    form, value = values.write("y" * 200_000, False, str(there), KEY)
    report = Ended(1, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form(form), value)
    Taking(straight, store, there, calls=False).report([report])  # type: ignore[arg-type]
    assert straight.there[0] == [f"values/{value.decode()}"]
    Sending(straight, store, here, calls=False).collect(10)  # type: ignore[arg-type]
    assert values.read(form, value, str(here), KEY) == "y" * 200_000


def test_a_result_that_nobody_put_there_does_not_keep_its_report_away(tmp_path: Path) -> None:
    straight = Straight(MemoryStore())
    straight.said = [Ended(1, 1, Outcome.SUCCEEDED, 0.0, 0.0, Form.STORED_JSON, b"../../etc/passwd")]
    sending = Sending(straight, straight.store, tmp_path, calls=False)  # type: ignore[arg-type]
    assert [receipt.report for receipt in sending.collect(10)] == straight.said
    assert list(tmp_path.iterdir()) == []


def test_an_argument_that_is_nowhere_is_its_own_tasks_matter_and_no_others(tmp_path: Path) -> None:
    store, codec = MemoryStore(), Codec(tmp_path / "here", KEY)
    straight = Straight(store)
    bodies = [codec.call(codec.function(len), [bytes([k]) * 100_000], {}) for k in range(3)]
    sending = Sending(straight, store, tmp_path / "here", calls=True)  # type: ignore[arg-type]
    sending.send([Delivery(k, 1, f"t{k}", body) for k, (body, _, _) in enumerate(bodies)])
    keys = [stored for _, _, stored in bodies]
    store.delete([f"values/{keys[1]}"])
    taking = Taking(straight, store, tmp_path / "there", calls=True)  # type: ignore[arg-type]
    assert [claim.delivery.n for claim in taking.claim("a", Room(3), timedelta(0))] == [0, 1, 2]
    assert [taking.is_here(key) for key in keys] == [True, False, True]


def test_what_is_printed_there_is_read_here_as_it_grows(tmp_path: Path) -> None:
    store, slots = MemoryStore(), tmp_path / "a1"
    slots.mkdir()
    upload, printed = Upload(store, "i-1", slots), Printed(store, tmp_path / "home", tmp_path / "boots")
    (slots / "0.1.out").write_bytes(b"one\n")
    (slots / "0.outcomes").write_bytes(b"not output")
    assert upload.send() == 4
    assert (printed.bring(), printed.bring()) == (4, 0)
    with (slots / "0.1.out").open("ab") as file:
        file.write(b"\0two\xff")
    assert (upload.send(), upload.send()) == (5, 0)
    assert Printed(store, tmp_path / "home", tmp_path / "boots").bring() == 5
    assert (tmp_path / "home" / "i-1" / "0.1.out").read_bytes() == b"one\n\0two\xff"
    assert [path.name for path in (tmp_path / "home" / "i-1").iterdir()] == ["0.1.out"]


def test_much_output_travels_in_pieces(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "0.1.err").write_bytes(b"z" * (MOST + 5))
    assert Upload(store, "i-1", tmp_path).send() == MOST + 5
    assert [parse(key) for key in store.list()] == [
        Segment("i-1", "0.1.err", 0, MOST), Segment("i-1", "0.1.err", MOST, MOST + 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        "output/../x/0.1.out/000000000000000-000000000000001",
        "output/.new/0.1.out/000000000000000-000000000000001",
        "output/i/0.1.sh/000000000000000-000000000000001",
        "charter",
    ],
)
def test_no_name_leads_out_of_the_directory(key: str) -> None:
    assert parse(key) is None


def test_what_a_boot_has_said_goes_up_as_it_grows_and_comes_home(tmp_path: Path) -> None:
    store, boot = MemoryStore(), tmp_path / "boot.log"
    upload = Upload(store, "i-1", tmp_path / "slots", boot)
    printed = Printed(store, tmp_path / "home", tmp_path / "boots")
    upload.send()
    assert printed.boot("i-1") == b"" and list(store.list()) == []
    boot.write_bytes(b"fetched\n")
    upload.send()
    assert printed.boot("i-1") == b"fetched\n"
    boot.write_bytes(b"fetched\nstarted\n")
    upload.send()
    printed.bring_boots()
    assert [path.name for path in (tmp_path / "boots").iterdir()] == ["i-1"]
    assert (tmp_path / "boots" / "i-1").read_bytes() == b"fetched\nstarted\n"
