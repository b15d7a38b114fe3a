"""What happened to the machines of a job, in plain sentences. Pure: events and allocations in, sentences out.

One sentence for all that one answer of the place did to machines alike; the numbers of our own records stay out of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from elsewhere.model.events import Event
from elsewhere.model.place import HERE, Allocation
from elsewhere.model.units import show_duration
from elsewhere.observe.cost import cost, money
from elsewhere.observe.safe import one_line
from elsewhere.observe.wording import plural, when

SHOWN = 3
"""Machines that are named in one sentence; the others are counted."""


def told(events: Iterable[Event], allocations: Iterable[Allocation], now: float) -> list[str]:
    """A line for each run of `machine` events of the same kind, about machines of the same offer."""
    known = {a.id: a for a in allocations}
    lines, gone = [], 0
    for (state, _, _), group in itertools.groupby(events, lambda event: _sort(event, known)):
        run = list(group)
        those = [known[event.about] for event in run if event.about in known]
        if state in ("planned", "pending", "failed"):
            text, gone = _asked(state, run, those, gone)
        else:
            text = "Machine " + "; ".join(_one(event, known.get(event.about), now) for event in run[:SHOWN])
            text += f"; so it was with {len(run) - SHOWN:,} more" if len(run) > SHOWN else ""
            gone += sum(_lost(event, known.get(event.about)) for event in run)
        lines.append(f"{when(run[0].at.timestamp(), now)}  {text}.")
    return lines


def since(events: Iterable[Event]) -> dict[str, datetime]:
    """Since when each allocation is as it is."""
    return {event.about: event.at for event in events if event.kind == "machine"}


def _sort(event: Event, known: Mapping[str, Allocation]) -> tuple[str, str, str]:
    allocation = known.get(event.about)
    reason = str(event.detail.get("reason") or "")
    return str(event.detail.get("state")), allocation.offer.key if allocation else "", reason


def _asked(state: str, run: Sequence[Event], those: Sequence[Allocation], gone: int) -> tuple[str, int]:
    """What was asked for and answered; how many that were lost are not replaced yet."""
    what = f"{plural(len(run), 'machine')}{_of(those)}"
    if state == "planned":
        back = min(gone, len(run))
        instead = f", in place of {back:,} that {'was' if back == 1 else 'were'} lost" if back else ""
        return f"It asked for {what}{instead}", gone - back
    if state == "pending":
        names = [_named(a) for a in those]
        return f"It was given {what}: {_listed(names)}", gone
    reason = one_line(str(run[0].detail.get("reason") or "no reason was given"), 300).rstrip(".")
    return f"{what} {'was' if len(run) == 1 else 'were'} refused: {reason}", gone


def _of(those: Sequence[Allocation]) -> str:
    """` of c7g.large in us-east-1a, spot, at $0.03 an hour`; ` at node1`, where machines have names of their own;
    nothing, where all are alike and free."""
    if not those or not those[0].offer.zone:
        return f" at {one_line(those[0].offer.name, 60)}" if those and those[0].offer.name != HERE.name else ""
    offer = those[0].offer
    price = f", at {money(offer.price)} an hour" + (" each" if len(those) > 1 else "") if offer.price else ""
    return f" of {offer.name} in {offer.zone}, {'spot' if offer.spot else 'on demand'}{price}"


def _one(event: Event, allocation: Allocation | None, now: float) -> str:
    name = _named(allocation) if allocation else one_line(str(event.detail.get("native") or event.about), 60)
    state, reason = str(event.detail.get("state")), one_line(str(event.detail.get("reason") or ""), 300).rstrip(".")
    why = f": {reason}" if reason else ""
    if state == "running":
        return f"{name} runs{_spoke(allocation)}"
    if state == "unreachable":
        return f"{name} is out of sight"
    if state == "stopping":
        return f"{name} is told to end{why}"
    if allocation is None or not allocation.state.ended:
        return f"{name} is {state}{why}"
    if state == "lost":
        return f"{name} was not seen any more{_after(allocation, now)}"
    if allocation.reclaimed:
        return f"{name} was taken back by the place{_after(allocation, now)}{why}"
    return f"{name} {'died' if allocation.crashed else 'ended'}{_after(allocation, now)}{why}"


def _spoke(allocation: Allocation | None) -> str:
    if allocation is None or allocation.started is None:
        return ""
    if allocation.spoke is None:
        return ", and never spoke" if allocation.state.ended else ", and has not spoken yet"
    return f", and spoke first after {show_duration(max((allocation.spoke - allocation.started).total_seconds(), 0))}"


def _after(allocation: Allocation, now: float) -> str:
    """` after 12m00s, which cost $0.04`."""
    moment = datetime.fromtimestamp(now, UTC)
    text = f" after {show_duration(allocation.used.total_seconds())}" if allocation.used else ""
    paid = cost(allocation, moment)
    return text + (f", which cost {money(paid)}" if paid else "")


def _lost(event: Event, allocation: Allocation | None) -> bool:
    ended: Any = event.detail.get("state") in ("stopped", "lost")
    return bool(
        ended and allocation and (allocation.reclaimed or allocation.crashed or allocation.state.name == "LOST")
    )


def _named(allocation: Allocation) -> str:
    return one_line(allocation.native or allocation.id, 60)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
