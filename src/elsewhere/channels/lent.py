"""The job's store as a machine sees it that is dialled: it lies at the controller's end, and is asked over the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from elsewhere.channels import words
from elsewhere.errors import InternalError, NotFound


class Asks(Protocol):
    def ask(self, kind: int, item: words.Item) -> words.Item: ...


class Lent:
    """The job's store as a machine sees it that is dialled. Of its verbs only those that agents need."""

    def __init__(self, line: Asks) -> None:
        self.line = line

    def get(self, key: str) -> bytes:
        data = self.line.ask(words.FETCH, words.Item(key)).data
        if data is None:
            raise NotFound(f"there is no {key}")
        return data

    def put(self, key: str, data: bytes) -> None:
        self.line.ask(words.KEEP, words.Item(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """The controller's end keeps what was there first."""
        self.put(key, data)
        return True

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        raise InternalError("a machine that is dialled lists nothing")

    def delete(self, keys: Iterable[str]) -> None:
        raise InternalError("a machine that is dialled deletes nothing")

    def url(self, key: str) -> str:
        return f"door:{key}"
