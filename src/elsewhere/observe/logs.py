"""What tasks have printed, read as bytes from their slots' rolling files by the places that the ledger keeps.

Reads only, in pieces; nothing is decoded here (observe/safe.py does that for terminals). Where the files of a slot lie
is a shelf's to know: another way for output to come home is another shelf.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from elsewhere.model.reports import Output
from elsewhere.model.states import TaskState
from elsewhere.slot import masking, wire

PIECE = 256 * 1024
STREAMS = ("out", "err")


class AttemptLike(Protocol):
    @property
    def agent(self) -> str: ...
    @property
    def output(self) -> Output | None: ...


class Page(NamedTuple):
    """What a slot is running, as its page says: task number, attempt, where its output begins, and since when.

    `started` is seconds by this machine's CLOCK_MONOTONIC.
    """

    agent: str
    slot: int
    roll: int
    n: int
    attempt: int
    out_from: int
    err_from: int
    started: float = 0.0


class Source(NamedTuple):
    """One file of one slot. `stream` is out or err."""

    agent: str
    slot: int
    roll: int
    stream: str


class Shelf(Protocol):
    """Where the rolling files of a job's slots can be read. All of it may be asked again; nothing waits."""

    def sources(self) -> Sequence[Source]:
        """The files that are there now, in an order that stays."""
        ...

    def size(self, source: Source) -> int:
        """Bytes that can be read of it now; 0 if it is not there."""
        ...

    def read(self, source: Source, begin: int, end: int | None = None) -> Iterator[bytes]:
        """Its bytes from `begin` to `end` (None: as far as it reaches now), in pieces; nothing if it is not there."""
        ...

    def pages(self) -> list[Page]:
        """What every slot is running just now, as far as its page says so and can be seen from here."""
        ...


class Disk:
    """The shelf of slots whose files this machine sees: those of the controller, in `slots/` of the job's directory,
    and those of agents in processes of their own that work below its `agents/`."""

    def __init__(self, directory: Path, hidden: Sequence[bytes] = ()) -> None:
        """`hidden`: secrets, which are struck out of what is read."""
        self.directory, self.hidden = directory, hidden
        self._of: dict[str, Path] = {}

    def sources(self) -> Sequence[Source]:
        found = []
        for agent in self._agents():
            for entry in os.scandir(self._of[agent]):
                slot, _, rest = entry.name.partition(".")
                roll, _, stream = rest.partition(".")
                if stream in STREAMS and slot.isdigit() and roll.isdigit():
                    found.append(Source(agent, int(slot), int(roll), stream))
        return sorted(found)

    def size(self, source: Source) -> int:
        try:
            return self._path(source).stat().st_size
        except OSError:
            return 0

    def read(self, source: Source, begin: int, end: int | None = None) -> Iterator[bytes]:
        try:
            file = self._path(source).open("rb")
        except OSError:
            return
        with file:
            file.seek(begin)
            rest = b""
            while end is None or begin < end:
                piece = file.read(PIECE if end is None else min(PIECE, end - begin))
                if not piece:
                    break
                begin += len(piece)
                piece = rest + piece
                keep = len(piece) - masking.begun(piece, self.hidden)
                piece, rest = piece[:keep], piece[keep:]
                yield masking.masked(piece, self.hidden)
            if rest:
                yield masking.masked(rest, self.hidden)

    def pages(self) -> list[Page]:
        paths = (path for agent in self._agents() for path in self._of[agent].glob("*.page"))
        return [page for path in paths if (page := _page(path)) is not None]

    def _path(self, source: Source) -> Path:
        if source.agent not in self._of:
            self._agents()
        directory = self._of.get(source.agent, self.directory / "slots" / source.agent)
        return directory / f"{source.slot}.{source.roll}.{source.stream}"

    def _agents(self) -> list[str]:
        """Those that have begun, each with the directory of its slots' files."""
        for pattern in ("slots/*", "agents/*/slots/*"):
            for path in self.directory.glob(pattern):
                if path.is_dir():
                    self._of[path.name] = path
        return sorted(self._of)


def shelf(directory: Path, hidden: Sequence[bytes] = ()) -> Shelf:
    """Where the output of the job is to be had whose own directory this is, without these secrets."""
    return Disk(directory, hidden)


def printed(shelf: Shelf, attempt: AttemptLike, stream: str) -> Iterator[bytes]:
    """The bytes that an ended attempt wrote to `stream`, in pieces; nothing if its files are gone."""
    place = attempt.output
    if place is None:
        return
    begin, end = (place.out_from, place.out_to) if stream == "out" else (place.err_from, place.err_to)
    yield from shelf.read(Source(attempt.agent, place.slot, place.roll, stream), begin, end)


def _page(path: Path) -> Page | None:
    for _ in range(5):  # its two serials differ while it is being written
        try:
            data = path.read_bytes()[: wire.PAGE.size]
        except OSError:
            return None
        if len(data) < wire.PAGE.size or not path.stem.isdigit():
            return None
        serial, n, attempt, doing, started, out_from, err_from, roll, again = wire.PAGE.unpack(data)
        if serial == again:
            if doing != wire.RUNNING:
                return None
            return Page(path.parent.name, int(path.stem), roll, n, attempt, out_from, err_from, started)
    return None


class Names(Protocol):
    def ids(self, ns: Sequence[int]) -> dict[int, str]: ...
    def task(self, task_id: str) -> Any: ...


def running(ledger: Names, shelf: Shelf, now: float) -> list[tuple[str, float]]:
    """(task, seconds) of what runs on this machine, oldest first. `now` is CLOCK_MONOTONIC.

    Pages of slots that died in the middle of a task stay behind: only what the ledger has handed out just so counts.
    """
    found = shelf.pages()
    names = ledger.ids([page.n for page in found]) if found else {}
    shown = []
    for page in found:
        task = ledger.task(names[page.n]) if page.n in names else None
        if task is not None and task.state is TaskState.HANDED_OUT and task.attempt == page.attempt:
            shown.append((task.id, max(now - page.started, 0.0)))
    return sorted(shown, key=lambda pair: -pair[1])


class Tail:
    """Everything that a job's slots print from now on, or from the beginning.

    `streams`: which of out and err. `start`: positions to begin at; other files are read from their first byte.
    """

    def __init__(self, shelf: Shelf, streams: Sequence[str] = STREAMS, start: dict[Source, int] | None = None) -> None:
        self.shelf, self.streams = shelf, tuple(streams)
        self._at = dict(start or {})

    @classmethod
    def from_now(cls, shelf: Shelf, streams: Sequence[str] = STREAMS) -> Tail:
        """Begins with what running tasks have printed so far, and leaves out what ended ones did."""
        tail = cls(shelf, streams)
        tail._at = {source: shelf.size(source) for source in tail._sources()}
        for page in shelf.pages():
            for stream, begin in (("out", page.out_from), ("err", page.err_from)):
                source = Source(page.agent, page.slot, page.roll, stream)
                if source in tail._at:
                    tail._at[source] = begin
        return tail

    def read(self) -> Iterator[tuple[Source, bytes]]:
        """What is new since the last time, in pieces, file by file; returns when there is no more for now."""
        for source in self._sources():
            begin = self._at.get(source, 0)
            if self.shelf.size(source) <= begin:
                continue
            for piece in self.shelf.read(source, begin):
                begin += len(piece)
                self._at[source] = begin
                yield source, piece

    def _sources(self) -> list[Source]:
        return [source for source in self.shelf.sources() if source.stream in self.streams]
