"""`elsewhere status`: how one job stands, what runs, what failed first, and what to type next."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Command
from elsewhere.cli.terminal import coloured, paint, say, say_json

if TYPE_CHECKING:
    from elsewhere.controller.lock import Holder
    from elsewhere.ledger.questions import Questions
    from elsewhere.session import JobFiles

COMMAND = Command(
    "status",
    about="Shows how a job stands: counts, what runs just now, the first failures, and what to type next.\n"
    "Exit status: 0 all succeeded or still going on, 1 some failed.",
    arguments=[which.JOB],
    options=[which.JSON],
)
COLOURS = {"running": "green", "failed": "red", "stopped": "yellow", "held": "yellow"}


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session

    files = which.job(asked.job)
    holder = session.holder(files)
    with which.opened(files) as ledger:
        counts = ledger.count()
        if asked.json:
            say_json(_facts(files, ledger, holder))
        else:
            _draw(files, ledger, holder)
    return 1 if counts.failed else 0


def _facts(files: JobFiles, ledger: Questions, holder: Holder | None) -> dict[str, Any]:
    counts, live, spec = ledger.count(), live_if(files, ledger, holder), ledger.spec
    return {
        "id": files.id,
        "name": spec.name,
        "state": which.standing(counts, holder),
        "counts": which.figures(counts),
        "slots": live.get("slots", spec.slots),
        "busy": live.get("busy", 0),
        "running": [{"task": task, "seconds": round(since, 3)} for task, since in live.get("running", ())],
        "note": live.get("note", ""),
        "controller": {"host": holder.host, "pid": holder.pid, "alive": holder.alive} if holder else None,
        "created": spec.created.isoformat(),
        "directory": str(files.directory),
        "kept": ledger.get("kept", "") or None,
    }


def live_if(files: JobFiles, ledger: Questions, holder: Holder | None) -> dict[str, Any]:
    """What its slots do just now; nothing if it has no living controller."""
    return which.live(files, ledger) if holder is not None and holder.alive else {}


def _draw(files: JobFiles, ledger: Questions, holder: Holder | None) -> None:
    from elsewhere.model.units import show_duration
    from elsewhere.observe.explain import Scene, next_for_job, plural
    from elsewhere.observe.safe import one_line

    counts, live, on = ledger.count(), live_if(files, ledger, holder), coloured()
    state = which.standing(counts, holder)
    scene = Scene(ledger.spec, counts, time.time(), live, at(holder), which.called(files, ledger))
    say(f"{scene.job}  {paint(state, COLOURS.get(state, 'bold'), on)}  {paint(files.id, 'dim', on)}")
    open_ = counts.total - counts.ended
    parts = [f"{counts.succeeded:,} done", f"{counts.failed:,} failed"]
    parts += [f"{counts.cancelled:,} cancelled"] * bool(counts.cancelled) + [f"{open_:,} to do"] * bool(open_)
    say(f"  {', '.join(parts)}, of {plural(counts.total, 'task')}" + ("" if counts.complete else " so far"))
    running = live.get("running")
    if running:
        say(f"  running in {live['busy']} of {plural(int(live['slots']), 'slot')}:")
        say(*(f"    {one_line(task, 80)}  {show_duration(seconds)}" for task, seconds in running[:8]))
    if live.get("note"):
        say(f"  waits: {one_line(str(live['note']))}")
    if holder is not None:
        say(f"  controller: {at(holder) or f'on {holder.host}, process {holder.pid}; not to be seen from here'}")
    failures = first_failures(ledger, 3) if counts.failed else []
    say(*(f"  {paint('failed', 'red', on)} {one_line(task, 80)}: {why}" for task, why in failures))
    say(*(f"  {text}" for text in next_for_job(scene)))


def at(holder: Holder | None) -> str:
    """`process 12 on host`, of a controller that lives; else nothing."""
    return f"process {holder.pid} on {holder.host}" if holder is not None and holder.alive else ""


def first_failures(ledger: Questions, limit: int) -> list[tuple[str, str]]:
    """(task, reason) of the first that failed."""
    from elsewhere.observe.results import trouble

    return [(task.id, trouble(task)["reason"]) for task in ledger.outcomes(0, limit, failed=True)]
