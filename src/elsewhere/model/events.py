"""What happened to a job, as the ledger writes it down: one line each, for `explain`, the live line and reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is a word (created, resumed, drained, launch, ...); `about` a task, an allocation, or "" for the job."""

    at: datetime
    kind: str
    about: str = ""
    detail: dict[str, object] = field(default_factory=dict)
