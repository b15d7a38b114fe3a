"""`elsewhere resume`: go on with a job that was stopped, killed or left, where its ledger stands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import drive, live, which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.results import written_to
from elsewhere.cli.terminal import say_json, tell

if TYPE_CHECKING:
    from elsewhere.session import JobFiles

SHOWING = (
    Option("--results", value="FILE", parse=written_to, group="Showing",
           help="Write the results there: .jsonl as they come, .json and .csv at the end."),
    Option("--quiet", "-q", group="Showing", help="No progress and no last lines; only errors."),
    Option("--json", group="Showing", help="One JSON object a line on standard output: started, progress, summary."),
)  # fmt: skip
DETACH = Option("--detach", "-d", help="Print the job's id and return at once; it goes on by itself.")

COMMAND = Command(
    "resume",
    about="Goes on with a job that was interrupted, killed or left unfinished. What is recorded stays recorded; only\n"
    "tasks that were running are run again. A job that is over is left as it is.",
    arguments=[which.JOB],
    options=[DETACH, *SHOWING],
)


def main(asked: SimpleNamespace) -> int:
    return go_on(asked, which.job(asked.job))


def go_on(asked: SimpleNamespace, files: JobFiles) -> int:
    """Run the job in the foreground, or give it to a controller of its own."""
    with which.opened(files) as ledger:
        counts, name = ledger.count(), which.called(files, ledger)
    if counts.over:
        return _over(asked, files, name)
    if asked.detach:
        return drive.begin_detached(files, json=asked.json)
    show = live.choose(quiet=asked.quiet, json=asked.json)
    return drive.drive(files, show=show, results=asked.results, quiet=asked.quiet)


def _over(asked: SimpleNamespace, files: JobFiles, name: str) -> int:
    if asked.results is not None:
        drive.save_results(files, asked.results)
    with which.opened(files) as ledger:
        counts = ledger.count()
    status = drive.status_of(counts)
    if asked.json:
        say_json({"event": "summary", **which.figures(counts), "exit_status": status})
    elif not asked.quiet:
        tell(f"{name} is over: nothing is left to do.")
        tell(*(f"  {command:<44} {why}" for command, why in drive.next_steps(counts, name, asked.results)))
    return status
