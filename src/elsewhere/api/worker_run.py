"""Runs a worker's list here: progress, event log, interrupts, the closing lines."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from elsewhere import session
from elsewhere.api.event_log import EventLog
from elsewhere.api.interrupts import interrupts
from elsewhere.api.jobs import Job
from elsewhere.api.line import Line
from elsewhere.errors import ElsewhereError
from elsewhere.model.job import JobSpec
from elsewhere.model.reports import Ended
from elsewhere.model.task import NewTask
from elsewhere.model.units import show_duration
from elsewhere.observe.wording import plural


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def complain(error: ElsewhereError) -> None:
    """Each fault on a line of its own, then what to do."""
    for line in (*getattr(error, "faults", ()),) or (error.message,):
        say(f"error: {line}")
    if error.hint:
        say(error.hint)


async def start(spec: JobSpec, tasks: Iterable[NewTask], words: argparse.Namespace) -> Job:
    """InvalidTask: the list has faults, and nothing was run. An interrupt: SystemExit(130), once what ran has ended."""
    files = session.create(spec, tasks)
    job = Job(files)
    say(f"{spec.name}: {plural(job.counts.total, 'task')}, {spec.slots} at a time")
    show = Line(spec.timeout.total_seconds() if spec.timeout else None)
    log = EventLog(files, Path(words.event_log_file)) if words.event_log_to_file else None
    try:
        with interrupts(say=False) as stop:
            await _in_a_thread(files, stop, show, log)
    except KeyboardInterrupt:
        show.close()
        say(_summary(job, show))
        raise SystemExit(130) from None
    finally:
        show.close()
        if log is not None:
            log.close()
    say(_summary(job, show))
    return job


async def _in_a_thread(files: session.JobFiles, stop: session.Stop, show: Line, log: EventLog | None) -> None:
    """The event loop goes on meanwhile; cancelling us stops the job before we are gone."""

    def run() -> None:
        def heard(ended: Sequence[Ended]) -> None:
            if log is not None:
                log.write(ended)

        session.run_here(files, watch=show.show, heard=heard, stop=stop)

    running = asyncio.get_running_loop().run_in_executor(None, run)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.hard()
        await asyncio.wait([running])
        raise


def _summary(job: Job, show: Line) -> str:
    counts = job.counts
    left = counts.total - counts.ended
    parts = [f"{counts.succeeded:,} of {counts.total:,} done"]
    parts += [f"{number:,} {word}" for number, word in ((counts.failed, "failed"), (left, "left")) if number]
    if counts.asks:
        parts.append(f"asked again {counts.asks:,} times")
    lines = [
        f"{'Interrupted' if left else 'Done'} after {show_duration(time.monotonic() - show.began)}: {', '.join(parts)}."
    ]
    name = job.name
    if left:
        lines.append(f"  elsewhere resume {name:<30} goes on")
    if counts.failed:
        lines.append(f"  elsewhere results {name} --failed {'':<14} says why they failed")
    lines.append(f"  elsewhere results {name:<29} shows the results")
    return "\n".join(lines)
