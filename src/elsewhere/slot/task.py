"""What a task's own code may say and ask: Done, Again, Fail, current_task.

The very same objects whether `elsewhere` is installed where the task runs or not. Nothing heavy may be imported here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Any


class Done:
    """Return it to say: finished, with this result."""

    __slots__ = ("result",)

    def __init__(self, result: object = None) -> None:
        self.result = result

    def __repr__(self) -> str:
        return f"Done({self.result!r})"


class Again:
    """Return it to be run again, `after` so many seconds (or a timedelta). `state` (JSON): see current_task().state."""

    __slots__ = ("after", "reason", "state")

    def __init__(self, reason: str = "", after: float | timedelta | None = None, state: object = None) -> None:
        seconds = getattr(after, "total_seconds", None)
        self.reason = reason
        self.after: float | None = seconds() if seconds is not None else after  # type: ignore[assignment]
        self.state = state

    def __repr__(self) -> str:
        return f"Again({self.reason!r}, after={self.after!r}, state={self.state!r})"


class Fail:
    """Return it to say: it can never succeed as it is; it is not tried again."""

    __slots__ = ("reason",)

    def __init__(self, reason: str = "") -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"Fail({self.reason!r})"


class Stopped(BaseException):
    """Raised inside a task's function when the task must end now: its `finally` blocks run, within the grace."""


class Task:
    """The task that runs here. Outside a slot: id "", attempt 0, no deadline; directories are the current one."""

    __slots__ = ("_deadline", "_directories", "_stopping", "attempt", "id", "state")

    def __init__(
        self,
        id: str = "",
        attempt: int = 0,
        state: object = None,
        deadline: float | None = None,
        directories: Callable[[str], str] | None = None,
        stopping: Callable[[], bool] | None = None,
    ) -> None:
        self.id, self.attempt, self.state = id, attempt, state
        self._deadline, self._directories, self._stopping = deadline, directories, stopping

    def __repr__(self) -> str:
        return f"<Task {self.id!r}, attempt {self.attempt}>"

    @property
    def time_left(self) -> timedelta | None:
        """Until it is told to end, never less than nothing: by its timeout, or since the machine's own time will be up.
        None: it has no timeout, and the machine no end that is known."""
        import time
        from datetime import timedelta

        if self._deadline is None:
            return None
        return timedelta(seconds=max(0.0, self._deadline - time.time()))

    @property
    def stopping(self) -> bool:
        """True once this task was told to end, or the machine is about to go."""
        return self._stopping is not None and self._stopping()

    @property
    def scratch(self) -> str:
        """A directory of this attempt alone, empty at first, emptied after it."""
        return self._directory("scratch")

    @property
    def checkpoint(self) -> str:
        """A directory that every attempt at this task finds again; removed once it has succeeded."""
        return self._directory("checkpoint")

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that the task runs with."""
        return dict(os.environ)

    def _directory(self, kind: str) -> str:
        return os.getcwd() if self._directories is None else self._directories(kind)


asked: list[Callable[[], Task]] = []
"""In a slot: one function that tells the task at hand. Elsewhere: empty."""


def current_task() -> Task:
    """The task that the calling code runs for. In a command's process: as the environment tells it."""
    if asked:
        return asked[0]()
    words = os.environ
    if not words.get("ELSEWHERE_TASK_ID"):
        return Task()
    attempt, deadline = words.get("ELSEWHERE_ATTEMPT", "0"), words.get("ELSEWHERE_DEADLINE")
    named = {"scratch": words.get("ELSEWHERE_SCRATCH", "."), "checkpoint": words.get("ELSEWHERE_CHECKPOINT", ".")}
    until = float(deadline) if deadline else None
    return Task(words["ELSEWHERE_TASK_ID"], int(attempt), None, until, named.__getitem__)


class Options:
    """Words by name: what `worker_data.args` is."""

    def __init__(self, words: dict[str, Any]) -> None:
        self.__dict__.update(words)

    def __repr__(self) -> str:
        return f"Options({self.__dict__!r})"


class WorkerData(Options):
    """What a function of three parameters gets as `worker_data`: the worker's options, two questions."""

    args: Any = None

    def __init__(self, words: dict[str, Any]) -> None:
        super().__init__(words)
        if isinstance(self.__dict__.get("args"), dict):
            self.args = Options(self.__dict__["args"])

    @property
    def received_termination_notice(self) -> bool:
        return current_task().stopping

    @property
    def received_shutdown_request(self) -> bool:
        return current_task().stopping
