"""What a job has cost, read from its ledger: the last lines of whatever ran it, and their form as JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from elsewhere.ledger.questions import Questions
    from elsewhere.observe.cost import Bill


class Paid(NamedTuple):
    """`bill`: None, where nothing costs anything. `left`: machines that may still run at `place`."""

    place: str
    bill: Bill | None
    left: int
    budget: Decimal | None = None
    """What the job was stopped by, if it was."""
    why: str = ""
    """What else has stopped it: there was no machine, and would be none."""

    @property
    def more(self) -> str:
        """What `resume` must be told besides the job, to go on."""
        return "" if self.budget is None else f" --budget {2 * self.budget:f}"


def paid(ledger: Questions) -> Paid:
    """As it stands now."""
    from datetime import UTC, datetime, timedelta

    from elsewhere.ledger.allocations import allocations
    from elsewhere.observe import cost

    spec, machines, events = ledger.spec, allocations(ledger), ledger.events()
    bill = None
    if cost.priced(machines) or any(shape.offer.price for shape in spec.machines):
        attempts, seconds = ledger.worked()
        work, now = timedelta(seconds=seconds), datetime.now(UTC)
        bill = cost.bill(machines, now, work, attempts, ledger.count().succeeded)
    budget, why = (spec.limits.budget, "") if cost.broke(events) else (None, cost.gave_up(events))
    return Paid(spec.place, bill, cost.left(events, machines), budget, why)


def lines(found: Paid, running: bool = False) -> list[str]:
    """The receipt, and what may be left of the machines; `running`: somebody still has the job."""
    from elsewhere.observe import cost
    from elsewhere.observe.wording import plural, several

    said = []
    if found.budget is not None:
        said.append(f"Its budget of {cost.money(found.budget)} is spent; what is left stays in its queue.")
    if found.why and not running:
        said += several(f"It stopped: {found.why}")
    if found.bill is not None:
        said += [f"  {line}" for line in cost.receipt(found.bill)]
    if found.left and not running:
        said.append(f"  {plural(found.left, 'machine')} may still run: elsewhere reap --on {found.place}")
    elif found.bill is not None and not running:
        said.append("  nothing left running")
    return said


def figures(found: Paid) -> dict[str, Any]:
    """For `--json`: `money` is null where nothing costs anything."""
    return {"money": None if found.bill is None else found.bill.figures(), "left_running": found.left}
