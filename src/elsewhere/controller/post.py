"""What is asked of a seat that nobody can call, and what it answers: objects in a corner of its place's deposit.

An ask is created under the next number; the answer is what the command printed there, in pieces, and its status. Each
object is closed, for its own key, with one that only the seat and whoever hired it have: nobody else can ask, or read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from elsewhere.errors import NotFound, PlaceError
from elsewhere.ledger.closed import Closed
from elsewhere.ship.box import Box
from elsewhere.stores import Store

ASKS, TOLD, LEFT, SIGNS = "asks/", "told/", "left/", "signs/"
ENDED = 0
"""The stream whose bytes are the status of the command: nothing comes after it. The others are descriptors: 1, 2."""
Words = Sequence[tuple[int, bytes]]
_encode = msgspec.msgpack.Encoder().encode
_words = msgspec.msgpack.Decoder(list[tuple[int, bytes]])


class Post:
    """Both ends of it. PlaceError: the store does not answer; each verb may be called again."""

    def __init__(self, store: Store, key: bytes, seat: str) -> None:
        self.store, self.closed = store, Closed(store, box=Box(key, seat))

    # --- who asks -------------------------------------------------------------------------------------------------

    def ask(self, request: bytes) -> int:
        """Its number. Of two that ask at once each has one of its own."""
        last = 0
        for key in self.store.list(ASKS):
            last = int(key.removeprefix(ASKS))
        while True:
            last += 1
            key = _key(ASKS, last)
            if self.closed.create(key, self.closed.close(key, request)):
                return last

    def told(self, ask: int, piece: int) -> Words | None:
        """A piece of the answer, counted from 1; None: it is not there yet."""
        try:
            return _words.decode(self.closed.get(_piece(ask, piece)))
        except NotFound:
            return None

    def sign(self, ask: int, count: int) -> None:
        """Somebody still waits for the rest. Each time another count."""
        self.closed.put(_key(SIGNS, ask), str(count).encode())

    def leave(self, ask: int) -> None:
        """Nobody waits for the rest: what goes on there is interrupted. Twice: harmless."""
        self.closed.put(_key(LEFT, ask), b"")

    def forget(self, ask: int) -> None:
        """The answer was read. Twice: harmless. The ask itself stays: its number is never free again."""
        with contextlib.suppress(PlaceError):
            self.store.delete([*self.store.list(f"{TOLD}{ask:08d}/"), _key(LEFT, ask), _key(SIGNS, ask)])

    # --- who answers ----------------------------------------------------------------------------------------------

    def asked(self, ask: int) -> bytes | None:
        """None: nobody has asked that yet."""
        return self._read(_key(ASKS, ask))

    def tell(self, ask: int, piece: int, words: Words) -> None:
        self.closed.put(_piece(ask, piece), _encode(words))

    def is_left(self, ask: int) -> bool:
        return self._read(_key(LEFT, ask)) is not None

    def signed(self, ask: int) -> bytes | None:
        """The last sign of whoever waits for the answer."""
        return self._read(_key(SIGNS, ask))

    def _read(self, key: str) -> bytes | None:
        try:
            return self.closed.get(key)
        except NotFound:
            return None


def _key(sort: str, ask: int) -> str:
    return f"{sort}{ask:08d}"


def _piece(ask: int, piece: int) -> str:
    return f"{TOLD}{ask:08d}/{piece:08d}"
