"""Orders to go wrong: which requests are refused, fail, or are never answered, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

KINDS = {
    "refuse": "answered by an error (--code), and nothing is done",
    "throttle": "answered that there were too many requests, and nothing is done",
    "error": "answered by an internal error (500), and nothing is done",
    "error-after": "answered by an internal error (500), although it was done",
    "lose": "never answered, and nothing is done",
    "lose-after": "never answered, although it was done",
    "hang": "kept waiting for a minute, or until faults are cleared, then not answered, and nothing is done",
    "hang-after": "the same, although it was done",
}

HANGS = 60.0
"""Seconds."""


@dataclass(slots=True)
class Fault:
    action: str
    """A glob over the API's names of actions: RunInstances, Send*."""
    kind: str
    code: str = ""
    times: int | None = 1
    """How many requests more; None: all."""
    until: float | None = None
    """A moment of the sandbox's clock."""
    service: str = "*"


class Faults:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._orders = now, list[Fault]()
        self._lock = threading.Lock()
        self._cleared = threading.Event()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._orders.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def hang(self) -> None:
        """For as long as a caller is kept waiting."""
        with self._lock:
            cleared = self._cleared
        cleared.wait(HANGS)

    def take(self, service: str, action: str) -> Fault | None:
        """The order that this request falls to; it counts as used."""
        with self._lock:
            self._orders = [o for o in self._orders if o.times != 0 and (o.until is None or o.until > self._now())]
            for order in self._orders:
                if fnmatchcase(action, order.action) and fnmatchcase(service, order.service):
                    if order.times is not None:
                        order.times -= 1
                    return order
        return None

    def orders(self) -> list[Fault]:
        with self._lock:
            return list(self._orders)
