"""Copies of a job's file in its log: one to begin with, and others further on, after which the rest is read.

A copy says up to which number it has what was appended. It is made once and never changed, whoever makes it: of one log
all copies of a number say the same. And it makes no number free: the segments that it has stay where they are.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import apsw

from elsewhere.errors import NotFound, StateError
from elsewhere.ledger import tables
from elsewhere.ledger.closed import Closed
from elsewhere.ledger.ledger import Ledger

LOG, BASE = "log/", "base/"
AT = f"{BASE}at/"
DEED = f"{LOG}{0:012d}"
"""The copy with which the log begins. Who sweeps deletes this first: without it there is no log."""
PART = 8 << 20
"""Bytes of the file that are one object of a copy."""
INLINE = 32 << 10
"""Bytes of a copy that its head holds itself: the deed is read now and then to see whether it is there."""
SEGMENT = 64 << 10
"""To read a segment takes about as long as so many bytes of a copy."""
LEAST = 256
"""So many segments are read in a moment anyway."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of a copy."""

    position: int
    """The number of the last segment that it has."""
    token: str
    parts: int
    size: int = 0
    """Bytes in all, as they lie there; 0: nobody wrote that down."""
    log: str = ""
    """The token of the deed, if it is not the deed itself: another log may have lain here before."""

    def worth_another(self, position: int) -> bool:
        """Would it take longer to read the segments from here to `position` than another copy of that size?"""
        return position - self.position >= LEAST and (position - self.position) * SEGMENT >= self.size


class Bases:
    """The copies of one log."""

    def __init__(self, closed: Closed) -> None:
        self.closed = closed
        self.log = ""
        """Which it is, once it was read: the deed's token."""

    def deed(self) -> tuple[Head, bytes]:
        """And what of the copy stands in its head. NotFound: there is no log."""
        found = self._read(DEED)
        self.log = found[0].token
        return found

    def newest(self) -> tuple[Head, bytes]:
        """As `deed`, of the copy that reaches furthest. One listing."""
        deed = self.deed()
        for key in sorted(self.closed.store.list(AT), reverse=True):
            found = self._read(key)
            if found[0].log == self.log:
                return found
        return deed

    def is_there(self) -> bool:
        """Is the log, or that one if it was read already, still there? It may have been swept, and begun anew."""
        try:
            return self.log in ("", self._read(DEED)[0].token)
        except (NotFound, StateError):
            return False

    def restored(self, path: Path | str, clock: Callable[[], float] = time.time) -> Ledger:
        """A ledger as the newest of them has it."""
        head, rest = self.newest()
        pieces = self._pieces(head, rest)
        ledger = _in_memory(pieces, clock) if path == ":memory:" else _in_file(Path(path), pieces, clock)
        ledger.db.execute("DELETE FROM job WHERE key = 'live'")  # of what went on there then
        return ledger

    def _read(self, key: str) -> tuple[Head, bytes]:
        line, _, rest = self.closed.get(key).partition(b"\n")
        return Head(**json.loads(line)), rest

    def _pieces(self, head: Head, rest: bytes) -> Iterator[bytes]:
        for part in range(head.parts):
            yield zlib.decompress(self.closed.get(_part(head.token, part)))
        if rest:
            yield zlib.decompress(rest)


class Making:
    """A copy on its way: into the log that was read, or where none was, to begin one. Twice, or by two: harmless.

    Walk its `steps` to their end; between two of them a call was made to the store, and the ledger may have gone on.
    Killed on the way, nothing has happened, but for parts that nobody reads. Whoever stops by himself withdraws it.
    """

    def __init__(self, bases: Bases, ledger: Ledger) -> None:
        self.bases, self.closed, self.ledger = bases, bases.closed, ledger
        self.token, self.parts = os.urandom(8).hex(), 0
        self._stays = False

    def steps(self) -> Iterator[None]:
        size, rest = 0, b""
        with _copied(self.ledger) as (position, pieces):
            for piece in pieces:
                rest = zlib.compress(piece, 1)
                if len(rest) > INLINE or self.parts or len(piece) == PART:
                    size, rest = size + self.closed.put(_part(self.token, self.parts), rest), b""
                    self.parts += 1
                    yield
        log = self.bases.log
        key = f"{AT}{position:012d}" if log else DEED
        head = Head(position, self.token, self.parts, size + len(rest), log)
        closed = self.closed.close(key, json.dumps(asdict(head)).encode() + b"\n" + rest)
        self._stays = self.closed.create(key, closed)  # somebody may be reading it
        if not self._stays:
            self._take_back()
        elif not self.closed.persist(self.bases.is_there):
            self._take_back(key)

    def withdraw(self) -> None:
        """Unless it is whole, nothing of it stays."""
        if not self._stays:
            self._take_back()

    def _take_back(self, *head: str) -> None:
        parts = range(self.parts + 1)  # also one that was put without an answer
        self.closed.store.delete([*head, *(_part(self.token, part) for part in parts)])


def _part(token: str, part: int) -> str:
    return f"{BASE}{token}/{part:06d}"


@contextmanager
def _copied(ledger: Ledger) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Up to which number it goes, and the pieces: of what is committed now, and of nothing that comes later."""
    if str(ledger.path) == ":memory:":
        data = ledger.db.serialize("main")
        yield int(ledger.get("position", 0)), (data[start : start + PART] for start in range(0, len(data), PART))
        return
    for left in ledger.path.parent.glob(".base-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".base-", dir=ledger.path.parent) as directory:
        copy = Path(directory) / "ledger"
        with closing(tables.connect(ledger.path, write=False)) as db:
            tables.copy(db, copy)
        with closing(tables.connect(copy, write=False)) as db:
            found = db.execute("SELECT value FROM job WHERE key = 'position'").fetchall()
        with copy.open("rb") as file:
            yield int(str(found[0][0])) if found else 0, iter(lambda: file.read(PART), b"")


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
