"""What a ledger knows of machines: those that were asked for and held, and which of them has which task.

Moves of this room, like all moves, belong into a `with ledger.moving():` block.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from elsewhere.errors import InvalidMove
from elsewhere.ledger.hand_out import IN_DONE, deliveries, read_tally
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.questions import Questions
from elsewhere.ledger.record import current
from elsewhere.model.place import Allocation, Offer
from elsewhere.model.reports import Claimed, Ended
from elsewhere.model.resources import Resources
from elsewhere.model.states import ALLOCATION_MOVES, AllocationMove, AllocationState, Outcome, TaskState, advance
from elsewhere.model.task import Delivery

_CLAIM = (
    f"INSERT OR REPLACE INTO held SELECT ?1, ?2, ?3 WHERE ?2 = {current('?4')}"
    " AND NOT EXISTS (SELECT 1 FROM done WHERE n = ?1)"
)
_BLAMED = json.dumps({"type": "MachineDied", "message": "its machine, which it had to itself, died under it"}).encode()
_FAILED_ON = (
    "SELECT DISTINCT o.agent FROM done d JOIN output o ON o.n = d.n AND o.attempt = d.attempt WHERE d.state = ?"
)
_ACQUITTED = json.dumps({"type": "MachineDied", "message": "it was not the cause: its report came later"}).encode()


def allocations(ledger: Questions, open_only: bool = False) -> list[Allocation]:
    """All machines of a job, or those that have not ended, as anybody may read them."""
    which = f" WHERE state < {int(AllocationState.STOPPED)}" if open_only else ""
    return [_from_json(r[0]) for r in ledger._rows(f"SELECT story FROM allocations{which} ORDER BY id")]


def holder(ledger: Questions, n: int) -> str:
    """The machine that is known to have this task in hand; empty: none."""
    rows = ledger._rows("SELECT agent FROM held WHERE n = ?", (n,))
    return str(rows[0][0]) if rows else ""


class Failures:
    """On which machines tasks failed for good. Each look reads what was heard since the last; the first reads all."""

    def __init__(self, ledger: Questions) -> None:
        self.ledger = ledger
        self._found: frozenset[str] | None = None
        self._suspects: dict[int, str] = {}

    def heard(self, reports: Iterable[Ended]) -> None:
        """These are about to be recorded."""
        self._suspects.update({r.n: r.agent for r in reports if r.outcome != Outcome.SUCCEEDED})

    def machines(self) -> frozenset[str]:
        """Those that are known; of what failed before the first look only where it printed something."""
        if self._found is None:
            self._found = frozenset(str(row[0]) for row in self.ledger._rows(_FAILED_ON, (int(TaskState.FAILED),)))
        self._found |= {agent for n, agent in self._suspects.items() if agent and self._has_failed(n)}
        self._suspects = {}
        return self._found

    def _has_failed(self, n: int) -> bool:
        return bool(self.ledger._rows("SELECT 1 FROM done WHERE n = ? AND state = ?", (n, int(TaskState.FAILED))))


class Holdings:
    """The machines of one job, and what each has in its hands, as its ledger has them written down."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    # --- machines -------------------------------------------------------------------------------------------------

    def write(self, allocation: Allocation, move: AllocationMove | None = None) -> None:
        """Write an allocation down as it stands after `move`; None: a new one, or one whose terms changed.

        InvalidMove: its state in the ledger does not lead there. One that has ended gives back what it held.
        """
        rows = self.ledger._rows("SELECT state FROM allocations WHERE id = ?", (allocation.id,))
        before = AllocationState(rows[0][0]) if rows else AllocationState.PLANNED
        after = before if move is None else advance(ALLOCATION_MOVES, before, move, f"allocation {allocation.id}")
        if after is not allocation.state:
            told, found = allocation.state.name.lower(), after.name.lower()
            raise InvalidMove(f"allocation {allocation.id} was said to be {told}, and the ledger makes it {found}")
        self.ledger.db.execute(
            "INSERT OR REPLACE INTO allocations VALUES(?, ?, ?, ?, ?)",
            (allocation.id, allocation.launch, allocation.native, int(after), _to_json(allocation)),
        )
        if not rows or move is not None:
            asked = {"offer": allocation.offer.key} if after is AllocationState.PLANNED else {}
            self.ledger.note("machine", allocation.id, state=after.name.lower(), native=allocation.native,
                             reason=allocation.reason, **asked)  # fmt: skip
        if after.ended and allocation.native:
            self._give_back(allocation)

    def allocations(self, open_only: bool = False) -> list[Allocation]:
        """All of them, or those that have not ended."""
        return allocations(self.ledger, open_only)

    # --- claims ---------------------------------------------------------------------------------------------------

    def claimed(self, claim: Claimed) -> list[tuple[int, int]]:
        """An agent has these; those that count. What is not current is left aside; what a machine has that is gone
        comes back at once.

        A machine that crashed is counted against what it had, also when its claim is heard of afterwards.
        """
        gone, kept = self._gone(claim.agent), []
        if gone is None and self._all_claimed(claim):
            return list(claim.deliveries)
        for n, attempt in claim.deliveries:
            state, current, _, _ = self.ledger._current(n)
            if state is TaskState.HANDED_OUT and attempt == current:
                self.ledger.db.execute("INSERT OR REPLACE INTO held VALUES(?, ?, ?)", (n, attempt, claim.agent))
                if gone is None:
                    kept.append((n, attempt))
                else:
                    self._bereave(n, gone)
        return kept

    def _all_claimed(self, claim: Claimed) -> bool:
        """Written down at once if all of them are current, as they mostly are; else none is."""
        db, frontier = self.ledger.db, self.ledger._frontier
        before, rows = db.total_changes(), [(n, attempt, claim.agent, frontier) for n, attempt in claim.deliveries]
        db.execute("SAVEPOINT claimed")
        db.executemany(_CLAIM, rows)
        good = db.total_changes() - before == len(rows)
        db.execute("RELEASE claimed" if good else "ROLLBACK TO claimed; RELEASE claimed")
        return good

    def heard(self, reports: Iterable[Ended]) -> None:
        """Before these are recorded: nobody has them in hand any more, and a late one acquits."""
        ended = [(r.n, r.attempt) for r in reports]
        self.ledger.db.executemany("DELETE FROM held WHERE n = ? AND attempt <= ?", ended)
        if self.ledger.get("blamed", 0):
            for n, attempt in ended:
                self._acquit(n, attempt)

    def held(self) -> list[tuple[int, int, str]]:
        """(n, attempt, agent) of everything that somebody is known to have."""
        return [(r[0], r[1], r[2]) for r in self.ledger._rows("SELECT n, attempt, agent FROM held")]

    def unclaimed(self, page: int = 1000) -> Iterator[list[Delivery]]:
        """What is handed out and in nobody's hands as far as is known, in pages: a new controller sends it again."""
        after, frontier = 0, int(self.ledger.get("frontier", 0))
        while True:
            rows = self.ledger._rows(
                "SELECT t.n, coalesce(o.attempt, 1), t.id, t.body, t.options, o.tally, o.carry FROM tasks t"
                " LEFT JOIN open o ON o.n = t.n WHERE t.n > ?1 AND (o.state = 1 OR (o.n IS NULL AND t.n <= ?2"
                f" AND NOT EXISTS ({IN_DONE}))) AND NOT EXISTS (SELECT 1 FROM held h WHERE h.n = t.n)"
                " ORDER BY t.n LIMIT ?3",
                (after, frontier, page),
            )
            if not rows:
                return
            after = rows[-1][0]
            yield deliveries(rows)

    def current(self, after: int = 0) -> Iterator[tuple[int, int]]:
        """(n, attempt) of unfinished tasks whose number is more than 1: deliveries of lower ones are superseded.

        One that is not handed out is named with the number it will get next.
        """
        query = "SELECT n, attempt + (state <> 1) FROM open WHERE n > ? AND attempt + (state <> 1) > 1"
        yield from ((r[0], r[1]) for r in self.ledger._rows(query, (after,)))

    def ended(self, after: int = 0) -> Iterator[tuple[int, int]]:
        """The numbers beyond `after` of tasks that have ended, as ranges from the first to one past the last."""
        start = stop = 0
        for (n,) in self.ledger.db.execute("SELECT n FROM done WHERE n > ? ORDER BY n", (after,)):
            number = int(str(n))
            if number != stop:
                if stop:
                    yield start, stop
                start = number
            stop = number + 1
        if stop:
            yield start, stop

    # --- what follows from a machine's end ------------------------------------------------------------------------

    def _gone(self, native: str) -> Allocation | None:
        query = f"SELECT story FROM allocations WHERE native = ? AND state >= {int(AllocationState.STOPPED)}"
        rows = self.ledger._rows(query, (native,))
        return _from_json(rows[0][0]) if rows else None

    def _give_back(self, gone: Allocation) -> None:
        rows = self.ledger._rows("SELECT n, attempt FROM held WHERE agent = ?", (gone.native,))
        for n, attempt in rows:
            state, current, _, _ = self.ledger._current(n)
            if state is TaskState.HANDED_OUT and attempt == current:
                self._bereave(n, gone, len(rows) == 1)
        self.ledger.db.execute("DELETE FROM held WHERE agent = ?", (gone.native,))

    def _bereave(self, n: int, gone: Allocation, only: bool = False) -> None:
        """The machine under a handed-out task is gone. `only`: it had no other in hand."""
        self.ledger.db.execute("DELETE FROM held WHERE n = ?", (n,))
        if not gone.crashed:
            self.ledger.interrupt([n])
            return
        _, attempt, tally, _ = self.ledger._current(n)
        self.ledger.died([n], tally.suspect or (gone.starved and only), gone.starved)
        if tally.suspect and not gone.starved:
            self.ledger.db.execute("UPDATE attempts SET value = ? WHERE n = ? AND attempt = ?", (_BLAMED, n, attempt))
            self.ledger.set("blamed", 1)

    def _acquit(self, n: int, attempt: int) -> None:
        """It did report under this number, so it did not kill its machine."""
        self.ledger.db.execute(
            "UPDATE attempts SET value = ? WHERE n = ? AND attempt = ? AND outcome = ? AND value = ?",
            (_ACQUITTED, n, attempt, int(Outcome.INTERRUPTED), _BLAMED),
        )
        if not self.ledger.db.changes():
            return
        rows = self.ledger._rows("SELECT tally FROM open WHERE n = ?", (n,))
        if rows:
            tally = {**json.loads(rows[0][0] or "{}")}
            tally["deaths"] = max(0, read_tally(rows[0][0]).deaths - 1)
            self.ledger.db.execute("UPDATE open SET tally = ? WHERE n = ?", (json.dumps(tally), n))


