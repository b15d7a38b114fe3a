"""`run`: the queue is made and loaded, machines are chosen, started, replaced when lost, and ended with the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere import session
from elsewhere.api import choosing, startup
from elsewhere.api.event_log import EventLog
from elsewhere.api.interrupts import interrupts
from elsewhere.api.line import Line
from elsewhere.api.worker_run import say
from elsewhere.compat.cloud_tasks import jobs
from elsewhere.compat.cloud_tasks.settings import Asked
from elsewhere.errors import InvalidTask, UsageError
from elsewhere.model.units import show_duration
from elsewhere.observe import bill
from elsewhere.observe.wording import plural

if TYPE_CHECKING:
    from elsewhere.choose.wants import Wants
    from elsewhere.model.job import JobSpec
    from elsewhere.model.place import Place
    from elsewhere.model.reports import Ended

INTERRUPTED = 130
_KEPT = ("timeout", "grace", "retry", "resources", "startup", "entry", "worker", "settings", "backend", "place")
"""What a job that goes on takes anew from the file."""


def run(asked: Asked, words: argparse.Namespace) -> int:
    """0 all tasks succeeded, 1 some did not, 130 interrupted. Everything is checked before anything is made."""
    where = jobs.place(asked)
    spec, wanted = jobs.spec(asked, where), jobs.wants(asked, where)
    if not spec.startup:
        raise UsageError("run needs a startup script",
                         hint="Name the script that machines boot: startup_script_file: startup.sh")  # fmt: skip
    startup.check_place(where)
    old = jobs.known(asked)
    if words.resume:
        return _go_on(jobs.find(asked), spec, where, wanted, words)
    if words.tasks is None:
        raise UsageError("say which tasks to run: --tasks my_tasks.json",
                         hint="Those of a queue that was loaded before are run by --continue.")  # fmt: skip
    offered = jobs.inventory(where)
    if words.dry_run:
        count = sum(1 for _ in listed(words))
        _show(_choice(offered.catalog(wanted.regions), wanted, count))
        say(f"{plural(count, 'task')}; nothing was created")
        return 0
    if old is not None:
        _give_way(old, asked, words.force)
    files = make(spec, words)
    try:
        catalog = offered.catalog(wanted.regions)
        choice = _choice(catalog, wanted, _left(files))
        choosing.accept(files, choice, catalog, offered.traits.channels[0])
    except BaseException:
        session.remove(files)
        raise
    _show(choice)
    return drive(files, words.output_file)


def _go_on(
    files: session.JobFiles, spec: JobSpec, where: Place, wanted: Wants, words: argparse.Namespace
) -> int:  # fmt: skip
    """With the tasks that are left, on machines as the file has them now."""
    if not (left := _left(files)):
        say(f"{spec.name} is over: nothing is left to do.")
        return _status(files)
    if words.tasks is not None:
        raise UsageError(
            "--tasks and --continue are one too many", hint="load_queue adds tasks to a job that is there."
        )
    offered = jobs.inventory(where)
    catalog = offered.catalog(wanted.regions)
    choice = _choice(catalog, wanted, left)
    _show(choice)
    if words.dry_run:
        say(f"{plural(left, 'task')}; nothing was created")
        return 0
    session.settle(files, **{name: getattr(spec, name) for name in _KEPT})
    choosing.accept(files, choice, catalog, offered.traits.channels[0])
    return drive(files, words.output_file)


def _give_way(old: session.JobFiles, asked: Asked, force: bool) -> None:
    """A job of the same name that is not over must not be forgotten by accident. UsageError: it is in the way."""
    left = _left(old)
    if not left:
        return
    if not force:
        raise UsageError(
            f"{asked.job} is there, and {plural(left, 'task')} of it {'is' if left == 1 else 'are'} not done",
            hint="--continue goes on with them, --force cancels them and begins anew.",
        )
    session.cancel(old)
    session.sweep(old)


def make(spec: JobSpec, words: argparse.Namespace) -> session.JobFiles:
    """The job with its tasks. InvalidTask: the list has faults, with their lines, and nothing was made."""
    from elsewhere.config import tasks as lists

    try:
        return session.create(spec, listed(words))
    except InvalidTask as error:
        raise lists.located(error, words.tasks) from None


def added(files: session.JobFiles, words: argparse.Namespace) -> int:
    """How many tasks of the list are in the job now besides those that were. InvalidTask as `make`: none was added."""
    from elsewhere.config import tasks as lists
    from elsewhere.config.faults import Faults

    try:
        return session.add(files, listed(words))
    except InvalidTask as error:
        if not error.twice:
            raise
        faults = Faults(str(words.tasks))
        for name, lines in lists.lines_of(words.tasks, error.twice).items():
            faults.add(lines[0], f"task_id {name!r} is in the job already, or is used twice")
        raise faults.error() from None


def listed(words: argparse.Namespace) -> Any:
    return jobs.tasks(words.tasks, words.start_task, words.limit)


def _choice(catalog: Any, wanted: Wants, count: int) -> choosing.Choice:
    return choosing.choose(catalog, wanted, count)


def _show(choice: choosing.Choice) -> None:
    for row in choice.plan.rows:
        offer = row.offer
        kind = "spot" if offer.spot else "on demand"
        say(f"  {row.count} x {offer.name} in {offer.zone}, {kind}, {row.slots} at a time: ${row.price:.4f}/h")
    ceiling = f"at most ${choice.budget:.2f} in all and ${choice.ceiling:.2f} an hour"
    say(ceiling + ("" if choice.named else "; budget: in the file says otherwise"))


def drive(files: session.JobFiles, output: Path | None) -> int:
    """Run the job here until it is over or stopped; progress and the closing lines on standard error."""
    with closing(files.open()) as ledger:
        spec, total = ledger.spec, ledger.count().total
    say(f"{spec.name}: {plural(total, 'task')}, {spec.slots} at a time on {spec.place}")
    show = Line(spec.timeout.total_seconds() if spec.timeout else None)
    log = None if output is None else EventLog(files, output)

    def heard(ended: Sequence[Ended]) -> None:
        if log is not None:
            log.write(ended)

    stopped = False
    try:
        with interrupts(say=False) as stop:
            session.run_here(files, watch=show.show, heard=heard, stop=stop)
    except KeyboardInterrupt:
        stopped = True
    finally:
        show.close()
        if log is not None:
            log.close()
    say("\n".join(closing_lines(files, time.monotonic() - show.began)))
    return INTERRUPTED if stopped and _left(files) else _status(files)


def closing_lines(files: session.JobFiles, took: float) -> list[str]:
    """What is done, what it cost, why it stopped, and what to type next."""
    with closing(files.open()) as ledger:
        counts, name, paid = ledger.count(), ledger.spec.name, bill.paid(ledger)
    left = counts.total - counts.ended
    parts = [f"{counts.succeeded:,} of {counts.total:,} done"]
    parts += [f"{number:,} {word}" for number, word in ((counts.failed, "failed"), (left, "left")) if number]
    lines = [f"{'Stopped' if left else 'Done'} after {show_duration(took)}: {', '.join(parts)}.", *bill.lines(paid)]
    if left:
        lines.append("  cloud_tasks run --continue with the same file goes on")
    if counts.failed:
        lines.append(f"  elsewhere results {name} --failed says why they failed")
    return [*lines, f"  elsewhere results {name} shows the results"]


def _left(files: session.JobFiles) -> int:
    with closing(files.open()) as ledger:
        counts = ledger.count()
    return counts.total - counts.ended


def _status(files: session.JobFiles) -> int:
    with closing(files.open()) as ledger:
        counts = ledger.count()
    return 0 if counts.over and counts.succeeded == counts.total else 1
