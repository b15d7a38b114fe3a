"""SHIP files and directories for machines that keep what they got: by digest, so that only what changed is sent.

What was read is kept here, too: what is sent is that, however late. Digests are SHA-256.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from elsewhere.config.home import home
from elsewhere.errors import Refused
from elsewhere.hosts import private_directory
from elsewhere.ship import bundle

_BASES = 4
"""So many earlier states of a directory are remembered: a machine may not have got the last."""
_DAY = 86400.0
_PIECE = 1 << 20
SUMS, GONE, FRESH = ".sums", "gone", "new"
"""What a change is made of: the digests of all files as `sha256sum -c` reads them, the names that are not as they were,
each ended by a null byte, and the folder with what takes their place."""


class Part(NamedTuple):
    """A file of a tree. What was in it is kept in a heap with others that were read with it."""

    digest: str
    runs: bool
    """May it be run?"""
    heap: str
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Tree:
    """What is below one directory, by name."""

    digest: str
    files: Mapping[str, Part]
    before: tuple[str, ...] = field(default=(), repr=False)
    """Digests of what was there earlier, the newest first."""

    @property
    def key(self) -> str:
        """Of a file that a machine has which has all of it."""
        return f"unpacked/{self.digest}/.whole"

    @property
    def bases(self) -> tuple[str, ...]:
        """Those of which this can be made."""
        return tuple(base for base in self.before if _may_become(_listed(base), self.files))

    def write(self, base: str, to: IO[bytes]) -> None:
        """What makes a copy of that base, or of nothing (""), one of this: an archive, packed. Twice: the same.

        Refused: what was kept of it here is gone.
        """
        before = _listed(base) if base else {}
        gone = [name for name, part in before.items() if name not in self.files or self.files[name][:2] != part[:2]]
        fresh = [name for name, part in self.files.items() if name not in before or before[name][:2] != part[:2]]
        with gzip.GzipFile("", "wb", 1, to, mtime=0) as packed, _Heaps() as heaps:
            sums = b"".join(_sum(name, part.digest) for name, part in self.files.items())
            for name, data in ((SUMS, sums), (GONE, b"".join(b"./" + os.fsencode(name) + b"\0" for name in gone))):
                packed.write(bundle.head(name, len(data), 0o400) + data + bytes(-len(data) % bundle.BLOCK))
            for name in fresh:
                part = self.files[name]
                packed.write(bundle.head(f"{FRESH}/{name}", part.size, 0o555 if part.runs else 0o444))
                heaps.copy(part, packed)
                packed.write(bytes(-part.size % bundle.BLOCK))
            packed.write(bytes(2 * bundle.BLOCK))


def tree(path: Path) -> Tree:
    """Of a file, or of a directory with all that is in it, under its own name, as it is now.

    What has not changed, by size and times, is not read again. UsageError: a file changes while it is read.
    """
    sheet = home() / "cache" / "seen" / hashlib.sha256(os.fsencode(path)).hexdigest()
    seen: dict[str, Any] = _json(sheet) or {"facts": {}, "states": []}
    found = bundle.tree(path, f"{path.name}/") if path.is_dir() else {path.name: path}
    files, facts, known = dict[str, Part](), dict[str, list[Any]](), seen["facts"]
    with _Heap() as heap:
        for name, file in found.items():
            about, last = file.stat(), known.get(name)
            if last is not None and last[0] == _fact(about) and heap.is_kept(last[1][2]):
                files[name] = Part(*last[1])
            else:
                about, files[name] = heap.take(file)
            if _is_settled(about):
                facts[name] = [_fact(about), files[name]]
    text = json.dumps([[name, part.digest, part.runs] for name, part in files.items()])
    digest = hashlib.sha256(text.encode()).hexdigest()
    before = tuple(state for state in seen["states"] if state != digest)[:_BASES]
    made = Tree(digest, files, before)
    listed = home() / "cache" / "trees" / digest
    same = facts.keys() == known.keys() and not heap.used and seen["states"] == [digest, *before]
    if not (same and _is_kept(listed) and _is_kept(sheet)):
        _put(listed, json.dumps(files).encode())
        _put(sheet, json.dumps({"facts": facts, "states": [digest, *before]}).encode())
    return made


def _may_become(base: Mapping[str, Part], files: Mapping[str, Part]) -> bool:
    """Half of it at least stays as it is; and no directory of it would be left empty, nor be in the way of a file."""
    stays = sum(name in files and files[name][:2] == part[:2] for name, part in base.items())
    return bool(base) and 2 * stays >= len(base) and _folders(base) <= _folders(files)


def _folders(files: Mapping[str, Part]) -> set[str]:
    return {name.rpartition("/")[0] for name in files}


def _fact(about: os.stat_result) -> list[int]:
    return [about.st_size, about.st_mode, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _is_settled(about: os.stat_result) -> bool:
    """Or it may be written once more, and bear the same times."""
    coarse = about.st_ctime_ns % 1_000_000_000 == 0
    return time.time_ns() - about.st_ctime_ns >= (bundle.COARSE if coarse else bundle.FINE) * 1e9


class _Heap:
    """What is read now, one behind the other in one file: to make a file for each would take longer than to read it."""

    def __init__(self) -> None:
        self.folder = home() / "cache" / "heaps"
        self.name, self.size = os.urandom(12).hex(), 0
        self._file: IO[bytes] | None = None
        self._kept: dict[str, bool] = {}

    def __enter__(self) -> _Heap:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            if kind is not None:
                (self.folder / self.name).unlink()

    @property
    def used(self) -> bool:
        """Was anything read?"""
        return self._file is not None

    def is_kept(self, name: str) -> bool:
        """Is that of an earlier time still there? Its age is counted from its last use."""
        if name not in self._kept:
            self._kept[name] = _is_kept(self.folder / name)
        return self._kept[name]

    def take(self, path: Path) -> tuple[os.stat_result, Part]:
        """What is in a file, and what it was at that time."""
        if self._file is None:
            private_directory(self.folder)
            self._file = (self.folder / self.name).open("xb")
            (self.folder / self.name).chmod(0o600)
        digest, at = hashlib.sha256(), self.size
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while piece := file.read(_PIECE):
                digest.update(piece)
                self.size += self._file.write(piece)
            after = os.fstat(file.fileno())
        if _fact(before)[:3] != _fact(after)[:3] or after.st_size != self.size - at:
            raise bundle.changed(path)
        return after, Part(digest.hexdigest(), bool(after.st_mode & 0o111), self.name, at, self.size - at)


class _Heaps:
    """Those that are read from, open."""

    def __init__(self) -> None:
        self._open: dict[str, IO[bytes]] = {}

    def __enter__(self) -> _Heaps:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def copy(self, part: Part, to: gzip.GzipFile) -> None:
        """Refused: it is not there any more."""
        try:
            if part.heap not in self._open:
                self._open[part.heap] = (home() / "cache" / "heaps" / part.heap).open("rb")
        except FileNotFoundError:
            raise Refused("what was kept here of the job's inputs is gone",
                          hint="stop the job and resume it: they are read again") from None  # fmt: skip
        file, left = self._open[part.heap], part.size
        file.seek(part.at)
        while left and (piece := file.read(min(left, _PIECE))):
            to.write(piece)
            left -= len(piece)


def _is_kept(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime > _DAY:
            os.utime(path)
    except OSError:
        return False
    return True


def _sum(name: str, digest: str) -> bytes:
    """A line for `sha256sum -c`, which has a way to write names that are not plain."""
    raw = b"./" + os.fsencode(name)
    plain = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    return (b"\\" if plain != raw else b"") + f"{digest}  ".encode() + plain + b"\n"


def _listed(digest: str) -> dict[str, Part]:
    """The files of a tree that was here before; none, if nobody knows any more."""
    return {name: Part(*part) for name, part in (_json(home() / "cache" / "trees" / digest) or {}).items()}


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _put(path: Path, data: bytes) -> None:
    """At once; not for a power cut, after which it is made again. Already there: it is as if it were new."""
    private_directory(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    part.write_bytes(data)
    part.replace(path)
