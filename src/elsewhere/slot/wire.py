"""What an agent and a slot say to each other: frames down a pipe, outcomes up through a file.

Down: `<u32 length><marshal version 2>`, written by the agent only (a trusted direction):
    {"boot": {...}}                       once, first; the keys are those of `Boot.words` in agent/boot.py
    (epoch, [(n, attempt, id, body, options), ...])   deliveries, run in this order; options is bytes or None
    {"outcomes": name}                    from here on, outcomes go to this file
Up: for each attempt one record, appended to the slot's outcome file before the next task begins, so that the death of
the agent or of the controller loses none; after it one byte down the wake pipe when the agent may be waiting.
The page: a small file that both map into memory. The slot writes there what it is running and since when; the agent
writes there which deliveries are still good (the epoch), and which attempt it is about to stop, and why.

Python 3.9 syntax and the standard library only: this file is read on both sides.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmap import mmap
    from typing import Any

LENGTH = struct.Struct("<I")

# length of what follows, n, attempt, outcome, form, roll, started (seconds since the epoch), took (seconds),
# and where the output lies: out_from, out_to, err_from, err_to
RECORD = struct.Struct("<IIIBBHdfQQQQ")

# The slot's part: serial, n, attempt, what it does, started (CLOCK_MONOTONIC), out_from, err_from, roll, serial again
PAGE = struct.Struct("<IIIIdQQII")
IDLE, RUNNING, BOOTING = range(3)

# The agent's part: the epoch of good deliveries (or STOP), then n and attempt of what is to be stopped, and the outcome
# it shall have. Before it begins a task the slot first writes the page and then looks at the epoch; the agent first
# writes the epoch and then looks at the page: so one of them always sees the other.
ORDER = struct.Struct("<IIII")
ORDER_AT = 48
STOP = 0xFFFFFFFF

# Bytes the slot held when a task with a memory limit began; the error number of a slot that cannot write its files;
# 1 when the machine is about to go; and the slot's process where that is not the one that the agent has started.
BASELINE = struct.Struct("<Q")
BASELINE_AT = 64
TROUBLE = struct.Struct("<I")
TROUBLE_AT = 72
NOTICE_AT = 76
BODY = struct.Struct("<I")
BODY_AT = 80
AWAY = 0xFFFFFFFF
"""In place of a process: the container has ended, and its runtime has put it away."""
TIDYING = 0xFFFFFFFE
"""In place of a process: what is in the container has ended, or is about to, and its runtime puts it away."""
PAGE_SIZE = 128

SUCCEEDED, ERRORED, TIMED_OUT, OUT_OF_MEMORY, INTERRUPTED, ASKED_AGAIN, CANCELLED, REJECTED = range(8)
LOST = 10
NOTHING, JSON, PICKLE, STORED_JSON, STORED_PICKLE, FAILURE = range(6)

SMALL = 64 * 1024
"""Values over this many bytes go to the job's store as files."""

LEFT, IN_TROUBLE = 0, 81
"""Exit statuses of a slot: it left on purpose; its files cannot be written."""


def pack(
    n: int,
    attempt: int,
    outcome: int,
    form: int,
    roll: int,
    started: float,
    took: float,
    output: tuple[int, int, int, int],
    value: bytes,
) -> bytes:
    """One record. `output` is (out_from, out_to, err_from, err_to)."""
    return RECORD.pack(RECORD.size - 4 + len(value), n, attempt, outcome, form, roll, started, took, *output) + value


def unpack(data: bytes, start: int = 0) -> tuple[list[tuple[Any, ...]], int]:
    """([(n, attempt, outcome, form, roll, started, took, out_from, out_to, err_from, err_to, value), ...], end).

    Reads every whole record from `start`; `end` is where the first incomplete one begins.
    """
    records, size, total, read = [], RECORD.size, len(data), RECORD.unpack_from
    while start + size <= total:
        head = read(data, start)
        end = start + 4 + head[0]
        if end > total:
            break
        records.append((*head[1:], data[start + size : end]))
        start = end
    return records, start


def look(page: mmap) -> tuple[Any, ...]:
    """(n, attempt, doing, started, out_from, err_from, roll) as the slot last wrote them, never half and half."""
    while True:
        seen = page[: PAGE.size]
        if seen[:4] == seen[-4:] and seen == page[: PAGE.size]:
            return PAGE.unpack(seen)[1:-1]


def failure(
    kind: str,
    message: str,
    traceback: str = "",
    exit_code: int | None = None,
    signal: int | None = None,
    stderr: str = "",
    pickle: str = "",
    after: float | None = None,
    state: object = None,
) -> bytes:
    """The value of an attempt that did not succeed: UTF-8 JSON.

    `pickle` is the sealed pickle of the exception in base 64, or ""; `after` (seconds) and `state` are those of Again.
    """
    import json

    story = {"type": kind, "message": message, "traceback": traceback, "exit_code": exit_code, "signal": signal,
             "stderr": stderr, "pickle": pickle, "after": after, "state": state}  # fmt: skip
    return json.dumps({key: value for key, value in story.items() if value not in (None, "")}).encode()
