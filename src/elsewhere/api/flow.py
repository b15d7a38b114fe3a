"""Many calls of one function: read in as there is room, given out as they come, bounded in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from elsewhere.api import live
from elsewhere.api.calls import opened
from elsewhere.api.options import Options
from elsewhere.errors import UsageError
from elsewhere.model.reports import Ended

WINDOW = 1000
"""Calls under way for each slot, at most: about what a slot does in its agent's look-ahead."""
BYTES = 256 << 20
"""Arguments under way, at most, once every slot has two calls."""
ERRORS = ("raise", "return", "skip")


class Flow:
    """One `map`: what is under way, and what has come home and was not taken. Used by one thread at a time."""

    def __init__(
        self, pool: live.Pool, function: Callable[..., Any], own: bytes | None, items: Iterator[Sequence[Any]],
        *, ordered: bool, window: int | None,
    ) -> None:  # fmt: skip
        self.pool, self.own, self.items, self.ordered = pool, own, items, ordered
        self.function, self.label = pool.codec.function(function), live.label_of(function)
        self.window = window or WINDOW * pool.slots
        self._home: SimpleQueue[tuple[int, Ended]] = SimpleQueue()
        self._out: dict[int, tuple[str, int]] = {}
        self._held: dict[int, tuple[str, Ended]] = {}
        self._size = self._sent = self._given = 0
        self._all_sent = False

    def fill(self) -> None:
        """Send as many as there is room for."""
        out, put = self._out, self._home.put
        while not self._all_sent and len(out) + len(self._held) < self.window and self._fits():
            try:
                args = next(self.items)
            except StopIteration:
                self._all_sent = True
                return
            number = self._sent
            out[number] = sent = self.pool.send(self.function, self.label, args, {}, self.own, _numbered(put, number))
            self._sent += 1
            self._size += sent[1]

    def _fits(self) -> bool:
        return self._size < BYTES or len(self._out) < 2 * self.pool.slots

    def take(self, until: float | None = None) -> tuple[str, Ended] | None:
        """The next that is to be given out, when it has come; None: there is no other. TimeoutError after `until`."""
        while True:
            self.fill()
            if self._held and (not self.ordered or self._given in self._held):
                number = self._given if self.ordered else next(iter(self._held))
                self._given += 1
                return self._held.pop(number)
            if not self._out:
                return None
            self._receive(until)

    def _receive(self, until: float | None) -> None:
        """Wait for one, then take all that are there."""
        try:
            number, report = self._home.get(timeout=None if until is None else max(0.0, until - monotonic()))
        except Empty:
            raise TimeoutError from None
        while True:
            task, size = self._out.pop(number)
            self._size -= size
            self._held[number] = (task, report)
            try:
                number, report = self._home.get_nowait()
            except Empty:
                return

    def cancel(self) -> None:
        """Give up what has not come home."""
        names = [task for task, _ in self._out.values()]
        self._out.clear()
        self._all_sent = True
        self.pool.cancel(names)


def _numbered(put: Callable[[tuple[int, Ended]], None], number: int) -> Callable[[Ended], None]:
    return lambda report: put((number, report))


def results(flow: Flow, errors: str, until: float | None = None) -> Iterator[Any]:
    """The values of a flow; when the loop is left, by whatever way, what is still under way is cancelled."""
    try:
        while (taken := flow.take(until)) is not None:
            task, report = taken
            good, value = opened(flow.pool, task, report)
            if good or errors == "return":
                yield value
            elif errors == "raise":
                raise value
    finally:
        flow.cancel()


def each(
    function: Callable[..., Any], options: Options, iterables: Sequence[Iterable[Any]], ordered: bool, errors: str,
    window: int | None,
) -> Iterator[Any]:  # fmt: skip
    """What `Remote.map` gives. UsageError, PayloadError of the function: raised here, before the first item is read."""
    _check(errors, window)
    flow = Flow(
        live.pool(options), function, options.own, zip(*iterables, strict=False), ordered=ordered, window=window
    )
    return results(flow, errors)


def here(function: Callable[..., Any], iterables: Sequence[Iterable[Any]], errors: str) -> Iterator[Any]:
    """In a slot: one after the other, here."""
    _check(errors, None)
    for args in zip(*iterables, strict=False):
        try:
            yield function(*args)
        except Exception as error:
            if errors == "raise":
                raise
            if errors == "return":
                yield error


def _check(errors: str, window: int | None) -> None:
    if errors not in ERRORS:
        raise UsageError(f"errors must be one of {', '.join(ERRORS)}, not {errors!r}")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise UsageError(f"window must be a whole number of 1 or more, not {window!r}")
