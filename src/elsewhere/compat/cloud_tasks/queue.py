"""load_queue, show_queue, purge_queue, delete_queue, status, stop, monitor_event_queue: what becomes of a job's tasks.

A queue of the seed is a job of ours: its tasks that have not ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from elsewhere import session
from elsewhere.api.event_log import EventLog
from elsewhere.api.worker_run import say
from elsewhere.compat.cloud_tasks import jobs, run
from elsewhere.compat.cloud_tasks.settings import Asked
from elsewhere.errors import JobHeld, UsageError
from elsewhere.observe.table import table
from elsewhere.observe.wording import plural

if TYPE_CHECKING:
    from elsewhere.ledger.questions import Questions
    from elsewhere.ledger.views import Counts, TaskView

LOOK = 0.5
"""Seconds between two looks at a ledger that somebody else writes."""
PATIENCE = 120.0
"""Seconds that a controller gets to end its machines."""


def out(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


@contextmanager
def opened(files: session.JobFiles) -> Iterator[Questions]:
    with closing(files.open()) as ledger:
        yield ledger


def load_queue(asked: Asked, words: argparse.Namespace) -> int:
    """Make the job with its tasks, or add them to it; no machine is started."""
    files = jobs.known(asked)
    if words.resume:
        return show_queue(asked, argparse.Namespace(detail=False))
    if words.tasks is None:
        raise UsageError("say which tasks to load: --tasks my_tasks.json")
    if files is not None and words.force:
        cancelled(files)
        files = None
    if files is None:
        files = run.make(jobs.spec(asked, jobs.place(asked)), words)
        with opened(files) as ledger:
            out(f"{asked.job}: {plural(ledger.count().total, 'task')} loaded")
    else:
        out(f"{asked.job}: {plural(run.added(files, words), 'task')} added")
    return 0


def show_queue(asked: Asked, words: argparse.Namespace) -> int:
    """How many tasks stand where; with --detail the first that has not ended."""
    files = jobs.find(asked)
    with opened(files) as ledger:
        out(*figures(asked.job, ledger.count()))
        if words.detail:
            out(*_first(ledger))
    return 0


def figures(name: str, counts: Counts) -> list[str]:
    rows = (("waiting to be run", counts.ready + counts.waiting), ("handed out", counts.handed_out),
            ("done", counts.succeeded), ("failed", counts.failed), ("cancelled", counts.cancelled))  # fmt: skip
    return [f"Queue {name}: {plural(counts.total - counts.ended, 'task')}", *(f"  {n:>9,}  {what}" for what, n in rows)]


def _first(ledger: Questions) -> list[str]:
    after = 0
    while page := ledger.tasks(after):
        for task in page:
            if not task.state.ended:
                return [f"The next is {task.id}: {ledger.body(task.n)[0].decode()}"]
        after = page[-1].n
    return ["No task is left."]


def purge_queue(asked: Asked, words: argparse.Namespace) -> int:
    """Cancel what has not ended; what has keeps its result."""
    files = jobs.find(asked)
    if _only_events(words):
        return 0
    _agree("EMPTY", asked.job, words.force)
    out(f"{plural(cancelled(files), 'task')} of {asked.job} cancelled")
    return 0


def cancelled(files: session.JobFiles) -> int:
    """Cancel what has not ended, and remove what the job has at its place; how many tasks."""
    count = session.cancel(files)
    session.sweep(files)
    return count


def delete_queue(asked: Asked, words: argparse.Namespace) -> int:
    """Cancel what has not ended, and remove the job with all that is recorded of it."""
    files = jobs.find(asked)
    if _only_events(words):
        return 0
    _agree("DELETE", asked.job, words.force)
    cancelled(files)
    _released(files)
    session.remove(files)
    out(f"{asked.job} is removed, with its records")
    return 0


def _only_events(words: argparse.Namespace) -> bool:
    if words.event_queue_only and words.task_queue_only:
        raise UsageError("--event-queue-only and --task-queue-only are one too many")
    if words.event_queue_only:
        say("there is no queue of events here: they are in the job's records; nothing was changed")
    return bool(words.event_queue_only)


def _agree(word: str, name: str, force: bool) -> None:
    """UsageError: it was not agreed to, and nothing was changed."""
    if force:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{name} would be changed, and nobody can be asked", hint="--force does not ask.")
    sys.stderr.write(f"Type {word} {name} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != f"{word} {name}":
        raise UsageError("nothing was changed")


def status(asked: Asked, words: argparse.Namespace) -> int:
    """The machines of the job, and its queue."""
    from elsewhere.compat.cloud_tasks import lists

    files = jobs.find(asked)
    holder = session.holder(files)
    with opened(files) as ledger:
        rows = lists.machines(ledger, ended=False)
        out(*(table(lists.HEADS, rows) if rows else ["No machine runs."]))
        out(*figures(asked.job, ledger.count()))
    alive = holder is not None and holder.alive
    out(f"It is run by process {holder.pid} on {holder.host}." if alive and holder else "Nobody runs it just now.")
    return 0


def stop(asked: Asked, words: argparse.Namespace) -> int:
    """End the job's machines; its queue stays, and `run --continue` goes on with it."""
    from elsewhere.compat.cloud_tasks import lists

    files = jobs.find(asked)
    if session.stop(files, now=True):
        _released(files)
    left = lists.end(files)
    out(f"{plural(left, 'machine')} told to end" if left else f"no machine of {asked.job} runs")
    if words.purge_queue:
        out(f"{plural(cancelled(files), 'task')} of {asked.job} cancelled")
    return 0


def _released(files: session.JobFiles) -> None:
    """When this returns nobody runs the job. JobHeld: its controller takes too long."""
    end = time.monotonic() + PATIENCE
    while (holder := session.holder(files)) is not None and holder.alive:
        if time.monotonic() > end:
            raise JobHeld(f"the job is still held by process {holder.pid} on {holder.host}", hint="Try it again.")
        time.sleep(LOOK)


def monitor_event_queue(asked: Asked, words: argparse.Namespace) -> int:
    """Each try of each task as a JSON object a line, until the job is over, or (--no-auto-complete) for ever."""
    files = jobs.find(asked)
    with ExitStack() as exits:
        targets = [words.output_file] if words.output_file else []
        logs = [EventLog(files, target) for target in targets]
        if words.print_events or not targets:
            logs.append(EventLog(files, sys.stdout))
        for log in logs:
            exits.callback(log.close)
        ledger = exits.enter_context(opened(files))
        told = Told()
        while True:
            counts = ledger.count()
            if counts.ended != told.count:
                for page in told.news(ledger):
                    for log in logs:
                        log.write(page)
            if counts.over and not words.no_auto_complete:
                return 0
            time.sleep(LOOK)


class Told:
    """Which tasks' ends have been told: a bit for each, so that a million of them take 125 kB."""

    def __init__(self) -> None:
        self.count = 0
        self._bits = bytearray()

    def news(self, ledger: Questions) -> Iterator[list[TaskView]]:
        """Those that ended since, a page at a time."""
        after = 0
        while page := ledger.outcomes(after):
            after = page[-1].seq
            if fresh := [task for task in page if self._take(task.n)]:
                yield fresh

    def _take(self, n: int) -> bool:
        place, bit = divmod(n, 8)
        self._bits.extend(bytes(max(0, place + 1 - len(self._bits))))
        if self._bits[place] >> bit & 1:
            return False
        self._bits[place] |= 1 << bit
        self.count += 1
        return True
