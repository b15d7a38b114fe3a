"""A thread that makes the calls to a place, so that one that does not answer holds up nothing else of its job.

It makes calls and hands over what they answered. What follows from that is decided, and written, by who asked.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from elsewhere.pool.calls import make


class Aside:
    """One call at a time, in order (pool/calls.py). `watch` can be read from once something was answered."""

    def __init__(self) -> None:
        self.watch, self._bell = socket.socketpair()
        self.watch.setblocking(False)
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, call: Callable[[], Any]) -> Future[Any]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="place", daemon=True)
            self._thread.start()
        answer: Future[Any] = Future()
        self._calls.put((call, answer))
        return answer

    def wait(self, answer: Future[Any], seconds: float) -> None:
        wait([answer], seconds)

    def heard(self) -> None:
        """Called by who watches: it is awake."""
        with suppress(OSError):
            self.watch.recv(4096)

    def close(self) -> None:
        """No more is asked. A call that is under way is left alone: its answer is for nobody. Twice: harmless."""
        self.watch.close()
        if self._thread is None:
            self._bell.close()
        self._calls.put(None)

    def _run(self) -> None:
        with self._bell:
            while (found := self._calls.get()) is not None:
                make(*found)
                with suppress(OSError):  # nobody watches any more
                    self._bell.send(b".")
