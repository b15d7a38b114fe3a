"""Machines whose orders shall not wait for their next look at them are called, where their place can do that.

A look at the orders is billed, so who does short work looks seldom. A call is a courtesy: one that is lost costs no
more than that wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from elsewhere.backends.base import NativeId
from elsewhere.errors import PlaceError

PAUSE = 5.0
"""Seconds between two calls, which count among those that the place allows; the first is made at once."""


class Bell:
    """`ring`: the place's way; None: it has none."""

    def __init__(
        self, ring: Callable[[Collection[NativeId]], None] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ring, self._clock = ring, clock
        self._due, self._rang = set[NativeId](), float("-inf")

    def call(self, machines: Iterable[NativeId]) -> None:
        """These, when there is time for it. Their orders are published already."""
        if self._ring is not None:
            self._due.update(machine for machine in machines if machine)

    def turn(self, there: Collection[NativeId]) -> None:
        """Make the call that is due. Waits for the place's answer."""
        if not self._due or self._ring is None or self._clock() - self._rang < PAUSE:
            return
        due, self._due, self._rang = self._due & set(there), set(), self._clock()
        if due:
            try:
                self._ring(due)
            except PlaceError as error:
                if not error.transient:  # such as a right that is missing
                    self._ring = None
