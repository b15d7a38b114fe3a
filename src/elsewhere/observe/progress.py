"""How fast a job goes and how long it still takes, and the one line that says so. Pure: the clock is a parameter.

No terminal and no ledger may enter; what it reads is a View (session.py) or anything of that shape.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from elsewhere.model.units import show_duration
from elsewhere.observe.cost import Spending, money

WINDOW = 20.0
"""Seconds over which the rate is taken: long enough to be calm, short enough to notice a change."""


class CountsLike(Protocol):
    @property
    def total(self) -> int: ...
    @property
    def ready(self) -> int: ...
    @property
    def handed_out(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def succeeded(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def asks(self) -> int: ...
    @property
    def ended(self) -> int: ...


class ViewLike(Protocol):
    @property
    def counts(self) -> CountsLike: ...
    @property
    def slots(self) -> int: ...
    @property
    def busy(self) -> int: ...
    @property
    def running(self) -> Sequence[tuple[str, float]]: ...
    @property
    def draining(self) -> bool: ...
    @property
    def note(self) -> str: ...
    @property
    def money(self) -> Spending | None: ...


class Pace:
    """Tasks ended per second, over a sliding window; over the whole time when the window saw fewer than two end."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None

    def note(self, now: float, ended: int) -> None:
        """At `now` (seconds, any origin, never going back), `ended` tasks had ended."""
        if self._first is None or ended < self._first[1]:  # fewer than before: failed tasks were made ready again
            self._first = (now, ended)
            self._seen.clear()
        if self._seen and now - self._seen[-1][0] < WINDOW / 100:
            return
        self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    def rate(self, now: float, ended: int) -> float | None:
        """Per second; None while nothing can be said."""
        if self._first is None:
            return None
        since, before = self._seen[0] if self._seen else self._first
        if ended - before < 2:
            since, before = self._first
        if now - since < 0.2 or ended <= before:
            return None
        return (ended - before) / (now - since)

    def left(self, now: float, ended: int, total: int) -> float | None:
        """Seconds until `total` have ended, at this rate; None while nothing can be said."""
        rate = self.rate(now, ended)
        return None if rate is None else max(total - ended, 0) / rate


def facts(view: ViewLike, pace: Pace, now: float) -> dict[str, Any]:
    """All figures of the live line by name, for `--json`; seconds and tasks per second, None while unknown."""
    counts = view.counts
    rate, left = pace.rate(now, counts.ended), pace.left(now, counts.ended, counts.total)
    running = min(view.busy or len(view.running), max(counts.total - counts.ended, 0))
    return {
        "total": counts.total,
        "complete": counts.complete,
        "done": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "running": running,
        "waiting": max(counts.total - counts.ended - running, 0),
        "asked_again": counts.asks,
        "rate": None if rate is None else round(rate, 3),
        "seconds_left": None if left is None else round(left, 1),
        "slots": view.slots,
        "busy": view.busy,
        "note": view.note,
        "money": None if view.money is None else _of_money(view.money, left if counts.complete else None),
    }


def _of_money(spending: Spending, left: float | None) -> dict[str, Any]:
    to_end = spending.to_end(left)
    return {
        "machines": spending.machines,
        "spent": round(float(spending.spent), 6),
        "rate": round(float(spending.rate), 6),
        "to_end": None if to_end is None else round(float(to_end), 6),
        "budget": None if spending.budget is None else float(spending.budget),
        "near": spending.near,
    }


def line(view: ViewLike, pace: Pace, now: float, width: int | None = None) -> str:
    """`done 120/1,000  failed 3  running 4  ...`, without colour; what matters least goes first when it is narrow."""
    parts = _parts(facts(view, pace, now), view)
    while width is not None and len(parts) > 2 and len(_joined(parts)) > width:
        parts.remove(max(parts))  # the largest rank matters least
    return _joined(parts)[:width]


def stopping(view: ViewLike, limits: dict[str, float], default: float | None, width: int | None = None) -> str:
    """The line after Ctrl-C: what still runs, and how long that can take. `limits`: seconds a task may run, by id."""
    if not view.running:
        return "stopping: no task runs any more"[:width]
    shown = []
    for task, seconds in sorted(view.running, key=lambda pair: -pair[1]):
        limit = limits.get(task, default)
        until = f", {show_duration(max(round(limit - seconds), 0))} left at most" if limit else ""
        shown.append(f"{task} {show_duration(int(seconds))}{until}")
    head, tail = f"stopping: {len(shown)} running (", "); Ctrl-C again: now"
    room = None if width is None else width - len(head) - len(tail)
    text = "; ".join(shown)
    if room is not None and len(text) > room:
        text = text[: max(room - 1, 0)].rstrip() + "…"
    return (head + text + tail)[:width]


def _joined(parts: Sequence[tuple[int, int, str]]) -> str:
    return "  ".join(text for _, _, text in sorted(parts, key=lambda part: part[1]))


def _parts(figures: dict[str, Any], view: ViewLike) -> list[tuple[int, int, str]]:
    """(rank, place, text)."""
    total = f"{figures['total']:,}" + ("" if figures["complete"] else "+")
    left = figures["seconds_left"]
    texts = [
        (0, f"done {figures['done']:,}/{total}"),
        (1, f"failed {figures['failed']:,}"),
        (4, f"running {figures['running']:,}"),
        (5, f"waiting {figures['waiting']:,}"),
        (3, "" if figures["rate"] is None else f"{show_rate(figures['rate'])}"),
        (2, "" if left is None or not figures["complete"] else f"{show_duration(round(left))} left"),
        (6, f"slots {figures['busy']}/{figures['slots']}"),
        (7, f"asked again {figures['asked_again']:,}" if figures["asked_again"] else ""),
        (8, f"cancelled {figures['cancelled']:,}" if figures["cancelled"] else ""),
        *_money_parts(view.money, left if figures["complete"] else None),
        (1, view.note),
    ]
    return [(rank, place, text) for place, (rank, text) in enumerate(texts) if text]


def _money_parts(spending: Spending | None, left: float | None) -> list[tuple[int, str]]:
    """`machines 3  $0.12, $0.40 to the end`; near its end the budget is named, and matters most."""
    if spending is None:
        return []
    to_end, budget = spending.to_end(left), spending.budget
    text = money(spending.spent)
    if spending.near and budget:
        return [(5, f"machines {spending.machines:,}"), (1, f"{text} of the budget of {money(budget)}")]
    if to_end is not None:
        text += f", {money(to_end)} to the end"
    return [(5, f"machines {spending.machines:,}"), (2, text)]


def show_rate(rate: float) -> str:
    """`312/s`, `1.5/s`, `12/min`, `3/h`."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    if rate >= 1:
        return f"{rate:.1f}/s"
    if rate * 60 >= 1:
        return f"{rate * 60:.0f}/min"
    return f"{rate * 3600:.2g}/h"
