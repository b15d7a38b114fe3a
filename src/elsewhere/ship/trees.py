"""SHIP files and directories for machines that keep what they got: by digest, so that only what changed is sent.

Each content is kept here once, under its digest: what is sent is what was read, however late. Digests are SHA-256.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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

Files = Mapping[str, tuple[str, bool]]
"""Name -> the digest of what is in it, and whether it may be run."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is below one directory. `bases`: digests of what was there before, the newest first."""

    digest: str
    files: Files
    bases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of a file that a machine has which has all of it."""
        return f"unpacked/{self.digest}/.whole"

    def write(self, base: str, to: IO[bytes]) -> None:
        """What makes a copy of that base, or of nothing (""), one of this: an archive, packed. Twice: the same.

        Refused: what was kept of it here is gone.
        """
        before = _listed(base) if base else {}
        gone = [name for name, found in before.items() if self.files.get(name) != found]
        with (
            gzip.GzipFile("", "wb", 1, to, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
        ):
            _add(tar, SUMS, b"".join(_sum(name, digest) for name, (digest, _) in self.files.items()))
            _add(tar, GONE, b"".join(b"./" + os.fsencode(name) + b"\0" for name in gone))
            for name, (digest, runs) in self.files.items():
                if before.get(name) != (digest, runs):
                    _add(tar, f"{FRESH}/{name}", _content(digest), 0o555 if runs else 0o444)


def tree(path: Path) -> Tree:
    """Of a file, or of a directory with all that is in it, under its own name, as it is now.

    What has not changed, by size and times, is not read again. UsageError: a file changes while it is read.
    """
    sheet = home() / "cache" / "seen" / hashlib.sha256(os.fsencode(path)).hexdigest()
    seen: dict[str, Any] = _json(sheet) or {"facts": {}, "states": []}
    found = bundle.tree(path, f"{path.name}/") if path.is_dir() else {path.name: path}
    files, facts, known = dict[str, tuple[str, bool]](), dict[str, list[Any]](), seen["facts"]
    for name, file in found.items():
        about, last = file.stat(), known.get(name)
        if last is not None and last[:-1] == _fact(about) and _is_kept(last[-1]):
            digest = last[-1]
        else:
            about, digest = _keep(file)
        files[name] = digest, bool(about.st_mode & 0o111)
        if _is_settled(about):
            facts[name] = [*_fact(about), digest]
    text = json.dumps(files)
    digest = hashlib.sha256(text.encode()).hexdigest()
    bases = [state for state in seen["states"] if state != digest]
    _put(home() / "cache" / "trees" / digest, text.encode())
    if facts != known or seen["states"][:1] != [digest]:
        _put(sheet, json.dumps({"facts": facts, "states": [digest, *bases][: _BASES + 1]}).encode())
    return Tree(digest, files, tuple(base for base in bases[:_BASES] if _may_become(_listed(base), files)))


def _may_become(base: Files, files: Files) -> bool:
    """By names alone: no directory of it would be left empty, nor be in the way of a file."""
    return bool(base) and _folders(base) <= _folders(files)


def _folders(files: Files) -> set[str]:
    return {name.rpartition("/")[0] for name in files}


def _fact(about: os.stat_result) -> list[int]:
    return [about.st_size, about.st_mode, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _is_settled(about: os.stat_result) -> bool:
    """Or it may be written once more, and bear the same times."""
    coarse = about.st_ctime_ns % 1_000_000_000 == 0
    return time.time_ns() - about.st_ctime_ns >= (bundle.COARSE if coarse else bundle.FINE) * 1e9


def _keep(path: Path) -> tuple[os.stat_result, str]:
    """What is in it, kept; and what it was at that time."""
    folder, digest = home() / "cache" / "files", hashlib.sha256()
    private_directory(folder)
    part = folder / f".{os.getpid()}.{os.urandom(4).hex()}"
    try:
        with path.open("rb") as file, part.open("xb") as copy:
            before = os.fstat(file.fileno())
            while piece := file.read(_PIECE):
                digest.update(piece)
                copy.write(piece)
            after = os.fstat(file.fileno())
        if _fact(before)[:3] != _fact(after)[:3] or after.st_size != part.stat().st_size:
            raise bundle.changed(path)
        part.chmod(0o400)
        part.replace(folder / digest.hexdigest())
    finally:
        part.unlink(missing_ok=True)
    return after, digest.hexdigest()


def _is_kept(digest: str) -> bool:
    """Its age is counted from its last use."""
    path = home() / "cache" / "files" / digest
    try:
        if time.time() - path.stat().st_mtime > _DAY:
            os.utime(path)
    except OSError:
        return False
    return True


def _content(digest: str) -> Path:
    path = home() / "cache" / "files" / digest
    if not path.exists():
        raise Refused(
            "what was kept here of the job's inputs is gone", hint="stop the job and resume it: they are read again"
        )
    return path


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path, mode: int = 0o400) -> None:
    about = tarfile.TarInfo(name)
    about.mode = mode
    if isinstance(content, bytes):
        about.size = len(content)
        tar.addfile(about, io.BytesIO(content))
        return
    with content.open("rb") as file:
        about.size = os.fstat(file.fileno()).st_size
        tar.addfile(about, file)


def _sum(name: str, digest: str) -> bytes:
    """A line for `sha256sum -c`, which has a way to write names that are not plain."""
    raw = b"./" + os.fsencode(name)
    plain = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    return (b"\\" if plain != raw else b"") + f"{digest}  ".encode() + plain + b"\n"


def _listed(digest: str) -> Files:
    """The files of a tree that was here before; none, if nobody knows any more."""
    found = _json(home() / "cache" / "trees" / digest) or {}
    return {name: (content, runs) for name, (content, runs) in found.items()}


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
