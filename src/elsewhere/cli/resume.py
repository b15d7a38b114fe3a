"""`elsewhere resume`: go on with a job that was stopped, killed or left, where its ledger stands."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import drive, live, wanting, which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.results import written_to
from elsewhere.cli.terminal import say_json, tell
from elsewhere.errors import UsageError
from elsewhere.observe import bill

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
    "tasks that were running are run again. Of a job that is over, what may be left at its place is put away.",
    arguments=[which.JOB],
    options=[
        DETACH,
        Option("--from", value="URL",
               help="Take over a job that another machine began, from where it is kept (s3://.../jobs/job-...)."),
        Option("--budget", value="DOLLARS", parse=wanting.dollars,
               help="From here on, for the whole job: what it has spent already is part of it."),
        *SHOWING,
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    files = _brought(asked) if getattr(asked, "from") is not None else which.job(asked.job)
    if asked.budget is not None:
        _grant(files, asked.budget)
    return go_on(asked, files)


def _brought(asked: SimpleNamespace) -> JobFiles:
    """The job of --from, brought here. UsageError: another is named, or it cannot be; then nothing was changed."""
    from elsewhere import session

    url = getattr(asked, "from")
    if asked.job != which.JOB.default and not url.rstrip("/").endswith(f"/{asked.job}"):
        raise UsageError(f"--from {url} names a job, and {asked.job!r} is another", hint="Leave one of them out.")
    quiet = asked.quiet or asked.json
    return session.bring(url, (lambda _: None) if quiet else tell)


def _grant(files: JobFiles, budget: Decimal) -> None:
    """Another budget for a job that is not over. UsageError: it costs nothing, or has spent that much already."""
    from dataclasses import replace

    from elsewhere import session
    from elsewhere.observe.cost import money

    with which.opened(files) as ledger:
        spec, counts, paid, name = ledger.spec, ledger.count(), bill.paid(ledger), which.called(files, ledger)
    if counts.over:
        return
    if paid.bill is None:
        raise UsageError(f"{name} costs nothing on {spec.place}, so it has no budget", hint="Leave out --budget.")
    if budget <= paid.bill.spent:
        raise UsageError(
            f"{name} has spent {money(paid.bill.spent)} already, and a budget of {money(budget)} is for all of it",
            hint=f"Say more than that: elsewhere resume {name} --budget {2 * max(paid.bill.spent, budget):.2f}",
        )
    session.settle(files, limits=replace(spec.limits, budget=budget))


def go_on(asked: SimpleNamespace, files: JobFiles) -> int:
    """Run the job in the foreground, or give it to a controller of its own."""
    from elsewhere import session
    from elsewhere.cli import places
    from elsewhere.model.place import Place

    with which.opened(files) as ledger:
        counts, name, spec = ledger.count(), which.called(files, ledger), ledger.spec
    place = Place(spec.place, spec.backend or spec.place, spec.settings)
    if counts.over and session.is_put_away(files):
        return _over(asked, files, name)
    places.greet(place)
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
        money = bill.figures(drive.money(files))
        say_json({"event": "summary", **which.figures(counts), **money, "exit_status": status})
    elif not asked.quiet:
        tell(f"{name} is over: nothing is left to do.")
        tell(*(f"  {command:<44} {why}" for command, why in drive.next_steps(counts, name, asked.results)))
    return status
