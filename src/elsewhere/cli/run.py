"""`elsewhere run`: a task list, one command, or a command for each line of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import asking, drive, live, probe, resume, show_script, terminal, wanting, which
from elsewhere.cli.grammar import Argument, Command, Option
from elsewhere.cli.terminal import tell
from elsewhere.errors import InvalidTask, UsageError

if TYPE_CHECKING:
    from elsewhere.model.job import JobSpec
    from elsewhere.model.place import Place
    from elsewhere.model.task import NewTask
    from elsewhere.session import JobFiles

DEFAULT = "local"
"""The place that needs nothing, and costs nothing."""

CONTROLLER = Option("--controller", value="PLACE", group="Where",
                    help="Let the controller of the job sit on a host of this place, or on a machine that it starts "
                    "for that, so that this machine may go; --on is then as seen from there. `job`: in a Slurm job of "
                    "the place that it runs on.")  # fmt: skip

COMMAND = Command(
    "run",
    about="Runs a task list with a function of yours, or one command, or one command for each line of a file.\n"
    "Everything is recorded as it goes: Ctrl-C once lets running tasks finish, twice stops now, and\n"
    "`elsewhere resume` goes on, also after a crash. One command's output and exit status are its own; what\n"
    "goes wrong on our side is 125, 126 (may not be run) or 127 (not found), and a signal n is 128+n.",
    arguments=[
        Argument("TASKS|NAME", "A task list (.json, .jsonl, .yaml, .csv, .tsv, also .gz and .zst; - for JSON lines on "
                 "standard input), or a job of elsewhere.yaml.", completes="files"),
    ],
    options=[
        *asking.OPTIONS, CONTROLLER, *wanting.OPTIONS, probe.OPTION, show_script.OPTION, resume.DETACH, *resume.SHOWING,
    ],
    rest="COMMAND...",
    usage=[
        "elsewhere run TASKS --entry MODULE:FUNCTION [OPTIONS]",
        "elsewhere run TASKS --on PLACE --startup-script FILE [OPTIONS]",
        "elsewhere run NAME [OPTIONS]",
        "elsewhere run [OPTIONS] -- COMMAND...",
        "elsewhere run --each-line FILE [OPTIONS] -- COMMAND...",
    ],
    examples=[
        ("elsewhere run tasks.json --entry my_worker:process_task --slots 4 --retries 2 --timeout 30s", ""),
        ("elsewhere run tasks.jsonl --entry ./my_worker.py:process_task --detach", "returns at once"),
        ("elsewhere run -- python train.py --epochs 3", ""),
        ("elsewhere run --each-line files.txt -- convert {} {.}.png", ""),
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    refuse_mixtures(asked, asked.tasks_name)
    if asked.controller:
        from elsewhere.cli import away

        return away.begin(asked)
    asked = settled(asked)
    if asked.probe:
        asked.task_time = asked.task_time or _probed(asked)
    if asked.each_line is not None:
        return _each_line(asked)
    if (work := getattr(asked, "work", None)) is not None and work.matrix:
        return _matrix(asked)
    if asked.rest is not None:
        from elsewhere.cli.one import one_command

        return one_command(asked)
    return _listed(asked)


def _probed(asked: SimpleNamespace) -> timedelta:
    if asked.on == DEFAULT:
        raise UsageError("--probe is for places that sell machines", hint="What runs here costs nothing: leave it out.")
    return probe.measured(asked)


def settled(asked: SimpleNamespace) -> SimpleNamespace:
    """With everything that the settings say of it."""
    from elsewhere import session
    from elsewhere.cli import projects

    word, keep = asked.tasks_name, asked.keep_on_failure
    named = word and not projects.is_tasks_file(word)
    asked = projects.job_of_file(asked, word) if named else projects.filled(asked)
    if keep and (asked.on == DEFAULT or session.inventory(place(asked)) is None):
        raise UsageError(f"{asked.on} starts no machines that could be kept", hint="Leave out --keep-on-failure.")
    return asked


def refuse_mixtures(asked: SimpleNamespace, what: str | None) -> None:
    if asked.rest == []:
        raise UsageError("no command stands after --", hint="Write for example: elsewhere run -- python train.py")
    if asked.rest and what:
        hint = "What comes after -- is a command; a task list has an --entry instead."
        raise UsageError(f"{what!r} and a command are one too many", hint=hint)
    if asked.rest and asked.entry:
        raise UsageError("--entry and a command are one too many", hint="A command needs no entry function.")
    if asked.startup_script and (asked.entry or asked.rest):
        other = "--entry" if asked.entry else "a command"
        hint = "The worker that the script starts brings the function."
        raise UsageError(f"--startup-script and {other} are one too many", hint=hint)
    if asked.each_line is not None and not asked.rest:
        raise UsageError(
            "--each-line needs a command",
            hint="Write for example: elsewhere run --each-line files.txt -- convert {} {.}.png",
        )
    if not asked.rest and not what:
        raise UsageError(
            "say what to run: a task list, a job of elsewhere.yaml, or a command after --",
            hint="`elsewhere run --help` shows examples; `elsewhere demo` runs one.",
        )
    if asked.detach and asked.results:
        hint = "Leave it out, and write them once it is over: elsewhere results JOB -o FILE."
        raise UsageError("--results wants the job in the foreground, --detach does not", hint=hint)


def place(asked: SimpleNamespace) -> Place:
    """The place that was asked for; UnknownPlace names the nearest of those that are known."""
    found = _place(asked)
    if not (asked.walltime or asked.how):
        return found
    from elsewhere.backends import registry

    found = registry.lasting(found, asked.walltime) if asked.walltime else found
    return registry.spreading(found, asked.how) if asked.how else found


def _place(asked: SimpleNamespace) -> Place:
    from elsewhere.model.place import Place

    if asked.on in asked.places:
        found: Place = asked.places[asked.on]
        return found
    if asked.on == DEFAULT:
        return Place(DEFAULT, DEFAULT)
    from elsewhere.cli import places

    return places.find(asked.on)


# --- a task list ----------------------------------------------------------------------------------------------------


def _listed(asked: SimpleNamespace) -> int:
    from elsewhere.config import tasks
    from elsewhere.config.fit import Parameters
    from elsewhere.session import fit_of

    lines = tasks.Lines() if asked.tasks_name == "-" else None
    source: Any = sys.stdin.buffer if asked.tasks_name == "-" else Path(asked.tasks_name)
    try:
        if asked.entry:
            spec = task_list_spec(asked)
            parameters = Parameters.of(spec.entry.name, asked.signature)
            asked.fit = fit_of(spec, parameters)
            return go(spec, tasks.read(source, asked.fit, lines), asked)
        if script := asked.startup_script or place(asked).startup_script:
            asked.startup_script = script
            spec = worker_list_spec(asked)
            asked.fit = fit_of(spec)
            return go(spec, tasks.read(source, asked.fit, lines), asked)
        spec = command_list_spec(asked)
        asked.fit = fit_of(spec)
        return go(spec, _only_commands(tasks.read(source, asked.fit, lines), asked.tasks_name), asked)
    except InvalidTask as error:
        raise tasks.located(error, source, lines) from None


def worker_list_spec(asked: SimpleNamespace) -> JobSpec:
    """The job of a task list whose function is that of the worker which a startup script starts."""
    from elsewhere.cli.projects import stem
    from elsewhere.cli.surroundings import spec_of_worker

    return spec_of_worker(asked, asked.name or asking.name_from(stem(asked.tasks_name)), place(asked))


def command_list_spec(asked: SimpleNamespace) -> JobSpec:
    """The job of a task list without an entry function: each task brings its own command."""
    from elsewhere.cli.projects import stem
    from elsewhere.cli.surroundings import spec_of_command

    name = asked.name or asking.name_from(stem(asked.tasks_name))
    return spec_of_command(asked, name, place(asked), ())


def _only_commands(tasks: Iterable[NewTask], name: str) -> Iterable[NewTask]:
    import json

    for task in tasks:
        if task.options is None or "command" not in json.loads(task.options):
            raise UsageError(
                f"{name} needs an entry function: its task {task.id!r} has no command of its own",
                hint="Say which does a task: --entry my_worker:process_task",
            )
        yield task


def task_list_spec(asked: SimpleNamespace) -> JobSpec:
    """The job of a task list: the interpreter is found and the entry is checked there."""
    from elsewhere.cli.projects import stem
    from elsewhere.cli.surroundings import spec_of_function

    name = asked.name or asking.name_from(stem(asked.tasks_name))
    return spec_of_function(asked, name, place(asked))


# --- a command for each line ----------------------------------------------------------------------------------------


def _each_line(asked: SimpleNamespace) -> int:
    from elsewhere.cli import each_line
    from elsewhere.cli.surroundings import furnish, spec_of_command

    template = each_line.Template(asked.rest)
    furnish(asked, place(asked))
    if "{" not in asked.rest[0] and "box" not in asked.furnished.fields:
        asking.find_command(asked.rest, asking.variables(asked))
    name = asked.name or asking.name_from(Path(asked.rest[0]).name)
    spec = spec_of_command(asked, name, place(asked), tuple(asked.rest))
    if asked.each_line == "-":
        return go(spec, each_line.tasks(template, sys.stdin.buffer, "standard input"), asked)
    with Path(asked.each_line).expanduser().open("rb") as lines:
        return go(spec, each_line.tasks(template, lines, asked.each_line), asked)


# --- a matrix -------------------------------------------------------------------------------------------------------


def _matrix(asked: SimpleNamespace) -> int:
    """A job of the settings whose tasks are the combinations of its matrix."""
    from elsewhere.cli.surroundings import furnish, is_here, spec_of_command
    from elsewhere.config.matrix import LIMIT

    work, where = asked.work, place(asked)
    if work.count > LIMIT and not asked.yes and not _agreed(work.count):
        return 1
    furnish(asked, where)
    if is_here(where) and "{" not in asked.rest[0]:
        asking.find_command(asked.rest, asking.variables(asked))
    spec = spec_of_command(asked, asked.name, where, tuple(asked.rest))
    return go(spec, work.tasks(asked.over, dict(asked.env)), asked)


def _agreed(count: int) -> bool:
    """UsageError: there is nobody to ask."""
    if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stderr)):
        raise UsageError(f"the matrix makes {count:,} tasks", hint="If that is meant: --yes.")
    if not terminal.agreed(f"The matrix makes {count:,} tasks. Start?"):
        tell("Nothing was started.")
        return False
    return True


# --- making and running -----------------------------------------------------------------------------------------------


def go(spec: JobSpec, tasks: Iterable[NewTask], asked: SimpleNamespace) -> int:
    """Make the job whole, then run it here or give it away."""
    from elsewhere import session
    from elsewhere.cli import paid, places, tidy

    where = place(asked)
    inventory = paid.check(asked, where) if asked.on != DEFAULT else None
    if inventory is None:
        places.greet(where)
        spec = session.survey(spec, asked.slots or 0)
        if fit := getattr(asked, "fit", None):
            fit.on(spec.resources, [shape.offer.resources for shape in spec.machines])
    if asked.show_script:
        return show_script.show(spec, sum(1 for _ in tasks))
    files = session.create(spec, tasks)
    if inventory is not None and not paid.settle(files, asked, where, inventory):
        return 1
    tidy.tidy(silent=asked.quiet or asked.json)
    if not asked.quiet and not asked.json:
        tell(opening(files, getattr(asked, "why", "")))
    if asked.detach:
        return drive.begin_detached(files, json=asked.json)
    show = live.choose(quiet=asked.quiet, json=asked.json)
    return drive.drive(files, show=show, results=asked.results, quiet=asked.quiet)


def opening(files: JobFiles, why: str = "") -> str:
    """The first line: what begins, in how many slots, whose Python runs it, and `why` that one."""
    from elsewhere.observe.explain import plural

    with which.opened(files) as ledger:
        spec, total = ledger.spec, ledger.count().total
    python = f", with {spec.python}" if spec.entry.kind == "function" and not spec.startup else ""
    chosen = f" (the Python {why})" if python and why else ""
    if spec.box is not None:
        python, chosen = f", in {spec.box.image}", ""
    where = f"{plural(spec.slots, 'slot')} on {spec.place}"
    if spec.machines:
        from elsewhere.controller import survey

        where += f": {how}" if (how := survey.said(spec.backend or spec.place, spec.machines)) else ""
    return f"{spec.name}: {plural(total, 'task')}, {where}{python}{chosen}"
