"""When the place of a crew is looked at, and what is made of its answers.

While the place has not answered, all else goes on. A look that was begun is taken up when what agents have said by then
is heard: it tells of machines what they may have told themselves.
"""

from __future__ import annotations

from elsewhere.controller.ending import Ending

OVERDUE = 30.0
"""Seconds for which a look that is due is put off while reports keep coming in."""
TELL = 10.0
"""Seconds after which orders are published again though nothing changed."""


class Looks(Ending):
    """What `Afar` (afar.py) asks its place, between the turns of its controller."""

    asked_before = False
    """Was the place asked for what it has when the job was made? Then the first look at it can be left out."""
    epoch: int
    draining: bool
    _told: float
    _looked: float
    _put_off: float | None = None
    """Since when a look is due, or its answer is there."""

    @property
    def pace(self) -> float:
        """Seconds between two looks."""
        return self._pace.seconds(self.pool.state, self.pool.took)

    def _need(self) -> None:
        """Tell the pool what is needed just now."""
        raise NotImplementedError

    def _seen(self) -> None:
        """All that the place has answered is taken up."""
        self._put_off = None
        self._pace.looked(self.pool.state)
        self._looked = self.clock()

    def _tend(self) -> None:
        """Now and then: what is needed, what the place says, and what agents are told of it.

        What agents have said is heard before what became of them: else what they have reported would be done again. So
        who has just come, or has slept, listens first.
        """
        now, counts = self.clock(), self.ledger.counts
        todo = counts.total - counts.ended
        self._pace.needs(todo)
        if self.pool.looking:
            self._take_up(now)
            return
        if now - self._looked < self.pace and not self._begins():
            return
        if not counts.complete and self._pace.comes_in(self.pool.state, todo, now):
            return
        if self._has_nothing():
            self._looked = now
            return
        if self._has_heard(now):
            self._need()
            self._look()
            if not self.pool.looking:
                self._seen()

    def _take_up(self, now: float) -> None:
        """What the place has answered meanwhile; while it does not, agents are told what they must know."""
        if self.pool.answered and (not self.pool.listing or self._has_heard(now)):
            self._need()
            self.pool.go_on()
            if not self.pool.looking:
                self._seen()
        elif TELL <= now - self._told < float("inf"):
            self._tell()

    def _has_heard(self, now: float) -> bool:
        """Has everything been heard that was said until a moment ago, or is it too long since that was so?"""
        if self._put_off is None or self.line.since() > OVERDUE:
            self._put_off = now
        if self._is_quiet:
            self._put_off = None
        return self._put_off is None or now - self._put_off >= OVERDUE

    def _has_nothing(self) -> bool:
        """A job that has just been made and waits for its first task: nothing is at its place."""
        state, counts = self.pool.state, self.ledger.counts
        return self.epoch == 1 and not (state.looked or state.allocations or counts.total or self.over)

    def _begins(self) -> bool:
        """Is there work, where there was none, and no machine for it? Whoever asked for it waits."""
        state, counts = self.pool.state, self.ledger.counts
        return not (state.todo or state.allocations or self.draining) and counts.ended < counts.total

    @property
    def _is_quiet(self) -> bool:
        """Has everything been heard that was said until a moment ago?"""
        return not self._is_busy() and self.line.since() <= OVERDUE

    def _is_busy(self) -> bool:
        """Is there more to hear at once?"""
        return self.line.news

    def _look(self) -> None:
        if self.asked_before and self.epoch == 1 and not self.pool.state.looked and not self.pool.ever:
            self.pool.begins()
        else:
            self.pool.look()
