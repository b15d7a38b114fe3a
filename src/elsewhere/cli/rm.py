"""`elsewhere rm`: remove jobs and all their files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option
from elsewhere.cli.terminal import complain, say, say_json
from elsewhere.errors import ElsewhereError, UsageError

if TYPE_CHECKING:
    from elsewhere.session import JobFiles

COMMAND = Command(
    "rm",
    about="Removes jobs: their ledgers, results and output. A running job is refused; an unfinished one wants --force.",
    arguments=[Argument("JOB", "Names, beginnings of ids, or @last.", many=True, required=True, completes="jobs")],
    options=[
        Option("--force", "-f", help="Also jobs that are not over, or whose controller sat on a host that is gone."),
        which.JSON,
    ],
    usage=["elsewhere rm JOB... [OPTIONS]"],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    found = [which.job(reference) for reference in asked.job]  # all are found before any is removed
    removed, status = [], 0
    for files in dict.fromkeys(found):
        try:
            if not asked.force:
                _refuse_unfinished(files)
            session.remove(files)
            removed.append(files.id)
        except ElsewhereError as error:
            complain(error.message, hint=error.hint)
            status = error.exit_status
    if asked.json:
        say_json({"removed": removed})
    else:
        say(*(f"Removed {name}." for name in removed))
    return status


def _refuse_unfinished(files: JobFiles) -> None:
    try:
        with which.opened(files) as ledger:
            counts, name = ledger.count(), ledger.spec.name
    except UsageError:  # damaged: there is nothing to lose
        return
    if not counts.over:
        left = counts.total - counts.ended
        raise UsageError(
            f"{name} is not over: {left:,} tasks are left",
            hint="`elsewhere rm --force` removes it all the same; a running one must be cancelled first.",
        )
