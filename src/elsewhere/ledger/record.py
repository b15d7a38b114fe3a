"""The far half: what reports lead to. Each is recorded once, if its number is current; the rest is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from operator import itemgetter

from elsewhere.ledger.hand_out import HandOut, read_tally
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import TASK_MOVES, Outcome, Tally, TaskMove, TaskState, Verdict, advance, next_move
from elsewhere.model.task import RetryPolicy


def current(frontier: str) -> str:
    """The number under which task ?1 is handed out, if it has not ended: that of its story, else 1 up to the frontier,
    which is this parameter, else none."""
    story = "SELECT CASE state WHEN 1 THEN attempt ELSE -1 END FROM open WHERE n = ?1"
    return f"coalesce(({story}), nullif(?1 BETWEEN 1 AND {frontier}, 0))"


_DONE = f"INSERT INTO done SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?3 = {current('?9')} ON CONFLICT DO NOTHING"


class Record(HandOut):
    """Records how attempts ended."""

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
            if self._record_plain([report]) or (self._take_back(report) and self._record_plain([report])):
                recorded.append(report)
            else:
                self._refuse(report)
        return recorded

    def _take_back(self, report: Ended) -> bool:
        """Its machine was thought lost and its task given back, and nobody has it yet: it is handed out as it was.

        So a late report counts while its number is the current one and the only word of that number.
        """
        self.db.execute(
            "UPDATE open SET state = 1 WHERE n = ?1 AND attempt = ?2 AND ?2 > 0 AND state = 0 AND NOT EXISTS"
            " (SELECT 1 FROM attempts a WHERE a.n = ?1 AND a.attempt = ?2 AND a.outcome <> ?3)",
            (report.n, report.attempt, int(Outcome.INTERRUPTED)),
        )
        if not self.db.changes():
            return False
        counts = self._counts
        self._counts = replace(counts, ready=counts.ready - 1, handed_out=counts.handed_out + 1)
        return True

    def _refuse(self, report: Ended) -> None:
        self._counts = replace(self._counts, refused=self._counts.refused + 1)
        if self._is_echo(report):
            return  # a resumed job finds many of them again: their number says enough
        self.note("refused", str(report.n), attempt=report.attempt, outcome=Outcome(report.outcome).name)

    def _is_echo(self, report: Ended) -> bool:
        """Is the very same report on record?"""
        query = " UNION ALL ".join(
            f"SELECT 1 FROM {table} WHERE n = ?1 AND attempt = ?2 AND outcome = ?3 AND started = ?4"
            for table in ("done", "attempts")
        )
        return bool(self._rows(query, (report.n, *_columns(report)[:3])))

    def _record_other(self, report: Ended) -> TaskState | None:
        state, attempt, tally, priority = self._current(report.n)
        current = attempt == report.attempt
        if not current or not (state is TaskState.HANDED_OUT or self._take_back(report)):
            self._refuse(report)
            return None
        failure = _story(report)
        policy = self._policy(report.n)
        tally = _with_tries(Outcome(report.outcome), tally, failure.get("tries"))
        verdict = next_move(Outcome(report.outcome), tally, policy.budget)
        errored = report.outcome == Outcome.ERRORED
        if verdict.move is TaskMove.RETRY and errored and not policy.allows(failure):
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

    def _current(self, n: int) -> tuple[TaskState, int, Tally, int]:
        if done := self._rows("SELECT state, attempt FROM done WHERE n = ?", (n,)):
            return TaskState(done[0][0]), done[0][1], Tally(), 0
        if rows := self._rows("SELECT state, attempt, tally, priority FROM open WHERE n = ?", (n,)):
            state, attempt, tally, priority = rows[0]
            return TaskState(state), attempt, read_tally(tally), priority
        if n > self._counts.total or n < 1:
            return TaskState.CANCELLED, 0, Tally(), 0
        return (TaskState.HANDED_OUT, 1, Tally(), 0) if n <= self._frontier else (TaskState.READY, 0, Tally(), 0)

    def _policy(self, n: int) -> RetryPolicy:
        rows = self._rows("SELECT options FROM tasks WHERE n = ?", (n,))
        options = json.loads(rows[0][0]) if rows and rows[0][0] else {}
        policy = self.spec.retry
        return replace(policy, retries=int(options["retries"])) if "retries" in options else policy

    def note(self, kind: str, about: str = "", **detail: object) -> None:
        """Write an event down."""
        self.db.execute(
            "INSERT INTO events(at, kind, about, detail) VALUES(?, ?, ?, ?)",
            (self.clock(), kind, about, json.dumps(detail, default=str)),
        )


def _with_tries(outcome: Outcome, tally: Tally, tries: object) -> Tally:
    """An agent that tried again by itself says how often it tried: all but the last are booked here."""
    if outcome is not Outcome.ERRORED or not isinstance(tries, int) or tries < 2:
        return tally
    return replace(tally, errors=tally.errors + tries - 1)


def _columns(report: Ended) -> tuple[int, int, int, int, int, bytes]:
    started, took = int(report.started * 1000), int(report.took * 1e6)
    return report.attempt, int(report.outcome), started, took, int(report.form), report.value


def _story(report: Ended) -> dict[str, object]:
    if report.form != Form.FAILURE:
        return {}
    try:
        story = json.loads(report.value)
    except ValueError:
        return {}
    return story if isinstance(story, dict) else {}
