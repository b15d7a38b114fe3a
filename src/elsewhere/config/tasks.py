"""Task lists of every format, read as a stream: never more of a file in memory than some hundred tasks.

sources.py opens a file, json_lists.py, yaml_lists.py and csv_lists.py read it, rows.py checks each task.
"""

from __future__ import annotations

import io
import json
import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from elsewhere.config.batch import Batch
from elsewhere.config.faults import NOTHING, Faults, wide_encoding, wrong_encoding
from elsewhere.config.rows import new_task
from elsewhere.config.sources import damage, first_bytes, kind_of, opened
from elsewhere.errors import InvalidTask
from elsewhere.model.task import NewTask

STREAM = "standard input"
Rows = Iterable[Mapping[str, Any]]
Reader = Callable[[BinaryIO, Faults], Iterator[Batch]]
Judge = Callable[[Sequence[NewTask]], Iterable[tuple[int, str]]]
"""Gives (which, what is wrong with it) of some tasks that are well written."""


class Lines:
    """On which lines the tasks of a stream stood, which cannot be read again: only where empty lines came is kept."""

    def __init__(self) -> None:
        self._starts, self._shifts, self._count = [1], [0], 0

    def note(self, lines: Sequence[int]) -> None:
        """The lines of the next tasks, in their order."""
        for line in lines[:1] if isinstance(lines, range) else lines:
            self._count += 1
            if line - self._count != self._shifts[-1]:
                self._starts.append(self._count)
                self._shifts.append(line - self._count)
        self._count += max(0, len(lines) - 1) if isinstance(lines, range) else 0

    def of(self, number: int) -> int:
        """The line of a task by its place, from 1."""
        return number + self._shifts[bisect_right(self._starts, number) - 1]


def read(
    source: Path | str | BinaryIO | Rows | Callable[[], Rows], judge: Judge | None = None, lines: Lines | None = None
) -> Iterator[NewTask]:
    """The tasks of a file, of JSON lines on a binary stream (`-`: standard input), or of mappings from an iterable.

    A file is read to its end whatever is wrong with it: good tasks come as they are met, and InvalidTask with all
    faults (up to 20, each with its line) at the end, so add them to what can be rolled back. A stream and an iterable
    stop at the first fault, before its task. Ids are not compared here, but in the ledger; `duplicated` finds lines.
    What `judge` (fit.py) has against a task is a fault like any other. `lines` is told where tasks of a stream stand.
    """
    if source == "-":
        source = cast("BinaryIO", sys.stdin.buffer)
    if isinstance(source, str | Path):
        return chain.from_iterable(_of_file(Path(source), judge))
    if isinstance(source, io.IOBase) or hasattr(source, "readline"):
        faults = Faults(STREAM, at_once=True)
        return chain.from_iterable(_lists(_reader(".jsonl"), cast("BinaryIO", source), faults, judge, lines))
    rows: Any = source() if callable(source) else source
    return _of_rows(rows, judge)


def _of_file(path: Path, judge: Judge | None) -> Iterator[list[NewTask]]:
    reader = _reader(kind_of(path))
    with opened(path) as stream:
        yield from _lists(reader, stream, Faults(str(path)), judge)


def _reader(suffix: str) -> Reader:
    if suffix in (".yaml", ".yml"):
        from elsewhere.config import yaml_lists

        return yaml_lists.items
    if suffix in (".csv", ".tsv"):
        from elsewhere.config import csv_lists

        return csv_lists.table("," if suffix == ".csv" else "\t")
    from elsewhere.config import json_lists

    return json_lists.array if suffix == ".json" else json_lists.lines


