"""The near half of a ledger's moves: transactions, tasks that come in, tasks that are handed out."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice, starmap
from pathlib import Path
from typing import Any, Protocol

import apsw

from elsewhere.errors import InvalidTask
from elsewhere.ledger import tables
from elsewhere.ledger.questions import Questions
from elsewhere.ledger.room import Room
from elsewhere.ledger.views import Counts
from elsewhere.model.states import Tally
from elsewhere.model.task import Delivery, NewTask

IN_OPEN, IN_DONE = "SELECT 1 FROM open WHERE open.n = t.n", "SELECT 1 FROM done WHERE done.n = t.n"


class Log(Protocol):
    """Where commits go first when a job's machines outlive its client (ledger/journal.py)."""

    def append(self, number: int, changes: bytes) -> None:
        """JobHeld: somebody else made this number."""
        ...

    def attach(self, ledger: Any) -> None:
        """Bring the ledger up to the end of it."""
        ...


class HandOut(Questions):
    """Adds and hands out. Nothing is durable, and nothing may be shown, sent or confirmed, inside `moving`."""

    def __init__(self, db: apsw.Connection, path: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__(db, path)
        self.clock = clock
        self.chance = random.Random()
        self.journal: Log | None = None
        self.draft = False
        """Nobody knows of it yet: nothing is synced before it is closed."""
        self._changes: apsw.Session | None = None
        self._room = Room(db)
        self.reload()

    def reload(self) -> None:
        """Know again what the file says, after something else than our own moves changed it."""
        self._counts = self.count()
        self._frontier = int(self._get("frontier", 0))
        self._special = bool(self._get("special", 0))
        self._open = self._one("SELECT count(*) FROM open")
        self._due: float | None = self._one("SELECT min(due) FROM open WHERE state = 2")

    @property
    def counts(self) -> Counts:
        """As of the last move; `count` tells what is committed."""
        return self._counts

    @contextmanager
    def moving(self, sync: bool = True, logged: bool = True) -> Iterator[None]:
        """Make moves in this block; they are durable, all at once, when it is left without an error, else none is made.

        StateError: the file could not be written; the same moves may be made again. `sync` False: they survive the
        death of the process but not a power cut; only for what a power cut would undo anyway, such as handing out to
        slots of this machine. `logged` False: it holds nothing but `news`, so a job's log need not know of it.
        """
        try:
            self._room.make()
            synchronous = "OFF" if self.draft else "FULL" if sync else "NORMAL"
            self.db.execute(f"PRAGMA synchronous={synchronous}").fetchall()
            self.db.execute("BEGIN IMMEDIATE")
            changes = self._changes = self._watch_changes() if logged else None
            yield
            counts, special = json.dumps(_plain(self._counts)), int(self._special)
            facts = [("counts", counts), ("frontier", self._frontier), ("special", special)]
            self.db.executemany("INSERT OR REPLACE INTO job VALUES(?, ?)", facts)
            if self.journal is not None and changes is not None:
                self._append(self.journal, changes)
            self.db.execute("COMMIT")
        except apsw.Error as error:
            self._rollback()
            raise tables.damage(self.path, error) from error
        except BaseException:
            self._rollback()
            raise

    def news(self, key: str, value: object) -> None:
        """A fact for those who read this file alone, such as the live line: no segment of a job's log holds it."""
        changes = self._changes
        if changes is not None:
            changes.enabled = False
        self.db.execute("INSERT OR REPLACE INTO job VALUES(?, ?)", (key, json.dumps(value)))
        if changes is not None:
            changes.enabled = True

    def _watch_changes(self) -> apsw.Session | None:
        if self.journal is None:
            return None
        session = apsw.Session(self.db, "main")
        session.attach()
        return session

    def _append(self, journal: Log, changes: apsw.Session) -> None:
        """The job's log first: what it does not hold is not made here. Also when nothing but its number changes."""
        number = int(self._get("position", 0)) + 1
        self.db.execute("INSERT OR REPLACE INTO job VALUES('position', ?)", (number,))
        journal.append(number, changes.changeset())
        changes.close()

    def _rollback(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self.reload()

    def add(self, tasks: Iterable[NewTask]) -> int:
        """Add tasks in their order; how many. InvalidTask: an id that is there already, or what `tasks` itself raises.

        What came before the latter is added, so that `index` may still be asked about its ids.
        """
        added, first = 0, self._counts.total + 1
        stream = iter(tasks)
        wrong: InvalidTask | None = None
        while wrong is None:
            batch: list[NewTask] = []
            try:
                batch.extend(islice(stream, 512))
            except InvalidTask as error:
                wrong = error
            if not batch:
                break
            start = first + added
            rows = [(start + k, t.id, t.body, _own(t) if t.priority else t.options) for k, t in enumerate(batch)]
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
        if wrong is not None:
            raise wrong
        return added

    def defer_index(self) -> None:
        """Before a large first `add`: ids are then checked by `index`, all at once, which is cheaper."""
        self.db.execute("DROP INDEX IF EXISTS tasks_by_id")

    def index(self) -> None:
        """Check that ids differ. InvalidTask: `twice` holds up to 20 of those that do not."""
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
        numbers = self._numbers_of(twice, batch, start)
        message = f"task_id {twice[0]!r} is used twice"
        return InvalidTask(message, faults=tuple(twice), twice=tuple(twice), numbers=numbers)

    def _numbers_of(self, twice: Sequence[str], batch: Sequence[str], start: int) -> tuple[tuple[int, ...], ...]:
        """The first two numbers of each of these ids. One reading: while tasks are added there may be no index."""
        found: dict[str, list[int]] = {name: [] for name in twice}
        below = f"n < {start}" if batch else "true"
        rows = self._rows(
            f"SELECT id, n FROM tasks WHERE {below} AND id IN (SELECT value FROM json_each(?)) ORDER BY n",
            (json.dumps(list(twice)),),
        )
        for name, n in [*rows, *((name, start + k) for k, name in enumerate(batch) if name in found)]:
            found[name].append(n)
        return tuple(tuple(numbers[:2]) for numbers in found.values())

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
        untouched = f" AND NOT EXISTS ({IN_OPEN}) AND NOT EXISTS ({IN_DONE})" if self._special else ""
        rows = self._rows(
            f"SELECT n, 1, id, body, options FROM tasks t WHERE n > ?{untouched} ORDER BY n LIMIT ?",
            (self._frontier, limit),
        )
        if rows:
            self._frontier = rows[-1][0]
        elif self._special:
            self._frontier = self._counts.total
        return list(starmap(Delivery, rows))

    def _take_open(self, limit: int, which: str) -> list[Delivery]:
        self._fall_due()
        rows = self._rows(
            "SELECT n, attempt + 1, id, body, options, tally, carry FROM open JOIN tasks USING(n)"
            f" WHERE state = 0 AND {which} ORDER BY priority DESC, n LIMIT ?",
            (limit,),
        )
        self.db.executemany("UPDATE open SET state = 1, attempt = ?2, due = NULL WHERE n = ?1", [r[:2] for r in rows])
        return deliveries(rows)

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


def _own(task: NewTask) -> bytes:
    """A preferred task's options with its priority, which its row in `open` does not outlive."""
    return json.dumps({**json.loads(task.options or b"{}"), "priority": task.priority}).encode()


def _plain(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in Counts.__match_args__}


def read_tally(text: str | None) -> Tally:
    return Tally(**json.loads(text)) if text else Tally()


def deliveries(rows: Sequence[tuple[Any, ...]]) -> list[Delivery]:
    """From (n, attempt, id, body, options, tally, carry)."""
    found = []
    for n, attempt, task_id, body, options, text, carry in rows:
        tally = read_tally(text)
        spent = tally.errors + tally.timeouts + tally.memory
        found.append(Delivery(n, attempt, task_id, body, _carry(options, carry, spent), tally.suspect))
    return found


def _carry(options: bytes | None, carry: str | None, spent: int) -> bytes | None:
    """A task that asked again finds its state among its options; its agent finds what errors it has had."""
    if carry is None and not spent:
        return options
    more = {} if carry is None else {"state": json.loads(carry)}
    if spent:
        more["spent"] = spent
    return json.dumps({**json.loads(options or b"{}"), **more}).encode()
