"""Seats: computers on which a controller lives. Each runs the project's own controller in a thread that moves only
when the world lets it, and may be killed, put to sleep or overtaken between any two of its calls to the outside."""

from __future__ import annotations

import threading
from collections.abc import Callable

TICK = 60.0
"""Seconds. A tick is a minute or so."""


class Killed(BaseException):
    """kill -9, as it feels from inside."""


class Fiber:
    """A call in a thread of its own that runs one stretch at a time; `yield_` and `resume` hand over. Deterministic."""

    def __init__(self, call: Callable[[Fiber], None]) -> None:
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._kill = False
        self.done = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[Fiber], None]) -> None:
        self._go.acquire()
        try:
            if not self._kill:
                call(self)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._back.release()

    def resume(self) -> None:
        """Let it run to its next `yield_`, or its end."""
        if not self.done:
            self._go.release()
            self._back.acquire()

    def yield_(self) -> None:
        """Called within: hand over. Killed is raised here if it is not to go on."""
        self._back.release()
        self._go.acquire()
        if self._kill:
            raise Killed

    def kill(self) -> None:
        """End it where it stands."""
        self._kill = True
        self.resume()
        self._thread.join()
