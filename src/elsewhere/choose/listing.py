"""All offers that do, the cheapest per slot first: what a choice is made among, for people to look at. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from elsewhere.choose.filter import sift
from elsewhere.choose.market import Market, market
from elsewhere.choose.plan import Chosen, nothing_fits
from elsewhere.choose.wants import ON_DEMAND, PREFER, Wants
from elsewhere.model.catalog import Catalog


def offers(
    catalog: Catalog, wants: Wants, *, each_type: bool = False, duration: timedelta | None = None
) -> tuple[list[Chosen], Mapping[str, int]]:
    """The offers, and the refused types by their first reason. `each_type`: only the cheapest zone of each.

    NothingFits: none does; the hint is the smallest change that would let one in.
    """
    sifted = sift(catalog.types, wants)
    kept = 1 if each_type else len(catalog.zones)
    ways = [wants.spot != ON_DEMAND, False] if wants.spot == PREFER else [wants.spot != ON_DEMAND]
    found = [chosen for spot in ways
             for chosen in _sorted(market(sifted, catalog, spot=spot, duration=duration, kept=kept))]  # fmt: skip
    if not found:
        raise nothing_fits(catalog, sifted)
    return found, sifted.counts()


def _sorted(found: Market) -> list[Chosen]:
    order = sorted(range(len(found)), key=lambda k: (found.price[k] / found.slots[k], -found.slots[k], k))
    return [Chosen(found.offer(k), 0, found.slots[k], found.bare(k)) for k in order]
