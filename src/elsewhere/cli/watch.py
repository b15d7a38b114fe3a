"""`elsewhere watch`: follow a job that runs elsewhere on this machine, or see how it ended, through its ledger."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import drive, live, which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.terminal import tell
from elsewhere.observe import bill

if TYPE_CHECKING:
    from elsewhere.controller.view import View
    from elsewhere.ledger.questions import Questions
    from elsewhere.session import JobFiles

LOOK_EVERY = 0.25

COMMAND = Command(
    "watch",
    about="Shows the live line of a job until it is over, from any terminal of this machine. Ctrl-C ends the\n"
    "watching, not the job. Exit status: 0 all succeeded, 1 some failed, 130 you stopped watching.",
    arguments=[which.JOB],
    options=[Option("--quiet", "-q", help="Only wait, and return the exit status."), which.JSON],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    files = which.job(asked.job)
    show = live.choose(quiet=asked.quiet, json=asked.json)
    with which.opened(files) as ledger:
        name = which.called(files, ledger)
        try:
            left = _follow(files, ledger, show)
        except KeyboardInterrupt:
            show.close()
            tell(f"You stopped watching; the job goes on. `elsewhere watch {name}` watches again.")
            return drive.INTERRUPTED
        finally:
            show.close()
        counts = ledger.count()
        status = drive.status_of(counts)
        if isinstance(show, live.JsonLines):
            paid = bill.paid(ledger)
            figures = {**which.figures(counts), **bill.figures(paid)}
            show.event("summary", **figures, exit_status=status, next=drive.commands(counts, name, None, paid))
        elif not asked.quiet:
            since = _news(ledger) if left else None
            why, failed = drive.stopped_why(files), drive.failures(files, counts)
            held = session.holder(files) is not None
            last = drive.Last(counts, name, None, False, why, failed, bill.paid(ledger), held, since)
            tell(*drive.receipt(last, _took(ledger)))
    return status


def _follow(files: JobFiles, ledger: Questions, show: live.Quiet) -> bool:
    """Until the job is over and its controller has ended its machines, or it has none; True: none, and not over."""
    from elsewhere import session

    while True:
        holder = session.holder(files)
        view = seen(files, ledger)
        show.show(view)
        if view.counts.over and (holder is None or not holder.alive):
            return False
        if holder is None:
            # It may have ended between the two looks.
            return not ledger.count().over
        time.sleep(LOOK_EVERY)


def seen(files: JobFiles, ledger: Questions) -> View:
    """A View of a job that runs in another process."""
    from elsewhere.controller.view import View
    from elsewhere.observe.cost import Spending

    now = which.live(files, ledger)
    money = Spending.read(now.get("money"))
    running = tuple(now["running"])
    return View(ledger.count(), int(now["slots"]), now["busy"], running, bool(now["draining"]), now["note"], money)


def _news(ledger: Questions) -> float:
    """When (seconds since the epoch) its last controller was last heard of."""
    events = ledger.events()
    last = events[-1].at if events else ledger.spec.created
    return max(last.timestamp(), float(ledger.live().get("at") or 0.0))


def _took(ledger: Questions) -> float:
    """Seconds from the making of the job to the last thing that happened to it."""
    events = ledger.events()
    last = events[-1].at if events else ledger.spec.created
    seconds: float = (last - ledger.spec.created).total_seconds()
    return max(seconds, 0.0)
