"""A job whose controller is a thread of the user's own process: fed call by call, answered call by call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from elsewhere.controller import control
from elsewhere.controller.files import JobFiles
from elsewhere.controller.stop import Stop
from elsewhere.controller.view import View
from elsewhere.errors import StateError
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.model.task import NewTask
from elsewhere.slot import wire

if TYPE_CHECKING:
    from elsewhere.controller.controller import Controller


class Live:
    """A job whose controller is a thread of this process, fed as we go. Its calls come back through callbacks."""

    def __init__(self, files: JobFiles, name: str, watch: Callable[[View], None] | None = None) -> None:
        self.files = files
        self.stop = Stop()
        self.error: BaseException | None = None
        self._calls: dict[int, tuple[str, Callable[[Ended], None]]] = {}
        self._over = False
        self._intake: deque[NewTask] = deque()
        self._lock = threading.Lock()
        self._n = 0
        self._controller: Controller | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(watch,), name=f"elsewhere {name}", daemon=True)
        self._thread.start()
        self._up.wait()
        if self.error is not None:
            raise self.error

    def _run(self, watch: Callable[[View], None] | None) -> None:
        from elsewhere.controller.drive import drive

        try:
            drive(self.files, self.stop, watch=watch, heard=self._heard, ready=self._ready)
        except BaseException as error:
            self.error = error
        finally:
            with self._lock:
                self._over = True
            self._give_up(list(self._calls), Outcome.INTERRUPTED, str(self.error or "its job was stopped"))
            self._up.set()

    def _ready(self, controller: Controller) -> None:
        controller.intake, controller.swept = self._intake, self._swept
        self._controller = controller
        self._up.set()

    def _heard(self, reports: Sequence[Ended]) -> None:
        for report in reports:
            call = self._calls.pop(report[0], None)
            if call is not None:
                call[1](report)

    def _swept(self, ids: Sequence[str] | None) -> None:
        if ids is None:  # the job is complete: what is submitted from here on belongs into another
            with self._lock:
                self._over = True
            self._intake.clear()
        wanted = None if ids is None else set(ids)
        gone = [n for n, (name, _) in list(self._calls.items()) if wanted is None or name in wanted]
        self._give_up(gone, Outcome.CANCELLED, "it was cancelled")

    def _give_up(self, numbers: Sequence[int], outcome: Outcome, why: str) -> None:
        """No report of these will be heard any more; their calls are answered all the same."""
        for n in numbers:
            call = self._calls.pop(n, None)
            if call is not None:
                call[1](Ended(n, 0, outcome, 0.0, 0.0, Form.FAILURE, wire.failure("", why)))

    def submit(self, task: NewTask, done: Callable[[Ended], None]) -> int:
        """Add a task; its number. `done` is called once, on the controller's thread.

        With the report that ended it, or one that says CANCELLED, or INTERRUPTED if the controller ended before it.
        """
        with self._lock:
            if self._over:
                raise StateError(f"job {self.files.id} is not running any more ({self.error})")
            self._n += 1
            number = self._n
            self._calls[number] = task.id, done
            self._intake.append(task)
        self.stop.wake()
        return number

    def cancel(self, task_id: str) -> None:
        """Cancel one task; its `done` is called at once."""
        control.ask(self.files.control, {"do": "cancel", "tasks": [task_id]})

    @property
    def alive(self) -> bool:
        """Whether it takes tasks."""
        return not self._over

    @property
    def is_its_thread(self) -> bool:
        """Whether the caller is the controller's own thread, which must not wait for an answer of its own."""
        return threading.current_thread() is self._thread

    @property
    def unfinished(self) -> int:
        return len(self._calls)

    def close(self, wait: bool = True) -> None:
        """Take no more tasks; with `wait`, until all have ended, else what runs is given back. Twice: harmless."""
        if self._controller is not None:
            self._controller.closing = True
        if not wait:
            self.stop.hard()
        self.stop.wake()
        self._thread.join()
        self.stop.close()
