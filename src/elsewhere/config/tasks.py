"""Task lists of every format, read as a stream: never more of a file in memory than a few hundred tasks.

`read` finds the format; json_lists.py, yaml_lists.py and csv_lists.py read it; rows.py checks each task.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from elsewhere.config.faults import Faults, nearest
from elsewhere.config.rows import new_task
from elsewhere.errors import InvalidTask
from elsewhere.model.task import NewTask

Numbered = Iterator[tuple[int, list[NewTask]]]
"""Batches of tasks, each with the number of the line after it."""
SUFFIXES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".csv", ".tsv")
_PACKED = (".gz", ".zst")


def read(
    source: Path | str | BinaryIO | Iterable[Mapping[str, Any]] | Callable[[], Iterable[Mapping[str, Any]]],
) -> Iterator[NewTask]:
    """The tasks of a file, of JSON lines on a binary stream, or of mappings that an iterable (or a function) gives.

    A file is read to its end whatever is wrong with it: good tasks come as they are met, and InvalidTask with all faults
    (up to 20, each with its line) at the end. A stream and an iterable stop at the first fault, before its task. Files
    may be read again; ids are not compared here (the ledger does; `lines_of` then finds their lines).
    """
    if isinstance(source, str | Path):
        yield from _read_file(Path(source))
        return
    if callable(source):
        source = source()
    if isinstance(source, io.IOBase) or hasattr(source, "readline"):
        faults = Faults("standard input", at_once=True)
        reader = _json_lines()(cast("BinaryIO", source), faults)
        yield from _flat(reader, faults)
        return
    yield from _from_mappings(cast("Iterable[Mapping[str, Any]]", source))


def _read_file(path: Path) -> Iterator[NewTask]:
    kind = kind_of(path)
    faults = Faults(str(path))
    with _open(path) as stream:
        yield from _flat(_reader(kind)(stream, faults), faults)


def kind_of(path: Path) -> str:
    """The suffix that says how a file is read. InvalidTask: none that is known."""
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        raise InvalidTask(
            f"{path}: {suffix or 'no suffix'} is not a kind of task list{nearest(suffix, SUFFIXES)}",
            hint="A task list ends in .json, .jsonl, .yaml or .csv; .gz or .zst may follow.",
        )
    return suffix


def _reader(suffix: str) -> Callable[[BinaryIO, Faults], Numbered]:
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines()
    if suffix == ".json":
        from elsewhere.config.json_lists import array

        return array
    if suffix in (".yaml", ".yml"):
        from elsewhere.config.yaml_lists import items

        return items
    from elsewhere.config.csv_lists import table

    return lambda stream, faults: table(stream, faults, "\t" if suffix == ".tsv" else ",")


def _json_lines() -> Callable[[BinaryIO, Faults], Numbered]:
    from elsewhere.config.json_lists import lines

    return lines


def _open(path: Path) -> BinaryIO:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidTask(f"{path} cannot be read: {error.strerror}", hint="Is it the right path?") from error
    if path.suffix.lower() == ".gz":
        import gzip

        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if path.suffix.lower() == ".zst":
        return _zstd(stream)
    return stream


def _zstd(stream: BinaryIO) -> BinaryIO:
    try:
        from compression.zstd import ZstdFile  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports.zstd import ZstdFile
    return cast("BinaryIO", ZstdFile(stream))


def _flat(batches: Numbered, faults: Faults) -> Iterator[NewTask]:
    """The tasks, one by one; at the end, or at once, what was wrong."""
    count = 0
    try:
        for _, tasks in batches:
            count += len(tasks)
            yield from tasks
    except (EOFError, OSError) as error:
        faults.add(None, f"cannot be read to its end: {error}")
    except Exception as error:
        if type(error).__name__ != "ZstdError" and type(error).__module__ != "zlib":
            raise
        faults.add(None, f"cannot be unpacked: {error}")
    if not count and not faults.count:
        faults.add(None, "holds no task")
    if faults.count:
        raise faults.error()


def _from_mappings(source: Iterable[Mapping[str, Any]]) -> Iterator[NewTask]:
    encode = msgspec.json.Encoder().encode
    for number, found in enumerate(source, 1):
        problems: list[str] = []
        task = new_task(found, encode, problems, generated=f"task-{number}")
        if task is None:
            faults = Faults("the task source", at_once=True)
            for problem in problems:
                faults.add(None, f"item {number}: {problem}")
            raise faults.error()
        yield task


def lines_of(path: Path | str, ids: Collection[str]) -> dict[str, list[int]]:
    """On which lines of a file these ids stand, as far as its format tells; reads the file again, up to the end."""
    import json

    path = Path(path)
    wanted: dict[str, list[int]] = {i: [] for i in ids}
    needles = {json.dumps(i, ensure_ascii=False).encode(): i for i in ids} | {i.encode(): i for i in ids}
    with _open(path) as stream:
        for number, line in enumerate(stream, 1):
            for needle, name in needles.items():
                if needle in line and (not wanted[name] or wanted[name][-1] != number) and _is_id(line, name):
                    wanted[name].append(number)
    return wanted


def _is_id(line: bytes, name: str) -> bool:
    """Whether `name` stands there as a whole word, and not as the beginning of another id."""
    import re

    return re.search(rb"(?<![\w-])" + re.escape(name.encode()) + rb"(?![\w-])", line) is not None
