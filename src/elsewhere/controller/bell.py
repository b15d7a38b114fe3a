"""Machines whose orders shall not wait for their next look at them are called, where their place can do that.

A look at the orders is billed, so who does short work looks seldom. A call is a courtesy: one that is lost costs no
more than that wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from elsewhere.backends.base import NativeId
from elsewhere.errors import PlaceError
from elsewhere.pool.calls import AtOnce, Calls

PAUSE = 5.0
"""Seconds between two calls, which count among those that the place allows; the first is made at once."""


class Bell:
    """`ring`: the place's way; None: it has none. `calls`: who calls there."""

    def __init__(
        self,
        ring: Callable[[Collection[NativeId]], None] | None,
        clock: Callable[[], float] = time.monotonic,
        calls: Calls | None = None,
    ) -> None:
        self._ring, self._clock, self._calls = ring, clock, calls or AtOnce()
        self._answer: Future[Any] | None = None
        self._due, self._rang = set[NativeId](), float("-inf")

    def call(self, machines: Iterable[NativeId]) -> None:
        """These, when there is time for it. Their orders are published already."""
        if self._ring is not None:
            self._due.update(machine for machine in machines if machine)

    def turn(self, there: Collection[NativeId]) -> None:
        """Make the call that is due."""
        self._heed()
        if self._answer is not None or not self._due or self._ring is None or self._clock() - self._rang < PAUSE:
            return
        due, self._due, self._rang = self._due & set(there), set(), self._clock()
        if due:
            self._answer = self._calls.ask(partial(self._ring, due))
            self._heed()

    def _heed(self) -> None:
        if self._answer is None or not self._answer.done():
            return
        error, self._answer = self._answer.exception(), None
        if isinstance(error, PlaceError) and not error.transient:  # such as a right that is missing
            self._ring = None
        elif error is not None and not isinstance(error, PlaceError):
            raise error
