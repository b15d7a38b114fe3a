"""The log of a job whose machines outlive its client: a base, then numbered segments in its store, created if absent.

A commit is appended here first, then made in the file. Who finds the number taken was overtaken, and stops. The base is
a copy of the file; a segment is what a commit changed (SQLite's changeset): another machine's file becomes the same.
Later copies (ledger/bases.py) are where whoever comes begins to read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from elsewhere.errors import JobHeld, NotFound, PlaceError, StateError, Unreachable
from elsewhere.ledger.bases import DEED, LOG, Bases, Making
from elsewhere.ledger.closed import Closed, Closes
from elsewhere.ledger.ledger import Ledger
from elsewhere.stores import Store

_SURE = 1.0
"""Seconds in which nobody can take a job over, end it, and sweep its log."""
_FRESH = 30.0
"""Seconds."""
_TOGETHER = 256
"""Segments that are made in the file at once."""


class Journal:
    """One controller's end of the log.

    `pause` waits between two tries to reach the store. `clock`: seconds, also of those in which the machine slept; with
    it a log that was swept meanwhile is told from one that is ours to go on with.
    """

    def __init__(
        self,
        store: Store,
        pause: Callable[[float], object] = time.sleep,
        box: Closes | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.store, self.clock = store, clock
        self.closed = Closed(store, pause, box)
        self._doubt: PlaceError | None = None
        self.bases = Bases(self.closed)
        self._sure = float("-inf")

    # --- its beginning --------------------------------------------------------------------------------------------

    def begun(self) -> bool:
        """Is there a log?"""
        try:
            self.store.get(DEED)
        except NotFound:
            return False
        return True

    def found(self, ledger: Ledger) -> None:
        """Begin the log with the ledger as it stands. Twice, already begun, or after a crash: harmless."""
        if self.begun():
            return
        for _ in Making(Bases(self.closed), ledger).steps():
            pass

    def copies(self, pause: Callable[[float], object]) -> Bases:
        """For who reads or makes copies beside what goes on, in a thread of its own."""
        return Bases(Closed(self.store, pause, self.closed.box))

    def restore(self, path: Path | str, clock: Callable[[], float] = time.time) -> Ledger:
        """The job's ledger on a machine that has none, as the log tells it. NotFound: there is no such log."""
        ledger = self.bases.restored(path, clock)
        self.attach(ledger)
        return ledger

    # --- its segments ---------------------------------------------------------------------------------------------

    def attach(self, ledger: Ledger) -> None:
        """Bring the ledger up to the end of the log; from now on its commits are appended first. Twice: harmless."""
        db = ledger.db
        try:
            for k, changes in enumerate(self._after(int(ledger.get("position", 0))), 1):
                if not db.in_transaction:
                    db.execute("BEGIN IMMEDIATE")
                apsw.Changeset.apply(changes, db)
                if k % _TOGETHER == 0:
                    db.execute("COMMIT")
        except apsw.Error as error:
            hint = "remove this copy and take the job over anew (`elsewhere resume --from`)"
            raise StateError(f"{ledger.path} is not a copy of this job's log: {error}", hint=hint) from error
        finally:  # each segment is made whole or not at all
            if db.in_transaction:
                db.execute("COMMIT")
        ledger.reload()
        ledger.journal = self

    def append(self, number: int, changes: bytes) -> None:
        """Make segment `number`. JobHeld: another controller made it; the caller changes nothing any more.

        StateError: somebody else did, who is no controller of this job. Unreachable: it is not known whether it was
        made; nothing can be appended after it, and whoever resumes finds out.
        """
        if self._doubt is not None:
            raise Unreachable(self._doubt.message, hint="`elsewhere resume` finds out what was written down")
        key, began = _key(number), self._now()
        try:
            if not self.closed.create(key, self.closed.close(key, changes)):
                self.closed.persist(lambda: self.closed.get(key))
                raise _overtaken()
            self._is_there(began, key)
        except PlaceError as error:
            self._doubt = error
            raise

    def check(self, number: int, within: float = _FRESH) -> None:
        """JobHeld: segment `number`, which would be our next, was made by another controller, or the log is swept.

        What was known `within` so many seconds is not asked again: each look is billed.
        """
        began = self._now()
        if began - self._sure < within:
            return
        try:
            self.closed.persist(lambda: self.closed.get(_key(number)))
        except NotFound:
            return self._is_there(began)
        raise _overtaken()

    def reaches(self, position: int) -> bool:
        """Does the log go from a copy that stands at `position` onward? Not if it ends before, or began anew after."""
        start = self.bases.deed()[0].position
        if position <= start:
            return position == start
        try:
            self.store.get(_key(position))
        except NotFound:
            return False
        return True

    def _after(self, position: int) -> Iterator[bytes]:
        while True:
            position += 1
            try:
                changes = self.closed.get(_key(position))
            except NotFound:
                return
            yield changes

    def _now(self) -> float:
        return 0.0 if self.clock is None else self.clock()

    def _is_there(self, began: float, made: str = "") -> None:
        """A number is also free where the log was swept: what was `made` there is taken back and counts for nothing."""
        if self.clock is None:
            return
        if self.clock() - self._sure > _SURE and not self.closed.persist(self.bases.is_there):
            if made:
                self.closed.persist(lambda: self.store.delete([made]))
            raise JobHeld("the job has ended on another machine, and its log was swept",
                          hint="its results are there; `elsewhere rm` removes this copy")  # fmt: skip
        self._sure = began


def _key(number: int) -> str:
    return f"{LOG}{number:012d}"


def _overtaken() -> JobHeld:
    return JobHeld("another controller has taken the job over", hint="watch it there; this one has stopped")
