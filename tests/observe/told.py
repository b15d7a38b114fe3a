"""A ledger with a story, made by the real moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome
from elsewhere.model.task import NewTask
from elsewhere.slot import wire

NOW = 1_800_000_000.0


class Told:
    """A ledger whose tasks are ended by name, one outcome at a time."""

    def __init__(self, path: Path, tasks: int, **spec: object) -> None:
        self.now = NOW
        described = JobSpec("job-1", "fit", Entry("function", "m:f"), slots=2, **spec)  # type: ignore[arg-type]
        self.ledger = Ledger.create(path, described, lambda: self.now)
        with self.ledger.moving():
            self.ledger.add(NewTask(f"t{k}", b'{"x": %d}' % k) for k in range(1, tasks + 1))
            self.ledger.complete()
            self.ledger.note("created")
        self.attempts: dict[int, int] = {}

    def take(self, limit: int = 1000) -> None:
        with self.ledger.moving():
            for delivery in self.ledger.take(limit):
                self.attempts[delivery.n] = delivery.attempt

    def end(
        self,
        n: int,
        outcome: Outcome = Outcome.SUCCEEDED,
        value: bytes = b"null",
        form: Form = Form.JSON,
        output: Output | None = None,
    ) -> None:
        report = Ended(n, self.attempts[n], outcome, self.now, 1.5, form, value, output, "a1")
        with self.ledger.moving():
            self.ledger.record([report])
        assert not self.ledger.count().refused

    def fail(self, n: int, outcome: Outcome = Outcome.ERRORED, kind: str = "ValueError", message: str = "no good",
             **more: Any) -> None:  # fmt: skip
        self.end(n, outcome, wire.failure(kind, message, **more), Form.FAILURE)
