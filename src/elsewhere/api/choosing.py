"""From a plan to a job: the machines that were chosen, and a ceiling on what they may cost. Launches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from elsewhere import session
from elsewhere.model.place import Limits, Shape

if TYPE_CHECKING:
    from elsewhere.choose.estimate import Estimate
    from elsewhere.choose.plan import Chosen, Plan
    from elsewhere.choose.wants import Wants
    from elsewhere.model.catalog import Catalog
    from elsewhere.model.job import JobSpec
    from elsewhere.model.place import Offer, Place
    from elsewhere.model.resources import Resources

BUDGET = Decimal(10)
"""Dollars for a whole job, where nobody said: a paid place always has a ceiling."""
CALLS = 4
"""Calls at a time, where nobody said."""
FALLBACKS = 20
"""Shapes that a pool may turn to besides those of the plan."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a job will ask for. `budget`: dollars in all; `named`: somebody said so."""

    plan: Plan
    estimate: Estimate | None
    budget: Decimal
    named: bool
    ceiling: Decimal
    """Dollars an hour of all machines."""


def choose(
    catalog: Catalog, wants: Wants, tasks: int, *, slots: int | None = None, duration: timedelta | None = None
) -> Choice:
    """The cheapest mix for so many tasks. NothingFits: no machine does; UsageError: the budget is too small."""
    from dataclasses import replace

    from elsewhere.api.solver import solver
    from elsewhere.choose import estimate as estimating
    from elsewhere.choose.plan import plan
    from elsewhere.choose.policy import Remaining, wanted_slots
    from elsewhere.choose.wants import Span

    if slots:
        most = wants.simultaneous.most
        wants = replace(wants, simultaneous=Span(wants.simultaneous.least, min(slots, most or slots)))
    wanted = wanted_slots(Remaining(tasks, duration), wants.simultaneous.most)
    made = plan(catalog, wants, wanted, duration=duration, solver=solver())
    found = None if duration is None else estimating.estimate(made, tasks, duration)
    if found is not None:
        estimating.check_budget(found, wants.budget)
    budget = BUDGET if wants.budget is None else wants.budget
    return Choice(made, found, budget, wants.budget is not None, wants.ceiling)


def shapes(made: Plan, catalog: Catalog) -> tuple[Shape, ...]:
    """What the pool may ask for, in order: the plan's rows with their shares, then what it may turn to."""
    kinds = {kind.name: kind.architecture for kind in catalog.types}
    listed = _on_demand(made, catalog)
    rows = [Shape(listed(row), row.slots, row.count, kinds.get(row.offer.name, "")) for row in made.rows]
    first = {row.architecture for row in rows}
    known = {row.offer.key for row in rows}
    for row in made.alternatives:  # one archive of our agent is made, so the others are of the same architecture
        kind = kinds.get(row.offer.name, "")
        if row.offer.key not in known and kind in first and len(rows) < len(made.rows) + FALLBACKS:
            rows.append(Shape(listed(row), row.slots, None, kind))
    return tuple(rows)


def of_call(
    spec: JobSpec, place: Place, task: Resources, slots: int, given: Mapping[str, Any], tasks: int = 0
) -> JobSpec:
    """The job of calls from Python, with the machines that it will ask for where the place sells some.

    `slots`: how many calls at a time; 0: as many as there are `tasks`, or a few if that is not known. `given`: what is
    asked, by the keys of settings.Machines. NothingFits: no machine does.
    """
    from dataclasses import replace

    from elsewhere.choose import given as asked

    inventory = session.inventory(place)
    if inventory is None:
        return session.survey(spec, slots, task)
    wants = asked.wants(given, task, place.limits)
    catalog = inventory.catalog(wants.regions)
    slots = slots or tasks or CALLS
    choice = choose(catalog, wants, slots, slots=slots)
    made = choice.plan
    limits = Limits(made.machines, choice.ceiling, choice.budget)
    channel = spec.channel or inventory.traits.channels[0]
    return replace(spec, machines=shapes(made, catalog), limits=limits, channel=channel, slots=made.slots)


def _on_demand(made: Plan, catalog: Catalog) -> Callable[[Chosen], Offer]:
    """What an offer becomes when it is told what the same machine costs on demand in its region, if that is known."""
    from dataclasses import replace

    wanted = {row.offer.name for row in (*made.rows, *made.alternatives)}
    regions = {zone.name: zone.region for zone in catalog.zones}
    found: dict[tuple[str, str], Decimal] = {}
    for kind, zone, spot, price in catalog.rows():
        if not spot and kind.name in wanted:
            key = kind.name, zone.region
            found[key] = min(price, found.get(key, price))

    def listed(row: Chosen) -> Offer:
        bare = found.get((row.offer.name, regions.get(row.offer.zone, "")))
        if not row.offer.spot:
            return replace(row.offer, list_price=row.offer.price)
        return row.offer if bare is None else replace(row.offer, list_price=row.offer.price - row.bare + bare)

    return listed


def accept(files: session.JobFiles, choice: Choice, catalog: Catalog, channel: str) -> None:
    """The job will run so: written into its ledger, before anything is launched."""
    made = choice.plan
    limits = Limits(made.machines, choice.ceiling, choice.budget)
    session.settle(files, machines=shapes(made, catalog), limits=limits, channel=channel, slots=made.slots)
