"""The log of a job whose machines outlive its client: a base, then numbered segments in its store, created if absent.

A commit is appended here first, then made in the file. Who finds the number taken was overtaken, and stops. The base is
a copy of the file; a segment is what a commit changed (SQLite's changeset): another machine's file becomes the same.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import apsw

from elsewhere.errors import JobHeld, NotFound, PlaceError, Refused, StateError, Unreachable
from elsewhere.ledger import tables
from elsewhere.ledger.ledger import Ledger
from elsewhere.stores import Store

LOG, BASE = "log/", "base/"
DEED = f"{LOG}{0:012d}"
"""Says what the base is, and holds it if it is small. Who sweeps deletes this first: without it there is no log."""
PART = 8 << 20
"""Bytes of the file that are one object of a base."""
INLINE = 32 << 10
"""Bytes of a base that the deed holds itself: it is read now and then to see whether it is there."""
_PLAIN, _CLOSED, _NONCE = b"EWJ1", b"EWJ2", 12
_TRIES, _LONGEST = 5, 2.0
_SURE = 1.0
"""Seconds in which nobody can take a job over, end it, and sweep its log."""
_FRESH = 30.0
"""Seconds."""
_TOGETHER = 256
"""Segments that are made in the file at once."""


class Closes(Protocol):
    """Keeps others from writing the log, and from reading it (ship/box.py)."""

    def close(self, purpose: str, data: bytes) -> bytes: ...

    def open(self, purpose: str, closed: bytes) -> bytes:
        """Refused: it was not closed by us for this purpose."""
        ...


class Journal:
    """One controller's end of the log.

    `pause` waits between two tries to reach the store. `clock`: seconds, also of those in which the machine slept; with
    it a log that was swept meanwhile is told from one that is ours to go on with.
    """

    def __init__(
        self,
        store: Store,
        pause: Callable[[float], None] = time.sleep,
        box: Closes | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.store, self.pause, self.box, self.clock = store, pause, box, clock
        self.endure: Callable[[PlaceError], bool] = lambda error: False
        """Asked when the store has not answered for some seconds: shall it be tried again, with the same bytes?"""
        self._doubt: PlaceError | None = None
        self._deed: bytes | None = None
        self._sure = float("-inf")

    # --- its beginning --------------------------------------------------------------------------------------------

    def begun(self) -> bool:
        """Is there a log?"""
        try:
            self.store.get(DEED)
        except NotFound:
            return False
        return True

    def found(self, ledger: Ledger) -> None:
        """Begin the log with the ledger as it stands. Twice, already begun, or after a crash: harmless."""
        if self.begun():
            return
        token, parts, rest = os.urandom(8).hex(), 0, b""
        for piece in _pieces(ledger):
            rest = zlib.compress(piece, 1)
            if len(rest) > INLINE or parts or len(piece) == PART:
                self._put(_part(token, parts), rest)
                parts, rest = parts + 1, b""
        head = {"position": int(ledger.get("position", 0)), "token": token, "parts": parts}
        self._create(DEED, self._close(DEED, json.dumps(head).encode() + b"\n" + rest))

    def restore(self, path: Path | str, clock: Callable[[], float] = time.time) -> Ledger:
        """The job's ledger on a machine that has none, as the log tells it. NotFound: there is no such log."""
        head, rest = self._head()
        pieces = self._base(head, rest)
        ledger = _in_memory(pieces, clock) if path == ":memory:" else _in_file(Path(path), pieces, clock)
        self.attach(ledger)
        return ledger

    def _head(self) -> tuple[dict[str, Any], bytes]:
        self._deed = self.store.get(DEED)
        line, _, rest = self._open(DEED, self._deed).partition(b"\n")
        return json.loads(line), rest

    def _base(self, head: dict[str, Any], rest: bytes) -> Iterator[bytes]:
        for part in range(head["parts"]):
            key = _part(head["token"], part)
            yield zlib.decompress(self._open(key, self.store.get(key)))
        if rest:
            yield zlib.decompress(rest)

    # --- its segments ---------------------------------------------------------------------------------------------

    def attach(self, ledger: Ledger) -> None:
        """Bring the ledger up to the end of the log; from now on its commits are appended first. Twice: harmless."""
        db = ledger.db
        try:
            for k, changes in enumerate(self._after(int(ledger.get("position", 0))), 1):
                if not db.in_transaction:
                    db.execute("BEGIN IMMEDIATE")
                apsw.Changeset.apply(changes, db)
                if k % _TOGETHER == 0:
                    db.execute("COMMIT")
        except apsw.Error as error:
            hint = "remove this copy and take the job over anew (`elsewhere resume --from`)"
            raise StateError(f"{ledger.path} is not a copy of this job's log: {error}", hint=hint) from error
        finally:  # each segment is made whole or not at all
            if db.in_transaction:
                db.execute("COMMIT")
        ledger.reload()
        ledger.journal = self

    def append(self, number: int, changes: bytes) -> None:
        """Make segment `number`. JobHeld: another controller made it; the caller changes nothing any more.

        StateError: somebody else did, who is no controller of this job. Unreachable: it is not known whether it was
        made; nothing can be appended after it, and whoever resumes finds out.
        """
        if self._doubt is not None:
            raise Unreachable(self._doubt.message, hint="`elsewhere resume` finds out what was written down")
        key, began = _key(number), self._now()
        try:
            if not self._create(key, self._close(key, changes)):
                self._open(key, self._persist(lambda: self.store.get(key)))
                raise _overtaken()
            self._is_there(began, key)
        except PlaceError as error:
            self._doubt = error
            raise

    def check(self, number: int, within: float = _FRESH) -> None:
        """JobHeld: segment `number`, which would be our next, was made by another controller, or the log is swept.

        What was known `within` so many seconds is not asked again: each look is billed.
        """
        began = self._now()
        if began - self._sure < within:
            return
        try:
            self._open(_key(number), self._persist(lambda: self.store.get(_key(number))))
        except NotFound:
            return self._is_there(began)
        raise _overtaken()

    def reaches(self, position: int) -> bool:
        """Does the log go from a copy that stands at `position` onward? Not if it ends before, or began anew after."""
        start = int(self._head()[0]["position"])
        if position <= start:
            return position == start
        try:
            self.store.get(_key(position))
        except NotFound:
            return False
        return True

    def _after(self, position: int) -> Iterator[bytes]:
        while True:
            position += 1
            try:
                data = self.store.get(_key(position))
            except NotFound:
                return
            yield self._open(_key(position), data)

    def _now(self) -> float:
        return 0.0 if self.clock is None else self.clock()

    def _is_there(self, began: float, made: str = "") -> None:
        """A number is also free where the log was swept: what was `made` there is taken back and counts for nothing."""
        if self.clock is None:
            return
        if self.clock() - self._sure > _SURE and not self._persist(self._is_the_same):
            if made:
                self._persist(lambda: self.store.delete([made]))
            raise JobHeld("the job has ended on another machine, and its log was swept",
                          hint="its results are there; `elsewhere rm` removes this copy")  # fmt: skip
        self._sure = began

    def _is_the_same(self) -> bool:
        try:
            return self._deed in (None, self.store.get(DEED))
        except NotFound:
            return False

    # --- the store ------------------------------------------------------------------------------------------------

    def _put(self, key: str, data: bytes) -> None:
        closed = self._close(key, data)
        self._persist(lambda: self.store.put(key, closed))

    def _create(self, key: str, data: bytes) -> bool:
        """Ours, if the reply was lost."""
        return bool(self._persist(lambda: self.store.create(key, data) or self.store.get(key) == data))

    def _persist(self, call: Callable[[], Any]) -> Any:
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

    def _close(self, purpose: str, data: bytes) -> bytes:
        if self.box is None:
            return _PLAIN + os.urandom(_NONCE) + data
        return _CLOSED + self.box.close(purpose, data)

    def _open(self, purpose: str, data: bytes) -> bytes:
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


