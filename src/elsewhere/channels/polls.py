"""A queue is asked for messages by a thread of its own, and only while somebody wants some: an idle queue costs little.

A long poll waits at the service, up to 20 seconds, so the loop of an agent or a controller must not make it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

PAUSE = (0.5, 15.0)
"""Seconds until a queue that gave no answer is asked again: at first, and at most."""
T = TypeVar("T")


class Poll(Generic[T]):
    """`ask(most, hold)` waits for up to `most` messages, held for `hold` seconds. `inline`: made by `want` itself.

    `space`: seconds that are waited after an answer with room for more: so that fewer requests bring as much.
    """

    def __init__(
        self, ask: Callable[[int, float], list[T]], inline: bool = False, space: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._ask, self._inline, self._space = ask, inline, space
        self._turn = threading.Condition()
        self._came: list[T] = []
        self._most, self._hold = 0, 0.0
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def want(self, most: int, hold: float) -> None:
        """Ask for so many. Said again while it is being asked: it is asked again if nothing comes."""
        if self._inline:
            self._came += self._ask(most, hold)
            return
        with self._turn:
            if self._came or self._closed:
                return
            self._most, self._hold = most, hold
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="poll", daemon=True)
                self._thread.start()
            self._turn.notify()

    def take(self) -> list[T]:
        """What has come. The error that asking met, if nothing has."""
        with self._turn:
            came, self._came = self._came, []
            error, self._error = self._error, None
        if error is not None and not came:
            raise error
        return came

    def close(self) -> None:
        """Ask no more. A poll that is under way ends by itself; what it brings lapses. Twice: harmless."""
        with self._turn:
            self._closed = True
            self._turn.notify()

    def _run(self) -> None:
        pause = PAUSE[0]
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or (self._most and not self._came))
                if self._closed:
                    return
                most, hold, self._most = self._most, self._hold, 0
            try:
                came = self._ask(most, hold)
            except Exception as error:  # whoever wants something is told
                with self._turn:
                    self._error = error
                    self._turn.wait_for(lambda: self._closed, pause)
                pause = min(pause * 2, PAUSE[1])
                continue
            pause = PAUSE[0]
            with self._turn:
                self._came += came
                if came:
                    self._most = 0  # that was for what has come now
                    if len(came) < most:
                        self._turn.wait_for(lambda: self._closed, self._space())
