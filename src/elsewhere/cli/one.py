"""`elsewhere run -- COMMAND`: its output on our output, its exit status as ours. Recorded like any other job."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import asking, drive, live, show_script, tidy, which
from elsewhere.cli.terminal import complain, tell
from elsewhere.model.states import Outcome, TaskState
from elsewhere.observe import bill

if TYPE_CHECKING:
    from elsewhere.controller.stop import Stop
    from elsewhere.ledger.questions import Questions
    from elsewhere.session import JobFiles

LOOK_EVERY = 0.02
OUR_FAILURE = 125
NOT_THERE = 127
"""As a shell has it: there is no such program."""
NOBODY_READS = 141
TASK = "1"
_LONG = 10 * 365 * 86400.0
"""Seconds: we read along for as long as the command runs."""
_OURS = {Outcome.TIMED_OUT: signal.SIGTERM, Outcome.CANCELLED: signal.SIGTERM, Outcome.OUT_OF_MEMORY: signal.SIGKILL}
"""How we end a command; it counts as a signal like any other."""


def one_command(asked: SimpleNamespace) -> int:
    """Run one command as a job of one task. Returns its own exit status."""
    from elsewhere import session
    from elsewhere.cli import paid, places
    from elsewhere.cli.run import DEFAULT, place
    from elsewhere.cli.surroundings import furnish, is_here, spec_of_command
    from elsewhere.model.task import NewTask

    where = place(asked)
    inventory = paid.check(asked, where) if asked.on != DEFAULT else None
    if "box" not in furnish(asked, where).fields and is_here(where):
        asking.find_command(asked.rest, asking.variables(asked))
    asked.slots = 1
    name = asked.name or asking.name_from(Path(asked.rest[0]).name)
    spec = spec_of_command(asked, name, where, tuple(asked.rest))
    if inventory is None:
        places.greet(where)
        spec = session.survey(spec, 1)
    if asked.show_script:
        return show_script.show(spec, 1)
    files = session.create(spec, [NewTask(TASK, b"null")])
    if inventory is not None and not paid.settle(files, asked, where, inventory):
        return 1
    tidy.tidy(silent=asked.quiet or asked.json)
    if asked.detach:
        return drive.begin_detached(files, json=asked.json)
    return follow(files, asked)


def follow(files: JobFiles, asked: SimpleNamespace) -> int:
    """Run the job here with its output on ours."""
    from elsewhere import session

    stop = session.Stop()
    show = live.JsonLines() if asked.json else live.Quiet()
    out: Any = sys.stderr.buffer if asked.json else sys.stdout.buffer
    passing = Passing(files.directory, stop, out)
    files.readers.read(ahead=_LONG)
    with drive.listening(stop) as heard:
        passing.start()
        try:
            session.run_here(files, watch=drive.shown(Remarks(show)), stop=stop)
        finally:
            passing.finish()
            files.readers.leave()
    if asked.results is not None:
        drive.save_results(files, asked.results)
    with which.opened(files) as ledger:
        name, counts = which.called(files, ledger), ledger.count()
        status = NOBODY_READS if passing.cut else own_status(ledger, asked.quiet)
        cost = bill.paid(ledger)
    if passing.cut:
        session.cancel(files)
    elif not counts.over and not heard.status and (why := drive.given_up(files)):
        status = OUR_FAILURE
        complain(why, hint=f"`elsewhere resume {name}` tries again.")
        cost = cost._replace(why="")  # it is said
    elif not counts.over:
        status, why = heard.status or OUR_FAILURE, drive.stopped_why(files)
        tell(f"{why or 'Interrupted.'} `elsewhere resume {name}{cost.more}` runs it again.")
    if isinstance(show, live.JsonLines):
        figures = {**which.figures(counts), **bill.figures(cost)}
        show.event("summary", **figures, exit_status=status, job={"id": files.id, "name": name})
    elif not asked.quiet:
        tell(*bill.lines(cost))
    return status


def own_status(ledger: Questions, quiet: bool = False) -> int:
    """The exit status of the only task; what the command could not say itself is said on standard error."""
    from elsewhere.observe.wording import failure, reason

    view = ledger.outcomes(0, 1)[0] if ledger.count().ended else None
    if view is None:
        return OUR_FAILURE
    if view.state is TaskState.SUCCEEDED:
        return 0
    story = failure(view.form, view.value)
    if not quiet and (view.outcome is not Outcome.ERRORED or not ended_by_itself(story)):
        complain(reason(story) or f"the command was {view.state.name.lower()}", hint=_hint(story))
    number = story.get("signal") or _OURS.get(view.outcome or Outcome.SUCCEEDED)
    if number:
        return 128 + int(number)
    code = story.get("exit_code")
    return int(code) if code is not None and 0 < int(code) < 256 else OUR_FAILURE


def ended_by_itself(story: Mapping[str, Any]) -> bool:
    """Did it begin, and say itself what there was to say?"""
    return story.get("type") in ("ExitStatus", "Died")


def _hint(story: Mapping[str, Any]) -> str:
    if story.get("exit_code") != NOT_THERE:
        return ""
    return "The machine where it ran has no such program in its PATH: an environment, or an image, brings it."


class Remarks(live.Quiet):
    """Says once that a first Ctrl-C was heard, since there is no live line to show it."""

    def __init__(self, show: live.Quiet) -> None:
        super().__init__()
        self.inner, self._said = show, False

    def show(self, view: Any) -> None:
        self.inner.show(view)
        if view.draining and not self._said and view.running:
            self._said = True
            tell("", "The command is left to finish; Ctrl-C again stops it now.")


class Passing(threading.Thread):
    """Copies what the job's slots print to our own output, byte for byte, while the job runs in the main thread."""

    def __init__(self, directory: Path, stop: Stop, out: Any) -> None:
        super().__init__(name="elsewhere output", daemon=True)
        from elsewhere.observe.logs import Tail, shelf

        self.tail, self.stop, self.cut = Tail(shelf(directory)), stop, False
        self._fds = {"out": out.fileno(), "err": sys.stderr.fileno()}
        self._over = threading.Event()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()

    def run(self) -> None:
        while not self.cut:
            over = self._over.wait(LOOK_EVERY)  # looked at first: what is read after it is all there will be
            try:
                for source, piece in self.tail.read():
                    _write_all(self._fds[source.stream], piece)
            except OSError:  # nobody reads us: end the command, as a closed pipe would have
                self.cut = True
                self.stop.hard()
            if over:
                return

    def finish(self) -> None:
        """Copy what is left, and wait for it."""
        self._over.set()
        self.join()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
