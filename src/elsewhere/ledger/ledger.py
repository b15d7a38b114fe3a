"""The moves of one job, made on its file by the one process that holds it; and the questions anybody may ask.

Nothing is durable, and nothing may be shown, sent or confirmed, before the block of `moving` has been left.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path

import apsw

from elsewhere.errors import InvalidTask, StateError
from elsewhere.ledger import tables
from elsewhere.ledger.questions import Questions
from elsewhere.ledger.views import Counts
from elsewhere.model.events import Event
from elsewhere.model.job import JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import (
    TASK_MOVES,
    Outcome,
    Tally,
    TaskMove,
    TaskState,
    Verdict,
    advance,
    after_death,
    next_move,
)
from elsewhere.model.task import Delivery, NewTask, RetryPolicy

_IN_OPEN, _IN_DONE = "SELECT 1 FROM open WHERE open.n = t.n", "SELECT 1 FROM done WHERE done.n = t.n"
_CURRENT = "coalesce((SELECT CASE state WHEN 1 THEN attempt ELSE -1 END FROM open WHERE n = ?1), ?1 <= ?9)"
"""The number under which a task is handed out: that of its story, else 1 up to the frontier; no report has another."""
_DONE = f"INSERT INTO done SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?3 = {_CURRENT} ON CONFLICT DO NOTHING"


class Ledger(Questions):
    """One job's file. Open it for writing only under the job's lock (controller/lock.py).

    Moves belong into a `with ledger.moving():` block.
    """

    def __init__(self, db: apsw.Connection, path: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__(db, path)
        self.clock = clock
        self.chance = random.Random()
        self._load()

    @classmethod
    def create(cls, path: Path | str, spec: JobSpec, clock: Callable[[], float] = time.time) -> Ledger:
        """A new ledger; StateError if there is one already, or no room. ":memory:" makes one that is never on disk."""
        if path != ":memory:" and Path(path).exists():
            raise StateError(f"{path} is there already", hint="resume the job instead of making it anew")
        try:
            db = tables.create(str(path))
            db.execute("INSERT INTO job VALUES('spec', ?)", (tables.spec_to_json(spec),))
        except apsw.Error as error:
            raise tables.damage(Path(path), error) from error
        return cls(db, Path(path), clock)

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float] = time.time) -> Ledger:
        """An existing ledger, for its one writer."""
        return cls(tables.connect(path, write=True), path, clock)

    def _load(self) -> None:
        self._counts = self.count()
        self._frontier = int(self._get("frontier", 0))
        self._special = bool(self._get("special", 0))
        self._open = self._one("SELECT count(*) FROM open")
        self._due: float | None = self._one("SELECT min(due) FROM open WHERE state = 2")

    # --- transactions ---------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """As of the last move; `count` tells what is committed."""
        return self._counts

    @contextmanager
    def moving(self, sync: bool = True) -> Iterator[None]:
        """Make moves in this block; they are durable, all at once, when it is left without an error, else none is made.

        StateError: the file could not be written; the same moves may be made again. `sync` False: they survive the
        death of the process but not a power cut; only for what a power cut would undo anyway, such as handing out to
        slots of this machine.
        """
        try:
            self.db.execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}").fetchall()
            self.db.execute("BEGIN IMMEDIATE")
            yield
            counts, special = json.dumps(asdict(self._counts)), int(self._special)
            facts = [("counts", counts), ("frontier", self._frontier), ("special", special)]
            self.db.executemany("INSERT OR REPLACE INTO job VALUES(?, ?)", facts)
            self.db.execute("COMMIT")
        except apsw.Error as error:
            self._rollback()
            raise tables.damage(self.path, error) from error
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self._load()

    # --- moves ----------------------------------------------------------------------------------------------------

    def add(self, tasks: Iterable[NewTask]) -> int:
        """Add tasks in their order; how many. InvalidTask: an id that is there already (`faults` holds the ids)."""
        added, first = 0, self._counts.total + 1
        stream = iter(tasks)
        while batch := list(islice(stream, 512)):
            start = first + added
            rows = [(start + k, t.id, t.body, t.options) for k, t in enumerate(batch)]
            try:
                self.db.executemany("INSERT INTO tasks VALUES(?, ?, ?, ?)", rows)
            except apsw.ConstraintError:
                raise self._duplicates([t.id for t in batch], start) from None
            preferred = [(start + k, t.priority) for k, t in enumerate(batch) if t.priority]
            if preferred:
                self._special = True
                self._open += len(preferred)
                self.db.executemany("INSERT INTO open(n, state, attempt, priority) VALUES(?, 0, 0, ?)", preferred)
            added += len(batch)
        self._counts = replace(self._counts, total=first - 1 + added, ready=self._counts.ready + added)
        return added

    def defer_index(self) -> None:
        """Before a large first `add`: ids are then checked by `index`, all at once, which is cheaper."""
        self.db.execute("DROP INDEX IF EXISTS tasks_by_id")

    def index(self) -> None:
        """Check that ids differ. InvalidTask: `faults` holds up to 20 of those that do not."""
        try:
            self.db.execute(tables.INDEX)
        except apsw.ConstraintError:
            raise self._duplicates([], 0) from None

    def _duplicates(self, batch: Sequence[str], start: int) -> InvalidTask:
        seen: set[str] = set()
        twice = [x for x in batch if x in seen or seen.add(x)]  # type: ignore[func-returns-value]
        if not twice and batch:
            marks = ",".join("?" * len(batch))
            query = f"SELECT id FROM tasks WHERE n < {start} AND id IN ({marks}) LIMIT 20"
            twice = [r[0] for r in self._rows(query, tuple(batch))]
        if not twice:
            twice = [r[0] for r in self._rows("SELECT id FROM tasks GROUP BY id HAVING count(*) > 1 LIMIT 20")]
        return InvalidTask(f"task_id {twice[0]!r} is used twice", faults=tuple(twice))

    def complete(self) -> None:
        """No more tasks will be added. Twice: harmless."""
        self._counts = replace(self._counts, complete=True)

    def take(self, limit: int) -> list[Delivery]:
        """Hand out up to `limit` ready tasks: preferred ones, then those with a story, then in their order.

        READY --take--> HANDED OUT; each gets its next attempt number.
        """
        if limit <= 0 or (not self._counts.ready and not self._counts.waiting):
            return []
        taken = self._take_open(limit, "priority >= 0") if self._open else []
        if len(taken) < limit:
            taken += self._take_fresh(limit - len(taken))
        if len(taken) < limit and self._special:
            taken += self._take_open(limit - len(taken), "priority < 0")
        counts = self._counts
        self._counts = replace(counts, ready=counts.ready - len(taken), handed_out=counts.handed_out + len(taken))
        return taken

    def _take_fresh(self, limit: int) -> list[Delivery]:
        untouched = f" AND NOT EXISTS ({_IN_OPEN}) AND NOT EXISTS ({_IN_DONE})" if self._special else ""
        rows = self._rows(
            f"SELECT n, 1, id, body, options, 0 FROM tasks t WHERE n > ?{untouched} ORDER BY n LIMIT ?",
            (self._frontier, limit),
        )
        if rows:
            self._frontier = rows[-1][0]
        elif self._special:
            self._frontier = self._counts.total
        return list(map(Delivery._make, rows))

    def _take_open(self, limit: int, which: str) -> list[Delivery]:
        self._fall_due()
        rows = self._rows(
            "SELECT n, attempt + 1, id, body, options, tally, carry FROM open JOIN tasks USING(n)"
            f" WHERE state = 0 AND {which} ORDER BY priority DESC, n LIMIT ?",
            (limit,),
        )
        self.db.executemany("UPDATE open SET state = 1, attempt = ?2, due = NULL WHERE n = ?1", [r[:2] for r in rows])
        return [Delivery(r[0], r[1], r[2], r[3], _carry(r[4], r[6]), _tally(r[5]).suspect) for r in rows]

    def _fall_due(self) -> None:
        now = self.clock()
        if self._due is None or self._due > now:
            return
        before = self.db.total_changes()
        self.db.execute("UPDATE open SET state = 0, due = NULL WHERE state = 2 AND due <= ?", (now,))
        fell = self.db.total_changes() - before
        counts = self._counts
        self._counts = replace(counts, waiting=counts.waiting - fell, ready=counts.ready + fell)
        self._due = self._one("SELECT min(due) FROM open WHERE state = 2")

    def next_due(self) -> float | None:
        """When (seconds since the epoch) the next waiting task falls due; None: none waits."""
        return self._due

    def record(self, reports: Sequence[Ended]) -> list[Ended]:
        """Write down how attempts ended; those that ended their task. Twice, late, of an older attempt: refused.

        A report is recorded if its task is unfinished, its number current, and no report of that number was recorded.
        """
        plain = [r for r in reports if r[2] == 0]
        recorded: list[Ended] = []
        if plain:
            recorded = plain if self._record_plain(plain) == len(plain) else self._one_by_one(plain)
        finished = recorded
        if len(plain) != len(reports):
            others = [(r, self._record_other(r)) for r in reports if r[2] != 0]
            recorded = recorded + [r for r, state in others if state is not None]
            finished = finished + [r for r, state in others if state is not None and state.ended]
        outputs = [(r.n, r.attempt, r.agent, *r.output) for r in recorded if r.output is not None]
        if outputs:
            self.db.executemany("INSERT OR REPLACE INTO output VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", outputs)
        return finished

    def _record_plain(self, reports: Sequence[Ended]) -> int:
        """All of these succeeded. One statement each, fence included; 0 if any was refused: then none is made."""
        frontier, before = self._frontier, self.db.total_changes()
        rows = [(n, 3, a, 0, int(s * 1000), int(t * 1e6), f, v, frontier) for n, a, _, s, t, f, v, _, _ in reports]
        self.db.execute("SAVEPOINT plain")
        self.db.executemany(_DONE, rows)
        made = self.db.total_changes() - before
        if made != len(rows):
            self.db.execute("ROLLBACK TO plain; RELEASE plain")
            return 0
        self.db.execute("RELEASE plain")
        if self._open:
            before = self.db.total_changes()
            self.db.executemany("DELETE FROM open WHERE n = ?", map(itemgetter(slice(0, 1)), rows))
            self._open -= self.db.total_changes() - before
        counts = self._counts
        self._counts = replace(counts, handed_out=counts.handed_out - made, succeeded=counts.succeeded + made)
        return made

    def _one_by_one(self, reports: Sequence[Ended]) -> list[Ended]:
        recorded = []
        for report in reports:
            if self._record_plain([report]):
                recorded.append(report)
            else:
                self._refuse(report)
        return recorded

    def _refuse(self, report: Ended) -> None:
        self._counts = replace(self._counts, refused=self._counts.refused + 1)
        self.note("refused", str(report.n), attempt=report.attempt, outcome=Outcome(report.outcome).name)

    def _record_other(self, report: Ended) -> TaskState | None:
        state, attempt, tally, priority = self._current(report.n)
        if state is not TaskState.HANDED_OUT or attempt != report.attempt:
            self._refuse(report)
            return None
        failure = _story(report)
        policy = self._policy(report.n)
        verdict = next_move(Outcome(report.outcome), tally, policy.budget)
        codes = policy.exit_codes
        if verdict.move is TaskMove.RETRY and codes is not None and failure.get("exit_code") not in (None, *codes):
            verdict = replace(verdict, move=TaskMove.FAIL)
        self._keep(report)
        return self._move(report, verdict, priority, policy, failure)

    def _keep(self, report: Ended) -> None:
        self.db.execute("INSERT OR REPLACE INTO attempts VALUES(?, ?, ?, ?, ?, ?, ?)", (report.n, *_columns(report)))

    def _move(
        self, report: Ended, verdict: Verdict, priority: int, policy: RetryPolicy, failure: dict[str, object]
    ) -> TaskState:
        state = advance(TASK_MOVES, TaskState.HANDED_OUT, verdict.move, f"task {report.n} attempt {report.attempt}")
        if state.ended:
            self._finish(report, state)
            return state
        counts, due = self._counts, None
        if state is TaskState.WAITING:
            asked = report.outcome == Outcome.ASKED_AGAIN
            due = self.clock() + self._delay(verdict, policy, failure.get("after") if asked else None)
            self._due = due if self._due is None else min(due, self._due)
            retries, asks = counts.retries + (not asked), counts.asks + asked
            counts = replace(counts, waiting=counts.waiting + 1, retries=retries, asks=asks)
        else:
            counts = replace(counts, ready=counts.ready + 1, interrupts=counts.interrupts + 1)
        carry = json.dumps(failure["state"]) if "state" in failure else None
        self._put_open(report.n, state, report.attempt, priority, due, verdict.tally, carry)
        self._counts = replace(counts, handed_out=counts.handed_out - 1)
        return state

    def _delay(self, verdict: Verdict, policy: RetryPolicy, asked: object) -> float:
        if isinstance(asked, int | float):
            return float(asked)
        return policy.wait(verdict.strikes, self.chance).total_seconds()

    def _put_open(
        self, n: int, state: TaskState, attempt: int, priority: int, due: float | None, tally: Tally, carry: str | None
    ) -> None:
        before = self.db.total_changes()
        self.db.execute(
            "INSERT INTO open(n, state, attempt, priority, due, tally, carry) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
            " ON CONFLICT(n) DO NOTHING",
            values := (n, int(state), attempt, priority, due, json.dumps(asdict(tally)), carry),
        )
        if self.db.total_changes() > before:
            self._open += 1
            return
        self.db.execute(
            "UPDATE open SET state = ?2, attempt = ?3, priority = ?4, due = ?5, tally = ?6,"
            " carry = coalesce(?7, carry), holder = NULL WHERE n = ?1",
            values,
        )

    def _finish(self, report: Ended, state: TaskState) -> None:
        row = (report.n, int(state), *_columns(report))
        self.db.execute("INSERT INTO done VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
        before = self.db.total_changes()
        self.db.execute("DELETE FROM open WHERE n = ?", (report.n,))
        self._open -= self.db.total_changes() - before
        counts, name = self._counts, state.name.lower()
        ended = {name: getattr(counts, name) + 1}
        self._counts = replace(counts, handed_out=counts.handed_out - 1, **ended)

    def died(self, ns: Iterable[int], alone: bool) -> None:
        """The machine under these handed-out tasks died. It counts against a task only if it ran there alone."""
        for n in ns:
            state, attempt, tally, priority = self._current(n)
            if state is not TaskState.HANDED_OUT:
                continue
            policy = self._policy(n)
            verdict = after_death(tally, alone, policy.budget)
            value = json.dumps({"type": "MachineDied", "message": "its machine died under it"}).encode()
            report = Ended(n, attempt, Outcome.INTERRUPTED, self.clock(), 0.0, Form.FAILURE, value)
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
        wanted = None if ids is None else self.numbers(ids)
        if wanted is None:
            running = self._handed_out()
        else:
            running = [n for n in wanted if self._current(n)[0] is TaskState.HANDED_OUT]
        first = f"CASE WHEN t.n <= {self._frontier} THEN 1 ELSE 0 END"
        attempt = f"coalesce((SELECT attempt FROM open WHERE open.n = t.n), {first})"
        select = (
            f"INSERT INTO done SELECT n, {int(TaskState.CANCELLED)}, {attempt}, {int(Outcome.CANCELLED)},"
            f" {int(self.clock() * 1000)}, 0, 0, NULL FROM tasks t WHERE NOT EXISTS ({_IN_DONE})"
        )
        before = self.db.total_changes()
        if wanted is None:
            self.db.execute(select)
        else:
            self.db.executemany(select + " AND n = ?", [(n,) for n in wanted])
        ended = self.db.total_changes() - before
        self.db.execute("DELETE FROM open WHERE n IN (SELECT n FROM done)")
        self._special = True
        self._recount(ended)
        return running

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
        """FAILED --requeue--> READY for these (None: every failed task), with a fresh budget; how many."""
        which = "" if ids is None else " AND n IN (SELECT value FROM json_each(?))"
        values = () if ids is None else (json.dumps(self.numbers(ids)),)
        failed = int(TaskState.FAILED)
        self.db.execute(
            "INSERT INTO open(n, state, attempt, priority) SELECT n, 0, attempt, 0 FROM done"
            f" WHERE state = {failed}" + which, values,
        )  # fmt: skip
        before = self.db.total_changes()
        self.db.execute(f"DELETE FROM done WHERE state = {failed}" + which, values)
        moved = self.db.total_changes() - before
        self._open += moved
        counts = self._counts
        self._counts = replace(counts, failed=counts.failed - moved, ready=counts.ready + moved)
        return moved

    def note(self, kind: str, about: str = "", **detail: object) -> None:
        """Write an event down."""
        self.db.execute(
            "INSERT INTO events(at, kind, about, detail) VALUES(?, ?, ?, ?)",
            (self.clock(), kind, about, json.dumps(detail, default=str)),
        )

    def tell(self, event: Event) -> None:
        self.note(event.kind, event.about, **event.detail)

    def set(self, key: str, value: object) -> None:
        """A small fact of the job: what the live line shows, its epoch, its holder."""
        self.db.execute("INSERT OR REPLACE INTO job VALUES(?, ?)", (key, json.dumps(value)))

    def take_over(self) -> int:
        """The next epoch: the number of this controller among those that held the job."""
        epoch = int(self._get("epoch", 0)) + 1
        self.set("epoch", epoch)
        return epoch

    # --- what a move needs to know -----------------------------------------------------------------------------------

    def _current(self, n: int) -> tuple[TaskState, int, Tally, int]:
        if done := self._rows("SELECT state, attempt FROM done WHERE n = ?", (n,)):
            return TaskState(done[0][0]), done[0][1], Tally(), 0
        if rows := self._rows("SELECT state, attempt, tally, priority FROM open WHERE n = ?", (n,)):
            state, attempt, tally, priority = rows[0]
            return TaskState(state), attempt, _tally(tally), priority
        if n > self._counts.total or n < 1:
            return TaskState.CANCELLED, 0, Tally(), 0
        return (TaskState.HANDED_OUT, 1, Tally(), 0) if n <= self._frontier else (TaskState.READY, 0, Tally(), 0)

    def _handed_out(self) -> list[int]:
        if not self._counts.handed_out:
            return []
        rows = self._rows(
            "SELECT n FROM open WHERE state = 1 UNION ALL"
            f" SELECT n FROM tasks t WHERE n <= ? AND NOT EXISTS ({_IN_DONE}) AND NOT EXISTS ({_IN_OPEN})",
            (self._frontier,),
        )
        return sorted(r[0] for r in rows)

    def _policy(self, n: int) -> RetryPolicy:
        rows = self._rows("SELECT options FROM tasks WHERE n = ?", (n,))
        options = json.loads(rows[0][0]) if rows and rows[0][0] else {}
        policy = self.spec.retry
        return replace(policy, retries=int(options["retries"])) if "retries" in options else policy


def _columns(report: Ended) -> tuple[int, int, int, int, int, bytes]:
    started, took = int(report.started * 1000), int(report.took * 1e6)
    return report.attempt, int(report.outcome), started, took, int(report.form), report.value


def _tally(text: str | None) -> Tally:
    return Tally(**json.loads(text)) if text else Tally()


def _carry(options: bytes | None, carry: str | None) -> bytes | None:
    """A task that asked again finds its state among its options."""
    if carry is None:
        return options
    return json.dumps({**json.loads(options or b"{}"), "state": json.loads(carry)}).encode()


def _story(report: Ended) -> dict[str, object]:
    if report.form != Form.FAILURE:
        return {}
    try:
        story = json.loads(report.value)
    except ValueError:
        return {}
    return story if isinstance(story, dict) else {}
