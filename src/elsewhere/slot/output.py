"""A slot's output: rolling files of bytes that stand as its stdout and stderr, and where each task's part lies.

Nothing is parsed, decoded or held here.
"""

from __future__ import annotations

import io
import os
import sys

ROLL = 64 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class _Marked(io.BufferedWriter):
    """A buffer that says whether it holds something: to flush an empty one costs more than a whole task. Whole lines it
    does not hold, so that whoever follows a task sees them as they come."""

    written = False

    def write(self, data, /):  # type: ignore[no-untyped-def]
        self.written = True
        count = super().write(data)
        if data[-1:] == b"\n":
            self.flush()
            self.written = False
        return count


class Files:
    """`<slot>.<roll>.out` and `.err`: both roll together, between two tasks, beyond 64 MiB."""

    def __init__(self, directory: str, slot: int, roll: int) -> None:
        self.directory, self.slot, self.roll = directory, slot, roll
        self._open()
        self.out, self.err = self.ends()
        self.buffers = [_Marked(io.FileIO(fd, "w", closefd=False)) for fd in (1, 2)]
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", write_through=True)
            for buffer in self.buffers
        )
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]

    def path(self, kind: str) -> str:
        return os.path.join(self.directory, f"{self.slot}.{self.roll}.{kind}")

    def _open(self) -> None:
        for fd, kind in ((1, "out"), (2, "err")):
            new = os.open(self.path(kind), _FLAGS, 0o600)
            os.dup2(new, fd, inheritable=True)
            os.close(new)

    def ends(self) -> tuple[int, int]:
        """Where both files end: what a task's children wrote counts too."""
        return os.lseek(1, 0, os.SEEK_END), os.lseek(2, 0, os.SEEK_END)

    def flush(self) -> None:
        """Only what was written through Python's own streams is held back by this process."""
        for buffer in self.buffers:
            if buffer.written:
                buffer.flush()
                buffer.written = False

    def roll_over(self) -> None:
        """New files if one of these has grown large. Only between two tasks."""
        if self.out < ROLL and self.err < ROLL:
            return
        self.roll += 1
        self._open()
        self.out, self.err = self.ends()

    def tail(self, since: int, size: int = 4096) -> str:
        """The end of what stands in stderr since byte `since`."""
        try:
            end = os.lseek(2, 0, os.SEEK_END)
            start = max(since, end - size)
            if start >= end:
                return ""
            fd = os.open(self.path("err"), os.O_RDONLY)
            try:
                return os.pread(fd, end - start, start).decode("utf-8", "replace")
            finally:
                os.close(fd)
        except OSError:
            return ""
