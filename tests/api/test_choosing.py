"""From a plan to what a pool may ask for."""

from __future__ import annotations

from decimal import Decimal

from elsewhere.api.choosing import choose, shapes
from elsewhere.choose.wants import ON_DEMAND, SPOT, Wants
from elsewhere.model.catalog import Catalog
from elsewhere.model.place import Shape
from elsewhere.testing.market import thirty


def chosen(catalog: Catalog, spot: str) -> tuple[Shape, ...]:
    return shapes(choose(catalog, Wants(spot=spot), 40).plan, catalog)


def test_what_the_same_costs_on_demand_in_its_region_is_known_of_every_spot_machine() -> None:
    catalog = thirty()
    bare = {(kind.name, zone.name, spot): price for kind, zone, spot, price in catalog.rows()}
    found = chosen(catalog, SPOT)
    assert len(found) > 3 and all(shape.offer.spot for shape in found)
    for shape in found:
        offer = shape.offer
        saved = bare[offer.name, offer.zone, False] - bare[offer.name, offer.zone, True]
        assert saved > 0 and offer.list_price == offer.price + saved, "disk and address cost the same either way"


def test_nothing_is_saved_on_demand() -> None:
    assert all(shape.offer.list_price == shape.offer.price for shape in chosen(thirty(), ON_DEMAND))


def test_a_machine_that_is_sold_on_spot_alone_has_no_price_on_demand() -> None:
    catalog = thirty()
    for row, spot in enumerate(catalog.spot):
        if not spot:
            catalog.spot[row], catalog.price[row] = 1, catalog.price[row] + 1
    found = chosen(catalog, SPOT)
    assert found and all(shape.offer.list_price is None and shape.offer.price > Decimal(0) for shape in found)
