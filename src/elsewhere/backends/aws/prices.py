"""What machines, disks and addresses cost: from the price list and the history of spot prices. Parsers are pure.

Money is counted in whole millionths of a dollar, rounded up: a price is never said to be lower than it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

from elsewhere.backends.aws.clients import Clients
from elsewhere.errors import Refused
from elsewhere.model.catalog import MILLION

HOME = "us-east-1"
"""Where the price list is asked for, whatever region it is of."""
DISK_GB_MONTH, ADDRESS_HOUR = 80_000, 5_000
"""As us-east-1 has them (gp3, public IPv4), where the price list says nothing."""
_LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}


def micros(dollars: str) -> int:
    """Millionths. ValueError if it is no amount."""
    try:
        return int((Decimal(dollars) * MILLION).to_integral_value(ROUND_CEILING))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueError(f"{dollars!r} is no price") from error


def on_demand(product: Mapping[str, Any], unit: str = "Hrs") -> int | None:
    """The price of a product of the price list per `unit`; None if it has none."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            if str(dimension.get("unit", "")).lower() == unit.lower() and "USD" in dimension.get("pricePerUnit", {}):
                found = micros(dimension["pricePerUnit"]["USD"])
                if found > 0:
                    return found
    return None


def machines(products: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Type -> price an hour and processor, from the entries of GetProducts."""
    found: dict[str, tuple[int, str]] = {}
    for text in products:
        product = json.loads(text)
        said = product.get("product", {}).get("attributes", {})
        price = on_demand(product)
        if price is None or "instanceType" not in said or any(said.get(k, v) != v for k, v in _LINUX.items()):
            continue
        if said.get("marketoption", "OnDemand") != "OnDemand":
            continue
        name = str(said["instanceType"])
        before = found.get(name)
        if before is None or price < before[0]:
            found[name] = (price, str(said.get("physicalProcessor", "")))
    return found


def first(products: Iterable[str], unit: str, otherwise: int) -> int:
    """The price of the first product that has one for this unit."""
    for text in products:
        price = on_demand(json.loads(text), unit)
        if price is not None:
            return price
    return otherwise


def spot(history: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """(type, zone) -> the newest price, from entries of DescribeSpotPriceHistory."""
    newest: dict[tuple[str, str], tuple[Any, int]] = {}
    for entry in history:
        key = (str(entry["InstanceType"]), str(entry["AvailabilityZone"]))
        if key not in newest or newest[key][0] < entry["Timestamp"]:
            newest[key] = (entry["Timestamp"], micros(entry["SpotPrice"]))
    return {key: price for key, (_, price) in newest.items()}


# --- asking ---


def ask_machines(clients: Clients, region: str) -> dict[str, tuple[int, str]]:
    return machines(_products(clients, "AmazonEC2", {**_LINUX, "regionCode": region}))


def ask_disk(clients: Clients, region: str, kind: str = "gp3") -> int:
    wanted = {"productFamily": "Storage", "volumeApiName": kind, "regionCode": region}
    return _one(clients, "AmazonEC2", wanted, "GB-Mo", DISK_GB_MONTH)


def ask_address(clients: Clients, region: str) -> int:
    wanted = {"group": "VPCPublicIPv4Address", "regionCode": region}
    return _one(clients, "AmazonVPC", wanted, "Hrs", ADDRESS_HOUR)


def _one(clients: Clients, service: str, wanted: Mapping[str, str], unit: str, otherwise: int) -> int:
    """A price list that does not have it does not stop the choice of machines."""
    try:
        return first(_products(clients, service, wanted), unit, otherwise)
    except Refused:
        return otherwise


def ask_spot(clients: Clients, region: str, now: datetime | None = None) -> dict[tuple[str, str], int]:
    """The newest price of each type in each zone; asked from an hour ago on, the last one before that comes too."""
    since = (now or datetime.now(UTC)) - timedelta(hours=1)
    with clients.talking("ec2:DescribeSpotPriceHistory", region):
        pages = clients.get("ec2", region).get_paginator("describe_spot_price_history")
        asked = pages.paginate(ProductDescriptions=["Linux/UNIX"], StartTime=since, PaginationConfig={"PageSize": 1000})
        return spot(entry for page in asked for entry in page["SpotPriceHistory"])


def _products(clients: Clients, service: str, wanted: Mapping[str, str]) -> Iterable[str]:
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    with clients.talking("pricing:GetProducts", HOME):
        pages = clients.get("pricing", HOME).get_paginator("get_products")
        asked = pages.paginate(ServiceCode=service, Filters=filters, FormatVersion="aws_v1")
        return [text for page in asked for text in page["PriceList"]]
