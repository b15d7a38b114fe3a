"""The live line of a job that Python runs or watches: written over on a terminal and in a notebook, else now and then.

Writes to standard error; what it says is observe/progress.
"""

from __future__ import annotations

import shutil
import sys
import time

from elsewhere import session
from elsewhere.observe import progress

_PLAIN_EVERY = 5.0
"""Seconds between two lines where none can be written over."""


class Line:
    """`show` it each view, `close` it at the end. `limit`: seconds that a task may run, or None."""

    def __init__(self, limit: float | None = None) -> None:
        self._limit = limit
        self._terminal = sys.stderr.isatty()
        self._over = self._terminal or "ipykernel" in sys.modules
        self._pace = progress.Pace()
        self.began = self._last = time.monotonic()
        self._written = 0

    def show(self, view: session.View) -> None:
        now = time.monotonic()
        self._pace.note(now, view.counts.ended)
        if not self._over and now - self._last < _PLAIN_EVERY:
            return
        self._last = now
        width = max(20, shutil.get_terminal_size().columns - 1) if self._over else None
        text = (
            progress.stopping(view, {}, self._limit, width)
            if view.draining
            else progress.line(view, self._pace, now, width)
        )
        sys.stderr.write("\r" + text.ljust(self._written) if self._over else text + "\n")
        sys.stderr.flush()
        self._written = len(text) if self._over else 0

    def close(self) -> None:
        """Take the line away. Twice: harmless."""
        if self._written:
            sys.stderr.write("\r" + " " * self._written + "\r")
            sys.stderr.flush()
        self._written = 0
