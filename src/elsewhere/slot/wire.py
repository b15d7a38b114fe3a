"""What an agent and a slot say to each other: frames down a pipe, outcomes up through a file.

Down: `<u32 length><marshal version 2>`, written by the agent only (a trusted direction):
    {"boot": {...}}                       once, first; the keys are those of `Boot` in agent/runner.py
    [(n, attempt, id, body, options), ...]   a batch of deliveries, run in this order; options is bytes or None
Up: for each attempt one record, appended to the slot's outcome file before the next task begins, so that the death of
the agent or of the controller loses none; after it one byte down the wake pipe when the agent may be waiting.
The page: a small file that both map into memory; the slot writes there what it is running and since when.

Python 3.9 syntax and the standard library only: this file is read on both sides.
"""

from __future__ import annotations

import json
import struct

LENGTH = struct.Struct("<I")

# length of what follows, n, attempt, outcome, form, roll, started (seconds since the epoch), took (seconds),
# and where the output lies: out_from, out_to, err_from, err_to
RECORD = struct.Struct("<IIIBBHdfQQQQ")

# serial (odd while it is being written), n, attempt, running (0 or 1), started (CLOCK_MONOTONIC), out_from, err_from, roll
PAGE = struct.Struct("<IIIIdQQI")
PAGE_SIZE = 64

SUCCEEDED, ERRORED, TIMED_OUT, OUT_OF_MEMORY, INTERRUPTED, ASKED_AGAIN, CANCELLED, REJECTED = range(8)
NOTHING, JSON, PICKLE, STORED_JSON, STORED_PICKLE, FAILURE = range(6)

SMALL = 64 * 1024
"""Values over this many bytes go to the job's store as files."""


def pack(n, attempt, outcome, form, roll, started, took, output, value):  # type: ignore[no-untyped-def]
    """One record. `output` is (out_from, out_to, err_from, err_to)."""
    return RECORD.pack(RECORD.size - 4 + len(value), n, attempt, outcome, form, roll, started, took, *output) + value


def unpack(data, start=0):  # type: ignore[no-untyped-def]
    """([(n, attempt, outcome, form, roll, started, took, out_from, out_to, err_from, err_to, value), ...], end).

    Reads every whole record from `start`; `end` is where the first incomplete one begins.
    """
    records, size, total = [], RECORD.size, len(data)
    while start + size <= total:
        head = RECORD.unpack_from(data, start)
        end = start + 4 + head[0]
        if end > total:
            break
        records.append((*head[1:], bytes(data[start + size : end])))
        start = end
    return records, start


def failure(kind, message, traceback="", exit_code=None, signal=None, stderr="", pickle="", after=None, state=None):  # type: ignore[no-untyped-def]
    """The value of an attempt that did not succeed: UTF-8 JSON.

    `pickle` is the sealed pickle of the exception in base 64, or ""; `after` (seconds) and `state` are those of Again.
    """
    story = {"type": kind, "message": message, "traceback": traceback, "exit_code": exit_code, "signal": signal,
             "stderr": stderr, "pickle": pickle, "after": after, "state": state}  # fmt: skip
    return json.dumps({key: value for key, value in story.items() if value not in (None, "")}).encode()
