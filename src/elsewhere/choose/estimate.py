"""What the work takes: time and dollars to the end for so many tasks, and the least that it can cost at all. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from elsewhere.choose.plan import Plan
from elsewhere.choose.policy import BOOT
from elsewhere.errors import UsageError

_HOUR = Decimal(3600)
MINIMUM = timedelta(seconds=60)
"""Clouds charge each machine for at least this."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """`time` to the end, boot included; `cost` in dollars; `floor`: what no plan of these offers costs less than."""

    tasks: int
    duration: timedelta
    time: timedelta
    cost: Decimal
    floor: Decimal


def estimate(plan: Plan, tasks: int, duration: timedelta, boot: timedelta = BOOT) -> Estimate:
    """For `tasks` tasks of about `duration` each, on the machines of a plan, which all stay until the end."""
    rounds = -(-tasks // max(1, plan.slots))
    time = boot + rounds * duration
    return Estimate(tasks, duration, time, _dollars(plan.price, max(time, MINIMUM)), floor(plan, tasks, duration))


def floor(plan: Plan, tasks: int, duration: timedelta) -> Decimal:
    """Dollars that the work costs if machines boot at once and no slot is ever idle: a lower bound, not a guess."""
    if not plan.slots:
        return Decimal(0)
    per_slot = min(row.offer.price / row.slots for row in (*plan.rows, *plan.alternatives) if row.slots)
    return _dollars(per_slot, tasks * duration)


def check_budget(found: Estimate, budget: Decimal | None) -> None:
    """UsageError if the budget is below what the work costs at the very least."""
    if budget is not None and budget < found.floor:
        raise UsageError(
            f"a budget of ${budget:.2f} is below the least that this can cost: ${found.floor:.2f}",
            hint="Raise --budget, run fewer tasks, or ask for less per task.",
        )


def _dollars(per_hour: Decimal, time: timedelta) -> Decimal:
    return per_hour * Decimal(time.total_seconds()) / _HOUR
