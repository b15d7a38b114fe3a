"""The plan: which machines, how many, at what price, how near to the best possible, and what to turn to after them.

Pure: a catalog and what is wanted come in, and the solver, if there is one. Nothing is asked of a place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from elsewhere.choose.bound import Goal, goal, rates
from elsewhere.choose.filter import Sifted, sift
from elsewhere.choose.market import Market, market, open_zones
from elsewhere.choose.mix import Caps, Mix, Solver, cheapest, reach
from elsewhere.choose.relax import Relaxation, relaxations
from elsewhere.choose.wants import ON_DEMAND, PREFER, SPOT, Wants
from elsewhere.errors import UsageError
from elsewhere.model.catalog import MILLION, Catalog
from elsewhere.model.place import Offer

ALTERNATIVES = 40


class NothingFits(UsageError):
    """No machine does for what was asked. `refused`: types by reason; `relaxations`: what would let some in."""

    def __init__(
        self, message: str, *, hint: str = "", refused: Mapping[str, int] | None = None,
        relaxations: Sequence[Relaxation] = (),
    ) -> None:  # fmt: skip
        super().__init__(message, hint=hint)
        self.refused, self.relaxations = dict(refused or {}), tuple(relaxations)
        self.faults = tuple(one.said() for one in self.relaxations[1:])


@dataclass(frozen=True, slots=True)
class Chosen:
    """So many machines of one offer. The offer's price is the true one: machine, boot disk and public address."""

    offer: Offer
    count: int
    slots: int
    """Tasks at a time on each."""
    bare: Decimal
    """Dollars an hour of the machine alone."""

    @property
    def price(self) -> Decimal:
        """Dollars an hour of them all."""
        return self.offer.price * self.count


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be asked for. Prices are dollars an hour."""

    rows: tuple[Chosen, ...]
    slots: int
    wanted: int
    """Slots that were asked for; more than `slots` where a limit stands before them."""
    machines: int
    cpus: int
    price: Decimal
    bound: Decimal
    """No mix of at least as many slots costs less, of everything that was offered."""
    gap: float
    """How much more than `bound` the price is, as a share of it."""
    offers: int
    """Offers that do, in all zones asked for."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Types by the first reason against them."""
    alternatives: tuple[Chosen, ...] = ()
    """To turn to, in this order, where the place has none left of what was chosen; `count` is 0."""
    note: str = ""

    @property
    def certificate(self) -> str:
        """How good the plan is, as a sentence."""
        if self.gap < 0.00005:
            return "the best possible price"
        return f"within {max(0.1, round(self.gap * 100 + 0.05, 1)):.1f} % of the best possible"


def plan(
    catalog: Catalog, wants: Wants, slots: int, *, duration: timedelta | None = None, solver: Solver | None = None
) -> Plan:
    """The cheapest mix for `slots` tasks at a time, or for as many as the limits allow.

    `duration`: of a task. NothingFits: no machine does, or the limits allow none. UsageError: what is wanted
    contradicts itself, or a price per task was set and no duration is known.
    """
    wants.check()
    if wants.price_per_task is not None and not duration:
        raise UsageError("a price per task can only be kept if a task's duration is known",
                         hint="Say about how long one takes: --task-time 5m.")  # fmt: skip
    sifted = sift(catalog.types, wants)
    found, note = _market(sifted, catalog, duration)
    if not len(found):
        raise nothing_fits(catalog, sifted)
    caps = caps_of(wants)
    wanted = min(max(1, slots), wants.simultaneous.most or max(1, slots))
    aim = reach(goal(found, wanted, wants.spot != ON_DEMAND and bool(found.spot)), caps)
    if not aim.slots or aim.slots < (wants.simultaneous.least or 0):
        raise _too_little(wants, aim.slots, found)
    mix = cheapest(aim, caps, solver)
    if shortfall := _floors(mix, caps):
        raise NothingFits(shortfall, hint="Lower it, or raise the limit that stands against it.")
    return _plan(aim, mix, sifted, wanted, note, _later(sifted, catalog, duration, found))


def caps_of(wants: Wants) -> Caps:
    """The limits of all machines together, in the units of a catalog."""
    least = wants.price_per_hour.least
    return Caps(
        wants.machines.most, wants.total_cpus.most, int(wants.ceiling * MILLION), wants.machines.least or 0,
        wants.total_cpus.least or 0, 0 if least is None else int(least * MILLION),
    )  # fmt: skip


