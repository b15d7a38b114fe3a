"""The moves of one job, made on its file by the one process that holds it; and the questions anybody may ask.

This part moves many tasks at once, and writes down what happened to the job itself.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import apsw

from elsewhere.errors import StateError
from elsewhere.hosts import sync_directory
from elsewhere.ledger import tables
from elsewhere.ledger.hand_out import IN_DONE, IN_OPEN
from elsewhere.ledger.record import Record
from elsewhere.model.events import Event
from elsewhere.model.job import JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome, TaskState, after_death, next_move

_STARVED = "its machine, which it had to itself, was ended for using more memory than it had"


class Ledger(Record):
    """One job's file. Open it for writing only under the job's lock (controller/lock.py).

    Moves belong into a `with ledger.moving():` block: they are durable, all at once, when it has been left.
    """

    @classmethod
    def create(
        cls, path: Path | str, spec: JobSpec, clock: Callable[[], float] = time.time, *, draft: bool = False
    ) -> Ledger:
        """A new ledger; StateError if there is one already, or no room. ":memory:" makes one that is never on disk.

        `draft`: a power cut may take it until it was closed; then all of it is on the disk at once.
        """
        if path != ":memory:" and Path(path).exists():
            raise StateError(f"{path} is there already", hint="resume the job instead of making it anew")
        try:
            db = tables.create(str(path), tables.spec_to_json(spec), draft)
        except apsw.Error as error:
            raise tables.damage(Path(path), error) from error
        made = cls(db, Path(path), clock)
        made.draft = draft
        return made

    def close(self) -> None:
        super().close()
        if self.draft and self.path.exists():
            self.draft = False
            try:
                for one in self.path.parent.glob(f"{self.path.name}*"):
                    with one.open("rb") as file:
                        os.fsync(file.fileno())
                sync_directory(self.path.parent)
            except OSError as error:
                raise StateError(f"{self.path} cannot be written: {error.strerror}", hint="make room") from error

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float] = time.time) -> Ledger:
        """An existing ledger, for its one writer."""
        return cls(tables.connect(path, write=True), path, clock)

    def died(self, ns: Iterable[int], alone: bool, starved: bool = False) -> None:
        """The machine under these handed-out tasks died. It counts against a task only if it ran there alone.

        `starved`: for want of memory; who had it to itself has run out of memory then, as under any other limit.
        """
        for n in ns:
            state, attempt, tally, priority = self._current(n)
            if state is not TaskState.HANDED_OUT:
                continue
            policy = self._policy(n)
            outcome, told = Outcome.INTERRUPTED, {"type": "MachineDied", "message": "its machine died under it"}
            verdict = after_death(tally, alone, policy.budget)
            if starved and alone:
                outcome, told = Outcome.OUT_OF_MEMORY, {"type": "Died", "message": _STARVED}
                verdict = next_move(outcome, tally, policy.budget)
            report = Ended(n, attempt, outcome, self.clock(), 0.0, Form.FAILURE, json.dumps(told).encode())
            self._keep(report)
            self._move(report, verdict, priority, policy, {})

    def interrupt(self, ns: Iterable[int] | None = None) -> int:
        """Give back what is handed out (None: all of it): its agents are gone. Spends nothing. How many."""
        numbers = self._handed_out() if ns is None else ns
        given = 0
        for n in list(numbers):
            state, attempt, tally, priority = self._current(n)
            if state is not TaskState.HANDED_OUT:
                continue
            self._put_open(n, TaskState.READY, attempt, priority, None, tally, None)
            given += 1
        counts = self._counts
        self._counts = replace(counts, handed_out=counts.handed_out - given, ready=counts.ready + given,
                               interrupts=counts.interrupts + given)  # fmt: skip
        return given

    def cancel(self, ids: Sequence[str] | None = None) -> list[int]:
        """Cancel unfinished tasks (None: all); the numbers of those that were handed out, so that they may be stopped.

        Finished ones are left as they are; unknown ids are InvalidTask and nothing is cancelled.
        """
        if ids is not None:
            return self._cancel_some(list(dict.fromkeys(self.numbers(ids))))
        running = self._handed_out()
        before = self.db.total_changes()
        self.db.execute(self._cancelled())
        ended = self.db.total_changes() - before
        self.db.execute("DELETE FROM open WHERE n IN (SELECT n FROM done)")
        self._special = True
        self._recount(ended)
        return running

    def _cancelled(self) -> str:
        """A statement that ends every unfinished task."""
        first = f"CASE WHEN t.n <= {self._frontier} THEN 1 ELSE 0 END"
        attempt = f"coalesce((SELECT attempt FROM open WHERE open.n = t.n), {first})"
        return (
            f"INSERT INTO done SELECT n, {int(TaskState.CANCELLED)}, {attempt}, {int(Outcome.CANCELLED)},"
            f" {int(self.clock() * 1000)}, 0, 0, NULL FROM tasks t WHERE NOT EXISTS ({IN_DONE})"
        )

    def _cancel_some(self, wanted: Sequence[int]) -> list[int]:
        """Costs the same in a job of a million tasks as in a small one."""
        states = {n: state for n in wanted if not (state := self._current(n)[0]).ended}
        rows = [(n,) for n in states]
        self.db.executemany(self._cancelled() + " AND n = ?", rows)
        before = self.db.total_changes()
        self.db.executemany("DELETE FROM open WHERE n = ?", rows)
        self._open -= self.db.total_changes() - before
        self._special = True
        counts, stood = self._counts, Counter(states.values())
        if stood[TaskState.WAITING]:
            self._due = self._one("SELECT min(due) FROM open WHERE state = 2")
        self._counts = replace(
            counts,
            cancelled=counts.cancelled + len(states),
            waiting=counts.waiting - stood[TaskState.WAITING],
            handed_out=counts.handed_out - stood[TaskState.HANDED_OUT],
            ready=counts.ready - stood[TaskState.READY],
        )
        return [n for n, state in states.items() if state is TaskState.HANDED_OUT]

    def _recount(self, cancelled: int) -> None:
        """After a move of many at once."""
        counts = replace(self._counts, cancelled=self._counts.cancelled + cancelled)
        self._open = self._one("SELECT count(*) FROM open")
        self._due = self._one("SELECT min(due) FROM open WHERE state = 2")
        waiting = self._one("SELECT count(*) FROM open WHERE state = 2")
        out = len(self._handed_out()) if counts.handed_out else 0
        ready = counts.total - counts.ended - waiting - out
        self._counts = replace(counts, waiting=waiting, handed_out=out, ready=ready)

    def retry(self, ids: Sequence[str] | None = None) -> int:
        """FAILED --requeue--> READY for these (None: every failed task), with a fresh budget; how many.

        Each keeps the priority it came with.
        """
        which = "" if ids is None else " AND n IN (SELECT value FROM json_each(?))"
        values = () if ids is None else (json.dumps(self.numbers(ids)),)
        failed = int(TaskState.FAILED)
        self.db.execute(
            "INSERT INTO open(n, state, attempt, priority) SELECT n, 0, attempt,"
            " coalesce((SELECT json_extract(CAST(options AS TEXT), '$.priority') FROM tasks t WHERE t.n = done.n), 0)"
            f" FROM done WHERE state = {failed}" + which, values,
        )  # fmt: skip
        before = self.db.total_changes()
        self.db.execute(f"DELETE FROM done WHERE state = {failed}" + which, values)
        moved = self.db.total_changes() - before
        self._open += moved
        counts = self._counts
        self._counts = replace(counts, failed=counts.failed - moved, ready=counts.ready + moved)
        return moved

    def copy_to(self, path: Path) -> None:
        """A whole copy of what is committed, in place of an older one at once; readable where this file is not.

        StateError: it could not be written.
        """
        try:
            tables.copy(self.db, path)
        except apsw.Error as error:
            raise tables.damage(path, error) from error
        except OSError as error:
            raise StateError(f"{path} could not be written ({error.strerror})", hint="make room there") from error

    def tell(self, event: Event) -> None:
        self.note(event.kind, event.about, **event.detail)

    def set(self, key: str, value: object) -> None:
        """A small fact of the job: what the live line shows, its epoch, its holder."""
        self.db.execute("INSERT OR REPLACE INTO job VALUES(?, ?)", (key, json.dumps(value)))

    def amend(self, spec: JobSpec) -> None:
        """The job's description, as it was settled while no controller had the job. Within `moving`."""
        self.db.execute("INSERT OR REPLACE INTO job VALUES('spec', ?)", (tables.spec_to_json(spec),))
        self.spec = spec

    def take_over(self) -> int:
        """The next epoch: the number of this controller among those that held the job."""
        epoch = int(self._get("epoch", 0)) + 1
        self.set("epoch", epoch)
        return epoch

    def _handed_out(self) -> list[int]:
        if not self._counts.handed_out:
            return []
        rows = self._rows(
            "SELECT n FROM open WHERE state = 1 UNION ALL"
            f" SELECT n FROM tasks t WHERE n <= ? AND NOT EXISTS ({IN_DONE}) AND NOT EXISTS ({IN_OPEN})",
            (self._frontier,),
        )
        return sorted(r[0] for r in rows)
