"""`elsewhere machines`: the machines of a job, those that have ended among them, and what each has cost."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import which
from elsewhere.cli.grammar import Command
from elsewhere.cli.terminal import coloured, paint, say, say_json

if TYPE_CHECKING:
    from elsewhere.model.place import Allocation

COMMAND = Command(
    "machines",
    about="Lists every machine that a job has asked for: its type, where, since when it is as it is, and what it has\n"
    "cost. It reads the job's own records; `elsewhere reap --on PLACE --dry-run` asks the place.",
    arguments=[which.JOB],
    options=[which.JSON],
    examples=[("elsewhere machines fit", ""), ("elsewhere machines --json", "those of the newest job")],
)
HEADS = ("machine", "type", "zone", "kind", "is", "since", "$/h", "cost", "why")


def main(asked: SimpleNamespace) -> int:
    from elsewhere.ledger.allocations import allocations
    from elsewhere.observe import machines

    files = which.job(asked.job)
    with which.opened(files) as ledger:
        found, since = allocations(ledger), machines.since(ledger.events())
        name, place = which.called(files, ledger), ledger.spec.place
    now = datetime.now(UTC)
    if asked.json:
        say_json([_facts(each, since.get(each.id), now) for each in found])
    elif not found:
        say(f"{name} has asked for no machine" + (": it runs in slots of this one" if place == "local" else ""))
    else:
        from elsewhere.observe.table import table

        head, *lines = table(HEADS, [_row(each, since.get(each.id), now) for each in found])
        say(paint(head, "bold", coloured()), *lines)
    return 0


def _facts(allocation: Allocation, since: datetime | None, now: datetime) -> dict[str, Any]:
    from elsewhere.observe.cost import cost

    offer = allocation.offer
    return {
        "id": allocation.id, "native": allocation.native, "type": offer.name, "zone": offer.zone, "spot": offer.spot,
        "state": allocation.state.name.lower(), "since": None if since is None else since.isoformat(),
        "price": float(offer.price), "cost": round(float(cost(allocation, now)), 6), "reason": allocation.reason,
        "slots": allocation.slots, "reclaimed": allocation.reclaimed, "crashed": allocation.crashed,
    }  # fmt: skip


def _row(allocation: Allocation, since: datetime | None, now: datetime) -> tuple[object, ...]:
    from elsewhere.observe.cost import cost, money
    from elsewhere.observe.safe import one_line
    from elsewhere.observe.wording import when

    offer = allocation.offer
    moment = "" if since is None else when(since.timestamp(), now.timestamp())
    word = "reclaimed" if allocation.reclaimed else allocation.state.name.lower()
    return (allocation.native or allocation.id, offer.name, offer.zone, "spot" if offer.spot else "on demand", word,
            moment, f"{offer.price:.4f}", money(cost(allocation, now)), one_line(allocation.reason, 80))  # fmt: skip
