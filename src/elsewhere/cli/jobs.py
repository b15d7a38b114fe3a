"""`elsewhere jobs`: the jobs of this state directory, newest first."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import count
from elsewhere.cli.terminal import coloured, is_terminal, paint, say, say_json, tell, width

if TYPE_CHECKING:
    from elsewhere.controller.away import Away
    from elsewhere.session import JobFiles

_STATES = ("running", "stopped", "succeeded", "failed", "cancelled", "held", "away")

COMMAND = Command(
    "jobs",
    about="Lists the jobs, newest first: how each stands, and how far it has come.\n"
    "`stopped` jobs go on with `elsewhere resume`; of those whose controllers are `away`, `status` tells more.",
    options=[
        Option("--limit", "-n", value="N", parse=count, default=20, help="List at most N."),
        Option("--all", "-a", help="List all of them."),
        Option("--state", value="STATE", choices=_STATES, help="List only those that stand so."),
        which.JSON,
    ],
    examples=[("elsewhere jobs --state failed", "those with failed tasks")],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session
    from elsewhere.controller import away

    rows: list[dict[str, Any]] = []
    limit = None if asked.all else asked.limit
    far = [] if asked.state not in (None, "away") else [_far(one) for one in away.records()]
    for files in session.listing() if asked.state != "away" else ():
        if limit is not None and len(rows) >= limit:
            break
        row = _row(files)
        if asked.state in (None, row["state"]):
            rows.append(row)
    rows = sorted([*rows, *far], key=lambda row: row["id"], reverse=True)[:limit]
    if asked.json:
        say_json(rows)
        return 0
    if not rows:
        tell("There are no jobs" + (f" that are {asked.state}." if asked.state else " yet. `elsewhere demo` runs one."))
        return 0
    _draw(rows)
    return 0


def _row(files: JobFiles) -> dict[str, Any]:
    from elsewhere import session
    from elsewhere.errors import StateError

    try:
        with which.opened(files) as ledger:
            counts, spec = ledger.count(), ledger.spec
            entry = spec.entry.name or spec.entry.target or " ".join(spec.entry.command)
            return {
                "name": spec.name,
                "id": files.id,
                "state": which.standing(counts, session.holder(files)),
                "done": counts.succeeded,
                "total": counts.total,
                "failed": counts.failed,
                "created": spec.created.timestamp(),
                "place": spec.place,
                "runs": entry,
            }
    except StateError as error:
        return {"name": "", "id": files.id, "state": "damaged", "done": 0, "total": 0, "failed": 0, "created": 0.0,
                "place": "", "runs": error.message}  # fmt: skip


def _far(found: Away) -> dict[str, Any]:
    """Of a job whose controller sits on another machine, which is not asked here."""
    return {"name": found.name, "id": found.job, "state": "away", "done": None, "total": None, "failed": None,
            "created": found.created, "place": found.host, "runs": ""}  # fmt: skip


def _draw(rows: list[dict[str, Any]]) -> None:
    from elsewhere.model.units import show_duration
    from elsewhere.observe.safe import one_line
    from elsewhere.observe.table import table

    now = time.time()
    heads = ("name", "state", "done", "failed", "age", "place", "id", "runs")
    cells = [
        (
            one_line(row["name"], 40),
            row["state"],
            None if row["total"] is None else f"{row['done']:,}/{row['total']:,}",
            row["failed"],
            show_duration(max(round(now - row["created"]), 0)) if row["created"] else None,
            row["place"],
            row["id"],
            one_line(row["runs"], 60),
        )
        for row in rows
    ]
    head, *lines = table(heads, cells, width() if is_terminal(sys.stdout) else None)
    say(paint(head, "bold", coloured()), *lines)
