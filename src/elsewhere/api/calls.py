"""One call: sent into a live job, waited for, awaited or cancelled through a future."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

from elsewhere.api import live
from elsewhere.api.options import Options
from elsewhere.errors import StateError
from elsewhere.model.reports import Ended
from elsewhere.model.states import Outcome

_GONE = (Outcome.CANCELLED, Outcome.INTERRUPTED)


class TaskFuture(Future[Any]):
    """The standard library's future of a call. `task` is its `JOB/TASK`. Unlike there, a running task can be cancelled.

    A result is opened by whoever asks for it, on their thread, never on the controller's.
    """

    def __init__(self, pool: live.Pool) -> None:
        super().__init__()
        self.pool, self.id = pool, ""
        self._home: tuple[bool, Any] | None = None

    @property
    def task(self) -> str:
        return f"{self.pool.files.id}/{self.id}"

    def ended(self, report: Ended) -> None:
        """Called by the controller's thread when the task has ended for good."""
        if report.outcome in _GONE:
            self._mark_cancelled()
            return
        try:
            self.set_result(report)
        except InvalidStateError:  # it was cancelled in the meantime
            pass

    def cancel(self) -> bool:
        """Stop it, also while it runs. False if it had ended."""
        if self.cancelled():
            return True
        if not self._mark_cancelled():
            return False
        self.pool.cancel([self.id])
        return True

    def _mark_cancelled(self) -> bool:
        if not super().cancel():
            return False
        with self._condition:
            told = self._state == "CANCELLED_AND_NOTIFIED"
        if not told:
            self.set_running_or_notify_cancel()
        return True

    def result(self, timeout: float | None = None) -> Any:
        good, value = self._opened(timeout)
        if good:
            return value
        try:
            raise value
        finally:
            value = None  # no cycle of the exception with this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        good, value = self._opened(timeout)
        return None if good else value

    def _opened(self, timeout: float | None) -> tuple[bool, Any]:
        report: Ended = super().result(timeout)
        if self._home is None:
            self._home = opened(self.pool, self.id, report)
        return self._home


def opened(pool: live.Pool, task: str, report: Ended) -> tuple[bool, Any]:
    """(True, the value) or (False, the exception) of a task that has ended."""
    if report.outcome is Outcome.SUCCEEDED:
        try:
            return True, pool.codec.value(report.form, report.value)
        except Exception as error:
            return False, error
    return False, pool.codec.error(report.outcome, report.value, f"{pool.files.id}/{task}", report.attempt)


def submit(function: Callable[..., Any], options: Options, args: Any, kwargs: Any) -> TaskFuture:
    """PayloadError, UsageError: nothing was sent."""
    pool = live.pool(options)
    try:
        return submit_to(pool, function, options.own, args, kwargs)
    except StateError:
        if pool.alive:
            raise
        return submit_to(live.pool(options), function, options.own, args, kwargs)  # it was cancelled that very moment


def submit_to(pool: live.Pool, function: Callable[..., Any], own: bytes | None, args: Any, kwargs: Any) -> TaskFuture:
    future = TaskFuture(pool)
    written = pool.codec.function(function)
    future.id, _ = pool.send(written, live.label_of(function), args, kwargs, own, future.ended)
    return future


def call(function: Callable[..., Any], options: Options, args: Any, kwargs: Any) -> Any:
    """The value. An interrupt cancels the call."""
    future = submit(function, options, args, kwargs)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


def done_here(function: Callable[..., Any], args: Any, kwargs: Any) -> Future[Any]:
    """In a slot: call it here, at once."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future


async def await_here(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """In a slot: call it here; what it returns is awaited if it can be."""
    value = function(*args, **kwargs)
    return await value if inspect.isawaitable(value) else value
