"""How a running controller is told to stop, from a signal handler or another thread."""

from __future__ import annotations

import contextlib
import os


class Stop:
    """`soft`: claim nothing more, let running tasks finish. `hard`: now. Both may be called from a signal handler."""

    def __init__(self) -> None:
        self.asked = 0
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def soft(self) -> None:
        self.asked = max(self.asked, 1)
        self.wake()

    def hard(self) -> None:
        self.asked = 2
        self.wake()

    def wake(self) -> None:
        """Let the controller look around."""
        with contextlib.suppress(OSError):
            os.write(self._writer, b".")

    def heard(self) -> None:
        """Called by the controller: it is awake."""
        with contextlib.suppress(OSError):
            os.read(self.reader, 4096)

    def close(self) -> None:
        """Twice: harmless."""
        for fd in (self.reader, self._writer):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.reader = self._writer = -1
