"""How many slots the work that remains is worth just now. Pure: numbers in, a number out.

No machine is started that would do less work than its boot takes, and no more than can be kept busy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

BOOT = timedelta(minutes=2)
"""From asking for a machine to its first task, where nothing was observed."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """The work as it stands. `duration`: of a task, observed or asked for; None: not known yet."""

    tasks: int
    duration: timedelta | None = None
    boot: timedelta = BOOT
    within: timedelta | None = None
    """The time that is left, if there is a deadline."""


def wanted_slots(work: Remaining, most: int | None = None) -> int:
    """Slots to hold now, at most `most`.

    One for each task, but not so many that a slot would have less work than its machine takes to boot. With a deadline:
    only as many as it takes to be done in time.
    """
    slots = work.tasks if most is None else min(work.tasks, most)
    if not slots or work.duration is None or not work.duration:
        return max(0, slots)
    each = max(1, -(-work.boot // work.duration))
    slots = min(slots, max(1, work.tasks // each))
    if work.within is not None:
        rounds = (work.within - work.boot) // work.duration
        if rounds >= 1:
            slots = min(slots, -(-work.tasks // rounds))
    return slots


def worth_starting(work: Remaining, slots: int, each: int) -> bool:
    """Would one more machine of `each` slots, beside `slots` that run already, have at least its boot time of work?

    What the others finish while it boots is not left for it.
    """
    if work.duration is None or not work.duration:
        return work.tasks > slots
    meanwhile = slots * (work.boot / work.duration)
    left = work.tasks - meanwhile
    return left > 0 and left / (slots + each) * work.duration >= work.boot
