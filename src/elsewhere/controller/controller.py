"""One job's loop: it alone writes the ledger; a crew executes. Collect, record, hand out, commit; then show and send.

Nothing is shown, sent or confirmed before the commit that it rests on has returned.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from elsewhere.channels.base import Receipt
from elsewhere.controller import control
from elsewhere.controller.crew import Crew
from elsewhere.controller.stop import Stop
from elsewhere.controller.view import View
from elsewhere.errors import InvalidTask, PlaceError, StateError, Unreachable
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.views import Counts
from elsewhere.model.reports import Ended, Heartbeat
from elsewhere.model.task import Delivery, NewTask

COLLECT = 4096
PATIENCE = 0.010
"""Seconds that outcomes may wait for company while the slots have work: a commit costs much the same for 1 or 500."""
COPY = 30.0
"""Seconds between two copies of a ledger that lies on this host only."""
ENOUGH_TO_JUDGE = 20
"""A share of failures is judged only after so many tasks have ended."""


class Controller:
    """Drives one job until it is over, stopped, or refused by its own limits.

    `heard` is called with the reports that ended their task, after they are durable; `watch` about ten times a second.
    """

    def __init__(
        self,
        ledger: Ledger,
        crew: Crew,
        stop: Stop,
        *,
        heard: Callable[[Sequence[Ended]], None] | None = None,
        watch: Callable[[View], None] | None = None,
    ) -> None:
        self.ledger, self.crew, self.stop, self.heard, self.watch = ledger, crew, stop, heard, watch
        self.new: list[NewTask] = []
        self.intake: deque[NewTask] = deque()
        self.closing = False
        self.swept: Callable[[Sequence[str] | None], None] | None = None
        """Called with the ids of tasks that were cancelled (None: all): no report of theirs will be heard."""
        self.note = ""
        self.copy: Path | None = None
        self._copied = 0.0
        self._receipts: list[Receipt] = []
        self._since = self._watched = self._told = self._ended = 0.0
        self._drained = self._enduring = False
        self._stopped_early = False
        pardoned = ledger.get("pardoned", (0, 0))
        self._pardoned = min(pardoned[0], ledger.counts.failed), min(pardoned[1], ledger.counts.ended)
        """(failed, ended) when the job was last stopped for its failures: whoever resumes it wants it to go on."""

    # --- asked of it, on its own thread ---------------------------------------------------------------------------

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request that came over the control socket. InvalidTask: unknown tasks, nothing was changed."""
        verb = request.get("do")
        if verb == "cancel":
            return {"cancelled": self.cancel(request.get("tasks"))}
        if verb == "add":
            return {"added": self.add(control.tasks(request["tasks"]))}
        if verb == "stop":
            if why := str(request.get("why") or ""):
                self._write(lambda: self.ledger.note("told to stop", why))
            self.stop.soft() if not request.get("now") else self.stop.hard()
            return {"stopping": True}
        raise StateError(f"a controller cannot {verb!r}", hint="is it of another version?")

    def add(self, tasks: Sequence[NewTask]) -> int:
        """Take these too; how many. StateError: it takes no more. InvalidTask: an id is used twice, none was taken."""
        fed = not self.closing  # by the program that it is a part of, which numbers what it hands over
        if fed or self.ledger.counts.complete or self.stop.asked or self._drained:
            raise StateError(f"job {self.ledger.spec.id} takes no more tasks")
        if twice := [task.id for task in tasks if self.ledger.task(task.id) is not None]:
            raise InvalidTask(f"task_id {twice[0]!r} is in the job already")
        self.intake.extend(tasks)
        return len(tasks)

    def cancel(self, ids: Sequence[str] | None) -> int:
        """Cancel these tasks (None: all), durably; how many were unfinished. Running ones are being stopped."""
        while True:  # what was just added may be meant
            self._take_in()
            self._settle()
            if not self.intake or self.new:
                break
        before = self.ledger.counts.cancelled
        with self.ledger.moving():
            running = self.ledger.cancel(ids)
            if ids is None:
                self.ledger.complete()
            self.ledger.note("cancelled", "" if ids is None else ", ".join(ids[:20]))
        self.crew.cancel(running)
        if self.swept is not None:
            self.swept(ids)
        return self.ledger.counts.cancelled - before

    # --- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> Counts:
        """Turn until there is no more to do, or `stop` was asked for; the counts at the end. The crew is not closed."""
        self._judge()
        while self.turn():
            pass
        self._finish()
        return self.ledger.counts

    def turn(self) -> bool:
        """One turn; False when there will be no other."""
        if self.stop.asked == 2:
            return False
        if self._enduring:
            self.note, self._enduring = "", False
        if self.stop.asked and not self._drained:
            if self.ledger.journal is not None:
                self._write(lambda: None)  # who was overtaken finds out here, before any agent is told
            self._drain()
        self.crew.turn(self._wait())
        if self.crew.stopped and not self._drained:
            self._give_up(self.crew.stopped)
        self._take_in()
        self._receipts = self._hear_beats(self.crew.channel.collect(COLLECT))
        if self._worth_a_commit():
            self._commit()
        self._show()
        return not self._over()

    def _take_in(self) -> None:
        while self.intake and len(self.new) < COLLECT:
            self.new.append(self.intake.popleft())

    def _hear_beats(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Where commits are billed, as in a log, a heartbeat is heard without one: nothing of it is written down. That
        of an agent that takes nothing more is: it says what it has."""
        if self.ledger.journal is None:
            return list(receipts)
        beats = [r for r in receipts if isinstance(r[0], Heartbeat) and not r[0].draining]
        if beats:
            self.crew.hear(beats)
            self.crew.channel.confirm(beats)
        return [r for r in receipts if not isinstance(r[0], Heartbeat) or r[0].draining]

    def _wait(self) -> float:
        if self._receipts:
            return min(max(PATIENCE, self._since + self.crew.patience - time.monotonic()), 0.1)
        if self.new or (self.ledger.counts.ready and not self.note and self._room()):
            return 0.0
        due = self.ledger.next_due()
        wait = 0.1 if self.watch else 0.5
        return wait if due is None else max(0.0, min(wait, due - self.ledger.clock()))

    def _worth_a_commit(self) -> bool:
        """Is there something to write down, and has it waited long enough for company?"""
        if self.new:
            return True
        counts = self.ledger.counts
        due = self.ledger.next_due()
        ready = counts.ready or (due is not None and due <= self.ledger.clock())
        if ready and self._room():
            return True
        if not self._receipts:
            return False
        now = time.monotonic()
        self._since = self._since or now
        waited = len(self._receipts) >= COLLECT or now - self._since >= self.crew.patience
        return waited or self._is_all() or (not self.crew.pending and self._is_awaited())

    def _is_all(self) -> bool:
        """Has all that is out ended with these? No other report will keep these company: a call waits for one."""
        if self.ledger.journal is not None:
            return False
        out, receipts = self.ledger.counts.handed_out, self._receipts
        return 0 < out <= len(receipts) and out <= sum(isinstance(r[0], Ended) for r in receipts)

    def _is_awaited(self) -> bool:
        """Does anything wait for this commit? Where commits are billed it is not made just because slots have no more
        in hand: only if there is more to do for them, or nothing else is out."""
        if self.ledger.journal is None:
            return True
        counts = self.ledger.counts
        return counts.ready > 0 or sum(isinstance(r[0], Ended) for r in self._receipts) >= counts.handed_out

    def _commit(self) -> None:
        receipts = self._receipts
        reports = [r[0] for r in receipts if isinstance(r[0], Ended)]
        sync = bool(reports) or (self.crew.sync and not self._dies_with_us())
        new = self.new
        if new and not self.crew.deposit(new):
            return
        try:
            # What came in needs no sync of its own: whoever hands tasks to a running job dies of the same power cut,
            # and the record of the first of them syncs it too.
            with self.ledger.moving(sync):
                if new:
                    self.ledger.add(new)
                self.crew.hear(receipts)
                finished = self.ledger.record(reports) if reports else []
                room = self._room()  # now that these have ended
                deliveries = self.ledger.take(room) if room else []
                self._tell_ledger()
        except StateError as error:
            self._pause(error)
            return
        self.note, self._since, self.new, self._receipts = "", 0.0, [], []
        self._send(deliveries)
        if finished and self.heard is not None:
            self.heard(finished)  # whoever called waits for this; those who are confirmed do not
        if receipts:
            self.crew.channel.confirm(receipts)
            if len(receipts) < COLLECT:  # else there may be more that is reported and not recorded
                self.crew.settled()
        if finished:
            self._judge()

    def _dies_with_us(self) -> bool:
        """Is all that is handed out now a call of this very program, which hands it over just now? A power cut that
        loses the record of it loses whoever waits for it, too; what an agent says of it then is refused."""
        counts = self.ledger.counts
        fed = not self.closing and self.ledger.spec.entry.kind == "call" and self.ledger.journal is None
        return fed and not (self._receipts or counts.ready or counts.waiting)

    def _room(self) -> int:
        """How many to hand out now. Under a limit of failures never many more than may still fail."""
        if self._drained or self.crew.trouble:
            return 0
        room, limit, (failed, ended) = self.crew.room(), self.ledger.spec.max_failures, self._judged()
        if isinstance(limit, Decimal):
            limit = max(ENOUGH_TO_JUDGE, int(limit * ended))
        if limit is None:
            return room
        return min(room, max(0, limit - failed + self.crew.size - self.ledger.counts.handed_out))

    def _judged(self) -> tuple[int, int]:
        """(failed, ended) as they count against the limit of failures."""
        counts, (failed, ended) = self.ledger.counts, self._pardoned
        return counts.failed - failed, counts.ended - ended

    def _send(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self.crew.channel.send(deliveries)

    def _pause(self, error: StateError) -> None:
        """The ledger cannot be written: hold everything, look again in a moment. Nothing was acknowledged."""
        self.note = error.message
        if self.watch is not None:
            self.watch(self.view())
        time.sleep(0.25)

    def endure(self, error: PlaceError) -> bool:
        """The store that holds the job's log does not answer: everything waits for it, unless we shall end now."""
        self._enduring = True
        said = "the job's store gives no answer" if isinstance(error, Unreachable) else error.notice.rstrip(".")
        self.note = f"{said}; it is asked again (Ctrl-C twice leaves the job as it is)"
        if self.watch is not None:
            self.watch(self.view())
        return self.stop.asked != 2

    def _write(self, moves: Callable[[], object]) -> None:
        """Make these moves as soon as the ledger can be written. StateError: it cannot, and we were told to end now."""
        while True:
            try:
                with self.ledger.moving():
                    moves()
            except StateError as error:
                if self.stop.asked == 2:
                    raise
                self._pause(error)
            else:
                self.note = ""
                return

    def _settle(self) -> None:
        """Write down what was collected, so that what follows sees it."""
        self._receipts = list(self.crew.channel.collect(COLLECT))
        if self._receipts or self.new:
            self._commit()

    def _judge(self) -> None:
        """Too many failures: take nothing more."""
        limit, counts, (failed, ended) = self.ledger.spec.max_failures, self.ledger.counts, self._judged()
        if limit is None or self._stopped_early:
            return
        if isinstance(limit, Decimal):
            least = min(ENOUGH_TO_JUDGE, counts.total)
            too_many = ended >= least and failed > limit * ended
        else:
            too_many = failed > limit
        if too_many:
            self._stopped_early = True
            self._write(lambda: self.ledger.note("stopped early", "", failed=counts.failed, ended=counts.ended))
            self._drain()

    def _give_up(self, why: str) -> None:
        """There is no machine and will be none: keep the queue for whoever resumes."""
        self._write(lambda: self.ledger.note("gave up", "", why=why))
        self._drain()

    def _drain(self) -> None:
        """Take nothing more; what has not begun goes back, what runs may finish."""
        self._drained = True
        withdrawn = self.crew.drain()
        self._settle()

        def moves() -> None:
            self.ledger.interrupt([d.n for d in withdrawn])
            self.ledger.note("drained", running=len(self.crew.running()))

        self._write(moves)

    def _over(self) -> bool:
        if self._receipts or self.new or self.intake:
            return False
        counts = self.ledger.counts
        if self._drained:
            return not counts.handed_out and not self.crew.running()
        if counts.ended < counts.total:
            self._ended = 0.0
            return False
        self._ended = self._ended or time.monotonic()
        lingered = time.monotonic() - self._ended >= self.ledger.spec.linger.total_seconds()
        return (counts.over or (self.closing and lingered)) and not self.crew.running()

    def _finish(self) -> None:
        """What still runs is given back: its slots are about to go."""
        self._settle()

        def moves() -> None:
            given = self.ledger.interrupt()
            if self.closing:
                self.ledger.complete()
            counts = self.ledger.counts
            self.ledger.note("ended" if counts.over else "left", ready=counts.ready, interrupted=given)
            self.ledger.news("live", {})
            if self._stopped_early:
                self.ledger.set("pardoned", (counts.failed, counts.ended))

        self._write(moves)
        if self.watch is not None:
            self.watch(self.view())

    # --- what it shows --------------------------------------------------------------------------------------------

    def view(self) -> View:
        """How things stand, as committed."""
        running = self.crew.running()
        oldest = sorted(running, key=lambda r: -r[2])[:20]
        names = self.ledger.ids([n for n, _, _ in oldest])
        shown = tuple((names.get(n, str(n)), seconds) for n, _, seconds in oldest)
        note = self.note or self.crew.trouble or self.crew.waits
        return View(self.ledger.counts, self.crew.size, len(running), shown, self._drained, note, self.crew.money)

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._told >= 1.0 and (self.crew.running() or self.crew.waits):
            with contextlib.suppress(StateError), self.ledger.moving(sync=False, logged=False):
                self._tell_ledger()
        if self.copy is not None and now - self._copied >= COPY:
            self._copied = now
            with contextlib.suppress(StateError):  # a copy is a courtesy: the job goes on without
                self.ledger.copy_to(self.copy)
        if self.watch is not None and now - self._watched >= 0.1:
            self._watched = now
            self.watch(self.view())

    def _tell_ledger(self) -> None:
        """Half a second's news for those who only read the file."""
        now = time.monotonic()
        if now - self._told >= 0.5:
            self._told = now
            view = self.view()
            money = {} if view.money is None else {"money": view.money.plain()}
            news = {"slots": view.slots, "busy": view.busy, "running": view.running, "note": view.note}
            self.ledger.news("live", {**news, "draining": view.draining, "at": self.ledger.clock(), **money})
