"""A job's store as its log uses it: what is written is closed, what is read is believed only if it was closed by us for
this very purpose, and a store that gives no answer is asked again with the same bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from elsewhere.errors import PlaceError, Refused, StateError
from elsewhere.stores import Store

_PLAIN, _CLOSED, _NONCE = b"EWJ1", b"EWJ2", 12
_TRIES, _LONGEST = 5, 2.0


class Closes(Protocol):
    """Keeps others from writing the log, and from reading it (ship/box.py)."""

    def close(self, purpose: str, data: bytes) -> bytes: ...

    def open(self, purpose: str, closed: bytes) -> bytes:
        """Refused: it was not closed by us for this purpose."""
        ...


class Closed:
    """`pause` waits between two tries to reach the store. Without a box nothing is closed: for tests and worlds."""

    def __init__(self, store: Store, pause: Callable[[float], object] = time.sleep, box: Closes | None = None) -> None:
        self.store, self.pause, self.box = store, pause, box
        self.endure: Callable[[PlaceError], bool] = lambda error: False
        """Asked when the store has not answered for some seconds: shall it be tried again, with the same bytes?"""

    def get(self, key: str) -> bytes:
        """NotFound. StateError: it is not ours."""
        return self.open(key, self.store.get(key))

    def put(self, key: str, data: bytes) -> int:
        """How many bytes lie there now."""
        closed = self.close(key, data)
        self.persist(lambda: self.store.put(key, closed))
        return len(closed)

    def create(self, key: str, closed: bytes) -> bool:
        """Of what `close` gave. True if it is ours: also if the reply was lost."""
        return bool(self.persist(lambda: self.store.create(key, closed) or self.store.get(key) == closed))

    def persist(self, call: Callable[[], Any]) -> Any:
        """What the call gives, as soon as the store answers, or as long as that is to be endured."""
        k = 0
        while True:
            try:
                return call()
            except PlaceError as error:
                if not error.transient or (k >= _TRIES - 1 and not self.endure(error)):
                    raise
                self.pause(min(0.2 * 2 ** min(k, 10), _LONGEST))
                k += 1

    def close(self, purpose: str, data: bytes) -> bytes:
        """Each time other bytes, so that they name their writer."""
        if self.box is None:
            return _PLAIN + os.urandom(_NONCE) + data
        return _CLOSED + self.box.close(purpose, data)

    def open(self, purpose: str, data: bytes) -> bytes:
        """StateError: it is not ours."""
        magic, rest = data[: len(_PLAIN)], data[len(_PLAIN) :]
        if self.box is None and magic == _PLAIN:
            return rest[_NONCE:]
        try:
            if self.box is not None and magic == _CLOSED:
                return self.box.open(purpose, rest)
        except Refused:
            pass
        raise StateError(
            f"{self.store.url(purpose)} was not written by this job's owner, or is damaged; it is not believed",
            hint="somebody else can write that bucket: find out who; delete it, or bring back what stood there",
        )
