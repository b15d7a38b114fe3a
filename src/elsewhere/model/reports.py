"""What agents send home. Each is small, may come twice, late, and in any order."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from elsewhere.model.states import Outcome


class Form(enum.IntEnum):
    """How a value is written. The numbers stand in files: they are never given a new meaning."""

    NOTHING = 0
    JSON = 1
    """UTF-8 JSON."""
    PICKLE = 2
    """A sealed pickle (ship/seal.py); never opened by a controller."""
    STORED_JSON = 3
    """UTF-8 JSON in the job's store; the value is its key."""
    STORED_PICKLE = 4
    FAILURE = 5
    """UTF-8 JSON of a Failure (slot/wire.py): type, message, traceback, exit_code, signal, stderr, pickle."""


class Output(NamedTuple):
    """Where an attempt's output lies: file `<slot>.<roll>.out` and `.err` of an agent, from byte to byte."""

    slot: int
    roll: int
    out_from: int
    out_to: int
    err_from: int
    err_to: int


class Ended(NamedTuple):
    """An attempt ended. `started` is seconds since the epoch by the agent's clock, `took` is seconds."""

    n: int
    attempt: int
    outcome: Outcome
    started: float
    took: float
    form: Form
    value: bytes
    output: Output | None = None
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An agent has these deliveries: (n, attempt) each.

    `heard`: the name of a recall that it has read; then these are all that it has, or has done, of what is recalled.
    """

    agent: str
    deliveries: tuple[tuple[int, int], ...]
    heard: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The agent lives; `running` are the (n, attempt) in its slots, `free` its idle slots.

    `draining`: it takes nothing more, and `running` is all that it has in hand.
    """

    agent: str
    at: datetime
    running: tuple[tuple[int, int], ...] = ()
    free: int = 0
    draining: bool = False


@dataclass(frozen=True, slots=True)
class BootStep:
    """A machine on its way up: what it has just done, and what went wrong if something did. `final`: so it would be on
    any other."""

    agent: str
    step: str
    error: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """The machine is about to go: preemption, or the end of its term. `until` by its own clock."""

    agent: str
    reason: str
    until: datetime | None = None


Report = Ended | Claimed | Heartbeat | BootStep | Notice
