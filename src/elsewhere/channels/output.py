"""What slots print, on its way home from machines that do not share our files: segments of their files, as objects.

An agent writes each segment once; the name says which part of which file it is, so that no list of them is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from elsewhere.slot import masking
from elsewhere.stores import Store

OUTPUT, PAGES, BOOTS = "output/", "pages/", "boots/"
MOST = 8 << 20
"""Bytes of a segment."""
_KEY = re.compile(r"output/([\w.=-]+)/(\d+\.\d+\.(?:out|err))/(\d{15})-(\d{15})")

_PAGE = re.compile(r"pages/([\w.=-]+)/(\d+\.page)")


class Segment(NamedTuple):
    """Bytes `begin` to `end` of the file of a slot."""

    agent: str
    file: str
    begin: int
    end: int

    @property
    def key(self) -> str:
        return f"{OUTPUT}{self.agent}/{self.file}/{self.begin:015d}-{self.end:015d}"


def parse(key: str) -> Segment | None:
    """What the name of an object says; None for one that is no segment."""
    found = _KEY.fullmatch(key)
    if found is None or found[1].startswith("."):
        return None
    return Segment(found[1], found[2], int(found[3]), int(found[4]))


def page_of(key: str) -> tuple[str, str] | None:
    """(agent, file) of a page; None for what is none."""
    found = _PAGE.fullmatch(key)
    return None if found is None or found[1].startswith(".") else (found[1], found[2])


def boot_of(key: str) -> str:
    """Whose boot an object tells of; empty for what is none."""
    found = re.fullmatch(r"boots/([\w=-][\w.=-]*)", key)
    return "" if found is None else found[1]


class Upload:
    """The agent's end: puts what its slots have printed since the last time into the store."""

    def __init__(
        self, store: Store, agent: str, directory: Path, boot: Path | None = None, hidden: Sequence[bytes] = ()
    ) -> None:
        """`directory`: that of the agent's slots. `boot`: the file of what the boot has said. `hidden`: secrets, which
        are struck out of what goes up."""
        self.store, self.agent, self.directory, self.boot, self.hidden = store, agent, directory, boot, hidden
        self._boot = 0
        self._sent: dict[str, int] = {}
        self._pages: dict[str, bytes] = {}

    def send_pages(self) -> None:
        """What each slot is running just now, for somebody who reads along."""
        for path in sorted(self.directory.glob("*.page")):
            data = path.read_bytes()
            if self._pages.get(path.name) != data:
                self.store.put(f"{PAGES}{self.agent}/{path.name}", data)
                self._pages[path.name] = data

    def send_boot(self, last: bytes = b"") -> None:
        """What the boot has said, if it has said more; `last` comes after it."""
        if self.boot is not None and self.boot.is_file() and ((size := self.boot.stat().st_size) != self._boot or last):
            with self.boot.open("rb") as file:
                file.seek(max(0, size - MOST))
                self.store.put(f"{BOOTS}{self.agent}", masking.masked(file.read(MOST) + last, self.hidden))
            self._boot = size

    def send(self, last: bool = False) -> int:
        """How many bytes went up. Unreachable: the rest goes the next time; so does what may be the beginning of a
        secret, unless nothing comes after it."""
        self.send_boot()
        went = 0
        for path in sorted(self.directory.glob("*.*.*")):
            if path.suffix not in (".out", ".err"):
                continue
            size, begin = path.stat().st_size, self._sent.get(path.name, 0)
            with path.open("rb") as file:
                file.seek(begin)
                while begin < size:
                    data = file.read(min(MOST, size - begin))
                    if not last:
                        data = data[: len(data) - masking.begun(data, self.hidden)]
                    if not data:
                        break
                    segment = Segment(self.agent, path.name, begin, begin + len(data))
                    self.store.put(segment.key, masking.masked(data, self.hidden))
                    begin = self._sent[path.name] = segment.end
                    went += len(data)
        return went
