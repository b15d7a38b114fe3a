"""`elsewhere queue show|purge JOB`: the tasks of a job that have not ended, counted, or given up."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.terminal import is_terminal, say, say_json, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.ledger.views import Counts

COMMAND = Command(
    "queue",
    about="Shows the queue of a job, which is those of its tasks that have not ended, or purges it: they are\n"
    "cancelled, and what runs is stopped. Tasks that have ended keep their results.",
    arguments=[
        Argument("ACTION", "show, or purge.", required=True, completes="show purge"),
        which.JOB,
    ],
    options=[Option("--yes", "-y", help="With purge: do not ask."), which.JSON],
    usage=["elsewhere queue show [JOB] [--json]", "elsewhere queue purge [JOB] [--yes]"],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    if asked.action not in ("show", "purge"):
        raise UsageError(f"a queue cannot be {asked.action!r}" + nearest(asked.action, ["show", "purge"]),
                         hint="Write `elsewhere queue show JOB` or `elsewhere queue purge JOB`.")  # fmt: skip
    files = which.job(asked.job)
    with which.opened(files) as ledger:
        counts, name = ledger.count(), which.called(files, ledger)
    if asked.action == "show":
        say_json({"job": files.id, **which.figures(counts)}) if asked.json else say(*_lines(name, counts))
        return 0
    left = counts.total - counts.ended
    if left and not asked.yes:
        _ask(name, left)
    gone = session.cancel(files) if left else 0
    session.sweep(files)
    say_json({"job": files.id, "cancelled": gone}) if asked.json else say(f"Cancelled {_tasks(gone)} of {name}.")
    return 0


def _lines(name: str, counts: Counts) -> list[str]:
    left = counts.total - counts.ended
    rows = (("ready", counts.ready), ("waiting to be tried again", counts.waiting), ("handed out", counts.handed_out))
    return [f"{name}: {_tasks(left)} left of {counts.total:,}", *(f"  {number:>9,}  {what}" for what, number in rows)]


def _ask(name: str, left: int) -> None:
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError(f"{_tasks(left)} of {name} would be cancelled, and nobody can be asked",
                         hint="Add --yes to cancel them.")  # fmt: skip
    sys.stderr.write(f"Cancel {_tasks(left)} of {name}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        tell("Nothing was changed.")
        raise SystemExit(1)


def _tasks(number: int) -> str:
    return f"{number:,} {'task' if number == 1 else 'tasks'}"
