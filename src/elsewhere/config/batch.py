"""What the readers of task lists hand on: some tasks, and on which lines they stand, found only when somebody asks.

Nothing but model may be imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from elsewhere.model.task import NewTask


class Batch(NamedTuple):
    """Good tasks in the order of the file. `lines()`: the line of each, from 1; valid until the next batch."""

    tasks: list[NewTask]
    lines: Callable[[], Sequence[int]]
