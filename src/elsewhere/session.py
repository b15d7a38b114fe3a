"""The one facade: make jobs, run them, find them, stop them. Composition only; everything it does is done elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.controller import control, directory
from elsewhere.controller.directory import find, listing, sweep_disk
from elsewhere.controller.files import JobFiles
from elsewhere.controller.lock import Holder, Lock
from elsewhere.controller.removal import is_put_away, remove
from elsewhere.controller.stop import Stop
from elsewhere.controller.view import View
from elsewhere.errors import InvalidTask, JobHeld, StateError, UsageError
from elsewhere.ledger.views import SEAT, Counts
from elsewhere.model.job import JobSpec
from elsewhere.model.reports import Ended
from elsewhere.model.task import NewTask

if TYPE_CHECKING:
    from elsewhere.backends.base import Inventory
    from elsewhere.config.fit import Fit, Parameters
    from elsewhere.controller.controller import Controller
    from elsewhere.controller.live import Live
    from elsewhere.ledger.ledger import Ledger
    from elsewhere.model.place import Place
    from elsewhere.model.resources import Resources
    from elsewhere.pool.hold import Hold, Member

# fmt: off
__all__ = ["Counts", "Holder", "JobFiles", "Stop", "View",
           "add", "boot_log", "bring", "cancel", "create", "detach", "find", "hand", "hold", "holder", "inventory",
           "is_put_away", "keep", "listing", "networks", "preview", "remove", "retry", "run_here", "settle", "stop",
           "survey", "sweep", "sweep_disk"]
# fmt: on


# --- making -------------------------------------------------------------------------------------------


def create(spec: JobSpec, tasks: Iterable[NewTask], *, complete: bool = True) -> JobFiles:
    """A job with all its tasks, checked and committed; on any error nothing of it is left and the error is raised.

    InvalidTask: two tasks of one id, or what the iterable raises. UsageError: this machine lacks what each task needs.
    `complete` False: more may be added later.
    """
    from elsewhere import machine

    if runs_here(spec) and (short := machine.shortfall(spec.resources, spec.slots)):
        raise UsageError("; ".join(short), hint="Ask for less, or for a place that has it (--on).")
    with directory.fresh(spec.id) as draft:
        _fill(directory.new_ledger(draft), spec, tasks, complete)
    directory.call(spec.id, spec.name)
    return directory.files_of(spec.id)


def bring(url: str, told: Callable[[str], None] = lambda _: None) -> JobFiles:
    """The job whose log lies at this address, brought here from the machine that began it; it is not run.

    UsageError: it is here already, our key does not open it, or a secret of its tasks is not to be had here.
    UnknownJob: there is none. StateError: somebody else has written into its log. On any error nothing of it is left.
    """
    from elsewhere.controller import keeping

    job = keeping.job_of(url)
    files = directory.files_of(job)
    if files.directory.exists():
        raise UsageError(f"{job} is here already", hint=f"Go on with it: elsewhere resume {job}")
    with directory.fresh(job) as draft:
        keeping.bring(url.rstrip("/"), draft, directory.new_ledger(draft), told)
    with contextlib.closing(files.open()) as ledger:
        directory.call(job, ledger.spec.name)
    return files


def settle(files: JobFiles, **fields: Any) -> None:
    """Set what was chosen for a job: machines, limits, channel, slots. JobHeld: a controller has it."""
    from dataclasses import replace

    with _held(files) as ledger, ledger.moving():
        if "limits" in fields:
            ledger.set("warned", False)
        ledger.amend(replace(ledger.spec, **fields))


def add(files: JobFiles, tasks: Iterable[NewTask]) -> int:
    """Add tasks to a job that is there, all or none; how many. InvalidTask: an id is used twice, or what the iterable
    raises. JobHeld: a controller has it."""
    with _held(files) as ledger, ledger.moving():
        count = ledger.add(tasks)
        ledger.note("added", tasks=count)
    return count


def hand(files: JobFiles, tasks: Sequence[NewTask]) -> int:
    """A few more tasks for a job that takes some, to whoever runs it; if nobody does, it is run; how many.

    InvalidTask: an id is used twice, nothing was added. StateError: the job takes no more.
    """
    answer = control.ask(files.control, {"do": "add", "tasks": control.words(tasks)})
    if answer is not None:
        return int(answer["added"])
    count = add(files, tasks)
    detach(files)
    return count


def runs_here(spec: JobSpec) -> bool:
    return (spec.backend or spec.place) == "local"


def fit_of(spec: JobSpec, parameters: Parameters | None = None) -> Fit:
    """What tasks of this job are held against before they are added."""
    from elsewhere.config.fit import Fit

    fit = Fit(parameters, (spec.resources, spec.slots) if runs_here(spec) else None)
    fit.on(spec.resources, [shape.offer.resources for shape in spec.machines])
    return fit


def _fill(path: Path, spec: JobSpec, tasks: Iterable[NewTask], complete: bool) -> None:
    from elsewhere.ledger.ledger import Ledger

    ledger = Ledger.create(path, spec, draft=True)
    try:
        with ledger.moving():
            if complete:
                ledger.defer_index()
            try:
                ledger.add(tasks)
            except InvalidTask as wrong:
                raise _with_twice(wrong, ledger) if complete else wrong from None
            if complete:
                ledger.complete()
                ledger.index()
                if spec.machines:
                    from elsewhere.controller import survey as surveys

                    ledger.amend(surveys.spread(spec, ledger.counts.total))
            if (seat := directory.seat()) is not None:
                ledger.set(SEAT, seat)
            ledger.note("created", place=spec.place, slots=spec.slots)
    finally:
        ledger.close()


def _with_twice(wrong: InvalidTask, ledger: Ledger) -> InvalidTask:
    """What is wrong with a list, and which of its ids are used twice: all of it belongs to one answer."""
    try:
        ledger.index()
    except InvalidTask as more:
        return InvalidTask(wrong.message, hint=wrong.hint, faults=wrong.faults, twice=more.twice, numbers=more.numbers)
    return wrong


# --- running ------------------------------------------------------------------------------------------------------


def run_here(
    files: JobFiles,
    *,
    watch: Callable[[View], None] | None = None,
    heard: Callable[[Sequence[Ended]], None] | None = None,
    begun: Callable[[], None] | None = None,
    stop: Stop | None = None,
) -> Counts:
    """Run a job in this thread until it is over, stopped, or drained by its limits. JobHeld: somebody else has it.

    `begun` is called once, when the job is ours and what its last controller left is recorded; `heard` from then on.
    """
    from elsewhere.controller.drive import drive

    own = stop or Stop()

    def ready(controller: Controller) -> None:
        controller.closing = True  # the program that fed it, if there was one, is gone
        if begun is not None:
            begun()

    try:
        return drive(files, own, watch=watch, heard=heard, ready=ready)
    finally:
        if stop is None:
            own.close()


def detach(files: JobFiles) -> int:
    """Run a job in a process of its own, which outlives this one; its id, once it has the job. StateError: it fails."""
    import subprocess
    import threading

    reader, writer = os.pipe()
    with files.log.open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            [sys.executable, "-m", "elsewhere.controller", str(files.directory), str(writer)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writer,), start_new_session=True, cwd="/",
        )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader, "rb") as news:
        answer = news.read()
    if answer != b"+":
        process.wait()
        raise StateError(answer.decode() or f"the controller ended at once; its log is {files.log}")
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def hold(spec: JobSpec, watch: Callable[[View], None] | None = None) -> Live:
    """A job that is fed as we go, run by a thread of this process."""
    from elsewhere.controller.live import Live

    return Live(create(spec, (), complete=False), spec.name, watch)


def keep(place: Place, owner: str, last_words: Callable[[Member], str]) -> Hold:
    """What keeps launches at a place to a wanted number. Errors as in `registry.build`."""
    from elsewhere.pool import hold

    return hold.at(place, owner, last_words)


# --- what machines have said --------------------------------------------------------------------------------------


def boot_log(files: JobFiles, native: str) -> bytes:
    """What the boot of a machine of this job has said: as it came home, else as its place has it; empty: nothing yet.

    Errors of the place as in `Backend.logs`.
    """
    from elsewhere.backends import registry
    from elsewhere.errors import NotFound
    from elsewhere.model.place import Place

    path = files.boots / native
    if path.is_file():
        return path.read_bytes()
    with contextlib.closing(files.open()) as ledger:
        spec = ledger.spec
    try:
        return registry.build(Place(spec.place, spec.backend or spec.place, spec.settings)).logs(native)
    except NotFound:
        return b""


# --- what a place sells ---------------------------------------------------------------------------------------------


def survey(spec: JobSpec, slots: int = 0, need: Resources | None = None) -> JobSpec:
    """The job with the machines of a place that has so many and no more; any other job as it is.

    `slots`: tasks at a time in all; 0: as many as the machines are good for. `need`: of a task, if the job does not
    say. UsageError: none has what a task needs, or lives long enough. PlaceError: none is reached. Nothing is made.
    """
    if runs_here(spec) or spec.machines:
        return spec
    from elsewhere.controller import survey as surveys

    return surveys.survey(spec, slots, need)


def preview(spec: JobSpec, tasks: int = 0) -> tuple[Sequence[str], str]:
    """The command by which this job would ask its place for machines, and the text that they would boot.

    Nothing is made. `tasks`: how many there are, if that is known. UsageError: its place has nothing of the kind.
    """
    from elsewhere.controller import reach

    return reach.preview(directory.files_of(spec.id), spec, tasks)


def inventory(place: Place) -> Inventory | None:
    """What lists the offers of a place; None: it has no list, and no prices. Errors as in `registry.build`."""
    from elsewhere.backends import registry
    from elsewhere.backends.base import Inventory

    backend = registry.build(place)
    return backend if isinstance(backend, Inventory) else None


def networks(place: Place) -> Collection[str]:
    """Ids of the networks of a place in which machines may stand; none, where it knows of none."""
    from elsewhere.backends import registry
    from elsewhere.backends.base import Networks

    backend = registry.build(place)
    return backend.networks() if isinstance(backend, Networks) else ()


# --- changing -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _held(files: JobFiles) -> Iterator[Ledger]:
    """The ledger of a job that no controller has, for a change of ours."""
    from elsewhere.ledger.ledger import Ledger

    files.require_here()
    with Lock(files.lock):
        ledger = Ledger.open(files.ledger)
        try:
            if ledger.get("kept", ""):
                from elsewhere.controller import keeping

                keeping.attach_again(files, ledger)
            yield ledger
        finally:
            ledger.close()


def cancel(files: JobFiles, tasks: Sequence[str] | None = None) -> int:
    """Cancel these tasks (None: all), through the controller if there is one; how many were unfinished."""
    files.require_here()
    for _ in range(3):
        answer = control.ask(files.control, {"do": "cancel", "tasks": None if tasks is None else list(tasks)})
        if answer is not None:
            return int(answer["cancelled"])
        with contextlib.suppress(JobHeld), _held(files) as ledger:
            before = ledger.counts.cancelled
            with ledger.moving():
                ledger.cancel(tasks)
                if tasks is None:
                    ledger.complete()
                ledger.note("cancelled", "" if tasks is None else ", ".join(tasks[:20]))
            cancelled, over = ledger.counts.cancelled - before, ledger.counts.over
            break
    else:
        raise read_holder_error(files)
    if over and not is_put_away(files):
        detach(files)  # nobody has told its machines yet, nor stopped them
    return cancelled


def sweep(files: JobFiles) -> None:
    """Remove what a job that is over has left at its place: its queues, its corner of the store. Twice: harmless.

    Whoever runs it does so itself. PlaceError: the place cannot be asked, and something may be left there.
    """
    with contextlib.closing(files.open()) as ledger:
        left = ledger.count().over and bool(ledger.spec.machines)
    if left:
        with contextlib.suppress(JobHeld):
            run_here(files)


def stop(files: JobFiles, *, now: bool = False) -> bool:
    """Ask the controller to end: its machines are ended too, what has not is kept. False: there is no controller.

    Returns when it has heard. Twice: harmless.
    """
    return control.ask(files.control, {"do": "stop", "now": now}) is not None


def read_holder_error(files: JobFiles) -> JobHeld:
    held = files.holder()
    where = f"process {held.pid} on {held.host}" if held else "another process"
    return JobHeld(f"the job is run by {where}, which does not answer", hint="cancel it from that host")


def retry(files: JobFiles, tasks: Sequence[str] | None = None) -> int:
    """Make failed tasks ready again (None: all that failed); how many. It does not run them. JobHeld: it is running."""
    with _held(files) as ledger:
        with ledger.moving():
            count = ledger.retry(tasks)
            ledger.note("retried", tasks=count)
        return count


def holder(files: JobFiles) -> Holder | None:
    """Who runs the job now; None: nobody."""
    return files.holder()
