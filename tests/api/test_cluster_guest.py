"""What a machine that was started for a cluster says and is told, and on which machine it is. No Dask is started."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from elsewhere.backends.base import Backend, Deposit
from elsewhere.errors import Refused, UsageError
from elsewhere.model.catalog import Catalog, MachineType, Zone
from elsewhere.model.place import Limits, Place
from elsewhere.model.resources import Resources
from elsewhere.ship import letters
from elsewhere.stores import MemoryStore

letterbox = pytest.importorskip("elsewhere.api.dask.letterbox")
guest = pytest.importorskip("elsewhere.api.dask.guest")
market = pytest.importorskip("elsewhere.api.dask.market")
CLUSTER = "clu-1"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


class Vouching:
    """A place whose deposit is a directory, and whose proofs are the machine's name and the claim."""

    traits = None

    def __init__(self, folder: Path) -> None:
        self._url = f"file://{folder}"

    def deposit(self) -> Deposit:
        return Deposit(self._url)

    def identify(self, proof: bytes, claim: bytes) -> str:
        name, _, over = proof.partition(b"|")
        if over != claim:
            raise Refused("a proof over something else")
        return name.decode()


@pytest.fixture
def box(tmp_path: Path) -> Any:
    (tmp_path / "deposit").mkdir()
    place = cast("Backend", Vouching(tmp_path / "deposit"))
    return letterbox.Letterbox(place, CLUSTER, lambda who: {"told": f"words for {who}"})


def introduced(box: Any, machine: str) -> letters.Keys:
    """A machine that has said hello, and was let in."""
    keys = letters.Keys()
    hello = keys.hello(machine)
    proof = machine.encode() + b"|" + letters.claim(CLUSTER, hello)
    box.store.put(f"hello/{machine}", letters.pack(msgspec.structs.replace(hello, proof=proof)))
    assert box.look([machine]) == []
    return keys


def test_a_machine_is_believed_by_the_key_that_its_letter_named_and_nobody_else_is(box: Any) -> None:
    keys = introduced(box, "i-1")
    assert box.said("i-1") is None
    letterbox.say(box.store, letters.Keys(), CLUSTER, "i-1", {"address": "tls://forged"})
    assert box.said("i-1") is None
    letterbox.say(box.store, keys, CLUSTER, "i-1", {"address": "tls://true"})
    assert box.said("i-1") == {"address": "tls://true"}
    letterbox.say(box.store, keys, CLUSTER, "i-2", {"address": "tls://of another"})
    assert box.said("i-2") is None
    box.store.put("said/i-1", box.store.get("said/i-2"))
    assert box.said("i-1") is None


def test_each_machine_learns_what_is_for_it_in_a_letter_that_shows_nothing_of_it(box: Any) -> None:
    keys = introduced(box, "i-1")
    data = box.store.get("letters/i-1")
    assert b"words for" not in data
    from elsewhere.channels.frames import unseal

    letter = letters.unpack_letter(unseal(None, "", data))
    assert keys.open(CLUSTER, letter).secrets == {"told": "words for i-1"}
    with pytest.raises(Refused):
        letters.Keys().open(CLUSTER, letter)


def test_what_was_printed_is_brought_when_the_corner_is_cleared_and_a_failed_boot_tells_why(box: Any) -> None:
    introduced(box, "i-1")
    box.store.put("logs/model-1", b"said there")
    box.store.put("boot/i-2", b"no python")
    assert letterbox.log(box.store, "model-1") == b"said there"
    assert letterbox.log(box.store, "model-2", "i-2") == b"no python"
    assert letterbox.log(box.store, "model-3", "i-3") == b""
    assert letterbox.clear(box.store) == {"model-1": b"said there"}
    assert list(box.store.list()) == []
    assert letterbox.clear(box.store) == {}


def test_output_goes_home_as_it_grows_the_end_of_it_and_all_that_was_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, file = MemoryStore(), tmp_path / "boot.log"
    monkeypatch.setattr(guest, "MOST", 10)
    sending = guest.Sending(file, store, "logs/a-1")
    sending.turn(0.0)
    assert list(store.list()) == []
    file.write_bytes(b"first")
    sending.turn(1.0)
    assert list(store.list()) == [], "it is not looked at all the time"
    sending.turn(guest.SENDS)
    assert store.get("logs/a-1") == b"first"
    store.delete(["logs/a-1"])
    sending.turn(3 * guest.SENDS)
    assert list(store.list()) == [], "what is there already is not sent again"
    monkeypatch.setattr(guest, "MOST", 1000)
    late = threading.Timer(0.2, lambda: file.write_bytes(b"first, second\n" + guest.ENDS.encode() + b"\n"))
    late.start()
    began = time.monotonic()
    sending.last()
    late.join()
    assert store.get("logs/a-1") == b"first, second\n" + guest.ENDS.encode() + b"\n"
    assert time.monotonic() - began < guest._LAST
    assert capsys.readouterr().out == guest.ENDS + "\n"


# --- what is sold -----------------------------------------------------------------------------------------------------

SMALL, LARGE, ARM = MachineType("s", 1, 2 << 30), MachineType("l", 8, 32 << 30), MachineType("a", 1, 2 << 30, "arm64")
ROWS = [(0, 0, 40), (1, 0, 300), (2, 0, 30), (0, 1, 15), (1, 1, 90), (2, 1, 10)]
"""(type, spot, thousandths of a dollar an hour)."""


NONE = Limits()


class Shop:
    def catalog(self, regions: Sequence[str], fresh: bool = False) -> Catalog:
        kind, spot, price = (array("I", [row[k] for row in ROWS]) for k in range(3))
        prices = array("Q", [1000 * each for each in price])
        return Catalog(datetime(2026, 1, 1, tzinfo=UTC), (SMALL, LARGE, ARM), (Zone("z", "r"),), kind,
                       array("I", [0] * len(ROWS)), array("B", spot), prices)  # fmt: skip


def sold(need: Resources, limits: Limits = NONE, plain: bool = False, **wants: Any) -> list[tuple[str, bool]]:
    place = Place("p", "aws", {}, limits, wants=wants)
    found = market.sold(place, cast("Backend", Shop()), need, ("r",), plain=plain)
    return [(one.name, one.spot) for one in found.offers]


def test_each_member_has_the_cheapest_machine_that_is_asked_for_and_then_what_comes_after() -> None:
    assert sold(Resources(cpus=1)) == [("s", False), ("l", False)]
    assert sold(Resources(cpus=2)) == [("l", False)]
    assert sold(Resources(cpus=1), spot="prefer") == [("s", True), ("l", True), ("s", False), ("l", False)]
    assert sold(Resources(cpus=1), spot="spot") == [("s", True), ("l", True)]
    assert sold(Resources(cpus=1), spot="spot", plain=True) == [("s", False), ("l", False)]
    assert sold(Resources(cpus=1), machine_types=("l",)) == [("l", False)]
    assert sold(Resources(cpus=1), machine_types=("l",), plain=True) == [("s", False), ("l", False)]
    assert sold(Resources(cpus=1), architecture="any") == [("a", False)], "all of one kind of processor"


def test_what_no_machine_has_and_what_the_place_does_not_pay_is_refused_with_what_would_do() -> None:
    with pytest.raises(UsageError, match="no machine does") as caught:
        sold(Resources(cpus=9))
    assert caught.value.hint
    with pytest.raises(UsageError, match=r"the cheapest that does costs \$0\.3\d* an hour, and p allows \$0\.1"):
        sold(Resources(cpus=2), Limits(price_per_hour=Decimal("0.1")))
