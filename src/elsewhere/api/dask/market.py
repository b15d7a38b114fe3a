"""On which machines members of a cluster run where they are sold: the cheapest that do, and what comes after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from elsewhere.backends.base import Inventory
from elsewhere.errors import UsageError
from elsewhere.model.place import Offer, Place
from elsewhere.model.resources import Resources

if TYPE_CHECKING:
    from elsewhere.backends.base import Backend

FALLBACKS = 20
_PLAIN = ("architecture", "zone")


@dataclass(frozen=True, slots=True)
class Sold:
    """The cheapest first; all of one architecture. Of places where nothing is sold: no offers."""

    offers: Sequence[Offer]
    architecture: str

    @property
    def said(self) -> str:
        """The first, for people."""
        first = self.offers[0]
        return f"{first.name} in {first.zone}, ${first.price:.4f} an hour" + (" (spot)" if first.spot else "")


def sold(
    place: Place, backend: Backend, need: Resources, regions: Sequence[str], *, plain: bool = False,
    architecture: str = "",
) -> Sold:  # fmt: skip
    """What is sold there that has this, as the place asks of its machines; if `plain`, only where they are and of which
    architecture, and nothing that may be taken back. `architecture`: only that. NothingFits (UsageError): nothing does,
    and what would let something in."""
    from elsewhere.choose import given, listing

    inventory = cast(Inventory, backend)
    asked = {key: place.wants[key] for key in _PLAIN if key in place.wants} if plain else dict(place.wants)
    if architecture:
        asked["architecture"] = architecture
    wants = replace(given.wants(asked, need, place.limits), regions=tuple(regions))
    catalog = inventory.catalog(wants.regions)
    found, _ = listing.offers(catalog, wants)
    kinds = {kind.name: kind.architecture for kind in catalog.types}
    offers = sorted((one.offer for one in found), key=lambda one: (not one.spot, one.price))
    first = kinds.get(offers[0].name, "")
    alike = [one for one in offers if kinds.get(one.name, "") == first]
    most = place.limits.price_per_hour
    if most is not None and alike[0].price > most:
        raise UsageError(f"the cheapest that does costs ${alike[0].price:f} an hour, and {place.name} allows ${most:f}",
                         hint="Ask for less, or raise the limit of the place.")  # fmt: skip
    return Sold(tuple(alike[:FALLBACKS]), first)
