"""What the tasks of the fault tests do: leave a mark each time they are run; so the truth is known from outside."""

from __future__ import annotations

import os
import time


def mark(path: str, line: str, pause: float = 0.0) -> str:
    """Append one line in one write, which is atomic; then take a while."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)
    if pause:
        time.sleep(pause)
    return line


def large() -> str:
    """More than travels in a report."""
    return "x" * 200_000


def second_time_lucky(line: str) -> str:
    """Fails at its first attempt only."""
    from elsewhere import current_task

    if current_task().attempt == 1:
        raise ValueError(line)
    return line
