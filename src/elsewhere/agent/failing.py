"""Says for a machine whose startup script ended without a worker why it is no use, in the script's own last words."""

from __future__ import annotations

from pathlib import Path

from elsewhere.agent.meeting import Joining, meet
from elsewhere.agent.serve import leave
from elsewhere.model.reports import BootStep

STEP = "startup script"
LINES, LETTERS = 12, 2000
"""Of what it printed, at most so much is told."""


def tell(joining: Joining, status: int, log: Path) -> None:
    """Join, prove who we are, report, leave. ElsewhereError if that cannot be done."""
    channel, _ = meet(joining)
    try:
        channel.report([BootStep(joining.agent, STEP, story(status, _end_of(log)))])
    finally:
        leave(channel)


def story(status: int, printed: str) -> str:
    """What became of the script, then its last lines, each after a bar."""
    how = f"ended with status {status}" if status < 128 else f"was ended by signal {status - 128}"
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()][-LINES:]
    if not lines:
        return f"it {how} without starting a worker, and printed nothing"
    return "\n| ".join([f"it {how} without starting a worker; its last lines:", *lines])


def _end_of(log: Path) -> str:
    try:
        return log.read_bytes()[-LETTERS:].decode("utf-8", "replace")
    except OSError:
        return ""
