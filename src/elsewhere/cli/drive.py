"""A job in the foreground: its progress, Ctrl-C once and twice, its last lines and its exit status.

Shared by run, resume, retry and demo. The work itself is session's.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from elsewhere.cli import live, which
from elsewhere.cli.terminal import coloured, paint, tell
from elsewhere.observe import bill

if TYPE_CHECKING:
    from elsewhere.controller.stop import Stop
    from elsewhere.controller.view import View
    from elsewhere.ledger.views import Counts
    from elsewhere.session import JobFiles

SUCCEEDED, SOME_FAILED, REFUSED, INTERRUPTED = 0, 1, 3, 130


class Asked:
    """What signals have asked for so far. Ctrl-C once: `stop.soft`; twice, or SIGTERM: `stop.hard`."""

    def __init__(self, stop: Stop) -> None:
        self.stop, self.signal = stop, 0

    def __call__(self, number: int, frame: object) -> None:
        again = bool(self.signal)
        self.signal = self.signal or number
        if again or number != signal.SIGINT:
            self.stop.hard()
        else:
            self.stop.soft()

    @property
    def status(self) -> int:
        return 128 + self.signal if self.signal else 0


@contextmanager
def listening(stop: Stop) -> Iterator[Asked]:
    """While inside, Ctrl-C, SIGTERM and SIGHUP stop the job instead of this process."""
    asked = Asked(stop)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, asked)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def drive(files: JobFiles, *, show: live.Quiet, results: Path | None = None, quiet: bool = False) -> int:
    """Run the job here until it is over or stopped; its results go to `results`. Returns the exit status."""
    from elsewhere import session

    began = time.monotonic()
    with which.opened(files) as ledger:
        spec = ledger.spec
        before = ledger.count()
        name = which.called(files, ledger)
    show.default_limit = spec.timeout.total_seconds() if spec.timeout else None
    if isinstance(show, live.JsonLines):
        show.event("started", job={"id": files.id, "name": spec.name, "directory": str(files.directory)})
    stop = session.Stop()

    def begun() -> None:
        if session.runs_here(spec):
            return
        if isinstance(show, live.JsonLines):
            show.event("kept", url=kept(files) or None)
        elif not quiet:
            tell_kept(files)

    try:
        with listening(stop) as asked:
            counts = _run(files, shown(show), stop, results, begun)
    finally:
        show.close()
    refused = "" if counts.over else given_up(files)
    status = REFUSED if refused and not counts.ended and not asked.status else status_of(counts, asked.status)
    took = time.monotonic() - began
    if isinstance(show, live.JsonLines):
        paid = money(files)
        figures = {**which.figures(counts), **bill.figures(paid)}
        following = commands(counts, name, results, paid)
        show.event("summary", **figures, seconds=round(took, 3), exit_status=status, next=following)
    elif not quiet:
        why, failed = stopped_why(files), failures(files, counts)
        last = Last(counts, name, results, bool(asked.signal), why, failed, money(files))
        tell(*receipt(last, took, counts.ended - before.ended))
    return status


def _run(
    files: JobFiles, watch: Callable[[View], None], stop: Stop, results: Path | None, begun: Callable[[], None]
) -> Counts:
    """Run the job; its results go to their file as they come, or at the end where a file cannot grow."""
    from elsewhere import session
    from elsewhere.hosts import own

    def ours() -> None:
        own.settle()
        begun()

    if results is None:
        return session.run_here(files, watch=watch, stop=stop, begun=ours)
    from elsewhere.cli.growing import growing, grows

    if grows(results):
        with growing(files, results) as file:

            def begin() -> None:
                file.begin()
                ours()

            return session.run_here(files, watch=watch, heard=file.hear, begun=begin, stop=stop)
    counts = session.run_here(files, watch=watch, stop=stop, begun=ours)
    save_results(files, results)
    return counts


def kept(files: JobFiles) -> str:
    """Where the job is kept besides here, so that another machine can go on with it; empty: here alone."""
    with which.opened(files) as ledger:
        return str(ledger.get("kept", ""))


def tell_kept(files: JobFiles) -> None:
    if url := kept(files):
        tell(f"kept at {url}: `elsewhere resume --from` that goes on from another machine")


def shown(show: live.Quiet) -> Callable[[View], None]:
    """What session calls with each view. Nobody reads our lines: that ends the lines, not the job."""

    def watch(view: View) -> None:
        try:
            show.show(view)
        except (BrokenPipeError, OSError):
            show.show = lambda view: None  # type: ignore[method-assign]

    return watch


def money(files: JobFiles) -> bill.Paid:
    """What the job has cost, and what may be left of its machines."""
    with which.opened(files) as ledger:
        return bill.paid(ledger)


def save_results(files: JobFiles, target: Path) -> None:
    """Write the results file as its suffix says, whole or not at all."""
    from elsewhere.cli.results import save
    from elsewhere.observe import results

    with which.opened(files) as ledger:
        save(target, results.write(ledger, files.store, results.form_of(target)))


_ENDS = ("stopped early", "gave up", "resumed", "created", "retried")


def stopped_why(files: JobFiles) -> str:
    """Why the last controller of the job stopped it before its end, a sentence; empty: it did not."""
    kind, why = _last_end(files)
    if kind == "gave up":
        return f"It stopped: {why}" + ("" if "\n" in why else ".")
    return "It stopped early, for too many tasks had failed." if kind == "stopped early" else ""


def given_up(files: JobFiles) -> str:
    """Why its last controller gave the job up: the place refuses for good. Empty too if the budget was spent."""
    from elsewhere.observe.wording import several

    kind, why = _last_end(files)
    return "\n".join(several(why)) if kind == "gave up" and not why.startswith("the budget") else ""


def _last_end(files: JobFiles) -> tuple[str, str]:
    with which.opened(files) as ledger:
        ends = [event for event in ledger.events() if event.kind in _ENDS]
    return (ends[-1].kind, str(ends[-1].detail.get("why") or "")) if ends else ("", "")


def status_of(counts: Counts, interrupted: int = 0) -> int:
    """0 all succeeded, 1 some failed or were cancelled, or the job stopped early; 128+n interrupted by signal n."""
    if interrupted and not counts.over:
        return interrupted
    return SUCCEEDED if counts.over and counts.succeeded == counts.total else SOME_FAILED


class Last(NamedTuple):
    """What the last lines are made of. `stopped`: by a signal; `why`: it stopped by itself, and why.

    `since`: nobody runs it, and so long (seconds since the epoch); None: it has just ended.
    """

    counts: Counts
    name: str
    results: Path | None = None
    stopped: bool = False
    why: str = ""
    failures: Sequence[tuple[str, str]] = ()
    paid: bill.Paid | None = None
    running: bool = False
    """Somebody still has the job."""
    since: float | None = None


def failures(files: JobFiles, counts: Counts) -> list[tuple[str, str]]:
    """(task, reason) of the first few that failed."""
    from elsewhere.cli.status import first_failures

    if not counts.failed:
        return []
    with which.opened(files) as ledger:
        return first_failures(ledger, 3)


def receipt(last: Last, took: float, ended: int = 0) -> list[str]:
    """The last lines: what is done, what is left, why tasks failed, and the command that goes on.

    `took` is seconds, in which `ended` tasks ended.
    """
    from elsewhere.model.units import show_duration
    from elsewhere.observe.progress import show_rate
    from elsewhere.observe.safe import one_line
    from elsewhere.observe.wording import several, when

    on, counts = coloured(sys.stderr), last.counts
    left = counts.total - counts.ended
    parts = [f"{counts.succeeded:,} of {counts.total:,} done"]
    parts += [paint(f"{counts.failed:,} failed", "red", on)] * bool(counts.failed)
    parts += [f"{counts.cancelled:,} cancelled"] * bool(counts.cancelled)
    parts += [f"{left:,} left"] * bool(left)
    parts += [f"asked again {counts.asks:,} times"] * bool(counts.asks)
    rate = f" ({show_rate(ended / took)})" if took > 1 and ended > 20 else ""
    word = "Interrupted" if last.stopped and left else "Stopped" if left else "Done"
    began = f"{paint(word, 'bold', on)} after {show_duration(took)}"
    if last.since is not None:
        began = f"{paint('Nobody runs it', 'bold', on)} since {when(last.since, time.time())}"
        rate = ""
    lines = [f"{began}: {', '.join(parts)}{rate}."]
    lines += [f"  failed {one_line(task, 60)}: {why}" for task, why in last.failures]
    if left and last.why and not (last.paid is not None and last.paid.why and not last.running):  # it says so itself
        lines += several(last.why)
    if last.paid is not None:
        lines += bill.lines(last.paid, last.running)
    following = next_steps(counts, last.name, last.results, last.paid)
    return lines + [f"  {command:<44} {why}" for command, why in following]


def next_steps(
    counts: Counts, name: str, results: Path | None, paid: bill.Paid | None = None
) -> list[tuple[str, str]]:  # fmt: skip
    """(command, what for) of what can be typed next."""
    steps = []
    keep = f" --results {_quoted(str(results))}" if results is not None else ""
    if counts.total - counts.ended:
        more = "" if paid is None else paid.more
        steps.append((f"elsewhere resume {name}{more}{keep}", "goes on where it was"))
    if counts.failed:
        steps.append((f"elsewhere results {name} --failed", "shows why tasks failed"))
        steps.append((f"elsewhere explain {name}/TASK", "tells a task's story; logs shows its output"))
        if counts.over:
            steps.append((f"elsewhere retry {name} --failed{keep}", "tries them again, and keeps the rest"))
    if counts.succeeded and results is None:
        steps.append((f"elsewhere results {name}", "writes out the results"))
    return steps


def commands(counts: Counts, name: str, results: Path | None, paid: bill.Paid | None = None) -> list[str]:
    return [command for command, _ in next_steps(counts, name, results, paid)]


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def begin_detached(files: JobFiles, *, json: bool = False) -> int:
    """Give the job to a controller of its own, print its id, and return."""
    from elsewhere import session
    from elsewhere.cli.terminal import say, say_json

    pid = session.detach(files)
    with which.opened(files) as ledger:
        name = which.called(files, ledger)
    if json:
        say_json({"event": "detached", "job": {"id": files.id, "name": name}, "pid": pid, "kept": kept(files) or None})
    else:
        say(files.id)
        tell(f"It goes on by itself. `elsewhere watch {name}` follows it, `elsewhere cancel {name}` stops it.")
        tell_kept(files)
    return 0
