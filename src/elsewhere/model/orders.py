"""What agents are told: one object per job and epoch, read at each renewal and before each delivery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from elsewhere.model.ranges import Ranges, holds

EVERY_TASK = 0
"""Among the tasks that are followed: all of them."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The controller's word to all agents of a job. Of several, that of the highest epoch holds.

    An order that is read twice, late, or not at all does no harm: the ledger decides what counts.
    """

    job: str
    epoch: int = 0
    ended: Ranges = ()
    """The numbers of tasks that are finished or cancelled: not run, and stopped where they run."""
    numbers: Mapping[int, int] = field(default_factory=dict)
    """Task number -> its current attempt, where it is more than 1; deliveries of lower ones are superseded."""
    terms: Mapping[str, timedelta] = field(default_factory=dict)
    """Agent -> how long it may live, since its own start. Absent: as its boot text says."""
    drain: tuple[str, ...] = ()
    """Agents that shall take nothing more, hand back what has not begun, finish what has, and end."""
    logs: tuple[int, ...] = ()
    """Tasks whose output somebody follows; `EVERY_TASK` among them: all."""
    over: bool = False
    """Everything has ended: agents end."""
    recall: str = ""
    """The name of the last recall: each agent that reads of it says once which of what is recalled it has."""
    recalled: Mapping[int, int] = field(default_factory=dict)
    """Task number -> the attempt that nobody begins any more who had not taken it before: its next number follows."""

    def ended_task(self, n: int) -> bool:
        """Is this task finished or cancelled?"""
        return holds(self.ended, n)

    def follows(self, ns: Iterable[int]) -> bool:
        """Does somebody read along what one of these tasks prints?"""
        return bool(self.logs) and (EVERY_TASK in self.logs or not set(ns).isdisjoint(self.logs))

    def recalls(self, n: int, attempt: int) -> bool:
        """Is a delivery of this attempt that is only taken now not to be begun?"""
        return attempt <= self.recalled.get(n, 0)

    def stale(self, n: int, attempt: int) -> bool:
        """Is there no point in running this attempt (any more)?"""
        return self.over or attempt < self.numbers.get(n, 0) or holds(self.ended, n)
