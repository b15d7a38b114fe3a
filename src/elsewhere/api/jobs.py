"""A job as Python sees it: found, waited for, read, cancelled. Each question is asked of the ledger."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

from elsewhere import session
from elsewhere.errors import TaskError, UnknownJob
from elsewhere.model.reports import Form
from elsewhere.model.states import Outcome, TaskState
from elsewhere.observe import explain, logs
from elsewhere.observe.cost import Spending
from elsewhere.ship import codec

_LOOK = (0.005, 0.25)
"""Seconds between two looks at the ledger: the first, growing to the last."""
_SHELL_SIGNAL = 128


class Result(NamedTuple):
    """How a task ended. `value` is what it returned; `error` is what it raised, or the TaskError that says what became
    of it; `took` is seconds."""

    id: str
    ok: bool
    value: Any
    error: BaseException | None
    attempt: int
    took: float


class Job:
    """A job of this machine's state directory, running, finished or left. `await job` waits for it."""

    def __init__(self, files: session.JobFiles, function: str = "") -> None:
        """`function`: of a job that holds the calls of several functions, only those of this one are shown."""
        self.files = files
        self._ours = re.compile(rf"{re.escape(function)}-\d+" if function else ".*", re.DOTALL).fullmatch
        self._function = function

    @property
    def id(self) -> str:
        return self.files.id

    @property
    def name(self) -> str:
        with self._ledger() as ledger:
            return str(ledger.spec.name)

    @property
    def counts(self) -> session.Counts:
        """How many tasks stand where."""
        with self._ledger() as ledger:
            found: session.Counts = self._counted(ledger) if self._function else ledger.count()
        return found

    @property
    def state(self) -> str:
        """running, succeeded, failed, cancelled; or stopped: it is not over and nobody runs it."""
        counts = self.counts
        if counts.ended == counts.total and (counts.complete or not self._held()):
            return "failed" if counts.failed else "cancelled" if counts.cancelled else "succeeded"
        return "running" if self._held() else "stopped"

    @property
    def ok(self) -> bool:
        """Whether all its tasks have succeeded."""
        counts = self.counts
        return counts.succeeded == counts.total

    @property
    def exit_code(self) -> int | None:
        """Of one command its own status (128 + n for signal n); else 0 if all succeeded, 1 if not. None: not over."""
        counts = self.counts
        if counts.ended < counts.total:
            return None
        if counts.succeeded == counts.total:
            return 0
        story = self._story() if counts.total == 1 else {}
        if story.get("signal"):
            return _SHELL_SIGNAL + int(story["signal"])
        return int(story.get("exit_code") or 1)

    @property
    def stdout(self) -> str:
        """What its tasks have printed to standard output, in the order of the list, as UTF-8."""
        return self._printed(None, ("out",))

    @property
    def stderr(self) -> str:
        return self._printed(None, ("err",))

    def logs(self, task: str | None = None) -> str:
        """What one task, or all that have ended, printed: of each its standard output, then its standard error."""
        return self._printed(task, logs.STREAMS)

    def results(self) -> Iterator[Result]:
        """How each ended task ended, in the order of the list; a page of them in memory at a time."""
        key, after = self.files.seal_key(), 0
        while True:
            with self._ledger() as ledger:
                page = ledger.outcomes(after, 1000)
            for view in page:
                if self._ours(view.id):
                    yield self._result(view, key)
            if not page:
                return
            after = page[-1].seq

    def error(self) -> BaseException | None:
        """That of the first task that did not succeed; None: all that ended did."""
        return next((result.error for result in self.results() if result.error is not None), None)

    def wait(self, timeout: float | None = None) -> Job:
        """Until it is over, or nobody runs it any more; itself. TimeoutError after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = _LOOK[0]
        while not self._settled():
            if until is not None and time.monotonic() + pause > until:
                raise TimeoutError(f"job {self.id} is still running after {timeout} s")
            time.sleep(pause)
            pause = min(pause * 1.5, _LOOK[1])
        return self

    def watch(self) -> Job:
        """As `wait`, with the live line on standard error (in a notebook: one line of the cell)."""
        from elsewhere.api.line import Line

        line = Line()
        try:
            while not self._settled():
                line.show(self._view())
                time.sleep(_LOOK[1])
        finally:
            line.close()
        return self

    def cancel(self) -> int:
        """Cancel all that has not ended, stop what runs; how many there were. Over already: 0."""
        return session.cancel(self.files)

    def resume(self) -> Job:
        """Run what is left of it, in a process of its own; itself, at once. JobHeld: it is running."""
        self._let_go()
        session.detach(self.files)
        return self

    def retry(self) -> Job:
        """Run again what failed, and only that. JobHeld: it is running."""
        self._let_go()
        session.retry(self.files)
        return self.resume()

    def on_finish(self, call: Callable[[Job], object]) -> None:
        """Call it once with this job when it is over, on a thread of its own that no program waits for."""

        def watch() -> None:
            self.wait()
            call(self)

        threading.Thread(target=watch, name=f"elsewhere waits for {self.id}", daemon=True).start()

    def __await__(self) -> Generator[Any, None, Job]:
        return self._awaited().__await__()

    async def _awaited(self) -> Job:
        from asyncio import sleep

        pause = _LOOK[0]
        while not self._settled():
            await sleep(pause)
            pause = min(pause * 1.5, _LOOK[1])
        return self

    def __repr__(self) -> str:
        counts = self.counts
        return f"<Job {self.name} {self.id}: {self.state}, {counts.ended} of {counts.total} tasks ended>"

    # -- below the surface

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[Any]:
        ledger = self.files.open()
        try:
            yield ledger
        finally:
            ledger.close()

    def _view(self) -> session.View:
        with self._ledger() as ledger:
            said, counts = ledger.live(), ledger.count()
        running = tuple((name, seconds) for name, seconds in said.get("running", ()))
        return session.View(
            counts,
            said.get("slots", 0),
            said.get("busy", 0),
            running,
            said.get("draining", False),
            said.get("note", ""),
            Spending.read(said.get("money")),
        )

    def _counted(self, ledger: Any) -> session.Counts:
        """By looking at each task: only for what one process has called."""
        states: Counter[TaskState] = Counter()
        after = 0
        while page := ledger.tasks(after, 1000):
            states.update(view.state for view in page if self._ours(view.id))
            after = page[-1].n
        named = {state.name.lower(): number for state, number in states.items()}
        return session.Counts(total=states.total(), complete=ledger.count().complete, **named)

    def _held(self) -> bool:
        return session.holder(self.files) is not None

    def _settled(self) -> bool:
        """The holder is looked at first: what it did before it went is then in the counts."""
        held = self._held()
        counts = self.counts
        return not held or (counts.ended == counts.total and (counts.complete or counts.total > 0))

    def _let_go(self) -> None:
        """A controller whose job is over is on its way out: wait for that, at most ten seconds."""
        until = time.monotonic() + 10
        while self.counts.over and self._held() and time.monotonic() < until:
            time.sleep(_LOOK[0])

    def _story(self) -> dict[str, Any]:
        with self._ledger() as ledger:
            view = next(iter(ledger.outcomes(0, 1)), None)
        return explain.failure(view.form, view.value) if view else {}

    def _result(self, view: Any, key: bytes) -> Result:
        value: Any = None
        error: BaseException | None = None
        if view.state is TaskState.SUCCEEDED:
            try:
                value = codec.decode(view.form, view.value, self.files.store, key)
            except TaskError as reason:
                error = reason
        else:
            outcome = view.outcome if view.outcome is not None else Outcome.CANCELLED
            story = view.value if view.form == Form.FAILURE else b""
            error = codec.exception(outcome, story, key, f"{self.id}/{view.id}", view.attempt)
        return Result(view.id, error is None, value, error, view.attempt, view.took)

    def _printed(self, task: str | None, streams: tuple[str, ...]) -> str:
        return b"".join(self.output(task, streams)).decode("utf-8", "replace")

    def output(self, task: str | None = None, streams: tuple[str, ...] = ("out",)) -> Iterator[bytes]:
        """The bytes that tasks printed, in pieces; `streams` from "out" and "err". InvalidTask: no such task."""
        names = [task] if task is not None else self._ended()
        for name in names:
            with self._ledger() as ledger:
                attempts = ledger.attempts(name)
            for attempt in attempts:
                for stream in streams:
                    yield from logs.printed(logs.shelf(self.files.directory), attempt, stream)

    def _ended(self) -> Iterator[str]:
        after = 0
        while True:
            with self._ledger() as ledger:
                page = ledger.outcomes(after, 1000)
            yield from (view.id for view in page if self._ours(view.id))
            if not page:
                return
            after = page[-1].seq


def jobs() -> list[Job]:
    """All jobs of this state directory, the newest first, those of earlier sessions too."""
    return [Job(files) for files in session.listing()]


def attach(ref: str = "@last") -> Job:
    """The job of that name, of that unique beginning of an id, or the newest (`@last`); also after a restart.

    The name of a remote function finds the newest job that holds its calls, and shows only those. UnknownJob names the
    nearest.
    """
    try:
        return Job(session.find(ref))
    except UnknownJob:
        for files in session.listing():
            if _has_calls(files, ref):
                return Job(files, ref)
        raise


def _has_calls(files: session.JobFiles, function: str) -> bool:
    ledger = files.open()
    try:
        return ledger.spec.entry.kind == "call" and ledger.task(f"{function}-1") is not None
    finally:
        ledger.close()
