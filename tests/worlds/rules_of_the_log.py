"""Rules of the log, and of what counts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import apsw

from elsewhere.agent import claims
from elsewhere.channels.base import Receipt
from elsewhere.controller import afar, line
from elsewhere.errors import NotFound
from elsewhere.ledger import bases, record
from elsewhere.ledger import ledger as ledger_module
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.hand_out import HandOut
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.record import Record
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import AllocationMove, Outcome, TaskState, after_death
from elsewhere.pool.capacity import Condemn
from elsewhere.pool.pool import Pool
from worlds.rule import patch, rule

_ZERO = timedelta(0)

# --- the log --------------------------------------------------------------------------------------------------------


@rule(
    "log before ledger", "for places that outlive the client, a commit is in the store's log before it is in the file"
)
def _log_before_ledger() -> Any:
    moving = HandOut.moving

    @contextlib.contextmanager
    def late(self: HandOut, sync: bool = True, logged: bool = True) -> Iterator[None]:
        if not logged:
            with moving(self, sync, logged):
                yield
            return
        journal, self.journal = self.journal, None
        session = apsw.Session(self.db, "main")
        session.attach()
        try:
            with moving(self, sync):
                yield
                number = int(self._get("position", 0)) + 1
                if journal is not None:
                    self.db.execute("INSERT OR REPLACE INTO job VALUES('position', ?)", (number,))
        finally:
            self.journal = journal
        if journal is not None:
            journal.append(number, session.changeset())

    return patch(HandOut, "moving", late)


@rule("log holds decisions", "hand-outs, cancels, losses, launches and terms are in the log, not only reports")
def _log_holds_decisions() -> Any:
    def watch(self: HandOut) -> apsw.Session | None:
        if self.journal is None:
            return None
        session = apsw.Session(self.db, "main")
        session.table_filter(lambda name: name in ("job", "done", "attempts", "output", "events"))
        session.attach()
        return session

    return patch(HandOut, "_watch_changes", watch)


@rule("log is fenced", "one numbered sequence, each segment created if absent; a taken number means: overtaken, stop")
def _log_is_fenced() -> Any:
    append = Journal.append

    def push(self: Journal, number: int, changes: bytes) -> None:
        while True:
            try:
                self.store.get(f"log/{number:012d}")
                number += 1
            except NotFound:
                return append(self, number, changes)

    return patch(Journal, "append", push)


@rule("append before confirm", "a confirm follows a successful append, even one that only says `refused`")
def _append_before_confirm() -> Any:
    def watch(self: HandOut) -> Any:
        if self.journal is None:
            return None
        whole, weighty[:] = apsw.Session(self.db, "main"), [apsw.Session(self.db, "main")]
        weighty[0].table_filter(lambda name: name not in ("job", "events"))
        whole.attach()
        weighty[0].attach()
        return whole

    weighty: list[apsw.Session] = []

    def append(self: HandOut, journal: Any, whole: Any) -> None:
        if not weighty[0].is_empty:
            number = int(self._get("position", 0)) + 1
            self.db.execute("INSERT OR REPLACE INTO job VALUES('position', ?)", (number,))
            journal.append(number, whole.changeset())

    return mock.patch.multiple(HandOut, _watch_changes=watch, _append=append)


@rule("append before stop", "a machine, a stranger too, is stopped only after the decision is in the log")
def _append_before_stop() -> Any:
    write = Pool._write

    def most(self: Pool, commands: list[Any]) -> None:
        stops = (AllocationMove.STOP,)
        write(self, [c for c in commands if not (isinstance(c, Condemn) or c.move in stops)])

    return patch(Pool, "_write", most)


@rule("confirm after log", "reports are confirmed only after they are durable")
def _confirm_after_log() -> Any:
    collect = line.Line.collect

    def hasty(self: line.Line, limit: int) -> Sequence[Receipt]:
        found = collect(self, limit)
        self.confirm(found)
        return found

    return patch(line.Line, "collect", hasty)


@rule("a copy is of one moment", "a copy in the log has what was committed when it was begun, and no more")
def _a_copy_is_of_one_moment() -> Any:
    @contextlib.contextmanager
    def torn(ledger: Ledger) -> Iterator[Any]:
        starts = range(0, len(ledger.db.serialize("main")), bases.PART)
        pieces = (ledger.db.serialize("main")[start : start + bases.PART] for start in starts)
        yield int(ledger.get("position", 0)), pieces

    return patch(bases, "_copied", torn)


@rule("copies free no number", "what a copy has of the log stays there, so that who has slept finds its number taken")
def _copies_free_no_number() -> Any:
    steps = bases.Making.steps

    def thrifty(self: bases.Making) -> Iterator[None]:
        yield from steps(self)
        store = self.closed.store
        copied = max((key[-12:] for key in store.list(bases.AT)), default="")
        store.delete([key for key in store.list("log/", bases.DEED) if key[-12:] <= copied])

    return patch(bases.Making, "steps", thrifty)


# --- what counts ----------------------------------------------------------------------------------------------------


@rule("number fence", "a report counts only if its number is the current one")
def _number_fence() -> Any:
    other, plain = Record._record_other, Record._record_plain

    def current(self: Record, report: Ended) -> Ended:
        return report._replace(attempt=self._current(report.n)[1])

    def any_other(self: Record, report: Ended) -> TaskState | None:
        return other(self, current(self, report))

    def any_plain(self: Record, reports: Sequence[Ended]) -> int:
        return plain(self, [current(self, r) for r in reports])

    return mock.patch.multiple(Record, _record_other=any_other, _record_plain=any_plain)


@rule("one report a number", "the first report of a number closes it, also while its task waits for the retry")
def _one_report_a_number() -> Any:
    def take_back(self: Record, report: Ended) -> bool:
        self.db.execute(
            "UPDATE open SET state = 1, due = NULL WHERE n = ? AND attempt = ? AND state IN (0, 2)",
            (report.n, report.attempt),
        )
        changed = bool(self.db.changes())
        if changed:
            self.reload()
        return changed

    def other(self: Record, report: Ended) -> TaskState | None:
        state, attempt, _, _ = self._current(report.n)
        if attempt == report.attempt and state in (TaskState.READY, TaskState.WAITING):
            take_back(self, report)
        return whole(self, report)

    whole = Record._record_other
    return mock.patch.multiple(Record, _take_back=take_back, _record_other=other)


@rule("finished is final", "a finished task takes no further outcome")
def _finished_is_final() -> Any:
    final = record._DONE.replace("INSERT INTO", "INSERT OR REPLACE INTO").replace(" ON CONFLICT DO NOTHING", "")
    return patch(record, "_DONE", final)


@rule("late words count", "a late report of the current number counts while nobody else has its task")
def _late_words_count() -> Any:
    return patch(Record, "_take_back", lambda self, report: False)


@rule("resume sends again", "a new controller sends again what is handed out and not claimed")
def _resume_sends_again() -> Any:
    return patch(afar.Afar, "_send_again", lambda self: None)


@rule("claimed by the dead", "a late Claimed of a machine that is gone gives the task back")
def _claimed_by_the_dead() -> Any:
    return patch(Holdings, "_gone", lambda self, native: None)


@rule("late claims are blamed", "a late Claimed of a machine that crashed counts as a death")
def _late_claims_are_blamed() -> Any:
    gone = Holdings._gone

    def mild(self: Holdings, native: str) -> Any:
        found = gone(self, native)
        return None if found is None else replace(found, crashed=False)

    return patch(Holdings, "_gone", mild)


@rule("late ends acquit", "a late Ended takes back the death that was counted for its number")
def _late_ends_acquit() -> Any:
    return patch(Holdings, "_acquit", lambda self, n, attempt: None)


@rule("loss interrupts", "a machine that is gone gives its tasks back")
def _loss_interrupts() -> Any:
    return patch(Holdings, "_give_back", lambda self, gone: None)


@rule("interrupts are free", "an interruption does not spend the retry budget")
def _interrupts_are_free() -> Any:
    bereave = Holdings._bereave

    def costly(self: Holdings, n: int, gone: Any, only: bool = False) -> None:
        if gone.crashed:
            return bereave(self, n, gone, only)
        _, attempt, _, _ = self.ledger._current(n)
        self.ledger.record([Ended(n, attempt, Outcome.ERRORED, 0.0, 0.0, Form.FAILURE, b"{}")])
        return None

    return patch(Holdings, "_bereave", costly)


@rule("deaths count alone", "a death counts against a task only if it had the machine to itself; a suspect runs alone")
def _deaths_count_alone() -> Any:
    return patch(ledger_module, "after_death", lambda tally, alone, budget: after_death(tally, True, budget))


@rule("crash limit", "a task that kills machines is stopped")
def _crash_limit() -> Any:
    return patch(ledger_module, "after_death", lambda t, alone, b: after_death(t, alone, replace(b, crashes=10**6)))


@rule("tries are booked", "an agent that tries again by itself says how often, and each try spends the budget")
def _tries_are_booked() -> Any:
    return patch(claims, "_with_tries", lambda report, tries: report)
