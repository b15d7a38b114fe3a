"""`elsewhere reap`: machines that run at a place under our full signature, found by their labels alone, and stopped.

It lists before it stops anything, and stops what was listed and nothing else.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import places, which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.terminal import is_terminal, say, say_json, tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.pool.reaper import Doomed

COMMAND = Command(
    "reap",
    about="Lists the machines of yours that run at a place, by their labels alone, and stops them once you agree.\n"
    "What does not bear our full signature (job, launch, owner, expiry) is left alone, whoever made it.",
    options=[
        Option("--on", value="PLACE", help="The place to look at. Needed."),
        Option("--job", value="ID", many=True, help="Only machines of this job, by its id; expired ones besides."),
        Option("--expired", help="Only machines that are past the end of their time."),
        Option("--all-owners", help="Also machines that others launched, or you from another host."),
        Option("--dry-run", "-n", help="Only list them."),
        Option("--yes", "-y", help="Do not ask."),
        which.JSON,
    ],
    usage=["elsewhere reap --on PLACE [OPTIONS]"],
    examples=[("elsewhere reap --on aws --dry-run", "what of yours runs there")],
)


def main(asked: SimpleNamespace) -> int:
    from datetime import UTC, datetime

    from elsewhere.backends import registry
    from elsewhere.pool import reaper

    if not asked.on:
        raise UsageError("say where to look", hint="Write `elsewhere reap --on PLACE`; `elsewhere places` lists them.")
    backend = registry.build(places.find(asked.on))
    owner = None if asked.all_owners else reaper.me()
    every = not asked.expired and not asked.job
    doomed = reaper.find(backend.owned(), datetime.now(UTC), owner, jobs=asked.job, all_of_mine=every)
    if not asked.json:
        _list(doomed, asked)
    stop = bool(doomed) and not asked.dry_run and _agreed(doomed, asked)
    if stop:
        reaper.reap(backend, doomed)
    if asked.json:
        say_json({"machines": [_row(each) for each in doomed], "stopped": stop})
    elif stop:
        say(f"Asked for the end of {_machines(doomed)}; `elsewhere reap --on {asked.on} --dry-run` looks again.")
    return 0


def _agreed(doomed: list[Doomed], asked: SimpleNamespace) -> bool:
    if asked.yes:
        return True
    if asked.json or not is_terminal(sys.stdin):
        raise UsageError(f"{_machines(doomed)} would be stopped, and nobody can be asked",
                         hint="Add --yes to stop them, or --dry-run to list them.")  # fmt: skip
    tell(f"Stop {_machines(doomed)}? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _list(doomed: list[Doomed], asked: SimpleNamespace) -> None:
    from elsewhere.observe.table import table

    if not doomed:
        say(f"Nothing {'of ours' if asked.all_owners else 'of yours'} runs at {asked.on}.")
        return
    rows = [_row(each) for each in doomed]
    shown = [(r["machine"], r["condition"], r["job"], r["owner"], r["started"], r["why"]) for r in rows]
    say(*table(("machine", "is", "job", "owner", "since", "why"), shown))


def _row(doomed: Doomed) -> dict[str, Any]:
    seen = doomed.sighting
    started = f"{seen.started:%Y-%m-%d %H:%M} UTC" if seen.started else ""
    return {"machine": seen.native, "condition": seen.condition.value, "job": seen.labels["job"],
            "owner": seen.labels["owner"], "expiry": seen.labels["expiry"], "started": started,
            "why": doomed.why}  # fmt: skip


def _machines(doomed: list[Doomed]) -> str:
    return f"{len(doomed)} {'machine' if len(doomed) == 1 else 'machines'}"
