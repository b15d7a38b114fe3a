"""The standard library's interface: an Executor whose futures are tasks of a job."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, TypeVar

from elsewhere.api import calls, flow, live
from elsewhere.api.options import Options
from elsewhere.api.remote import Remote, inside

T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """A concurrent.futures.Executor with slots of its own: `with Executor(slots=4) as pool: pool.map(f, xs)`.

    Options are those of `remote`. A remote function runs with the executor's options, not its own. In a slot everything
    is run at once where it stands.
    """

    def __init__(self, slots: int | None = None, **options: Any) -> None:
        """UsageError names an option that is wrong. The slots are started by the first call."""
        self._options = Options.of({**options, **({"slots": slots} if slots is not None else {})})
        self._pool: live.Pool | None = None
        self._lock = threading.Lock()
        self._shut = False

    def _opened(self) -> live.Pool:
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._pool is None:
                self._pool = live.own_pool(self._options, self._options.name or live.program())
            return self._pool

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """A future at once. PayloadError: the function or an argument cannot travel, nothing was sent."""
        if inside():
            return calls.done_here(fn, args, kwargs)
        return calls.submit_to(self._opened(), _subject(fn), self._options.own, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """The results in order, as they come. The first calls are sent at once, the rest as there is room.

        `chunksize` is accepted and not needed: calls travel in batches of their own accord.
        """
        if inside():
            return flow.here(fn, iterables, "raise")
        items = zip(*iterables, strict=False)
        begun = flow.Flow(
            self._opened(), _subject(fn), self._options.own, items, ordered=True, window=buffersize
        )  # fmt: skip
        begun.fill()
        return flow.results(begun, "raise", None if timeout is None else monotonic() + timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; with `wait`, until all has ended. `cancel_futures` gives up what has not begun. Repeatable."""
        with self._lock:
            self._shut = True
            pool = self._pool
        if pool is None:
            return
        if wait:
            live.close(pool, cancel_futures)
        else:
            threading.Thread(target=live.close, args=(pool, cancel_futures), name="elsewhere closes").start()


def _subject(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn._subject() if isinstance(fn, Remote) else fn
