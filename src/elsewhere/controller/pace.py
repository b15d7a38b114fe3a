"""How often a place is looked at: often while something happens, ever more seldom where a question costs something."""

from __future__ import annotations

from datetime import timedelta

from elsewhere.pool.capacity import State

LOOK, CALL, SELDOM, TIMES = 1.0, 2.5, 30.0, 20
"""Seconds between two looks at the place, and where a look is a call to a cloud, which counts them; so many TIMES as
long as the place took to answer, if that is more, but no longer than SELDOM: what must be stopped, and terms that end,
do not wait for a slow place. What is asked for besides does not count: a launch takes seconds."""
STILL, MOST = 0.1, 1.0
"""Seconds without another task, and in all, after which those that came in are asked for together."""
BRIEF = 0.03
"""The same as STILL where all tasks share a few machines of a place that wants to be asked seldom, and none is there:
asked for with the first of many tasks, all but one would come with the next look."""
CALMER = 1.5
"""Times as long as the last is the wait for the next look, at a place that wants to be asked seldom."""


class Pace:
    """Of the looks of one controller."""

    def __init__(self) -> None:
        self._calm, self._todo = 0.0, 0
        self._picture: object = None
        self._coming: tuple[int, float, float] | None = None
        """(tasks, since when so many, since when there are more than what was asked for)."""

    def seconds(self, state: State, took: timedelta) -> float:
        """Until the next look. `took`: how long the place took to answer the last."""
        least = CALL if state.bounds.lag else LOOK
        found = max(least, min(TIMES * took.total_seconds(), SELDOM))
        return max(found, min(self._calm, state.bounds.seldom.total_seconds()))

    def needs(self, todo: int) -> None:
        """So much is to be done. If it is more than before, what is needed for it is not put off."""
        self._calm = 0.0 if todo > self._todo else self._calm
        self._todo = todo

    def comes_in(self, state: State, todo: int, now: float) -> bool:
        """Is a list still coming in for which there will be more machines? Asked for together, those are one array."""
        shape, bounds = state.bounds.shapes[0], state.bounds
        few = bool(bounds.seldom) and not state.allocations and todo < bounds.most * shape.slots
        if todo <= state.todo or not (shape.serves or few):
            self._coming = None
            return False
        if self._coming is None or self._coming[0] != todo:
            self._coming = todo, now, self._coming[2] if self._coming else now
        _, since, first = self._coming
        return now - since < (STILL if shape.serves else BRIEF) and now - first < MOST

    def looked(self, state: State) -> None:
        """The look that was just made has shown something new, or not."""
        picture = (state.alive, {(a.id, a.state, a.native) for a in state.allocations.values()}, bool(state.todo))
        same = picture == self._picture and bool(state.allocations or not state.todo)
        self._calm = max(LOOK, self._calm * CALMER) if same else 0.0
        self._picture = picture

    @staticmethod
    def end(state: State, tries: int) -> float:
        """At the end, when each is to be seen gone: the wait after so many looks before."""
        return min(0.05 * CALMER ** min(tries, 20), 1.0) if state.bounds.seldom else 0.1
