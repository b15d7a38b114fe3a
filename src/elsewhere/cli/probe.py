"""`--probe`: how long a task takes, measured by running the first five of the list on this machine. They are run again
in the job itself; nothing of the measuring is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Option
from elsewhere.cli.terminal import tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.model.job import JobSpec
    from elsewhere.model.task import NewTask
    from elsewhere.session import JobFiles

COUNT = 5
OPTION = Option("--probe", group="Each task",
                help="Measure how long a task takes: the first five are run here, and again in the job.")  # fmt: skip


def measured(asked: SimpleNamespace) -> timedelta:
    """The middle of what the first tasks took. UsageError: none succeeded, or there is no list to take them from."""
    from dataclasses import replace

    from elsewhere import session

    here = SimpleNamespace(**{key: value for key, value in vars(asked).items() if not key.startswith("furnished")})
    here.on, here.channel = "local", None
    spec, tasks = _work(here)
    files = session.create(replace(spec, name=f"{spec.name}-probe", slots=1), islice(tasks, COUNT))
    try:
        session.run_here(files)
        took = sorted(_took(files))
    finally:
        session.remove(files)
    middle = timedelta(seconds=max(took[len(took) // 2], 0.001))
    if not asked.quiet and not asked.json:
        tell(_said(took, middle))
    return middle


def _took(files: JobFiles) -> Iterator[float]:
    from elsewhere.model.states import TaskState
    from elsewhere.observe import results

    with which.opened(files) as ledger:
        ended = list(results.ended(ledger))
    good = [task.took for task in ended if task.state is TaskState.SUCCEEDED]
    if not good:
        why = results.trouble(ended[0])["reason"] if ended else "there are no tasks"
        raise UsageError(f"none of the first {COUNT} tasks succeeded here: {why}",
                         hint="Say how long one takes with --task-time, or leave out --probe.")  # fmt: skip
    yield from good


def _said(took: list[float], middle: timedelta) -> str:
    from elsewhere.model.units import show_duration
    from elsewhere.observe.explain import plural

    least, most = (show_duration(timedelta(seconds=one)) for one in (took[0], took[-1]))
    return f"{plural(len(took), 'task')} took {show_duration(middle)} here ({least} to {most})"


def _work(asked: SimpleNamespace) -> tuple[JobSpec, Iterable[NewTask]]:
    """What the list would be as a job of this machine."""
    from elsewhere.cli import run

    source = asked.tasks_name if asked.each_line is None else asked.each_line
    if source is None or source == "-":
        raise UsageError("--probe takes the first tasks of a list in a file", hint="Say --task-time instead.")
    if asked.each_line is not None:
        from elsewhere.cli import each_line
        from elsewhere.cli.surroundings import spec_of_command

        spec = spec_of_command(asked, "lines", run.place(asked), tuple(asked.rest))
        return spec, each_line.tasks(each_line.Template(asked.rest), Path(source).expanduser().open("rb"), source)
    from elsewhere.config import tasks

    spec = run.task_list_spec(asked) if asked.entry else run.command_list_spec(asked)
    return spec, tasks.read(Path(source), None)
