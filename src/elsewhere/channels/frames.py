"""How deliveries, reports and orders are written: msgpack of fixed shapes, and signatures around it. Never pickle.

Nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol, TypeVar

import msgspec

from elsewhere.errors import Refused
from elsewhere.model.orders import Orders
from elsewhere.model.reports import BootStep, Claimed, Ended, Heartbeat, Notice, Report
from elsewhere.model.task import Delivery

_MAGIC = b"EWS1"
T = TypeVar("T")


class Signs(Protocol):
    """Whoever holds the job's private key (ship/seal.py)."""

    def sign(self, data: bytes, /) -> bytes: ...


class Verifies(Protocol):
    """Whoever holds the job's public key."""

    def verify(self, data: bytes, signature: bytes, /) -> bool: ...


class Reports(msgspec.Struct, omit_defaults=True, frozen=True):
    """A batch of reports by kind. Their order among kinds is not kept: the ledger is made for that."""

    ended: list[Ended] = []
    claimed: list[Claimed] = []
    beats: list[Heartbeat] = []
    steps: list[BootStep] = []
    notices: list[Notice] = []

    def all(self) -> list[Report]:
        return [*self.steps, *self.claimed, *self.beats, *self.notices, *self.ended]


_encode = msgspec.msgpack.Encoder().encode
_deliveries = msgspec.msgpack.Decoder(list[Delivery])
_orders = msgspec.msgpack.Decoder(Orders)


def pack_deliveries(deliveries: Sequence[Delivery]) -> bytes:
    return _encode(deliveries)


def unpack_deliveries(data: bytes) -> list[Delivery]:
    """Refused if these are not deliveries."""
    return _read(_deliveries, data, "deliveries")


def pack_reports(reports: Sequence[Report]) -> bytes:
    kinds: dict[type, list[Report]] = {Ended: [], Claimed: [], Heartbeat: [], BootStep: [], Notice: []}
    for report in reports:
        kinds[type(report)].append(report)
    ended, claimed, beats, steps, notices = kinds.values()
    return _encode({"ended": ended, "claimed": claimed, "beats": beats, "steps": steps, "notices": notices})


def unpack_reports(data: bytes) -> list[Report]:
    """Refused if these are not reports."""
    return _read(_reports(), data, "reports").all()


@cache
def _reports() -> msgspec.msgpack.Decoder[Reports]:
    """Made by who reads reports: agents do not, and begin sooner."""
    return msgspec.msgpack.Decoder(Reports)


def pack_orders(orders: Orders) -> bytes:
    return _encode(orders)


def unpack_orders(data: bytes) -> Orders:
    """Refused if these are not orders."""
    return _read(_orders, data, "orders")


def seal(signer: Signs | None, purpose: str, body: bytes) -> bytes:
    """`body`, signed together with its purpose (what it is, of which job): none can stand for another."""
    signature = b"" if signer is None else signer.sign(_signed(purpose, body))
    return _MAGIC + bytes([len(signature)]) + signature + body


def unseal(verifier: Verifies | None, purpose: str, data: bytes) -> bytes:
    """The body. Refused if there is a verifier and the signature is not the job's, for this purpose."""
    if data[:4] != _MAGIC or len(data) < 5:
        raise Refused(f"not a signed object ({purpose})")
    end = 5 + data[4]
    signature, body = data[5:end], data[end:]
    if verifier is not None and not (signature and verifier.verify(_signed(purpose, body), signature)):
        raise Refused(f"the signature of {purpose} is not the job's")
    return body


def _signed(purpose: str, body: bytes) -> bytes:
    return b"elsewhere\0" + purpose.encode() + b"\0" + body


def _read(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"these are not {what}: {error}") from None
