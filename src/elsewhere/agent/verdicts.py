"""What the death of a slot says about the attempt that ran in it.

Reads files and counters; changes nothing.
"""

from __future__ import annotations

import os
import signal
import time

from elsewhere.agent.child import Child, Key
from elsewhere.agent.recovery import OUTCOMES
from elsewhere.model.reports import Ended, Form, Output
from elsewhere.model.states import Outcome
from elsewhere.slot import wire

_STORIES = {
    Outcome.TIMED_OUT: "it ran longer than its timeout",
    Outcome.CANCELLED: "it was cancelled",
    Outcome.OUT_OF_MEMORY: "it used more memory than it may",
}


def ended(key: Key, outcome: Outcome, value: bytes = b"", started: float = 0.0, output: Output | None = None) -> Ended:
    """An ending that no slot could write. `started` by CLOCK_MONOTONIC; 0: it never began."""
    took = time.monotonic() - started if started else 0.0
    return Ended(*key, outcome, time.time() - took, took, Form.FAILURE if value else Form.NOTHING, value, output)


def on_death(child: Child, status: int, key: Key, started: float, closed: bool, kernel_killed: bool) -> Ended:
    """How the attempt `key`, which ran when its slot ended with this wait status, has ended itself."""
    *_, out, err, roll = child.look()
    stderr, err_to = child.stderr(err)
    out_to = max(out, _length(child, roll))
    output = Output(child.number, roll, out, out_to, err, err_to) if (out, err) != (out_to, err_to) else None
    exit_code, number = split(status)
    outcome, said = _cause(child, key, status, closed, kernel_killed)
    value = wire.failure("Died", said, exit_code=exit_code, signal=number, stderr=stderr)
    return ended(key, outcome, value, started, output)


def _cause(child: Child, key: Key, status: int, closed: bool, kernel_killed: bool) -> tuple[Outcome, str]:
    _, number = split(status)
    if child.stopping is not None and child.stopping[0] == key:
        outcome = OUTCOMES[child.stopping[1]]
        return outcome, _STORIES.get(outcome, "it was told to end") + ", and had to be killed"
    if child.trouble:
        return Outcome.INTERRUPTED, "its output or its outcome could not be written"
    if closed:
        return Outcome.INTERRUPTED, "its slot was closed"
    if number == signal.SIGKILL:
        if kernel_killed:
            return Outcome.OUT_OF_MEMORY, "the kernel killed its process: the machine had no memory left"
        return Outcome.LOST, "its process was killed from outside (SIGKILL)"
    return Outcome.ERRORED, f"its process ended with {how(status)}, without a result"


def cannot_boot(child: Child, status: int) -> bytes:
    """The failure of every task when slots die before their first."""
    exit_code, number = split(status)
    said = f"{child.boot.python} ended with {how(status)} before its first task"
    return wire.failure("SlotError", said, exit_code=exit_code, signal=number, stderr=child.stderr(0)[0])


def split(status: int) -> tuple[int | None, int | None]:
    """(exit status, signal) of a wait status; one of them is None."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def how(status: int) -> str:
    """`exit status 3`, `signal 11 (SIGSEGV)`."""
    exit_code, number = split(status)
    if number is None:
        return f"exit status {exit_code}"
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _length(child: Child, roll: int) -> int:
    try:
        return child.output("out", roll).stat().st_size
    except OSError:
        return 0
