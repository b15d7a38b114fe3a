"""What a job has cost, read from its ledger: the last lines of whatever ran it, and their form as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from elsewhere.ledger.questions import Questions
    from elsewhere.model.place import Allocation
    from elsewhere.observe.cost import Bill


class Kept(NamedTuple):
    """A machine that stays to be looked at, and ends by itself. `more`: dollars, from now on, at most."""

    native: str
    until: datetime
    more: Decimal


class Seat(NamedTuple):
    """The machine that was hired for the job's controller."""

    name: str
    zone: str
    hours: Decimal
    spent: Decimal


class Paid(NamedTuple):
    """`bill`: None, where nothing costs anything. `left`: machines that may still run at `place`, but for `kept`."""

    place: str
    bill: Bill | None
    left: int
    budget: Decimal | None = None
    """What the job was stopped by, if it was."""
    why: str = ""
    """What else has stopped it: there was no machine, and would be none."""
    job: str = ""
    kept: tuple[Kept, ...] = ()
    seat: Seat | None = None

    @property
    def more(self) -> str:
        """What `resume` must be told besides the job, to go on."""
        return "" if self.budget is None else f" --budget {2 * self.budget:f}"


def paid(ledger: Questions) -> Paid:
    """As it stands now."""
    from elsewhere.ledger.allocations import allocations
    from elsewhere.ledger.views import SEAT
    from elsewhere.observe import cost

    spec, machines, events = ledger.spec, allocations(ledger), ledger.events()
    bill = None
    if cost.priced(machines) or any(shape.offer.price for shape in spec.machines):
        attempts, seconds = ledger.worked()
        work, now = timedelta(seconds=seconds), datetime.now(UTC)
        bill = cost.bill(machines, now, work, attempts, ledger.count().succeeded)
    budget, why = (spec.limits.budget, "") if cost.broke(events) else (None, cost.gave_up(events))
    kept = tuple(_kept(machines, datetime.now(UTC)))
    left = max(0, cost.left(events, machines) - len(kept))
    return Paid(spec.place, bill, left, budget, why, spec.id, kept, _seat(ledger.get(SEAT, None)))


def _seat(facts: Any) -> Seat | None:
    """Its hours are from when it was asked for to when it ended, or to now."""
    if not facts or not Decimal(facts["price"]):
        return None
    end = float(facts.get("ended") or datetime.now(UTC).timestamp())
    hours = Decimal(max(0.0, min(end - float(facts["born"]), float(facts["term"])))) / 3600
    return Seat(facts["name"], facts["zone"], hours, hours * Decimal(facts["price"]))


def set_aside(facts: Any) -> Decimal:
    """Dollars of a job's budget that are its controller's machine's, at most. Of none: none."""
    return Decimal(facts["price"]) * Decimal(facts["term"]) / 3600 if facts else Decimal(0)


def _kept(machines: Sequence[Allocation], now: datetime) -> Iterator[Kept]:
    """One whose time is over has ended by itself, as far as is known."""
    from elsewhere.observe.cost import dollars

    for machine in machines:
        if machine.kept and not machine.state.ended and machine.started is not None:
            until = machine.started + machine.term
            yield Kept(machine.native, until, dollars(machine.price, max(until - now, timedelta(0))))


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
    if found.seat is not None:
        seat, minutes = found.seat, max(1, round(found.seat.hours * 60))
        said.append(f"  and {cost.money(seat.spent)} for the machine of its controller: {seat.name} in {seat.zone}, "
                    f"{plural(minutes, 'minute')}")  # fmt: skip
    if found.left and not running:
        said.append(f"  {plural(found.left, 'machine')} may still run: elsewhere reap --on {found.place}")
    if found.kept and not running:
        said += _of_kept(found)
    elif found.bill is not None and not running and not found.left:
        said.append("  nothing left running")
    return said


def _of_kept(found: Paid) -> list[str]:
    from elsewhere.observe.cost import money
    from elsewhere.observe.wording import when

    now, said = datetime.now(UTC), []
    for one in found.kept:
        until = when(one.until.timestamp(), now.timestamp())
        if one.until < now:
            said.append(f"  {one.native} was kept until {until}, and has ended by itself")
            continue
        said.append(f"  {one.native} is kept until {until}, for {money(one.more)} more at most; then it ends by itself")
        said.append(f"    elsewhere shell {found.job} {one.native}; elsewhere logs {found.job} --machine {one.native}")
    word = "ends it now, and" if len(found.kept) == 1 else "ends them now, and"
    ends = word if any(one.until >= now for one in found.kept) else ""
    return [*said, f"  elsewhere cancel {found.job} {ends}".rstrip() + " puts away what the job has at its place"]


def figures(found: Paid) -> dict[str, Any]:
    """For `--json`: `money` is null where nothing costs anything."""
    seat = found.seat and {"type": found.seat.name, "zone": found.seat.zone, "hours": round(float(found.seat.hours), 4),
                           "spent": round(float(found.seat.spent), 6)}  # fmt: skip
    return {"money": None if found.bill is None else found.bill.figures(), "left_running": found.left,
            "controller": seat,
            "kept": [{"machine": one.native, "until": one.until.isoformat(), "more": round(float(one.more), 6)}
                     for one in found.kept]}  # fmt: skip
