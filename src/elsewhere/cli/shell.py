"""`elsewhere shell`: a terminal on the machine where a task runs, by a program of the user's own."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Argument, Command, Option
from elsewhere.cli.read import cpus, gpus, size
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elsewhere.backends.newcomers import Enters
    from elsewhere.ledger.questions import Questions
    from elsewhere.model.place import Allocation, Place

COMMAND = Command(
    "shell",
    about="Opens a terminal on the machine where a task runs, on that of a job which has one, or at a place; behind\n"
    "-- stands a command to run there instead. What opens it is the place's own: ssh, srun, or at AWS the aws command\n"
    "with its session-manager-plugin, through SSM, so that no port is open there. Standard input is passed on, and\n"
    "the exit status is that program's.",
    arguments=[
        Argument("JOB|PLACE", "JOB/TASK, a job, or a place.", default="@last", completes="jobs"),
        Argument("MACHINE", "With a place of several, or a job of several: which. A beginning of its id will do."),
    ],
    options=[
        Option(
            "--tag",
            value="NAME",
            help="At a place: in the container of this environment, an entry of "
            "`environments:` with an image. Its directory of work, or this one, is mounted in it.",
        ),
        Option("--image", value="IMAGE", help="At a place: in this container, as `run --image` names it."),
        Option("--job", help="At a place with a batch system: in a job of its own, not where people log in."),
        Option("--cpus", value="N", parse=cpus, help="Such a job has so many CPUs."),
        Option("--memory", value="SIZE", parse=size, help="Such a job has so much memory."),
        Option("--gpus", value="[TYPE:]N", parse=gpus, help="Such a job has so many GPUs."),
    ],
    rest="COMMAND [ARGUMENT...]",
    usage=[
        "elsewhere shell [JOB/TASK]",
        "elsewhere shell JOB|PLACE MACHINE",
        "elsewhere shell PLACE [--tag NAME] [--job] [-- COMMAND [ARGUMENT...]]",
    ],
    examples=[
        ("elsewhere shell fit/3", ""),
        ("elsewhere shell lab node2", ""),
        ("elsewhere shell aws i-0123456789abcdef0", ""),
        ("elsewhere shell hpc --tag gcam -- python3 file.py", "in a container, on the login node"),
        ("elsewhere shell hpc --tag gcam --gpus 1", "a prompt, in a job"),
    ],
)


def main(asked: SimpleNamespace) -> int:
    from elsewhere.backends import registry
    from elsewhere.backends.base import Shells
    from elsewhere.backends.newcomers import Enters

    place, native, zone = _found(asked.job_place, asked.machine)
    backend = registry.build(place)
    if isinstance(backend, Enters) and not native:
        words = _entered(backend, asked)
    else:
        if asked.rest or any(getattr(asked, name) for name in ("tag", "image", "job", "cpus", "memory", "gpus")):
            raise UsageError(f"the place {place.name} opens a terminal, and runs no command or container by hand",
                             hint=f"A command: elsewhere run --on {place.name} -- COMMAND")  # fmt: skip
        if not isinstance(backend, Shells):
            raise UsageError(f"the place {place.name} opens no terminal", hint="What runs there runs on this machine.")
        words = backend.shell(native, zone)
    sys.stdout.flush()
    os.execvp(words[0], list(words))


def _entered(place: Enters, asked: SimpleNamespace) -> Sequence[str]:
    """The words that open a shell, or run what stands behind `--`."""
    from pathlib import Path

    from elsewhere.backends.base import Greets
    from elsewhere.cli.containing import box_of
    from elsewhere.cli.terminal import is_terminal
    from elsewhere.controller import entering
    from elsewhere.model.resources import Resources
    from elsewhere.ship import containers

    if asked.tag and asked.image:
        raise UsageError("--tag and --image are one too many", hint="Leave one of them out.")
    box = box_of(asked.tag) if asked.tag else None
    if asked.image:
        box = containers.box_of(asked.image, (), "", (), Path.cwd())
    watched = is_terminal(sys.stdin)
    if watched and is_terminal(sys.stderr) and isinstance(place, Greets):
        place.greet()
    given = {name: value for name in ("cpus", "memory", "gpus") if (value := getattr(asked, name)) is not None}
    shape = Resources(**given) if given or asked.job else None
    return entering.words(place, box, asked.rest or (), watched and is_terminal(sys.stdout), shape)


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
