"""`elsewhere shell`: a terminal on the machine where a task runs, by a program of the user's own."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.ledger.questions import Questions
    from elsewhere.model.place import Allocation, Place

COMMAND = Command(
    "shell",
    about="Opens a terminal on the machine where a task runs, on that of a job which has one, or on a machine of a\n"
    "place. What opens it is the place's own: ssh, or at AWS the aws command with its session-manager-plugin, through\n"
    "SSM, so that no port is open there. The exit status is that program's.",
    arguments=[
        Argument("JOB|PLACE", "JOB/TASK, a job, or a place.", default="@last", completes="jobs"),
        Argument("MACHINE", "With a place of several, or a job of several: which. A beginning of its id will do."),
    ],
    usage=["elsewhere shell [JOB/TASK]", "elsewhere shell JOB|PLACE MACHINE"],
    examples=[
        ("elsewhere shell fit/3", ""),
        ("elsewhere shell lab node2", ""),
        ("elsewhere shell aws i-0123456789abcdef0", ""),
    ],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere.backends import registry
    from elsewhere.backends.base import Shells

    place, native, zone = _found(asked.job_place, asked.machine)
    backend = registry.build(place)
    if not isinstance(backend, Shells):
        raise UsageError(f"the place {place.name} opens no terminal", hint="What runs there runs on this machine.")
    words = list(backend.shell(native, zone))
    sys.stdout.flush()
    os.execvp(words[0], words)


def _found(word: str, machine: str | None) -> tuple[Place, str, str]:
    from elsewhere.cli import places
    from elsewhere.ledger.allocations import allocations
    from elsewhere.model.place import Place

    known = places.known()
    if word in known:
        return known[word], machine or "", ""
    files, tasks = which.job_and_tasks(word, [])
    with which.opened(files) as ledger:
        spec = ledger.spec
        native = which.machine(files, machine) if machine is not None else _of(ledger, tasks)
        zones = {one.native: one.offer.zone for one in allocations(ledger)}
    return Place(spec.place, spec.backend or spec.place, spec.settings), native, zones.get(native, "")


def _of(ledger: Questions, tasks: list[str]) -> str:
    """The machine of a task, or the only one that is there."""
    from elsewhere.ledger.allocations import allocations, holder

    there = [one for one in allocations(ledger, open_only=True) if one.native]
    if not tasks:
        if len(there) == 1:
            return there[0].native
        raise UsageError(f"the job has {len(there)} machines just now", hint=_hint(there))
    view = ledger.task(tasks[0])
    if view is None:
        raise which.unknown_task(ledger, tasks[0])
    native = holder(ledger, view.n) or next((a.agent for a in reversed(ledger.attempts(view.id))), "")
    if native not in {one.native for one in there}:
        raise UsageError(f"task {view.id!r} has no machine that still runs", hint=_hint(there))
    return native


def _hint(there: list[Allocation]) -> str:
    names = ", ".join(one.native for one in there[:5])
    return f"Those that run: {names}." if names else "`elsewhere machines` lists them all."
