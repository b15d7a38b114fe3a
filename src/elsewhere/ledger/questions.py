"""What may be asked of a ledger, by anybody, at any time, also while its writer writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw

from elsewhere.errors import InvalidTask, StateError
from elsewhere.ledger import tables
from elsewhere.ledger.views import Attempt, Counts, TaskView
from elsewhere.model.events import Event
from elsewhere.model.job import JobSpec
from elsewhere.model.reports import Form, Output
from elsewhere.model.states import Outcome, TaskState

_STATE = (
    "CASE WHEN d.n IS NOT NULL THEN d.state WHEN o.n IS NOT NULL THEN o.state WHEN t.n <= ?1 THEN 1 ELSE 0 END,"
    " CASE WHEN d.n IS NOT NULL THEN d.attempt WHEN o.n IS NOT NULL THEN o.attempt WHEN t.n <= ?1 THEN 1 ELSE 0 END"
)
_VIEW = (
    f"SELECT t.n, t.id, {_STATE}, d.outcome, d.started, d.took, d.form, d.value FROM tasks t"
    " LEFT JOIN done d ON d.n = t.n LEFT JOIN open o ON o.n = t.n"
)


class Questions:
    """The reading half of a ledger. Every answer is a snapshot."""

    def __init__(self, db: apsw.Connection, path: Path) -> None:
        self.db, self.path = db, path
        self.spec: JobSpec = tables.spec_from_json(self._get_text("spec"))

    @classmethod
    def read(cls, path: Path) -> Questions:
        """Open a job's file to look at it. StateError: absent, damaged, or of a newer version."""
        if not path.exists():
            raise StateError(f"there is no ledger at {path}", hint="remove the job with `elsewhere rm`")
        try:
            return Questions(tables.connect(path, write=False), path)
        except apsw.Error as error:
            raise tables.damage(path, error) from error

    def close(self) -> None:
        self.db.close()

    def count(self) -> Counts:
        """How many tasks stand where; costs the same for a million tasks as for one."""
        values = self._get("counts", None)
        return Counts(**values) if values else Counts()

    def live(self) -> dict[str, Any]:
        """What the controller last said of its slots: {slots, busy, running: [[task id, since]], at}; {} if never."""
        return self._get("live", None) or {}

    def get(self, key: str, default: object = None) -> Any:
        """A small fact of the job, as the writer set it."""
        return self._get(key, default)

    def outcomes(self, after: int = 0, limit: int = 1000, failed: bool = False) -> list[TaskView]:
        """Up to `limit` ended tasks in the order of the list, from beyond the cursor `after` (TaskView.seq)."""
        only = f" AND d.state = {int(TaskState.FAILED)}" if failed else ""
        rows = self._rows(
            "SELECT d.n, t.id, d.state, d.attempt, d.outcome, d.started, d.took, d.form, d.value"
            f" FROM done d JOIN tasks t ON t.n = d.n WHERE d.n > ?{only} ORDER BY d.n LIMIT ?",
            (after, limit),
        )
        return [_view(row) for row in rows]

    def ended(self, ns: Sequence[int]) -> list[TaskView]:
        """Those of these tasks that have ended, in the order of `ns`."""
        rows = self._rows(
            "SELECT d.n, t.id, d.state, d.attempt, d.outcome, d.started, d.took, d.form, d.value FROM json_each(?) j"
            " CROSS JOIN done d ON d.n = j.value CROSS JOIN tasks t ON t.n = d.n ORDER BY j.key",
            (json.dumps(ns),),
        )
        return [_view(row) for row in rows]

    def tasks(self, after: int = 0, limit: int = 1000) -> list[TaskView]:
        """Up to `limit` tasks, ended or not, in the order of the list."""
        frontier = int(self._get("frontier", 0))
        rows = self._rows(f"{_VIEW} WHERE t.n > ?2 ORDER BY t.n LIMIT ?3", (frontier, after, limit))
        return [_view(row) for row in rows]

    def task(self, task_id: str) -> TaskView | None:
        """One task as it stands; None: no such task."""
        frontier = int(self._get("frontier", 0))
        rows = self._rows(f"{_VIEW} WHERE t.id = ?2", (frontier, task_id))
        return _view(rows[0]) if rows else None

    def body(self, n: int) -> tuple[bytes, bytes | None]:
        """What the task was given: its body and its own options."""
        rows = self._rows("SELECT body, options FROM tasks WHERE n = ?", (n,))
        return (rows[0][0], rows[0][1]) if rows else (b"", None)

    def attempts(self, task_id: str) -> list[Attempt]:
        """Every attempt at a task that ended, in order, with the place of its output."""
        numbers = self.numbers([task_id])
        columns = (
            "x.n, x.attempt, x.outcome, x.started, x.took, x.form, x.value,"
            " o.agent, o.slot, o.roll, o.out_from, o.out_to, o.err_from, o.err_to"
        )
        join = "LEFT JOIN output o ON o.n = x.n AND o.attempt = x.attempt WHERE x.n = ?1"
        rows = self._rows(
            f"SELECT {columns} FROM attempts x {join} UNION ALL SELECT {columns} FROM done x {join} AND NOT EXISTS"
            " (SELECT 1 FROM attempts a WHERE a.n = x.n AND a.attempt = x.attempt) ORDER BY 2",
            (numbers[0],),
        )
        return [_attempt(row) for row in rows]

    def printed(self, after: tuple[int, int] = (0, 0), limit: int = 1000) -> list[tuple[str, Attempt]]:
        """(task, attempt) of up to `limit` ended attempts that printed something, beyond the cursor (n, attempt).

        In the order of the list. Of each only the place of its output is told, not its value.
        """
        rows = self._rows(
            "SELECT t.id, o.n, o.attempt, 0, 0, 0, 0, NULL, o.agent, o.slot, o.roll, o.out_from, o.out_to, o.err_from,"
            " o.err_to FROM output o JOIN tasks t ON t.n = o.n WHERE (o.n, o.attempt) > (?, ?)"
            " ORDER BY o.n, o.attempt LIMIT ?",
            (*after, limit),
        )
        return [(row[0], _attempt(row[1:])) for row in rows]

    def waiting(self, task_id: str) -> dict[str, Any]:
        """Why an unfinished task is where it is: {due, tally, priority}; {} if it has no story."""
        rows = self._rows(
            "SELECT o.due, o.tally, o.priority FROM open o JOIN tasks t USING(n) WHERE t.id = ?", (task_id,)
        )
        if not rows:
            return {}
        due, tally, priority = rows[0]
        return {"due": due, "tally": json.loads(tally) if tally else {}, "priority": priority}

    def events(self, after: int = 0) -> list[Event]:
        """What happened, oldest first."""
        rows = self._rows("SELECT at, kind, about, detail FROM events WHERE seq > ? ORDER BY seq", (after,))
        return [Event(datetime.fromtimestamp(r[0], UTC), r[1], r[2], json.loads(r[3])) for r in rows]

    def worked(self) -> tuple[int, float]:
        """(attempts that ended, seconds that they ran in all). Reads all of them: for last lines, not for live ones."""
        rows = self._rows(
            "SELECT count(*), coalesce(sum(took), 0) FROM (SELECT took FROM attempts WHERE took > 0 UNION ALL"
            " SELECT d.took FROM done d WHERE d.took > 0 AND NOT EXISTS"
            " (SELECT 1 FROM attempts a WHERE a.n = d.n AND a.attempt = d.attempt))"
        )
        return int(rows[0][0]), rows[0][1] / 1e6

    def numbers(self, ids: Sequence[str]) -> list[int]:
        """The numbers of these tasks; InvalidTask names the ids that are unknown."""
        found, unknown = [], []
        for task_id in ids:
            rows = self._rows("SELECT n FROM tasks WHERE id = ?", (task_id,))
            if rows:
                found.append(int(rows[0][0]))
            else:
                unknown.append(task_id)
        if unknown:
            raise InvalidTask(f"job {self.spec.name} has no task {unknown[0]!r}", faults=tuple(unknown))
        return found

    def ids(self, ns: Sequence[int]) -> dict[int, str]:
        """The ids of these numbers."""
        marks = ",".join("?" * len(ns))
        return {r[0]: r[1] for r in self._rows(f"SELECT n, id FROM tasks WHERE n IN ({marks})", tuple(ns))}

    def __iter__(self) -> Iterator[TaskView]:
        after = 0
        while page := self.outcomes(after):
            yield from page
            after = page[-1].seq

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self.db.execute(query, values).fetchall()

    def _one(self, query: str) -> Any:
        return self._rows(query)[0][0]

    def _get_text(self, key: str) -> str:
        rows = self._rows("SELECT value FROM job WHERE key = ?", (key,))
        if not rows:
            raise StateError(f"{self.path} holds no {key}", hint="remove the job with `elsewhere rm`")
        return str(rows[0][0])

    def _get(self, key: str, default: object) -> Any:
        rows = self._rows("SELECT value FROM job WHERE key = ?", (key,))
        if not rows:
            return default
        value = rows[0][0]
        return json.loads(value) if isinstance(value, str) else value


def _view(row: tuple[Any, ...]) -> TaskView:
    n, task_id, state, attempt, outcome, started, took, form, value = row
    if outcome is None:
        return TaskView(n, n, task_id, TaskState(state), attempt, None, 0.0, 0.0, Form.NOTHING, b"")
    began, length = started / 1000, took / 1e6
    return TaskView(n, n, task_id, TaskState(state), attempt, Outcome(outcome), began, length, Form(form), value or b"")


def _attempt(row: tuple[Any, ...]) -> Attempt:
    n, attempt, outcome, started, took, form, value, agent, *place = row
    output = Output(*place) if agent is not None else None
    return Attempt(
        n, attempt, Outcome(outcome), started / 1000, took / 1e6, Form(form), value or b"", agent or "", output
    )
