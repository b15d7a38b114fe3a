"""What happened to a job, a line for each event. Pure: events in, sentences out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from elsewhere.model.events import Event
from elsewhere.model.place import Allocation
from elsewhere.model.states import Outcome
from elsewhere.observe.safe import one_line
from elsewhere.observe.wording import several, when

_EVENTS = {
    "created": "It was created",
    "added": "More tasks were added",
    "completed": "All its tasks were added",
    "started": "A controller began",
    "resumed": "A controller took it up again",
    "drained": "It took nothing more, and let running tasks finish",
    "interrupted": "It was interrupted",
    "paused": "It paused",
    "stopped early": "It stopped early, for too many tasks had failed",
    "retried": "Failed tasks were made ready again",
    "cancelled": "Tasks were cancelled",
    "ended": "All its tasks had ended",
    "left": "Its controller left it unfinished",
    "recovered": "Outcomes that slots had written down were recorded",
    "gave up": "It stopped, for there was no machine and would be none",
    "budget": "Most of its budget was spent",
    "stranger": "A machine that bore its labels and stood in no record was stopped",
    "turned away": "A newcomer was turned away",
    "told to stop": "It was told to stop",
    "closing": "Its machines were told to end",
    "settled": "Nothing was left running",
    "left running": "It was not seen that all its machines ended",
}


def of_event(event: Event, now: float) -> str:
    """`At 14:02:03: It paused: the disk is full.`"""
    if event.kind == "refused":
        return f"{when(event.at.timestamp(), now)}  {_left_out(1)}"
    words = _EVENTS.get(event.kind, event.kind[:1].upper() + event.kind[1:])
    about = f" ({one_line(event.about, 80)})" if event.about else ""
    why = str(event.detail.get("why") or "")
    if event.kind == "gave up" and "\n" in why:  # the last lines of a startup script
        first, *quoted = several(f"{words}: {why}")
        return "\n".join([f"{when(event.at.timestamp(), now)}  {first}", *quoted])
    detail = ", ".join(
        ("" if key == "why" else f"{key} ") + one_line(str(value), 120)
        for key, value in event.detail.items()
        if value not in (None, "", 0)
    )
    return f"{when(event.at.timestamp(), now)}  {words}{about}" + (f": {detail}" if detail else "") + "."


def of_events(events: Sequence[Event], now: float, held: Sequence[Allocation] = ()) -> list[str]:
    """One line for each event; machines, and ends that came too late to count, one after the other, are told together.

    That tasks ended because they were cancelled is told by their cancelling.
    """
    told = []
    worth = (e for e in events if e.kind != "refused" or e.detail.get("outcome") != Outcome.CANCELLED.name)
    for kind, group in itertools.groupby(worth, lambda event: event.kind):
        run = list(group)
        if kind == "machine":
            from elsewhere.observe import machines  # `status` needs words of ours, and nothing of money

            told += machines.told(run, held, now)
        elif kind == "refused" and len(run) > 1:
            told.append(f"{when(run[0].at.timestamp(), now)}  {_left_out(len(run))}")
        else:
            told += [of_event(event, now) for event in run]
    return told


def _left_out(number: int) -> str:
    many = "The end of a try was" if number == 1 else f"The ends of {number:,} tries were"
    return f"{many} left out: the task had ended already, or had been given to another slot meanwhile."