def _market(sifted: Sifted, catalog: Catalog, duration: timedelta | None) -> tuple[Market, str]:
    """What may be had, sold as it was asked for; and what has to be said of that."""
    spot = sifted.wants.spot in (SPOT, PREFER)
    found = market(sifted, catalog, spot=spot, duration=duration)
    if not len(found) and sifted.wants.spot == PREFER:
        found = market(sifted, catalog, spot=False, duration=duration)
        return found, "there is no spot of what was asked for: on demand" if len(found) else ""
    return found, ""


def _later(sifted: Sifted, catalog: Catalog, duration: timedelta | None, now: Market) -> Market | None:
    """What comes after all spot is gone, where spot was only preferred."""
    if sifted.wants.spot != PREFER or not now.spot:
        return None
    return market(sifted, catalog, spot=False, duration=duration)


def nothing_fits(catalog: Catalog, sifted: Sifted) -> NothingFits:
    """Why no type does, and the single changes that would let some in, the cheapest first."""
    counts = sifted.counts()
    ways = relaxations(catalog, sifted, open_zones(catalog, sifted.wants))
    said = ", ".join(f"{count} by {flag}" for flag, count in counts.items()) or "none is sold there"
    hint = f"{ways[0].said()}." if ways else _nearest(sifted)
    message = f"no machine does: of {len(catalog.types)} types, refused are {said}"
    if not sifted.refused:
        message = f"no machine does: none of the {len(catalog.types)} types that fit is sold so in the zones asked for"
    return NothingFits(message, hint=hint, refused=counts, relaxations=ways)


def _nearest(sifted: Sifted) -> str:
    """Where more than one thing is asked too much: the type that is nearest, and all that speaks against it."""
    if not sifted.refused:
        return "No single change would let one in."
    kind = min(sifted.refused, key=lambda one: len(sifted.all_reasons(one)))
    reasons = "; ".join(f"{reason.flag}: {reason.why}" for reason in sifted.all_reasons(kind))
    return f"No single change would let one in; nearest is {sifted.types[kind].name} ({reasons})."


def _too_little(wants: Wants, slots: int, found: Market) -> NothingFits:
    least = min(found.price)
    if not slots:
        what = (
            f"the cheapest machine that does costs ${Decimal(least) / MILLION:.4g} an hour, and the limits allow none"
        )
    else:
        what = f"the limits allow {slots} tasks at a time, and at least {wants.simultaneous.least} were asked for"
    return NothingFits(what, hint="Raise --max-price-per-hour, --machines or --total-cpus.")


def _floors(mix: Mix, caps: Caps) -> str:
    """What was asked for at least and cannot be had within the limits; empty: all of it."""
    for what, has, least in (("machines", mix.machines, caps.least_machines),
                             ("CPUs", mix.cpus, caps.least_cpus)):  # fmt: skip
        if has < least:
            return f"the limits allow {has} {what}, and at least {least} were asked for"
    if mix.cost < caps.least_price:
        return f"the limits allow ${Decimal(mix.cost) / MILLION:.4g} an hour, less than the least that was asked for"
    return ""


def _plan(aim: Goal, mix: Mix, sifted: Sifted, wanted: int, note: str, later: Market | None) -> Plan:
    found = aim.market
    rows = sorted(mix.counts.items(), key=lambda item: -item[1] * found.price[item[0]])
    others = [*_alternatives(aim, mix.counts), *(_alternatives(goal(later, 1, False), {}) if later else ())]
    return Plan(
        rows=tuple(_chosen(found, number, count) for number, count in rows),
        slots=mix.slots,
        wanted=wanted,
        machines=mix.machines,
        cpus=mix.cpus,
        price=Decimal(mix.cost) / MILLION,
        bound=Decimal(round(mix.bound)) / MILLION,
        gap=mix.gap,
        offers=found.rows,
        refused=sifted.counts(),
        alternatives=tuple(others),
        note=note,
    )


def _alternatives(aim: Goal, chosen: Mapping[int, int]) -> Iterator[Chosen]:
    """The next best, by true price per slot; what was chosen is not among them."""
    import heapq

    for _, number in heapq.nsmallest(
        ALTERNATIVES + len(chosen), rates(replace(aim, open=list(range(len(aim.market)))))
    ):
        if number not in chosen:
            yield _chosen(aim.market, number, 0)


def _chosen(found: Market, number: int, count: int) -> Chosen:
    return Chosen(found.offer(number), count, found.slots[number], found.bare(number))
