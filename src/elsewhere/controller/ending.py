"""The end of a crew of agents that are not ours: every machine is stopped and seen gone, and what a job leaves at its
place is put away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from elsewhere.controller.line import Line
from elsewhere.controller.pace import Pace
from elsewhere.errors import PlaceError
from elsewhere.ledger.ledger import Ledger
from elsewhere.pool.pool import Pool

PATIENCE = 1200.0
"""Seconds that are waited for machines to be seen gone, after their stop was asked for; their terms end them anyway."""
INSIST = 60.0
"""Seconds for which what a job leaves at its place is removed: a busy place is no reason to leave it there."""
PUT_AWAY, TURN = "put away", "turn"
"""Facts of a ledger: that nothing of its job is left at its place, and how often that has been so."""


class Ending:
    """What `Afar` (afar.py) does at its beginning and its end with what its job has at the place."""

    ledger: Ledger
    line: Line
    pool: Pool
    clock: Callable[[], float]
    pause: Callable[[float], None]
    over: bool
    _pace: Pace
    epoch: int
    _closed = False
    asked_before = False
    """Was the place asked for what it has when the job was made? Then the first look at it can be left out."""

    def _look(self) -> None:
        if self.asked_before and self.epoch == 1 and not self.pool.state.looked and not self.pool.ever:
            self.pool.begins()
        else:
            self.pool.look()

    def _tell(self) -> None:
        raise NotImplementedError

    def _note_failures(self) -> None:
        raise NotImplementedError

    def _begin(self) -> None:
        """There is something at the place from here on. Made whole or, as long as no machine knows it, not at all."""
        if self.ledger.get(PUT_AWAY, False):
            with self.ledger.moving():
                self.ledger.set(PUT_AWAY, False)
        try:
            self.line.create()
        except PlaceError:
            if not self.pool.ever:
                with suppress(PlaceError):
                    self.line.destroy()
            raise

    def close(self, now: bool = False) -> None:
        """Stop every machine and wait, within bounds, until each is seen gone. Twice: harmless."""
        if self._closed:
            return
        self._closed = self.over = True
        try:
            self._end()
        finally:
            self.line.close()

    def _end(self) -> None:
        with self.ledger.moving():  # who was overtaken finds out here, and stops nothing
            self.ledger.note("closing", machines=len(self.pool.state.allocations))
        deadline = self.clock() + PATIENCE
        self.pool.need(0, over=True)
        self._note_failures()
        self._tell()
        tries = 0
        while self.clock() < deadline:
            self.pool.look()
            if self.pool.settled or self.pool.rests or self.pool.barred:
                break
            self.pause(self._pace.end(self.pool.state, tries))
            tries += 1
        self.fetch()
        left = 0 if self.pool.settled else max(len(self.pool.state.allocations), len(self.pool.state.alive))
        with self.ledger.moving():
            self.ledger.note("settled" if self.pool.settled else "left running", machines=left)
        if not left and (self.ledger.counts.over or not self.pool.ever):
            self._tidy()

    def fetch(self) -> None:
        """What lies with the machines' store and is wanted here comes now: it may go the next moment."""

    def _tidy(self) -> None:
        """Whoever resumes a job of which something is left has that to do, though it is over."""
        done = self._put_away()
        with self.ledger.moving():
            if done:
                self.ledger.set(PUT_AWAY, True)
                self.ledger.set(TURN, int(self.ledger.get(TURN, 0)) + 1)
            else:
                self.ledger.note("left behind", why=self.line.trouble)

    def _put_away(self) -> bool:
        """The channel goes: all has ended, and no machine is left that would ask it. Whether it is gone."""
        return self._insist(self.line.destroy, INSIST)

    def _insist(self, call: Callable[[], object], length: float) -> bool:
        """Make a call again, for so many seconds, until it has been made. Whether it was."""
        deadline = self.clock() + length
        while not self.line.attempt(call):
            if self.clock() >= deadline:
                return False
            self.pause(0.5)
        return True
