"""Identifiers: `job-<ulid>` and so on, lower case, in the order of their making.

A ULID is 48 bits of milliseconds and 80 random bits in Crockford's base 32 (https://github.com/ulid/spec).
"""

from __future__ import annotations

import os
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID = re.compile(r"[a-z]+-[0-9a-hjkmnp-tv-z]{26}")


def ulid(milliseconds: int, random: int) -> str:
    """26 characters that sort by `milliseconds` (48 bits), then by `random` (80 bits)."""
    number = (milliseconds << 80) | random
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def new(kind: str) -> str:
    """A fresh id such as `job-01j9zk...`; never the same twice."""
    return f"{kind}-{ulid(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), 'big'))}"
