"""Which job, and which task: the grammar of names, and how a job stands in one word.

A job is its name, a unique beginning of its id, or @last; a task is JOB/TASK.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from elsewhere.cli.grammar import Argument, Option
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.controller.lock import Holder
    from elsewhere.ledger.questions import Questions
    from elsewhere.ledger.views import Counts
    from elsewhere.session import JobFiles

JOB = Argument("JOB", "A job's name, a unique beginning of its id, or @last.", default="@last", completes="jobs")
TASK = Argument("TASK", "One of its tasks; JOB/TASK says the same in one word.")
JSON = Option("--json", help="Write JSON on standard output.")


def job(reference: str) -> JobFiles:
    """The job that `reference` names; UnknownJob names the nearest. JobAway: it is to be asked for somewhere else."""
    from elsewhere import session
    from elsewhere.controller import away

    if away.folder().is_dir():
        _not_away(reference or "@last")
    return session.find(reference or "@last")


def _not_away(reference: str) -> None:
    from elsewhere.controller import away
    from elsewhere.errors import JobAway

    if (found := away.find(reference)) is not None:
        raise JobAway(f"the controller of {found.name} sits on {found.host}, of the place {found.place}",
                      hint="Name that job alone.", job=found.job, reference=reference)  # fmt: skip


@contextmanager
def opened(files: JobFiles) -> Iterator[Questions]:
    """The job's ledger, to look at."""
    ledger = files.open()
    try:
        yield ledger
    finally:
        ledger.close()


def job_and_tasks(reference: str, tasks: list[str]) -> tuple[JobFiles, list[str]]:
    """The job, and the tasks, of `JOB/TASK` or of `JOB TASK...`. UsageError if both were typed."""
    name, slash, task = (reference or "@last").partition("/")
    if slash and tasks:
        raise UsageError(
            f"{reference} names a task already; {tasks[0]!r} is one too many", hint="Write JOB/TASK, or JOB TASK."
        )
    return job(name), [task] if slash and task else tasks


def machine(files: JobFiles, text: str) -> str:
    """The place's own name of a machine of the job, of which `text` is a beginning. UsageError names the nearest."""
    from elsewhere.cli.grammar import nearest
    from elsewhere.ledger.allocations import allocations

    with opened(files) as ledger:
        natives = [one.native for one in allocations(ledger) if one.native]
    found = [native for native in natives if native.startswith(text)]
    if len(found) == 1 or text in found:
        return text if text in found else found[0]
    said = f"{len(found)} machines begin with {text!r}" if found else f"the job has no machine {text!r}"
    raise UsageError(said + nearest(text, natives), hint="`elsewhere machines JOB` lists them.")


def is_job(reference: str) -> bool:
    """Whether the first word of `NAME/...` names a job that is here."""
    from elsewhere import session
    from elsewhere.errors import UnknownJob

    try:
        session.find(reference.partition("/")[0])
    except UnknownJob:
        return False
    return True


def is_cluster(reference: str) -> bool:
    """Whether the first word of `NAME/...` names a cluster that is known here, and no job."""
    from elsewhere.api.dask import records
    from elsewhere.controller import away
    from elsewhere.errors import UnknownJob

    name = reference.partition("/")[0]
    if name in ("", "@last") or is_job(name) or away.find(name) is not None:
        return False
    try:
        records.find(name)
    except UnknownJob:
        return False
    return True


def unknown_task(ledger: Questions, task: str) -> UsageError:
    """The error for a task that the job does not have, with the nearest of its first thousand."""
    from elsewhere.cli.grammar import nearest

    near = nearest(task, [view.id for view in ledger.tasks(0, 1000)])
    return UsageError(f"job {ledger.spec.name} has no task {task!r}{near}", hint="`elsewhere results JOB` lists them.")


def called(files: JobFiles, ledger: Questions) -> str:
    """The name to type for this job: its own, unless a newer job has taken it."""
    from elsewhere import session

    name = ledger.spec.name
    try:
        return name if name and session.find(name).id == files.id else files.id
    except UsageError:
        return files.id


def live(files: JobFiles, ledger: Questions) -> dict[str, Any]:
    """What the job's slots do just now: {slots, busy, running: [(task, seconds)], note, draining, at}.

    As its controller wrote it down last, brought up to date from the pages of this machine's slots.
    """
    from elsewhere.observe import logs

    now = time.time()
    story = {"slots": ledger.spec.slots, "note": "", "draining": False, **ledger.live()}
    late = max(now - float(story.get("at") or now), 0.0)
    written = [(str(task), float(seconds) + late) for task, seconds in story.get("running") or ()]
    running = logs.running(ledger, logs.shelf(files.directory), time.monotonic()) or [
        pair for pair in written if (task := ledger.task(pair[0])) is not None and not task.state.ended
    ]
    return {**story, "running": running, "busy": len(running), "at": now}


def standing(counts: Counts, holder: Holder | None) -> str:
    """running, succeeded, failed, cancelled, or stopped (it can be resumed)."""
    if counts.over:
        return "failed" if counts.failed else "cancelled" if counts.cancelled else "succeeded"
    if holder is not None and holder.alive:
        return "running"
    return "held" if holder is not None else "stopped"


def figures(counts: Counts) -> dict[str, Any]:
    """Counts by name, for --json."""
    names = (
        "total",
        "ready",
        "handed_out",
        "waiting",
        "succeeded",
        "failed",
        "cancelled",
        "complete",
        "retries",
        "asks",
    )
    return {name: getattr(counts, name) for name in names}
