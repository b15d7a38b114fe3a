"""`elsewhere logs`: what tasks have printed, safe on a terminal, byte for byte in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import positive
from elsewhere.cli.terminal import is_terminal, tell
from elsewhere.errors import ElsewhereError

if TYPE_CHECKING:
    from elsewhere.ledger.questions import Questions
    from elsewhere.ledger.views import Attempt, TaskView
    from elsewhere.observe.logs import Shelf
    from elsewhere.session import JobFiles

LOOK_EVERY = 0.1
LOOK_FAR = 2.0
"""Seconds, where each look asks another machine."""
LAST = 5.0
"""Seconds in which the last words of a task come home that was followed, once it is known that it has ended."""
BOOT = 3.0
"""Seconds in which a controller brings what the boots of machines have said, once it knows that somebody looks."""

COMMAND = Command(
    "logs",
    about="Shows what a task printed, attempt by attempt, or what every task of a job did, in the order of the list:\n"
    "standard output first, then standard error. On a terminal, control bytes are shown as escapes and colours are\n"
    "left out; into a pipe or a file the bytes go as they are.",
    arguments=[which.JOB, which.TASK],
    options=[
        Option("--follow", "-f", help="Go on as more is printed, until the task or the job is over."),
        Option("--attempt", value="N", parse=positive, help="Only this attempt."),
        Option("--machine", value="ID", help="What the boot of this machine has said, instead: `machines` lists them."),
        Option("--stdout", help="Only standard output."),
        Option("--stderr", help="Only standard error."),
        Option("--raw", help="The bytes as they are, also on a terminal, and no headings."),
    ],
    usage=[
        "elsewhere logs [JOB] [OPTIONS]",
        "elsewhere logs JOB/TASK [OPTIONS]",
        "elsewhere logs [JOB] --machine ID [--raw]",
        "elsewhere logs CLUSTER/TAG/N [--follow] [--raw]",
    ],
)


class Sheet:
    """Where output is written: heading when the source changes, bytes made safe for a terminal."""

    def __init__(self, raw: bool, headings: bool) -> None:
        from elsewhere.observe.safe import Safely

        self.out = sys.stdout.buffer
        self.safely = None if raw or not is_terminal(sys.stdout) else Safely
        self.headings = headings and not raw
        self._of = ""
        self._filter = self.safely() if self.safely else None
        self._line_begun = False
        self.wrote = False

    def write(self, source: str, data: bytes) -> None:
        """`source` names what printed `data`."""
        if source != self._of:
            self._begin(source)
        piece = data if self._filter is None else self._filter.feed(data).encode("utf-8", "backslashreplace")
        self.out.write(piece)
        self._line_begun = bool(piece) and not piece.endswith(b"\n")
        self.wrote = True

    def _begin(self, source: str) -> None:
        if self.headings:
            end = b"\n" * self._line_begun
            self.out.write(end + f"==> {source} <==\n".encode("utf-8", "backslashreplace"))
        self._of = source
        self._filter = self.safely() if self.safely else None

    def flush(self) -> None:
        self.out.flush()


def main(asked: SimpleNamespace) -> int:
    if asked.job.count("/") == 2 and not which.is_job(asked.job):
        return _of_worker(asked)
    files, tasks = which.job_and_tasks(asked.job, [asked.task] if asked.task else [])
    if asked.machine is not None:
        return _boot(files, asked)
    streams = [name for name, on in (("out", asked.stdout), ("err", asked.stderr)) if on] or ["out", "err"]
    with which.opened(files) as ledger:
        if tasks:
            view = ledger.task(tasks[0])
            if view is None:
                raise which.unknown_task(ledger, tasks[0])
            wrote = _of_task(files, ledger, view, streams, asked)
        else:
            wrote = _of_job(files, ledger, streams, asked)
    if not wrote:
        tell("Nothing was printed.")
    return 0


def _of_worker(asked: SimpleNamespace) -> int:
    """What a Dask worker has said; with --follow until its cluster has ended."""
    from elsewhere.cli import cluster

    sheet, at, over = Sheet(asked.raw, headings=False), 0, not asked.follow
    while True:
        path, record = cluster.log_of(asked.job)
        with path.open("rb") as file:
            file.seek(at)
            data = file.read()
        at += len(data)
        sheet.write(str(path), data)
        sheet.flush()
        if over:
            return 0
        over = not record.alive  # its last words are read after that is seen
        time.sleep(LOOK_FAR if record.seat or record.distant else LOOK_EVERY)


def _boot(files: JobFiles, asked: SimpleNamespace) -> int:
    from elsewhere import session

    native = which.machine(files, asked.machine)
    until = time.monotonic() + (BOOT if _goes_on(files) else 0.0)
    while not (files.boots / native).is_file() and time.monotonic() < until and _goes_on(files):
        time.sleep(LOOK_EVERY)
    data = session.boot_log(files, native)
    sheet = Sheet(asked.raw, headings=False)
    if data:
        sheet.write(native, data)
    sheet.flush()
    if not data:
        tell(f"{native} has said nothing yet, as far as is known here.")
    return 0


def _of_task(files: JobFiles, ledger: Questions, view: TaskView, streams: list[str], asked: SimpleNamespace) -> bool:
    """The ended attempts, then the one that runs; with --follow, until the task has ended."""
    from elsewhere.observe import safe

    sheet, shelf = Sheet(asked.raw, headings=False), _shelf(files, ledger)
    name, number = safe.one_line(view.id), 0
    sheet.headings = not asked.raw and view.attempt > 1 and asked.attempt is None
    while True:
        for attempt in ledger.attempts(view.id):
            if attempt.attempt > number and asked.attempt in (None, attempt.attempt):
                number = attempt.attempt
                _ended(shelf, attempt, f"{name}, attempt {number}", streams, sheet)
        if asked.attempt is None or asked.attempt > number:
            number = max(number, _running(files, ledger, view, number, streams, sheet, asked.follow))
        sheet.flush()
        now = ledger.task(view.id)
        if not asked.follow or now is None or now.state.ended or not _goes_on(files, view.n):
            return sheet.wrote
        time.sleep(LOOK_EVERY)


def _shelf(files: JobFiles, ledger: Questions) -> Shelf:
    """Of a job that runs here without its secrets, where they can be had; elsewhere they are struck out before."""
    from elsewhere.config.secret import Secret
    from elsewhere.observe import logs
    from elsewhere.slot import masking

    known = []
    for reference in ledger.spec.secrets.values():
        with suppress(ElsewhereError):
            known.append(Secret(reference).reveal())
    return logs.shelf(files.directory, masking.words(known))


def _ended(shelf: Shelf, attempt: Attempt, name: str, streams: list[str], sheet: Sheet) -> None:
    from elsewhere.observe import logs

    for stream in streams:
        for piece in logs.printed(shelf, attempt, stream):
            sheet.write(f"{name}, {'standard output' if stream == 'out' else 'standard error'}", piece)


def _running(
    files: JobFiles, ledger: Questions, view: TaskView, after: int, streams: list[str], sheet: Sheet, follow: bool
) -> int:
    """What the attempt that runs has printed; with `follow` until it has ended. Its number, or 0 if none runs."""
    from elsewhere.observe import logs

    shelf = _shelf(files, ledger)
    pages = [page for page in shelf.pages() if page.n == view.n and page.attempt > after]
    if not pages or not _goes_on(files, view.n):
        return 0
    page = pages[-1]
    at = {"out": page.out_from, "err": page.err_from}
    until = float("inf")
    while True:
        goes_on = _goes_on(files, view.n)  # looked at first, so that the last words are read after it
        ended = {attempt.attempt: attempt for attempt in ledger.attempts(view.id)}.get(page.attempt)
        for stream in streams:
            source = logs.Source(page.agent, page.slot, page.roll, stream)
            end = None
            if ended is not None and ended.output is not None:
                end = ended.output.out_to if stream == "out" else ended.output.err_to
            elif page not in shelf.pages():
                break  # another task prints there by now: wait for the record that says where this one's ends
            for piece in shelf.read(source, at[stream], end):
                at[stream] += len(piece)
                sheet.write(f"{view.id}, attempt {page.attempt}, {stream}", piece)
        sheet.flush()
        if ended is not None:
            until = min(until, time.monotonic() + (0.0 if _has_come(ended, at, streams) else LAST))
        if not follow or not goes_on or time.monotonic() >= until:
            return page.attempt
        time.sleep(LOOK_EVERY)


def _has_come(attempt: Attempt, at: dict[str, int], streams: list[str]) -> bool:
    """All that it printed, from wherever it ran."""
    if attempt.output is None:
        return True
    ends = {"out": attempt.output.out_to, "err": attempt.output.err_to}
    return all(at[stream] >= ends[stream] for stream in streams)


def _of_job(files: JobFiles, ledger: Questions, streams: list[str], asked: SimpleNamespace) -> bool:
    """Every ended attempt in the order of the list; with --follow, what is printed from now on instead."""
    from elsewhere.observe import logs, safe

    alone = ledger.count().total == 1
    sheet = Sheet(asked.raw, headings=not alone)
    live = _goes_on(files)
    shelf = _shelf(files, ledger)
    tail = logs.Tail.from_now(shelf, streams) if live else None
    for task, attempt in _printed(ledger):
        if asked.attempt in (None, attempt.attempt):
            name = safe.one_line(task) + (f", attempt {attempt.attempt}" if attempt.attempt > 1 else "")
            _ended(shelf, attempt, name, streams, sheet)
    sheet.flush()
    while tail is not None:
        over = not _goes_on(files)  # looked at first, so that the last words are read after it
        names = {(page.agent, page.slot): page.n for page in shelf.pages()}
        for source, piece in tail.read():
            sheet.write(_label(ledger, names.get((source.agent, source.slot)), source.slot), piece)
        sheet.flush()
        if over or not asked.follow:
            break
        time.sleep(LOOK_EVERY)
    return sheet.wrote


def _label(ledger: Questions, n: int | None, slot: int) -> str:
    from elsewhere.observe import safe

    task = ledger.ids([n]).get(n) if n is not None else None
    return f"slot {slot + 1}" + (f", {safe.one_line(task)}" if task else "")


def _printed(ledger: Questions) -> Iterator[tuple[str, Attempt]]:
    after = (0, 0)
    while rows := ledger.printed(after):
        yield from rows
        after = rows[-1][1].n, rows[-1][1].attempt


def _goes_on(files: JobFiles, n: int = 0) -> bool:
    """Whether a controller runs it. Said to it on this occasion: somebody reads along, task `n` or (0) all of them."""
    from elsewhere import session

    files.readers.read(n)
    holder = session.holder(files)
    return holder is not None and holder.alive
