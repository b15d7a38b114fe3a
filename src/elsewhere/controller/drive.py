"""Take a job over and run it: lock, epoch, what the last controller's slots left behind, crew, control socket, loop."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.agent.runner import Boot, Slots, recover
from elsewhere.controller.control import Control
from elsewhere.controller.controller import Controller
from elsewhere.controller.crew import Crew
from elsewhere.controller.files import JobFiles
from elsewhere.controller.here import Here
from elsewhere.controller.lock import Lock
from elsewhere.controller.share import Share
from elsewhere.controller.stop import Stop
from elsewhere.controller.view import View
from elsewhere.errors import JobHeld, PlaceError
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.views import Counts
from elsewhere.model.job import JobSpec
from elsewhere.model.reports import Ended

if TYPE_CHECKING:
    from elsewhere.controller.corner import Corner

_TRIES = 10
"""Times that a number of the log which was taken meanwhile is followed by the next one, before the job is left."""


def drive(
    files: JobFiles,
    stop: Stop,
    *,
    watch: Callable[[View], None] | None = None,
    heard: Callable[[Sequence[Ended]], None] | None = None,
    ready: Callable[[Controller], None] | None = None,
) -> Counts:
    """Run the job in this thread until it is over or `stop` is asked for. JobHeld: somebody else has it.

    `ready` is called once, when the job is ours and its past is recorded. May be called again at any time: it goes on
    where the ledger stands.
    """
    files.require_here()
    with Lock(files.lock), contextlib.ExitStack() as exits:
        ledger = Ledger.open(files.ledger)
        exits.callback(ledger.close)
        where = files.elsewhere()
        if where is not None:
            exits.callback(files.point, where[1])
            exits.callback(ledger.copy_to, files.copy)
        corner = corner_of(files, ledger)
        if corner is not None:
            exits.push(_leaves(corner, ledger))
        epoch = take_over(files, ledger)
        if where is not None:
            files.point(where[1], epoch, os.getpid())
        selector = selectors.DefaultSelector()
        exits.callback(selector.close)
        try:
            crew = gather(files, ledger, epoch, selector, corner)
        except PlaceError:
            if corner is not None and epoch == 1:  # the place refused before anything ran there
                corner.abandon(ledger)
            raise
        exits.callback(_forget_if_over, files, ledger)
        exits.callback(crew.close, now=True)
        controller = Controller(ledger, crew, stop, heard=heard, watch=watch)
        if where is not None:
            controller.copy = files.copy
        control = Control(files.control, controller.answer)
        exits.callback(control.close)
        selector.register(control.socket, selectors.EVENT_READ, control.turn)
        selector.register(stop.reader, selectors.EVENT_READ, stop.heard)
        if ready is not None:
            ready(controller)
        if corner is None:
            return controller.run()
        corner.journal.closed.endure = controller.endure
        try:
            return controller.run()
        except BaseException:
            corner.journal.closed.endure = lambda error: False
            raise


def corner_of(files: JobFiles, ledger: Ledger) -> Corner | None:
    """Where the job's log lies, with the ledger attached to it; None: its machines do not outlive their client."""
    if not is_far(ledger.spec):
        return None
    from elsewhere.controller import reach

    return reach.corner_of(files, ledger)


def _leaves(corner: Corner, ledger: Ledger) -> Callable[..., None]:
    """At the end, however it came about: who finds that it was overtaken leaves nothing of its own behind."""

    def at_the_end(kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, JobHeld):
            corner.withdraw(ledger)

    return at_the_end


def take_over(files: JobFiles, ledger: Ledger) -> int:
    """Write down what the slots of the last controller had finished, and give back the rest; the new epoch.

    Agents in processes of their own outlive a controller: theirs is neither recovered nor given back here.
    """
    if is_far(ledger.spec):
        return _take_over_far(ledger)
    left = sorted(files.slots.iterdir()) if files.slots.is_dir() else []
    found = [(path, recover(path)) for path in left]
    with ledger.moving():
        epoch = ledger.take_over()
        recorded = 0
        for path, reports in found:
            ledger.record([r._replace(agent=path.name) for r in reports])
            recorded += len(reports)
        given = ledger.interrupt()
        if epoch > 1:
            ledger.note("resumed", epoch=epoch, recovered=recorded, interrupted=given, pid=os.getpid())
    for path, _ in found:
        _forget(path)
    return epoch


def _take_over_far(ledger: Ledger) -> int:
    """By an append, where there is a log. Another controller may just have made one of its last."""
    for left in range(_TRIES, 0, -1):
        try:
            with ledger.moving():
                epoch = ledger.take_over()
                if epoch > 1:
                    ledger.note("resumed", epoch=epoch, recovered=0, interrupted=0, pid=os.getpid())
            return epoch
        except JobHeld:
            if ledger.journal is None or left == 1:
                raise
            ledger.journal.attach(ledger)
    raise AssertionError("unreachable")


def is_far(spec: JobSpec) -> bool:
    """Are its agents processes of their own, here or elsewhere?"""
    return spec.channel not in ("", "calls")


def _forget_if_over(files: JobFiles, ledger: Ledger) -> None:
    """When every task has ended, and is recorded, nobody will ask what the slots had written."""
    if ledger.counts.over and not is_far(ledger.spec):
        for path in files.slots.iterdir():
            _forget(path)


def _forget(directory: Path) -> None:
    """The outcomes are in the ledger; the output of the tasks stays."""
    for path in directory.glob("*.outcomes"):
        path.unlink(missing_ok=True)


def gather(
    files: JobFiles, ledger: Ledger, epoch: int, selector: selectors.BaseSelector, corner: Corner | None
) -> Crew:
    """The crew of this job's place."""
    spec = ledger.spec
    if is_far(spec):
        from elsewhere.controller.reach import afar

        return afar(files, ledger, epoch, selector, corner)
    name = f"a{epoch}"
    directory = files.slots / name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    shares = files.directory.parent.parent / "shares" / socket.gethostname()
    share = Share(shares, files.id, spec.slots, spec.priority, os.cpu_count() or 1)
    slots = Slots(Boot.of(spec, files.directory, files.seal_key()), spec.slots, directory, selector)
    return Here(name, slots, selector, share)
