"""The results of a job as records, and as streams of JSON lines, JSON or CSV. One page of tasks in memory at a time.

Pickled results are named, never opened: a pickle is opened only in the user's own Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from elsewhere.model.reports import Form
from elsewhere.model.states import Outcome, TaskState
from elsewhere.observe.wording import failure, reason

FORMATS = ("jsonl", "json", "csv")
_FIRST = ("task_id", "state", "attempt", "started", "seconds", "error")
_COLUMNS = 1000


class TaskLike(Protocol):
    @property
    def seq(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> TaskState: ...
    @property
    def attempt(self) -> int: ...
    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def started(self) -> float: ...
    @property
    def took(self) -> float: ...
    @property
    def form(self) -> Form: ...
    @property
    def value(self) -> bytes: ...


class Outcomes(Protocol):
    def outcomes(self, after: int = 0, limit: int = 1000, failed: bool = False) -> list[Any]: ...


def ended(ledger: Outcomes, failed: bool = False) -> Iterator[TaskLike]:
    """Every task that has ended (or only those that failed), page by page."""
    after = 0
    while rows := ledger.outcomes(after, 1000, failed):
        yield from rows
        after = rows[-1].seq


def stored(store: Path, key: bytes) -> Path:
    """Where a large value lies."""
    name = key.decode()
    return store / name[:2] / name


def head(task: TaskLike) -> dict[str, Any]:
    """What is said of every task: id, state, attempt, start and seconds."""
    row: dict[str, Any] = {"task_id": task.id, "state": task.state.name.lower(), "attempt": task.attempt}
    if task.started and task.state is not TaskState.CANCELLED:
        row["started"] = datetime.fromtimestamp(task.started, UTC).isoformat(timespec="milliseconds")
        row["seconds"] = round(task.took, 6)
    return row


def trouble(task: TaskLike) -> dict[str, Any]:
    """Why a task did not succeed: `outcome`, `reason` in one line, and what is known beyond it."""
    story = failure(task.form, task.value)
    names = ("type", "message", "exit_code", "signal", "traceback", "stderr")
    known: dict[str, Any] = {key: story[key] for key in names if key in story}
    outcome = "" if task.outcome is None else task.outcome.name.lower()
    return {"outcome": outcome, "reason": reason(story) or outcome.replace("_", " "), **known}


def raw_json(task: TaskLike, store: Path) -> Iterator[bytes]:
    """The result of a task that succeeded, as JSON text in pieces; a pickle is named by its form and size."""
    match task.form:
        case Form.JSON:
            yield task.value
        case Form.STORED_JSON:
            try:
                with stored(store, task.value).open("rb") as file:
                    while piece := file.read(1 << 18):
                        yield piece
            except OSError as error:
                yield json.dumps({"missing": f"{error.strerror}: {stored(store, task.value)}"}).encode()
        case Form.PICKLE | Form.STORED_PICKLE:
            yield json.dumps({"pickled": _size(task, store)}).encode()
        case _:
            yield b"null"


def _size(task: TaskLike, store: Path) -> int:
    try:
        return len(task.value) if task.form is Form.PICKLE else stored(store, task.value).stat().st_size
    except OSError:
        return 0


def json_record(task: TaskLike, store: Path) -> Iterator[bytes]:
    """One task as a JSON object on one line, in pieces: large results never stand whole in memory."""
    start = json.dumps(head(task), ensure_ascii=False).encode("utf-8", "backslashreplace")
    if task.state is not TaskState.SUCCEEDED:
        yield (
            start[:-1]
            + b', "error": '
            + json.dumps(trouble(task), ensure_ascii=False).encode("utf-8", "replace")
            + b"}"
        )
        return
    yield start[:-1] + b', "result": '
    yield from raw_json(task, store)
    yield b"}"


def as_jsonl(tasks: Iterable[TaskLike], store: Path) -> Iterator[bytes]:
    for task in tasks:
        yield b"".join(json_record(task, store)) + b"\n" if task.form is not Form.STORED_JSON else b""
        if task.form is Form.STORED_JSON:
            yield from json_record(task, store)
            yield b"\n"


def as_json(tasks: Iterable[TaskLike], store: Path) -> Iterator[bytes]:
    before = b"[\n"
    for task in tasks:
        yield before
        yield from json_record(task, store)
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def as_csv(ledger: Outcomes, store: Path, failed: bool = False) -> Iterator[bytes]:
    """A column for each key of the results if all are mappings, else one column `result`. Reads the job twice."""
    import csv
    import io

    columns = None if failed else _columns(ended(ledger), store)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    extra = () if failed else tuple(columns) if columns is not None else ("result",)
    writer.writerow([*_FIRST, *(f"result.{name}" if name in _FIRST else name for name in extra)])
    for task in ended(ledger, failed):
        row = head(task)
        if task.state is not TaskState.SUCCEEDED:
            row["error"] = trouble(task)["reason"]
            values: list[Any] = [""] * len(extra)
        elif columns is None:
            values = [b"".join(raw_json(task, store)).decode("utf-8", "replace")] * (not failed)
        else:
            result = _mapping(task, store) or {}
            values = [_cell(result.get(name, "")) for name in columns]
        writer.writerow([*(row.get(name, "") for name in _FIRST), *values])
        yield out.getvalue().encode("utf-8", "replace")
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode("utf-8", "replace")


def _columns(tasks: Iterable[TaskLike], store: Path) -> dict[str, None] | None:
    """The keys of all results in order of appearance; None if some result is no mapping, or there are too many keys."""
    found: dict[str, None] = {}
    for task in tasks:
        if task.state is not TaskState.SUCCEEDED:
            continue
        result = _mapping(task, store)
        if result is None:
            return None
        found.update(dict.fromkeys(result))
        if len(found) > _COLUMNS:
            return None
    return found or None


def _mapping(task: TaskLike, store: Path) -> Mapping[str, Any] | None:
    if task.form not in (Form.JSON, Form.STORED_JSON):
        return None
    if task.form is Form.JSON and not task.value.lstrip().startswith(b"{"):
        return None
    value = json.loads(b"".join(raw_json(task, store)))
    return value if isinstance(value, dict) else None


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)


def write(ledger: Outcomes, store: Path, form: str = "jsonl", failed: bool = False) -> Iterator[bytes]:
    """The whole of it as bytes in pieces, in the order of the task list."""
    if form == "csv":
        return as_csv(ledger, store, failed)
    tasks = ended(ledger, failed)
    return as_json(tasks, store) if form == "json" else as_jsonl(tasks, store)


def form_of(path: Path) -> str:
    """The format that a file's suffix asks for; JSON lines when it asks for none."""
    suffix = path.suffix.lower()
    return {".json": "json", ".csv": "csv"}.get(suffix, "jsonl")
