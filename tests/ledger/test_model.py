"""The ledger against a plain model of it: whatever is done, in any order, its counts are what its tables say."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome, TaskState
from elsewhere.model.task import NewTask, RetryPolicy

OUTCOMES = st.sampled_from(sorted(Outcome))
PRIORITIES = st.lists(st.sampled_from([0, 0, 0, 5, -5]), max_size=5)


class Undone(Exception):
    """Raised inside `moving`, so that nothing of it is made."""


class LedgerAgainstModel(RuleBasedStateMachine):
    """`out`: (n, attempt) of all that was ever handed out; `state`: where each task stands by the model."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.path = Path(tempfile.mkdtemp(dir=self.root)) / "ledger.db"
        spec = JobSpec("job-1", "fit", Entry("function", "a:b"), retry=RetryPolicy(retries=1, losses=1, asks=1))
        self.ledger = Ledger.create(self.path, spec, lambda: self.now)
        self.state: dict[int, TaskState] = {}
        self.attempt: dict[int, int] = {}
        self.said: set[tuple[int, int]] = set()
        self.out: list[tuple[int, int]] = []

    root: Path

    def teardown(self) -> None:
        self.ledger.close()

    @rule(priorities=PRIORITIES)
    def add(self, priorities: list[int]) -> None:
        first = len(self.state) + 1
        with self.ledger.moving():
            self.ledger.add(NewTask(f"t{first + k}", b"{}", None, p) for k, p in enumerate(priorities))
        for n in range(first, first + len(priorities)):
            self.state[n], self.attempt[n] = TaskState.READY, 0

    @rule(limit=st.integers(1, 6))
    def take(self, limit: int) -> None:
        with self.ledger.moving():
            taken = self.ledger.take(limit)
        ready = sum(s in (TaskState.READY, TaskState.WAITING) for s in self.state.values())
        assert len({d.n for d in taken}) == len(taken) <= ready
        for d in taken:
            assert self.state[d.n] in (TaskState.READY, TaskState.WAITING)
            assert d.attempt == self.attempt[d.n] + 1
            self.state[d.n], self.attempt[d.n] = TaskState.HANDED_OUT, d.attempt
            self.out.append((d.n, d.attempt))
        if len(taken) < limit:
            assert TaskState.READY not in self.state.values(), "some were ready and nobody got them"

    @precondition(lambda self: self.out)
    @rule(data=st.data(), undo=st.booleans())
    def record(self, data: st.DataObject, undo: bool) -> None:
        picked = data.draw(st.lists(st.tuples(st.sampled_from(self.out), OUTCOMES), min_size=1, max_size=4))
        self.give([Ended(n, a, o, 1.0, 0.1, Form.JSON, str(k).encode()) for k, ((n, a), o) in enumerate(picked)], undo)

    @rule(n=st.integers(-1, 12), attempt=st.integers(0, 1), outcome=OUTCOMES)
    def record_what_nobody_was_given(self, n: int, attempt: int, outcome: Outcome) -> None:
        if (n, attempt) not in self.out:
            self.give([Ended(n, attempt, outcome, 1.0, 0.1, Form.JSON, b"0")], undo=False, expect_none=True)

    def give(self, reports: list[Ended], undo: bool, expect_none: bool = False) -> None:
        before, refused = dict(self.table()), self.ledger.counts.refused
        try:
            with self.ledger.moving():
                finished = self.ledger.record(reports)
                if undo:
                    raise Undone
        except Undone:
            assert self.table() == before
            return
        after = self.table()
        ended = {n for n, (s, _) in after.items() if s.ended and not before[n][0].ended}
        assert sorted(r.n for r in finished) == sorted(ended)
        assert not (expect_none and (finished or after != before))
        fresh = {
            (r.n, r.attempt) for r in reports if self.current(r.n, r.attempt) and (r.n, r.attempt) not in self.said
        }
        assert ended <= {n for n, _ in fresh}
        assert {n for n in after if after[n] != before[n]} <= {n for n, _ in fresh}, "an old or second report counted"
        for n, attempt in fresh:
            if any(r.outcome is not Outcome.INTERRUPTED for r in reports if (r.n, r.attempt) == (n, attempt)):
                assert after[n][0] is not TaskState.HANDED_OUT, "a report was lost"
                self.said |= {(n, attempt)} if after[n][0] is not TaskState.READY else set()
        assert self.ledger.counts.refused - refused <= len(reports)
        self.state = {n: s for n, (s, _) in after.items()}

    def current(self, n: int, attempt: int) -> bool:
        open_ = (TaskState.HANDED_OUT, TaskState.READY)
        return n in self.state and self.state[n] in open_ and self.attempt[n] == attempt > 0

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        picked = (
            data.draw(st.none() | st.lists(st.sampled_from(sorted(self.state)), max_size=3)) if self.state else None
        )
        with self.ledger.moving():
            running = self.ledger.cancel(None if picked is None else [f"t{n}" for n in picked])
        meant = set(self.state if picked is None else picked)
        assert set(running) == {n for n in meant if self.state[n] is TaskState.HANDED_OUT}
        self.move((n for n in meant if not self.state[n].ended), TaskState.CANCELLED)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        picked = (
            data.draw(st.none() | st.lists(st.sampled_from(sorted(self.state)), max_size=3)) if self.state else None
        )
        failed = {n for n in (self.state if picked is None else picked) if self.state[n] is TaskState.FAILED}
        with self.ledger.moving():
            assert self.ledger.retry(None if picked is None else [f"t{n}" for n in picked]) == len(failed)
        self.move(failed, TaskState.READY)

    @rule(data=st.data(), alone=st.none() | st.booleans())
    def lose(self, data: st.DataObject, alone: bool | None) -> None:
        picked = data.draw(st.lists(st.sampled_from(sorted(self.state)), max_size=4)) if self.state else []
        before = self.table()
        with self.ledger.moving():
            if alone is None:
                self.ledger.interrupt(picked if len(picked) < 4 else None)
            else:
                self.ledger.died(picked, alone)
        after = self.table()
        assert all(after[n] == before[n] for n in after if before[n][0] is not TaskState.HANDED_OUT)
        self.state = {n: s for n, (s, _) in after.items()}

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.path, lambda: self.now)

    def move(self, ns: Iterable[int], state: TaskState) -> None:
        for n in list(ns):
            self.state[n] = state

    def table(self) -> dict[int, tuple[TaskState, int]]:
        return {t.n: (t.state, t.attempt) for t in self.ledger.tasks()}

    @invariant()
    def counts_are_what_the_tables_say(self) -> None:
        found = Counter(state for state, _ in self.table().values())
        for counts in (self.ledger.counts, self.ledger.count()):
            told = {s: getattr(counts, s.name.lower()) for s in TaskState}
            assert told == {s: found[s] for s in TaskState}, json.dumps({s.name: found[s] for s in TaskState})
            assert counts.total == len(self.state)
        asked = self.ledger.db.execute("SELECT count(*), count(due) FROM open").fetchall()[0]
        assert asked == (self.ledger._open, found[TaskState.WAITING])
        assert (self.ledger.next_due() is None) == (not found[TaskState.WAITING])
        assert [t for (t,) in self.ledger.db.execute("SELECT n FROM open WHERE n IN (SELECT n FROM done)")] == []

    @invariant()
    def the_model_agrees(self) -> None:
        for n, (state, attempt) in self.table().items():
            waited = (self.state[n], state) == (TaskState.WAITING, TaskState.READY)
            assert state is self.state[n] or waited, f"task {n}"
            assert attempt == self.attempt[n]


@pytest.mark.timeout(600)  # thousands of commits, each synced: a disk may be busy
def test_the_ledger_is_its_model(tmp_path: Path) -> None:
    machine = type("Machine", (LedgerAgainstModel,), {"root": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200, stateful_step_count=30, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