def _lists(
    reader: Reader, stream: BinaryIO, faults: Faults, judge: Judge | None, lines: Lines | None = None
) -> Iterator[list[NewTask]]:
    """The tasks in lists; at the end, or at once, everything that was wrong."""
    some = False
    try:
        if wide := wide_encoding(first_bytes(stream)):
            faults.add(1, wrong_encoding(wide, faults.name))
            raise faults.error()
        for batch in reader(stream, faults):
            some = some or bool(batch.tasks)
            if lines is not None:
                lines.note(batch.lines())
            for at, problem in judge(batch.tasks) if judge is not None else ():
                faults.add(batch.lines()[at], problem)
            yield batch.tasks
            if faults.stop:
                raise faults.error()
    except damage() as error:
        faults.add(None, f"cannot be read to its end, it is damaged or cut off: {error}")
    if not some and not faults.count:
        faults.add(None, "holds no task; it is empty")
    if faults.count:
        raise faults.error()


def _of_rows(rows: Rows, judge: Judge | None) -> Iterator[NewTask]:
    for number, found in enumerate(rows, 1):
        problems: list[str] = []
        task = new_task(found, to_json, problems, str(number))
        if task is not None and judge is not None:
            problems += [problem for _, problem in judge([task])]
        if task is None or problems:
            faults = Faults("the task source", at_once=True)
            for problem in problems:
                faults.add(number, problem)
            raise faults.error()
        yield task


_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def to_json(value: Any) -> bytes:
    """UTF-8 JSON of a Python value; tuples become lists. ValueError or TypeError says which part JSON cannot hold."""
    try:
        return _encoder.encode(value).encode("ascii")
    except (TypeError, ValueError) as error:
        where, part = _culprit(value, "data", 0)
        raise ValueError(
            f"{where} is a {type(part).__name__}, {part!r:.60}, which JSON cannot hold" if where else str(error)
        ) from error


def _culprit(value: Any, where: str, depth: int) -> tuple[str, Any]:
    """The path and value of the first part that JSON cannot hold; ("", None) when none is found."""
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict) and depth < 50:
        parts = ((f"{where}.{key}", part) for key, part in value.items())
    elif isinstance(value, list | tuple) and depth < 50:
        parts = ((f"{where}[{at}]", part) for at, part in enumerate(value))
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        return where, value
    for inner, part in parts:
        found = _culprit(part, inner, depth + 1)
        if found[0]:
            return found
    return "", None


def lines_of(path: Path | str, ids: Collection[str]) -> dict[str, list[int]]:
    """On which lines the tasks with these ids begin; reads the file again. Faulty tasks are passed over."""
    path, wanted = Path(path), set(ids)
    found: dict[str, list[int]] = {name: [] for name in ids}
    with opened(path) as stream:
        for batch in _reader(kind_of(path))(stream, Faults(str(path))):
            if wanted.isdisjoint([task.id for task in batch.tasks]):
                continue
            for task, line in zip(batch.tasks, batch.lines(), strict=True):
                if task.id in wanted:
                    found[task.id].append(line)
    return found


def located(error: InvalidTask, source: object, lines: Lines | None = None) -> InvalidTask:
    """The same error with the lines of the ids that are used twice: of a file, or of a stream that `lines` was told of.

    A file is read again for them.
    """
    if not error.twice:
        return error
    name = source
    if isinstance(source, str | Path) and str(source) != "-":
        more = duplicated(source, error.twice)
    elif lines is not None and error.numbers:
        name, places = STREAM, [list(map(lines.of, numbers)) for numbers in error.numbers]
        more = _twice(STREAM, dict(zip(error.twice, places, strict=True)))
    else:
        return error
    if error.faults == error.twice:
        return more
    faults = (*error.faults, *more.faults)
    return InvalidTask(f"{name}: {len(faults)} faults", hint=NOTHING, faults=faults)


def duplicated(path: Path | str, ids: Collection[str]) -> InvalidTask:
    """The error for ids that a file gives to more than one task: all lines of each are named."""
    return _twice(str(path), lines_of(path, ids))


def _twice(source: str, found: Mapping[str, list[int]]) -> InvalidTask:
    faults = Faults(source)
    for name, lines in sorted(found.items(), key=lambda item: item[1][1:2]):
        first, *others = lines or [0]
        for line in others:
            faults.add(line, f"task_id {name!r} is used twice; first on line {first}")
    return faults.error()
