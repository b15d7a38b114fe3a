"""What the ledger answers with: plain rows, nothing that can change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from elsewhere.model.reports import Form, Output
from elsewhere.model.states import Outcome, TaskState

SEAT = "seat"
"""The fact that says what the machine is that was hired for the job's controller: its name, its zone, its price an
hour, its term, since when, and until when."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks stand where. `complete`: no more will be added. The last four count attempts, and reports."""

    total: int = 0
    ready: int = 0
    handed_out: int = 0
    waiting: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    complete: bool = False
    retries: int = 0
    asks: int = 0
    interrupts: int = 0
    refused: int = 0

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.cancelled

    @property
    def over(self) -> bool:
        """Every task has ended and none will be added."""
        return self.complete and self.ended == self.total


class TaskView(NamedTuple):
    """One task as it stands. `seq` is the cursor of `outcomes`. `took` and `started` are seconds; 0 if not begun."""

    seq: int
    n: int
    id: str
    state: TaskState
    attempt: int
    outcome: Outcome | None
    started: float
    took: float
    form: Form
    value: bytes


class Attempt(NamedTuple):
    """One attempt that ended. `agent` and `output` say where its output lies; None: it wrote none."""

    n: int
    attempt: int
    outcome: Outcome
    started: float
    took: float
    form: Form
    value: bytes
    agent: str = ""
    output: Output | None = None
