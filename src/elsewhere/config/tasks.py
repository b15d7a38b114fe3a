"""Task lists of every format, read as a stream: never more of a file in memory than some hundred tasks.

sources.py opens a file, json_lists.py, yaml_lists.py and csv_lists.py read it, rows.py checks each task.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from elsewhere.config.batch import Batch
from elsewhere.config.faults import NOTHING, Faults
from elsewhere.config.rows import new_task
from elsewhere.config.sources import damage, kind_of, opened
from elsewhere.errors import InvalidTask
from elsewhere.model.task import NewTask

Rows = Iterable[Mapping[str, Any]]
Reader = Callable[[BinaryIO, Faults], Iterator[Batch]]
Judge = Callable[[Sequence[NewTask]], Iterable[tuple[int, str]]]
"""Gives (which, what is wrong with it) of some tasks that are well written."""


def read(source: Path | str | BinaryIO | Rows | Callable[[], Rows], judge: Judge | None = None) -> Iterator[NewTask]:
    """The tasks of a file, of JSON lines on a binary stream (`-`: standard input), or of mappings from an iterable.

    A file is read to its end whatever is wrong with it: good tasks come as they are met, and InvalidTask with all
    faults (up to 20, each with its line) at the end, so add them to what can be rolled back. A stream and an iterable
    stop at the first fault, before its task. Ids are not compared here, but in the ledger; `duplicated` finds lines.
    What `judge` (fit.py) has against a task is a fault like any other.
    """
    if source == "-":
        source = cast("BinaryIO", sys.stdin.buffer)
    if isinstance(source, str | Path):
        return chain.from_iterable(_of_file(Path(source), judge))
    if isinstance(source, io.IOBase) or hasattr(source, "readline"):
        faults = Faults("standard input", at_once=True)
        return chain.from_iterable(_lists(_reader(".jsonl"), cast("BinaryIO", source), faults, judge))
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


def _lists(reader: Reader, stream: BinaryIO, faults: Faults, judge: Judge | None) -> Iterator[list[NewTask]]:
    """The tasks in lists; at the end, or at once, everything that was wrong."""
    some = False
    try:
        for batch in reader(stream, faults):
            some = some or bool(batch.tasks)
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


def located(error: InvalidTask, source: object) -> InvalidTask:
    """The same error with the lines of the ids that are used twice, if they stand in a file that can be read again."""
    if error.twice and error.twice == error.faults and (str(source) == "-" or hasattr(source, "readline")):
        # It cannot be read again for the lines.
        first, *others = (f"task_id {name!r} is used twice" for name in error.twice)
        return InvalidTask(f"standard input: {first}", hint=NOTHING, faults=tuple(others))
    if not error.twice or not isinstance(source, str | Path) or str(source) == "-":
        return error
    more = duplicated(source, error.twice)
    if error.faults == error.twice:
        return more
    faults = (*error.faults, *more.faults)
    return InvalidTask(f"{source}: {len(faults)} faults", hint=NOTHING, faults=faults)


def duplicated(path: Path | str, ids: Collection[str]) -> InvalidTask:
    """The error for ids that a file gives to more than one task: all lines of each are named."""
    faults = Faults(str(path))
    for name, lines in sorted(lines_of(path, ids).items(), key=lambda item: item[1][1:2]):
        first, *others = lines or [0]
        for line in others:
            faults.add(line, f"task_id {name!r} is used twice; first on line {first}")
    return faults.error()
