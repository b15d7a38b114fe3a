"""Task lists as tables: a column `task_id`, and one for each key of `data`.

A cell that is a JSON number, true, false or null becomes that (also as spreadsheets and Python write it: TRUE, True);
an empty one leaves its key out; everything else is text, so that 007, +1 and 2024-01-01 stay what they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from elsewhere.config.batch import Batch
from elsewhere.config.faults import Faults
from elsewhere.config.rows import new_task
from elsewhere.model.task import NewTask

BATCH = 256
LONGEST_CELL = 1 << 28
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False, "null": None}
_encode = msgspec.json.Encoder().encode


def table(delimiter: str) -> Callable[[BinaryIO, Faults], Iterator[Batch]]:
    """The reader of the rows below the heading; an empty line counts for nothing."""
    return lambda stream, faults: _rows(stream, faults, delimiter)


def _rows(stream: BinaryIO, faults: Faults, delimiter: str) -> Iterator[Batch]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    rows = csv.reader(_text(stream, faults), delimiter=delimiter, strict=True)
    heading: list[str] = []
    tasks: list[NewTask] = []
    numbers: list[int] = []
    for line, row in _numbered(rows, faults):
        if not heading:
            heading = [name.strip() for name in row]
            if not _is_good(heading, line, faults):
                return
            continue
        task = _task(heading, row, faults, line)
        if task is not None:
            tasks.append(task)
            numbers.append(line)
        if len(tasks) >= BATCH:
            yield Batch(tasks, numbers.copy)
            tasks, numbers = [], []
    yield Batch(tasks, numbers.copy)


def _text(stream: BinaryIO, faults: Faults) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            faults.add(number, "is not UTF-8; save the file as UTF-8")
            yield line.decode(errors="replace")


def _numbered(rows: Any, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of each row that is not empty."""
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            what = "a quote is not closed" if "unexpected end" in str(error) else str(error)
            faults.add(line, f'broken CSV: {what}; quote cells with " and write "" for a quote in them')
            continue
        if row:
            yield line, row


def _is_good(heading: list[str], line: int, faults: Faults) -> bool:
    before = faults.count
    if "task_id" not in heading:
        other = next((mark for mark in ";\t,|" if len(heading) == 1 and mark in heading[0]), "")
        hint = f"; cells seem to be separated by {other!r}" if other else "; name the column of ids so"
        faults.add(line, f"the column task_id is missing{hint}")
    for name in sorted({name for name in heading if heading.count(name) > 1 and name}):
        faults.add(line, f"the column {name!r} is there twice")
    if "" in heading:
        faults.add(line, f"column {heading.index('') + 1} has no name")
    return faults.count == before


def _task(heading: list[str], row: list[str], faults: Faults, line: int) -> NewTask | None:
    if len(row) != len(heading):
        faults.add(line, f"this row has {len(row)} cells, the heading has {len(heading)}")
        return None
    data = {key: _value(cell) for key, cell in zip(heading, row, strict=True) if cell != "" and key != "task_id"}
    problems: list[str] = []
    task = new_task({"task_id": row[heading.index("task_id")], "data": data}, _encode, problems)
    for problem in problems:
        faults.add(line, problem)
    return task


def _value(cell: str) -> object:
    if cell in _WORDS:
        return _WORDS[cell]
    # As it stands: 0.10 is not rounded, and no number is too large.
    return msgspec.Raw(cell.encode()) if _NUMBER.fullmatch(cell) else cell
