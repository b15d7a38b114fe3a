"""What a job's machines have cost, and what that bought: a fold over allocations. Pure: the clock is a parameter.

Every figure rests on what the ledger says of machines and on the prices they were asked for at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from elsewhere.model.events import Event
from elsewhere.model.place import Allocation

SHORTEST = timedelta(seconds=60)
"""A machine that started is paid for this long, however short it lived."""
WARN = Decimal("0.8")
"""Beyond this share of the budget the live line says so."""
_HOUR = Decimal(3600)
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Spending:
    """What the live line shows of money, while a job runs. `rate`: dollars an hour of what is held now."""

    machines: int
    spent: Decimal
    rate: Decimal
    budget: Decimal | None = None

    @property
    def near(self) -> bool:
        """Is most of the budget spent?"""
        return self.budget is not None and self.spent >= self.budget * WARN

    def to_end(self, seconds: float | None) -> Decimal | None:
        """Dollars in all, if what is held now is held for so long yet; None: it is not known for how long."""
        return None if seconds is None else self.spent + self.rate * Decimal(seconds) / _HOUR

    def plain(self) -> dict[str, Any]:
        """For a file; `read` reads it back."""
        return {"machines": self.machines, "spent": str(self.spent), "rate": str(self.rate),
                "budget": None if self.budget is None else str(self.budget)}  # fmt: skip

    @classmethod
    def read(cls, said: Mapping[str, Any] | None) -> Spending | None:
        if not said:
            return None
        budget = said.get("budget")
        return cls(int(said["machines"]), Decimal(said["spent"]), Decimal(said["rate"]),
                   None if budget is None else Decimal(budget))  # fmt: skip


@dataclass(frozen=True, slots=True)
class OfShape:
    """All machines of one offer."""

    name: str
    zone: str
    spot: bool
    machines: int
    hours: Decimal
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars. Approximate are `preempted` and `idle`, which share out what was spent:

    `preempted`: of each machine that was taken back, the boot that was paid for nothing and, for each of its slots,
    half an average task, which is what such a slot has lost on average; never more than the machine cost.
    `idle`: what is left of what was spent, when that and the time that tasks ran (at the average price of a slot) are
    taken away: boots, waiting slots, minutes that are paid and not used.
    No refunds are counted, so what a place gives back for machines that it took soon comes off this.
    """

    machines: int
    """That were ever had."""
    held: int
    """Now."""
    spent: Decimal
    rate: Decimal
    """An hour, of those that are held now."""
    saved: Decimal | None
    """Against the same machines on demand; None: no such price is known."""
    preempted: Decimal
    idle: Decimal
    done: int
    unsure: int = 0
    """Machines of which it is not known how long they lived: counted, as in the budget, with all that was bought."""
    shapes: tuple[OfShape, ...] = ()

    @property
    def per_dollar(self) -> Decimal | None:
        """Tasks; None: nothing was spent."""
        return self.done / self.spent if self.spent else None

    def figures(self) -> dict[str, Any]:
        """By name, for `--json`; dollars as numbers."""
        return {
            "machines": self.machines, "held": self.held, "spent": _number(self.spent), "rate": _number(self.rate),
            "saved": None if self.saved is None else _number(self.saved), "preempted": _number(self.preempted),
            "idle": _number(self.idle), "unsure": self.unsure,
            "tasks_per_dollar": None if self.per_dollar is None else round(float(self.per_dollar), 3),
            "shapes": [{"type": one.name, "zone": one.zone, "spot": one.spot, "machines": one.machines,
                        "hours": round(float(one.hours), 4), "spent": _number(one.spent)} for one in self.shapes],
        }  # fmt: skip


def lived(allocation: Allocation, now: datetime) -> timedelta:
    """The time that is paid for up to now."""
    if allocation.used is not None and (allocation.used or allocation.started):
        return max(allocation.used, SHORTEST)
    if allocation.used is not None:
        return timedelta(0)
    if allocation.state.ended:
        return allocation.term
    if allocation.started is None:
        return timedelta(0)
    return max(SHORTEST, min(now - allocation.started, allocation.term))


def cost(allocation: Allocation, now: datetime) -> Decimal:
    """Dollars, up to now."""
    return dollars(allocation.price, lived(allocation, now))


def priced(allocations: Iterable[Allocation]) -> bool:
    """Does any of them cost something?"""
    return any(a.price for a in allocations)


