"""The log of a job whose machines outlive its client: numbered segments in its store, each created if absent.

A commit is appended here first, then made in the file. Who finds the number taken was overtaken, and stops. A segment
is what a commit changed (SQLite's changeset): another machine's file becomes the same by applying them in order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from elsewhere.errors import JobHeld, NotFound, StateError, Unreachable
from elsewhere.ledger import tables
from elsewhere.ledger.ledger import Ledger
from elsewhere.stores import Store

_MAGIC, _NONCE = b"EWJ1", 12
_HEAD = len(_MAGIC) + _NONCE
_TRIES = 5


class Journal:
    """One controller's end of the log. `pause` waits between two tries to reach the store."""

    def __init__(self, store: Store, pause: Callable[[float], None] = time.sleep) -> None:
        self.store, self.pause = store, pause

    def found(self, ledger: Ledger) -> None:
        """Begin the log of a new job. Twice, or already begun: harmless."""
        self._create(_key(0), tables.spec_to_json(ledger.spec).encode())

    def restore(self, path: Path | str, clock: Callable[[], float] = time.time) -> Ledger:
        """The job's ledger on a machine that has none, as the log tells it. NotFound: there is no such log."""
        spec = tables.spec_from_json(self.store.get(_key(0)).decode())
        ledger = Ledger.create(path, spec, clock)
        self.attach(ledger)
        return ledger

    def attach(self, ledger: Ledger) -> None:
        """Bring the ledger up to the end of the log; from now on its commits are appended first. Twice: harmless."""
        position = int(ledger.get("position", 0))
        for changes in self._after(position):
            try:
                apsw.Changeset.apply(changes, ledger.db)
            except apsw.Error as error:
                hint = "remove this copy and take the job over anew (`elsewhere resume --from`)"
                raise StateError(f"{ledger.path} is not a copy of this job's log: {error}", hint=hint) from error
        ledger.reload()
        ledger.journal = self

    def append(self, number: int, changes: bytes) -> None:
        """Make segment `number`. JobHeld: another controller made it; the caller changes nothing any more.

        Unreachable: it is not known whether it was made; the caller stops, and whoever resumes finds out.
        """
        if not self._create(_key(number), _MAGIC + os.urandom(_NONCE) + changes):
            raise JobHeld(
                "another controller has taken the job over",
                hint="watch it with `elsewhere watch`; this one has stopped",
            )

    def _create(self, key: str, data: bytes) -> bool:
        for k in range(_TRIES):
            try:
                return self.store.create(key, data) or self.store.get(key) == data  # ours, if the reply was lost
            except Unreachable:
                if k == _TRIES - 1:
                    raise
                self.pause(0.2 * 2**k)
        raise AssertionError("unreachable")

    def _after(self, position: int) -> Iterator[bytes]:
        while True:
            position += 1
            try:
                data = self.store.get(_key(position))
            except NotFound:
                return
            if data[: len(_MAGIC)] != _MAGIC:
                raise StateError(
                    f"segment {position} of the job's log is damaged", hint="bring back a copy of the store"
                )
            yield data[_HEAD:]


def _key(number: int) -> str:
    return f"log/{number:012d}"
