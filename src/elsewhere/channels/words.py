"""The words of a pipe: what its two ends say, one frame each (streams.py). Never pickle.

Down: HOME greets, DELIVER, CONFIRM a batch of reports, ORDERS, LAPSED, HEARD (a RENEW), FOUND (a FETCH), KEPT (a KEEP).
  Up: HELLO first, WANT, REPORT, RENEW, RELEASE, FETCH and KEEP an object of the job's store.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from elsewhere.errors import Refused

HOME, DELIVER, CONFIRM, ORDERS, LAPSED, HELLO, WANT, REPORT, RENEW, RELEASE, HEARD, FETCH, FOUND, KEEP, KEPT = range(
    1, 16
)

VALUES = "values/"
"""Where large values are in a job's store."""
Pair = tuple[int, int]
"""(n, attempt) of a delivery."""
T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True):
    """An agent's process joins, or is back after a cut. `holding`: what it has, or has done and not had confirmed."""

    agent: str
    process: str
    journal: str
    lease: float
    holding: list[Pair]


class Want(msgspec.Struct, frozen=True):
    """It could use so many more deliveries now, and so many for later. The newest word holds."""

    tasks: int
    alone: bool
    stock: int = 0


class Release(msgspec.Struct, frozen=True):
    """It hands these back; they rest for `after` seconds."""

    pairs: list[Pair]
    after: float


class Said(msgspec.Struct, frozen=True):
    """A batch of reports (frames.py) under its number in the agent's journal; 0: not kept, and not to be confirmed."""

    number: int
    reports: bytes
    done: list[Pair]


class Item(msgspec.Struct, frozen=True):
    """An object of the job's store. `data`: None where there is none, or where it is only spoken of."""

    key: str
    data: bytes | None = None


encode = msgspec.msgpack.Encoder().encode
hello = msgspec.msgpack.Decoder(Hello)
want = msgspec.msgpack.Decoder(Want)
release = msgspec.msgpack.Decoder(Release)
said = msgspec.msgpack.Decoder(Said)
pairs = msgspec.msgpack.Decoder(list[Pair])
number = msgspec.msgpack.Decoder(int)
item = msgspec.msgpack.Decoder(Item)


def read(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    """Refused if these are not the bytes of such a word."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"an unknown word came down the pipe: {error}") from None