def _key(number: int) -> str:
    return f"{LOG}{number:012d}"


def _part(token: str, part: int) -> str:
    return f"{BASE}{token}/{part:06d}"


def _overtaken() -> JobHeld:
    return JobHeld("another controller has taken the job over", hint="watch it there; this one has stopped")


def _pieces(ledger: Ledger) -> Iterator[bytes]:
    """A whole copy of the file, in pieces: never all of it in memory."""
    if str(ledger.path) == ":memory:":
        data = ledger.db.serialize("main")
        yield from (data[start : start + PART] for start in range(0, len(data), PART))
        return
    with tempfile.TemporaryDirectory(prefix=".base-", dir=ledger.path.parent) as directory:
        copy = Path(directory) / "ledger"
        ledger.copy_to(copy)
        with copy.open("rb") as file:
            while piece := file.read(PART):
                yield piece


def _in_memory(pieces: Iterator[bytes], clock: Callable[[], float]) -> Ledger:
    db = apsw.Connection(":memory:")
    db.deserialize("main", b"".join(pieces))
    tables.setup(db)
    return Ledger(db, Path(":memory:"), clock)


def _in_file(path: Path, pieces: Iterator[bytes], clock: Callable[[], float]) -> Ledger:
    if path.exists():
        raise StateError(f"{path} is there already", hint="resume the job instead of taking it over anew")
    draft = path.with_name(f".{path.name}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with closing(os.fdopen(fd, "wb")) as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(fd)
    draft.replace(path)
    return Ledger.open(path, clock)
