"""`elsewhere clean`: remove jobs that ended long ago; never one that runs or could be resumed."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import duration
from elsewhere.cli.terminal import complain, say, say_json

if TYPE_CHECKING:
    from elsewhere.session import JobFiles

COMMAND = Command(
    "clean",
    about="Removes jobs that are over and older than they are kept (`keep:` of the settings, 30 days unless it says\n"
    "otherwise). Jobs that run, or that `elsewhere resume` could go on with, are never removed.",
    options=[
        Option(
            "--older-than",
            value="TIME",
            parse=duration,
            help="Remove those that ended longer ago than this, such as 7d.",
        ),
        Option("--dry-run", "-n", help="Only say what would be removed."),
        which.JSON,
    ],
    examples=[("elsewhere clean --older-than 0s --dry-run", "what all jobs that are over take up")],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session
    from elsewhere.errors import ElsewhereError

    gone: list[dict[str, Any]] = []
    kept = 0
    for files in session.listing():
        row = _look(files, asked.older_than)
        if row is None:
            kept += 1
            continue
        if not asked.dry_run:
            try:
                session.remove(files)
            except ElsewhereError as error:  # taken up by a controller just now
                complain(error.message, hint=error.hint)
                kept += 1
                continue
        gone.append(row)
    if not asked.dry_run:
        _sweep()
    _tell(asked, gone, kept)
    return 0


def _look(files: JobFiles, older: timedelta | None) -> dict[str, Any] | None:
    """The job's row if it may go; None if it stays."""
    from elsewhere import session
    from elsewhere.errors import StateError

    try:
        with which.opened(files) as ledger:
            counts, spec, events = ledger.count(), ledger.spec, ledger.events()
    except StateError:
        return None  # damaged, or of a newer version: only `rm` removes it
    if not counts.over or session.holder(files) is not None:
        return None
    ended = events[-1].at if events else spec.created
    age = time.time() - ended.timestamp()
    if age < (spec.keep if older is None else older).total_seconds():
        return None
    return {"id": files.id, "name": spec.name, "seconds_ago": round(age), "bytes": size_of(str(files.directory))}


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

    from elsewhere.config.home import home

    jobs = home() / "jobs"
    for pattern in (".new-*", ".gone-*"):
        for path in jobs.glob(pattern):
            if time.time() - path.stat().st_mtime > 86400:
                shutil.rmtree(path, ignore_errors=True)


def _tell(asked: SimpleNamespace, gone: list[dict[str, Any]], kept: int) -> None:
    from elsewhere.model.units import show_duration, show_size
    from elsewhere.observe.table import table

    total = sum(row["bytes"] for row in gone)
    if asked.json:
        verb = "would_remove" if asked.dry_run else "removed"
        say_json({verb: gone, "bytes": total, "kept": kept})
        return
    if gone:
        rows = [(r["name"], show_size(r["bytes"]), show_duration(r["seconds_ago"]), r["id"]) for r in gone]
        say(*table(("name", "size", "ended ago", "id"), rows))
    word = "Would remove" if asked.dry_run else "Removed"
    jobs = f"{len(gone):,} {'job' if len(gone) == 1 else 'jobs'}"
    say(f"{word} {jobs}, {show_size(total)}; {kept:,} stay." if gone else f"Nothing to remove; {kept} stay.")
