"""Brings what tasks print to the job's store, where its machines share no files: soon while somebody follows.

A thread of its own, so that a slow store keeps no task waiting. What cannot go now goes the next time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from elsewhere.channels.output import Upload
from elsewhere.errors import ElsewhereError

EVERY, FOLLOWED, SOONEST = 30.0, 1.0, 0.2
"""Seconds between two looks at the files; at the least, while somebody follows and tasks end."""


class Outflow:
    """`followed`: set while somebody reads along."""

    def __init__(self, upload: Upload) -> None:
        self.upload, self.followed = upload, True  # until orders have been read: short work is seen at once
        self._turn = threading.Condition()
        self._over = self._at_once = False
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def follow(self, followed: bool) -> None:
        """Somebody began to read along, or stopped."""
        if followed != self.followed:
            with self._turn:
                self.followed = self._at_once = followed
                self._turn.notify()

    def hurry(self) -> None:
        """A task has ended: whoever reads along sees its last words now."""
        if self.followed and not self._at_once:
            with self._turn:
                self._at_once = True
                self._turn.notify()

    def close(self) -> None:
        """All that was printed is in the store when this returns, unless the store does not answer."""
        with self._turn:
            self._over = True
            self._turn.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._send(last=True)

    def _run(self) -> None:
        while True:
            with self._turn:
                wait = (FOLLOWED if self.followed else EVERY) - SOONEST
                if not self._turn.wait_for(lambda: self._over, SOONEST):
                    self._turn.wait_for(lambda: self._over or self._at_once, wait)
                if self._over:
                    return
                self._at_once = False
            self._send()

    def _send(self, last: bool = False) -> None:
        with suppress(ElsewhereError, OSError):
            if self.followed:
                self.upload.send_pages()
            self.upload.send(last)


class InTurns:
    """The same without a thread: for a store that is reached through the agent's own connection."""

    def __init__(self, upload: Upload, clock: Callable[[], float] = time.monotonic) -> None:
        self.upload, self.followed, self._clock = upload, True, clock
        self._due = 0.0

    def follow(self, followed: bool) -> None:
        self.followed = followed

    def hurry(self) -> None:
        """It goes in its turn: the controller's end does not look for it any sooner."""

    def turn(self) -> None:
        """What was printed since the last time, if it is time."""
        if self._clock() >= self._due:
            self._due = self._clock() + FOLLOWED
            self._send()

    def close(self) -> None:
        self._send(last=True)

    def _send(self, last: bool = False) -> None:
        with suppress(ElsewhereError, OSError):
            if self.followed:
                self.upload.send_pages()
            self.upload.send(last)
