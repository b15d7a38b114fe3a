"""When nothing does: which one thing, asked for a little less, would let machines in, and from what price. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from elsewhere.choose.filter import Refusal, Sifted, number
from elsewhere.choose.wants import ON_DEMAND, Wants
from elsewhere.model.catalog import MILLION, Catalog
from elsewhere.model.units import show_size

_SIZES = ("memory", "disk")


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One change that would admit `types` types, the cheapest at `price` dollars an hour."""

    change: str
    types: int
    price: Decimal

    def said(self) -> str:
        return f"{self.change} would admit {self.types} type{'s' * (self.types != 1)} from ${self.price:.4g}/h"


def relaxations(catalog: Catalog, sifted: Sifted, zones: list[bool]) -> list[Relaxation]:
    """Single changes, each the smallest of its kind, the cheapest first. Only types that are sold there count."""
    prices = _cheapest(catalog, sifted.wants, zones)
    lone: dict[tuple[str, str], list[tuple[int, Refusal]]] = {}
    for kind in sifted.refused:
        if kind in prices and len(reasons := sifted.all_reasons(kind)) == 1:
            lone.setdefault((reasons[0].flag, reasons[0].side), []).append((kind, reasons[0]))
    found = [_smallest(flag, side, kinds, prices) for (flag, side), kinds in lone.items()]
    return sorted([*found, *_elsewhere(catalog, sifted, zones)], key=lambda one: (one.price, one.change))


def _smallest(flag: str, side: str, kinds: list[tuple[int, Refusal]], prices: dict[int, int]) -> Relaxation:
    """For a bound: the value nearest to it; every type that it lets in is counted."""
    values = [refusal.value for _, refusal in kinds]
    if not side:
        return Relaxation(f"leaving out {flag}", len(kinds), _least(prices, [kind for kind, _ in kinds]))
    near = min(values) if side == "most" else max(values)
    admitted = [kind for kind, refusal in kinds if refusal.value == near]
    shown = show_size(int(near)) if any(word in flag for word in _SIZES) else number(near)
    said = {"most": f"{flag} up to {shown}", "least": f"{flag} from {shown}", "task": f"{flag} {shown}"}[side]
    return Relaxation(said, len(admitted), _least(prices, admitted))


def _elsewhere(catalog: Catalog, sifted: Sifted, zones: list[bool]) -> Iterator[Relaxation]:
    """Types that do, and are not sold in the zones or in the way that was asked for."""
    good = {kind for kind, found in enumerate(sifted.shapes) if found is not None}
    everywhere = _cheapest(catalog, sifted.wants, [True] * len(catalog.zones))
    if (more := good & everywhere.keys()) and not good & _cheapest(catalog, sifted.wants, zones).keys():
        yield Relaxation("other regions or zones", len(more), _least(everywhere, list(more)))
    demand = _cheapest(catalog, None, zones)
    if sifted.wants.spot != ON_DEMAND and (more := good & demand.keys()):
        yield Relaxation("--spot=prefer", len(more), _least(demand, list(more)))


def _cheapest(catalog: Catalog, wants: Wants | None, zones: list[bool]) -> dict[int, int]:
    """Kind -> its lowest price in these zones, sold as wanted (None: on demand)."""
    spot = wants is not None and wants.spot != ON_DEMAND
    found: dict[int, int] = {}
    for kind, zone, is_spot, price in zip(catalog.kind, catalog.zone, catalog.spot, catalog.price, strict=True):
        if zones[zone] and bool(is_spot) == spot and price < found.get(kind, 1 << 62):
            found[kind] = price
    return found


def _least(prices: dict[int, int], kinds: list[int]) -> Decimal:
    return Decimal(min(prices[kind] for kind in kinds)) / MILLION
