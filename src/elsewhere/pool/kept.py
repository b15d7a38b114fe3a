"""Machines that stay to be looked at because something failed on them: which, how long, and when there is no room
beside them. Pure: folds over a State; nothing here commands.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from elsewhere.model.place import Allocation
from elsewhere.model.states import AllocationState
from elsewhere.pool import sizing
from elsewhere.pool.capacity import State, only_kept

LEAVING = timedelta(minutes=2)
"""In which an agent hears that it has no more work, and leaves."""


def wanted(state: State, allocation: Allocation) -> bool:
    """Has a task failed on it for good, and is it to be kept when it has no more work?"""
    running = allocation.state is AllocationState.RUNNING
    return bool(state.bounds.keep) and running and allocation.native in state.failed


def term(state: State, allocation: Allocation, now: datetime) -> timedelta:
    """What is left booked of one that is kept from now on: never more than it was."""
    lived = max(timedelta(0), now - (allocation.started or now))
    return min(allocation.term, lived + state.bounds.keep + LEAVING)


def stays(state: State, allocation: Allocation, now: datetime, free: Decimal) -> bool:
    """May one that is kept go on so? Not past its time, nor on into another controller's; and work that remains goes
    first, where there is no room for a machine besides, unless machines do not boot at all."""
    if state.todo and not (state.over or state.draining or state.duds) and leave_no_room(state, now, free):
        return False
    until = (allocation.started or now) + allocation.term
    return bool(state.bounds.keep) and now <= until and allocation.id not in state.inherited


def leave_no_room(state: State, now: datetime, free: Decimal) -> bool:
    """Are there only such machines, and no room for another beside them?"""
    held = bool(state.allocations) and only_kept(state)
    return held and not sizing.picks(state, now, free, rested=True)
