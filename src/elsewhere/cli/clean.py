"""`elsewhere clean`: remove jobs that ended long ago; never one that runs or could be resumed."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import duration, size
from elsewhere.cli.terminal import complain, say, say_json

if TYPE_CHECKING:
    from elsewhere.session import JobFiles

COMMAND = Command(
    "clean",
    about="Removes jobs that are over and older than they are kept (`keep:` of the settings, 30 days unless it says\n"
    "otherwise). Jobs that run, or that `elsewhere resume` could go on with, are never removed.\n"
    "Environments and archives here that nothing has used for 30 days go, too.",
    options=[
        Option(
            "--older-than",
            value="TIME",
            parse=duration,
            help="Remove those that ended longer ago than this, such as 7d.",
        ),
        Option(
            "--max-state",
            value="SIZE",
            parse=size,
            help="Then remove the oldest until all jobs take at most SIZE; by default `max-state:` of the settings.",
        ),
        Option("--dry-run", "-n", help="Only say what would be removed."),
        which.JSON,
    ],
    examples=[("elsewhere clean --older-than 0s --dry-run", "what all jobs that are over take up")],
)


UNUSED = timedelta(days=30)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session
    from elsewhere.config import load
    from elsewhere.errors import ElsewhereError

    most = asked.max_state if asked.max_state is not None else load.current().value("max_state")
    rows = [look(files) for files in session.listing()]
    gone = []
    for row in chosen(rows, asked.older_than, most):
        try:
            if not asked.dry_run:
                session.remove(session.JobFiles(row["id"], row.pop("directory")))
            gone.append({key: value for key, value in row.items() if key not in ("over", "keep", "directory")})
        except ElsewhereError as error:  # taken up by a controller just now
            complain(error.message, hint=error.hint)
    stale = _stale(asked.dry_run)
    if not asked.dry_run:
        _sweep()
    _tell(asked, gone, len(rows) - len(gone), stale)
    return 0


def _stale(dry_run: bool) -> list[str]:
    """The marks of environments that go; archives go with them."""
    from elsewhere.api import environments
    from elsewhere.model.place import Place

    here = Place("local", "local")
    gone = environments.chosen(environments.kept(here), (), UNUSED)
    if not dry_run:
        environments.remove(here, gone)
        environments.sweep(UNUSED)
    return [one.mark for one in gone]


def chosen(rows: list[dict[str, Any]], older: timedelta | None, most: int | None) -> list[dict[str, Any]]:
    """Which of these jobs go, the oldest first: those past their time, then more until all take at most `most` bytes.

    Only jobs that are over. Pure.
    """
    over = sorted((row for row in rows if row["over"]), key=lambda row: -row["seconds_ago"])
    past = [row for row in over if row["seconds_ago"] >= (row["keep"] if older is None else older.total_seconds())]
    if most is None:
        return past
    total = sum(row["bytes"] for row in rows) - sum(row["bytes"] for row in past)
    for row in over:
        if total <= most:
            break
        if row not in past:
            past.append(row)
            total -= row["bytes"]
    return past


def look(files: JobFiles) -> dict[str, Any]:
    """What `chosen` chooses by."""
    from elsewhere import session
    from elsewhere.errors import StateError

    row = {"id": files.id, "name": "", "bytes": size_of(str(files.directory)), "directory": files.directory}
    try:
        with which.opened(files) as ledger:
            counts, spec, events = ledger.count(), ledger.spec, ledger.events()
    except StateError:  # damaged, or of a newer version: only `rm` removes it
        return {**row, "over": False, "seconds_ago": 0, "keep": 0}
    ended = events[-1].at if events else spec.created
    over = counts.over and session.holder(files) is None
    age = round(max(time.time() - ended.timestamp(), 0))
    return {**row, "name": spec.name, "over": over, "seconds_ago": age, "keep": spec.keep.total_seconds()}


def size_of(directory: str) -> int:
    """Bytes on disk of everything below `directory`."""
    total = 0
    for base, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512  # noqa: PTH118 many files
            except OSError:
                continue
    return total


def _sweep() -> None:
    """What an interrupted creation or removal left behind, if it is a day old."""
    import shutil

    from elsewhere import session
    from elsewhere.config.home import home

    jobs = home() / "jobs"
    for pattern in (".new-*", ".gone-*"):
        for path in jobs.glob(pattern):
            if time.time() - path.stat().st_mtime > 86400:
                shutil.rmtree(path, ignore_errors=True)
    session.sweep_disk()


def _tell(asked: SimpleNamespace, gone: list[dict[str, Any]], kept: int, stale: list[str]) -> None:
    from elsewhere.model.units import show_duration, show_size
    from elsewhere.observe.table import table
    from elsewhere.observe.wording import plural

    total = sum(row["bytes"] for row in gone)
    if asked.json:
        verb = "would_remove" if asked.dry_run else "removed"
        say_json({verb: gone, "bytes": total, "kept": kept, "environments": stale})
        return
    if gone:
        rows = [(r["name"], show_size(r["bytes"]), show_duration(r["seconds_ago"]), r["id"]) for r in gone]
        say(*table(("name", "size", "ended ago", "id"), rows))
    word = "Would remove" if asked.dry_run else "Removed"
    jobs = f"{len(gone):,} {'job' if len(gone) == 1 else 'jobs'}"
    say(f"{word} {jobs}, {show_size(total)}; {kept:,} stay." if gone else f"Nothing to remove; {kept} stay.")
    if stale:
        say(f"{word} {plural(len(stale), 'environment')} that nothing has used for 30 days.")