def _to_json(allocation: Allocation) -> str:
    def plain(value: object) -> object:
        if isinstance(value, datetime):
            return value.timestamp()
        return value.total_seconds() if isinstance(value, timedelta) else str(value)

    values = {f.name: getattr(allocation, f.name) for f in fields(allocation)}
    return json.dumps({**values, "offer": asdict(allocation.offer)}, default=plain)


_INSTANTS, _LENGTHS = ("until", "started", "spoke", "ended"), ("term", "used")


def _from_json(text: str) -> Allocation:
    """Rows of version 1 named their offer, and had its price beside it. What is not known here is left out."""
    values = json.loads(text)
    for name in _INSTANTS:
        values[name] = None if values.get(name) is None else datetime.fromtimestamp(values[name], UTC)
    for name in _LENGTHS:
        values[name] = None if values[name] is None else timedelta(seconds=values[name])
    offer = values["offer"]
    if isinstance(offer, str):
        offer = {"name": offer or "here", "resources": {}, "price": values["price"]}
    values.update(state=AllocationState(values["state"]), offer=_offer(offer))
    return Allocation(**{f.name: values[f.name] for f in fields(Allocation) if f.name in values})


def _offer(values: dict[str, Any]) -> Offer:
    listed = values.get("list_price")
    values.update(resources=Resources(**values["resources"]), price=Decimal(values["price"]),
                  list_price=None if listed is None else Decimal(listed))  # fmt: skip
    return Offer(**{f.name: values[f.name] for f in fields(Offer) if f.name in values})
