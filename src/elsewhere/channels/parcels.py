"""What a message of a queue service carries: signed deliveries or reports, as text; or where in the store these lie.

The outside is not signed: it can choose among what was signed, or withhold it, as whoever holds the queue can anyway.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from elsewhere.errors import Refused
from elsewhere.model.ranges import Ranges
from elsewhere.stores import Store

BODIES = "bodies/"
INLINE = 256 << 10
"""Characters. A service bills each 64 KiB of a message, on its way in and out; from about here an object is cheaper."""
CUT = 256 << 10
"""Bytes after which a portion is closed."""
_MOST = 64 << 20
"""Bytes that a message may come to when it is unpacked; it is unpacked before its signature can be checked."""
T = TypeVar("T")


class Parcel(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message."""

    name: str
    data: bytes = b""
    """Sealed (frames.py); empty: it lies in the store under `key`."""
    key: str = ""
    by: str = ""
    """The agent whose reports these are."""
    only: Ranges | None = None
    """Which of the deliveries are meant; None: all."""
    rest: float = 0.0
    """Seconds for which they shall rest from now on, besides what the service itself lets them."""


_encode = msgspec.msgpack.Encoder().encode
_parcel = msgspec.msgpack.Decoder(Parcel)


def wrap(parcel: Parcel, store: Store) -> str:
    """As the text of a message; what is too large is put into the store first."""
    text = _text(parcel)
    if len(text) > INLINE and parcel.data:
        key = BODIES + parcel.name
        store.put(key, parcel.data)
        text = _text(msgspec.structs.replace(parcel, data=b"", key=key))
    return text


def unwrap(text: str) -> Parcel:
    """Refused if this is no message of ours."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), _MOST)
        parcel = _parcel.decode(data)
    except (binascii.Error, zlib.error, ValueError, msgspec.MsgspecError) as error:
        raise Refused(f"this is no message of Elsewhere: {error}") from None
    if parcel.key and not parcel.key.startswith(BODIES):
        raise Refused("a message names an object that is no message's")
    return parcel


def body(parcel: Parcel, store: Store) -> bytes:
    """What it carries, still sealed. NotFound if its object is gone."""
    return store.get(parcel.key) if parcel.key else parcel.data


def cut(things: Sequence[T], most: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """In portions of at most so many, each closed when it is large."""
    part: list[T] = []
    total = 0
    for thing in things:
        if part and (len(part) >= most or total + size(thing) > CUT):
            yield part
            part, total = [], 0
        part.append(thing)
        total += size(thing)
    if part:
        yield part


def _text(parcel: Parcel) -> str:
    return base64.b64encode(zlib.compress(_encode(parcel), 1)).decode()
