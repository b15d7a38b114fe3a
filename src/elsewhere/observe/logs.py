"""What tasks have printed, read as bytes from their slots' rolling files by the places that the ledger keeps.

Reads only, in pieces; nothing is decoded here (observe/safe.py does that for terminals).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from elsewhere.model.reports import Output
from elsewhere.model.states import TaskState
from elsewhere.slot import wire

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


def path_of(slots: Path, source: Source) -> Path:
    return slots / source.agent / f"{source.slot}.{source.roll}.{source.stream}"


def printed(slots: Path, attempt: AttemptLike, stream: str) -> Iterator[bytes]:
    """The bytes that an ended attempt wrote to `stream`, in pieces; nothing if its files are gone."""
    place = attempt.output
    if place is None:
        return
    begin, end = (place.out_from, place.out_to) if stream == "out" else (place.err_from, place.err_to)
    yield from pieces(path_of(slots, Source(attempt.agent, place.slot, place.roll, stream)), begin, end)


def pieces(path: Path, begin: int, end: int | None = None) -> Iterator[bytes]:
    """The bytes of `path` from `begin` to `end` (None: as far as it reaches now); nothing if it is not there."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        file.seek(begin)
        while end is None or begin < end:
            piece = file.read(PIECE if end is None else min(PIECE, end - begin))
            if not piece:
                return
            begin += len(piece)
            yield piece


def pages(slots: Path) -> list[Page]:
    """What every slot of the job is running just now, as far as its page says so."""
    found = []
    for path in slots.glob("*/*.page"):
        page = _page(path)
        if page is not None:
            found.append(page)
    return found


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


def running(ledger: Names, slots: Path, now: float) -> list[tuple[str, float]]:
    """(task, seconds) of what runs on this machine, oldest first. `now` is CLOCK_MONOTONIC.

    Pages of slots that died in the middle of a task stay behind: only what the ledger has handed out just so counts.
    """
    found = pages(slots)
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

    def __init__(self, slots: Path, streams: Sequence[str] = STREAMS, start: dict[Source, int] | None = None) -> None:
        self.slots, self.streams = slots, tuple(streams)
        self._at = dict(start or {})

    @classmethod
    def from_now(cls, slots: Path, streams: Sequence[str] = STREAMS) -> Tail:
        """Begins with what running tasks have printed so far, and leaves out what ended ones did."""
        tail = cls(slots, streams)
        tail._at = {source: path_of(slots, source).stat().st_size for source in tail._sources()}
        for page in pages(slots):
            for stream, begin in (("out", page.out_from), ("err", page.err_from)):
                source = Source(page.agent, page.slot, page.roll, stream)
                if source in tail._at:
                    tail._at[source] = begin
        return tail

    def read(self) -> Iterator[tuple[Source, bytes]]:
        """What is new since the last time, in pieces, file by file; returns when there is no more for now."""
        for source in self._sources():
            path = path_of(self.slots, source)
            begin = self._at.get(source, 0)
            try:
                if path.stat().st_size <= begin:
                    continue
            except OSError:
                continue
            for piece in pieces(path, begin):
                begin += len(piece)
                self._at[source] = begin
                yield source, piece

    def _sources(self) -> list[Source]:
        found = []
        try:
            agents = [entry.name for entry in os.scandir(self.slots) if entry.is_dir()]
        except OSError:
            return []
        for agent in sorted(agents):
            for entry in os.scandir(self.slots / agent):
                slot, _, rest = entry.name.partition(".")
                roll, _, stream = rest.partition(".")
                if stream in self.streams and slot.isdigit() and roll.isdigit():
                    found.append(Source(agent, int(slot), int(roll), stream))
        return sorted(found)
