"""Files of tasks, opened: which format their name says, and gzip or zstd taken off.

What is wrong with a file as a file is said here; what is wrong inside, by the readers.
"""

from __future__ import annotations

import difflib
import gzip
from pathlib import Path
from typing import BinaryIO, cast

from elsewhere.config.faults import nearest
from elsewhere.errors import InvalidTask

SUFFIXES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".csv", ".tsv")
PACKED = (".gz", ".zst")


def kind_of(path: Path) -> str:
    """The suffix that says how a file is read. InvalidTask: none that is known."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        raise InvalidTask(
            f"{path}: {suffix or 'no suffix'} is not a kind of task list{nearest(suffix, SUFFIXES)}",
            hint="A task list ends in .json, .jsonl, .ndjson, .yaml, .yml, .csv or .tsv; .gz or .zst may follow.",
        )
    return suffix


def opened(path: Path) -> BinaryIO:
    """The file's bytes, unpacked as they are read. InvalidTask: there is no such file, or it may not be read."""
    try:
        if path.suffix.lower() == ".gz":
            return cast("BinaryIO", gzip.open(path))
        if path.suffix.lower() == ".zst":
            return _zstd(path)
        return path.open("rb")
    except OSError as error:
        raise InvalidTask(f"{path}: {_said(error)}", hint=_near(path)) from error


def _zstd(path: Path) -> BinaryIO:
    try:
        from compression.zstd import ZstdFile  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports.zstd import ZstdFile
    return cast("BinaryIO", ZstdFile(path))


def first_bytes(stream: BinaryIO) -> bytes:
    """How a stream begins, as far as that can be seen without taking it away."""
    if hasattr(stream, "peek"):
        return bytes(stream.peek(4)[:4])
    if not stream.seekable():
        return b""
    start = stream.read(4)
    stream.seek(-len(start), 1)
    return start


def damage() -> tuple[type[Exception], ...]:
    """The exceptions that reading a packed file that is cut off or damaged may raise."""
    import zlib

    try:
        from compression.zstd import ZstdError  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports.zstd import ZstdError
    return EOFError, OSError, zlib.error, ZstdError


def _said(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "is a directory, not a task list"
    if isinstance(error, PermissionError):
        return "may not be read by you"
    return f"cannot be read: {error.strerror or error}"


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"There is no directory {path.parent} either." if not path.parent.exists() else ""
    match = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"Did you mean {path.parent / match[0]}?" if match and match[0] != path.name else ""
