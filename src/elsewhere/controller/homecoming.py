"""Jobs whose seat ends come home: their directories are packed into its corner there, and unpacked by the next look.

What is written is closed as all of that corner is (post.py), in pieces, so that nothing of it is whole in memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from elsewhere.channels.outputs import unpack
from elsewhere.controller import directory
from elsewhere.controller.files import JobFiles
from elsewhere.errors import NotFound
from elsewhere.hosts import write_new
from elsewhere.ledger.closed import Closed
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.views import SEAT

KEPT = "kept/"
HEAD = f"{KEPT}head"
PIECE = 8 << 20
_NOT = ("lock", "control", "pipe", "readers")
"""Of a job's directory: what is of a controller that runs."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is said of a job that was put there. `ended`: when its seat ended, in seconds since the epoch."""

    job: str
    name: str
    pieces: int
    ended: float
    kept: str = ""
    """Where its log lies, if it is not over."""
    links: Mapping[str, str] = field(default_factory=dict)
    """What of it lies in a directory that others see, too, and stays there: where, by its name in the job's own."""


def put(closed: Closed, jobs: Iterable[JobFiles], now: float) -> None:
    """All of these jobs, which nobody runs any more; that they are there is said last. Twice: the same. PlaceError."""
    said = [asdict(_put(closed, files, now)) for files in jobs]
    closed.put(HEAD, json.dumps(said).encode())


def _put(closed: Closed, files: JobFiles, now: float) -> Kept:
    with contextlib.closing(files.open()) as ledger:
        name, kept = ledger.spec.name, str(ledger.get("kept", ""))
    writer = _Pieces(lambda piece, data: closed.put(_key(files.id, piece), data))
    with tarfile.open(fileobj=writer, mode="w|gz", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files.directory.rglob("*")):
            inner = path.relative_to(files.directory)
            if path.is_file() and not path.is_symlink() and inner.parts[0] not in _NOT:
                tar.add(path, str(inner), recursive=False)
    writer.close()
    links = {path.name: str(path.readlink()) for path in sorted(files.directory.iterdir())
             if path.is_symlink() and path.name not in _NOT}  # fmt: skip
    return Kept(files.id, name, writer.count, now, kept, links)


def head(closed: Closed) -> list[Kept] | None:
    """None: nothing was put there, or not all of it."""
    try:
        return [Kept(**one) for one in json.loads(closed.get(HEAD))]
    except NotFound:
        return None


def bring(closed: Closed, found: Kept) -> JobFiles:
    """The job, as if it had been run here. On any error nothing of it is here. If it is here already: that."""
    files = directory.files_of(found.job)
    if files.directory.exists():
        return files
    with directory.fresh(found.job) as draft:
        draft.directory.rmdir()
        reader = io.BufferedReader(_Read(lambda piece: closed.get(_key(found.job, piece)), found.pieces), PIECE)
        with tarfile.open(fileobj=reader, mode="r|gz") as tar:
            unpack(tar, draft.directory)
        for inner, there in found.links.items():
            if Path(there).is_dir():
                draft.link(inner, Path(there))
        if found.kept:  # its code lies in the deposit, as it was noted
            write_new(draft.brought, found.kept.encode())
        ledger = Ledger.open(draft.ledger)
        try:
            if seat := ledger.get(SEAT, None):
                with ledger.moving():
                    ledger.set(SEAT, {**seat, "ended": found.ended})
        finally:
            ledger.close()
    directory.call(found.job, found.name)
    return files


def _key(job: str, piece: int) -> str:
    return f"{KEPT}{job}/{piece:08d}"


class _Pieces(io.RawIOBase):
    """What is written goes on in pieces of one size, but for the last."""

    def __init__(self, put: Callable[[int, bytes], object]) -> None:
        self._put, self.count, self._gathered = put, 0, bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        more = bytes(memoryview(data))  # type: ignore[arg-type]
        self._gathered += more
        while len(self._gathered) >= PIECE:
            self._go(PIECE)
        return len(more)

    def close(self) -> None:
        if self._gathered and not self.closed:
            self._go(len(self._gathered))
        super().close()

    def _go(self, size: int) -> None:
        self._put(self.count, bytes(self._gathered[:size]))
        del self._gathered[:size]
        self.count += 1


class _Read(io.RawIOBase):
    """Those pieces again, as one file."""

    def __init__(self, get: Callable[[int], bytes], count: int) -> None:
        self._get, self._count, self._next, self._left = get, count, 0, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, room: object) -> int:
        target = memoryview(room)  # type: ignore[arg-type]
        if not self._left and self._next < self._count:
            self._left, self._next = memoryview(self._get(self._next)), self._next + 1
        size = min(len(target), len(self._left))
        target[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
