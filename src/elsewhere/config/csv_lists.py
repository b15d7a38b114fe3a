"""Task lists as tables: a column `task_id`, and one for each key of `data`.

A cell that is a JSON number, true or false becomes that; an empty one leaves its key out; everything else is text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from elsewhere.config.faults import Faults, nearest
from elsewhere.config.rows import new_task
from elsewhere.model.task import NewTask

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORDS = {"true": True, "false": False}
BATCH = 256


def table(stream: BinaryIO, faults: Faults, delimiter: str) -> Iterator[tuple[int, list[NewTask]]]:
    """The rows below the heading; an empty line counts for nothing."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    line = 1
    try:
        heading = next(rows, None)
        if heading is None or not _good_heading(heading, faults):
            return
        batch: list[NewTask] = []
        for row in rows:
            line, begin = rows.line_num, line + 1
            task = _task(heading, row, faults, begin) if row else None
            if task is not None:
                batch.append(task)
            if len(batch) >= BATCH:
                yield line + 1, batch
                batch = []
        yield line + 1, batch
    except UnicodeDecodeError:
        faults.add(rows.line_num + 1, "is not UTF-8; save the file as UTF-8")
    except csv.Error as error:
        faults.add(rows.line_num, f"broken CSV: {error}")
    finally:
        text.detach()


def _good_heading(heading: list[str], faults: Faults) -> bool:
    before = faults.count
    if "task_id" not in heading:
        faults.add(1, f"the column task_id is missing{nearest('task_id', heading)}")
    for name in sorted({name for name in heading if heading.count(name) > 1}):
        faults.add(1, f"the column {name!r} is there twice")
    if "" in heading:
        faults.add(1, f"column {heading.index('') + 1} has no name")
    return faults.count == before


def _task(heading: list[str], row: list[str], faults: Faults, line: int) -> NewTask | None:
    if len(row) != len(heading):
        faults.add(line, f"the row has {len(row)} cells, the heading {len(heading)}")
        return None
    cells: dict[str, Any] = dict(zip(heading, row, strict=True))
    name = cells.pop("task_id")
    data = {key: _value(cell) for key, cell in cells.items() if cell != ""}
    problems: list[str] = []
    task = new_task({"task_id": name, "data": data}, msgspec.json.encode, problems)
    for problem in problems:
        faults.add(line, problem)
    return task


def _value(cell: str) -> object:
    if cell in _WORDS:
        return _WORDS[cell]
    if _NUMBER.fullmatch(cell):
        return float(cell) if any(c in cell for c in ".eE") else int(cell)
    return cell
