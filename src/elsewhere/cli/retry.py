"""`elsewhere retry`: run failed tasks again, with a fresh budget, and keep the rest."""

from __future__ import annotations

from types import SimpleNamespace

from elsewhere.cli import resume, which
from elsewhere.cli.grammar import Argument, Command, Option
from elsewhere.cli.terminal import tell
from elsewhere.errors import UsageError

COMMAND = Command(
    "retry",
    about="Makes failed tasks of a job ready again, with all their retries, and runs them; what succeeded is kept.",
    arguments=[
        which.JOB,
        Argument("TASK", "Only these of its failed tasks; JOB/TASK names one in one word.", many=True),
    ],
    options=[
        Option("--failed", help="All tasks that failed."),
        Option("--no-run", help="Only make them ready; `elsewhere resume` runs them."),
        resume.DETACH,
        *resume.SHOWING,
    ],
    usage=["elsewhere retry [JOB] --failed [OPTIONS]", "elsewhere retry JOB TASK... [OPTIONS]"],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    files, tasks = which.job_and_tasks(asked.job, asked.task)
    if bool(tasks) == asked.failed:
        hint = "Write `elsewhere retry JOB --failed`, or name the tasks: `elsewhere retry JOB TASK...`."
        raise UsageError("say which tasks to try again: --failed, or their names, not both", hint=hint)
    with which.opened(files) as ledger:
        name = which.called(files, ledger)
        for task in tasks:
            if ledger.task(task) is None:
                raise which.unknown_task(ledger, task)
    readied = session.retry(files, tasks or None)
    if not asked.quiet:
        tell(f"{readied:,} failed {'task' if readied == 1 else 'tasks'} of {name} made ready again.")
    if asked.no_run:
        return 0
    return resume.go_on(asked, files)