def bill(allocations: Sequence[Allocation], now: datetime, work: timedelta, attempts: int, done: int) -> Bill:
    """`work`: how long tasks ran on them, in all `attempts` that ended; `done`: tasks that succeeded."""
    had = [a for a in allocations if lived(a, now) or a.native]
    spent = sum((cost(a, now) for a in had), _NONE)
    slots = sum((lived(a, now) * a.slots for a in had), timedelta(0))
    preempted = _preempted(had, now, work / attempts if attempts else timedelta(0))
    busy = spent * _share(work, slots)
    listed = [a for a in had if a.offer.list_price is not None]
    held = [a for a in had if not a.state.ended]
    return Bill(
        machines=len(had),
        held=len(held),
        spent=spent,
        rate=sum((a.price for a in held), _NONE),
        saved=sum((_on_demand(a, now) - cost(a, now) for a in listed), _NONE) if listed else None,
        preempted=preempted,
        idle=max(_NONE, spent - busy - preempted),
        done=done,
        unsure=sum(a.state.ended and a.used is None for a in had),
        shapes=_shapes(had, now),
    )


def _preempted(had: Sequence[Allocation], now: datetime, task: timedelta) -> Decimal:
    lost = _NONE
    for a in had:
        if a.reclaimed:
            boot = lived(a, now) if a.spoke is None or a.started is None else max(a.spoke - a.started, timedelta(0))
            lost += min(cost(a, now), dollars(a.price, boot + task / 2))
    return lost


def _on_demand(allocation: Allocation, now: datetime) -> Decimal:
    assert allocation.offer.list_price is not None
    return dollars(allocation.offer.list_price, lived(allocation, now))


def _shapes(had: Iterable[Allocation], now: datetime) -> tuple[OfShape, ...]:
    """The dearest first."""
    found: dict[str, list[Allocation]] = {}
    for allocation in had:
        found.setdefault(allocation.offer.key, []).append(allocation)
    rows = []
    for those in found.values():
        offer, time = those[0].offer, sum((lived(a, now) for a in those), timedelta(0))
        hours = Decimal(time.total_seconds()) / _HOUR
        rows.append(OfShape(offer.name, offer.zone, offer.spot, len(those), hours,
                            sum((cost(a, now) for a in those), _NONE)))  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.spent, row.name, row.zone)))


def dollars(price: Decimal, time: timedelta) -> Decimal:
    """At so much an hour."""
    return price * Decimal(time.total_seconds()) / _HOUR


def _share(part: timedelta, whole: timedelta) -> Decimal:
    return min(Decimal(1), Decimal(part / whole)) if whole else _NONE


def _number(amount: Decimal) -> float:
    return round(float(amount), 6)


# --- in words ------------------------------------------------------------------------------------------------------


def money(amount: Decimal) -> str:
    """`$0.12`, `$1,204.50`, and what is less than a cent with two digits: `$0.0042`."""
    if 0 < abs(amount) < Decimal("0.01"):
        return f"${amount:.2g}" if abs(amount) >= Decimal("0.0001") else "less than $0.0001"
    return f"${amount:,.2f}"


def receipt(found: Bill) -> list[str]:
    """The last lines of a job that cost money."""
    machines = f"{found.machines:,} {'machine' if found.machines == 1 else 'machines'}"
    most = f" at most: how long {found.unsure:,} of them lived is not known" if found.unsure else ""
    first = f"spent {money(found.spent)} for {machines}{most}"
    if found.saved is not None and found.saved > 0:
        whole = found.spent + found.saved
        first += f"; saved {money(found.saved)} against on-demand ({found.saved / whole:.0%})"
    lines = [first]
    second = f"lost {money(found.preempted)} to preemption and {money(found.idle)} to idling, about"
    if found.per_dollar is not None and found.done:
        second += f"; {found.per_dollar:,.0f} tasks per dollar"
    return [*lines, second] if found.spent else lines


def gave_up(events: Sequence[Event]) -> str:
    """Why the last controller stopped the job, if that was because there would be no machine; else empty."""
    for event in reversed(events):
        if event.kind == "gave up":
            return str(event.detail.get("why") or "")
        if event.kind in ("resumed", "created", "retried", "ended"):
            break
    return ""


def broke(events: Sequence[Event]) -> bool:
    """Did the last controller stop the job because its budget was spent?"""
    return gave_up(events).startswith("the budget")


def left(events: Sequence[Event], allocations: Iterable[Allocation]) -> int:
    """Machines that may still run: what the last controller said when it closed, else those that have not ended."""
    for event in reversed(events):
        if event.kind in ("settled", "left running"):
            return int(str(event.detail.get("machines") or 0))
        if event.kind in ("closing", "machine"):
            break
    return sum(bool(a.native) and not a.state.ended for a in allocations)
