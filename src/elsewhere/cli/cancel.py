"""`elsewhere cancel`: what has not ended is not tried any more; what runs is stopped."""

from __future__ import annotations

from types import SimpleNamespace

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command
from elsewhere.cli.terminal import say, say_json

COMMAND = Command(
    "cancel",
    about="Cancels a job, or some of its tasks: what waits is never begun, what runs is stopped (SIGTERM, and SIGKILL\n"
    "after the grace). Tasks that have ended keep their results. Twice does no harm.",
    arguments=[which.JOB, Argument("TASK", "Its tasks; none: all of them. JOB/TASK names one in one word.", many=True)],
    options=[which.JSON],
    usage=["elsewhere cancel [JOB]", "elsewhere cancel JOB TASK...", "elsewhere cancel JOB/TASK"],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    files, tasks = which.job_and_tasks(asked.job, asked.task)
    with which.opened(files) as ledger:
        name, over = which.called(files, ledger), ledger.count().over
        for task in tasks:
            if ledger.task(task) is None:
                raise which.unknown_task(ledger, task)
    left = over and not tasks and not session.is_put_away(files)
    cancelled = session.cancel(files, tasks or None)
    if asked.json:
        say_json({"job": files.id, "cancelled": cancelled})
    elif cancelled:
        say(f"Cancelled {cancelled:,} {'task' if cancelled == 1 else 'tasks'} of {name}; what ran is being stopped.")
    elif left:
        say(f"All tasks of {name} had ended; what is left of it at its place is ended and put away.")
    else:
        say(f"Nothing to cancel: {'they' if len(tasks) > 1 else 'it' if tasks else f'all tasks of {name}'} had ended.")
    return 0
