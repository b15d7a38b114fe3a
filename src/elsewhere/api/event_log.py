"""The event log of a worker: a JSON object a line, appended as tasks end.

task_completed {result}, task_exception {exception}, task_timed_out, task_exited {exit_code}; each with timestamp,
hostname, task_id, retry (whether it was tried again) and elapsed_time in seconds.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from elsewhere import session
from elsewhere.errors import UsageError
from elsewhere.ledger.views import TaskView
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.observe import explain, results


class EventLog:
    """Appends to a file or a stream. `write` is called by one thread, with tasks whose end is recorded."""

    def __init__(self, files: session.JobFiles, target: Path | TextIO) -> None:
        """UsageError: the file cannot be written."""
        self._files, self._host, self._own = files, socket.gethostname(), isinstance(target, Path)
        self._ledger: Any = None
        try:
            self._file = target.open("a", encoding="utf-8") if isinstance(target, Path) else target
        except OSError as error:
            raise UsageError(f"the event log {target} cannot be written: {error.strerror}") from error

    def write(self, ended: Sequence[Ended] | Sequence[TaskView]) -> None:
        """A line for each try of each task."""
        if self._ledger is None:
            self._ledger = self._files.open()
        names = self._ledger.ids([report.n for report in ended])
        for report in ended:
            name = names.get(report.n, str(report.n))
            if report.attempt > 1:
                for attempt in self._ledger.attempts(name):
                    if attempt.attempt < report.attempt and attempt.outcome is not Outcome.INTERRUPTED:
                        self._line(name, attempt, retry=True)
            self._line(name, report, retry=False)
        self._file.flush()

    def _line(self, name: str, tried: Any, retry: bool) -> None:
        when = datetime.fromtimestamp(tried.started + tried.took, UTC).isoformat()
        record = {"timestamp": when, "hostname": self._host, **dict(self._told(tried))}
        record.update(task_id=name, retry=retry, elapsed_time=round(tried.took, 6))
        self._file.write(json.dumps(record) + "\n")

    def _told(self, tried: Any) -> Iterator[tuple[str, Any]]:
        story = explain.failure(tried.form, tried.value)
        if tried.outcome is Outcome.SUCCEEDED:
            yield from (("event_type", "task_completed"), ("result", self._value(tried)))
        elif tried.outcome is Outcome.ASKED_AGAIN:
            yield from (("event_type", "task_completed"), ("result", story.get("state")))
        elif tried.outcome is Outcome.TIMED_OUT:
            yield "event_type", "task_timed_out"
        elif story.get("type") in ("Died", "SystemExit") or tried.outcome is Outcome.LOST:
            code = story.get("exit_code")
            yield from (("event_type", "task_exited"), ("exit_code", -story["signal"] if "signal" in story else code))
        else:
            said = story.get("traceback") or explain.reason(story, 10_000) or tried.outcome.name.lower()
            yield from (("event_type", "task_exception"), ("exception", said))

    def _value(self, tried: Any) -> Any:
        if tried.form == Form.STORED_JSON:
            return json.loads(results.stored(self._files.store, tried.value).read_bytes())
        return json.loads(tried.value) if tried.form == Form.JSON else {}

    def close(self) -> None:
        """Twice: harmless."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        if self._own:
            self._file.close()
