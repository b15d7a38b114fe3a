"""The price list API: products and their terms in AWS's own shape, at the sandbox's invented prices.

AmazonEC2 alone: machines (Linux, on demand), the gp3 disk, the public address.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from elsewhere.sandbox import catalog, replies
from elsewhere.sandbox.http import Request, Response

_SERVICE = "AmazonEC2"
_PAGE = 100
_JSON = {"content-type": "application/x-amz-json-1.1"}
_COMMON = {
    "tenancy": "Shared",
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "licenseModel": "No License required",
    "capacitystatus": "Used",
    "operation": "RunInstances",
    "marketoption": "OnDemand",
    "locationType": "AWS Region",
    "servicecode": _SERVICE,
    "servicename": "Amazon Elastic Compute Cloud",
}
_PLACES = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)",
    "ca-central-1": "Canada (Central)",
    "eu-central-1": "EU (Frankfurt)",
    "eu-west-1": "EU (Ireland)",
    "eu-west-2": "EU (London)",
    "eu-west-3": "EU (Paris)",
    "eu-north-1": "EU (Stockholm)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
    "ap-southeast-2": "Asia Pacific (Sydney)",
    "ap-south-1": "Asia Pacific (Mumbai)",
    "sa-east-1": "South America (Sao Paulo)",
}
Row = tuple[str, dict[str, str], Decimal, str]
"""Family, attributes, dollars, unit."""


class Pricing:
    """A Service."""

    def answer(self, request: Request) -> Response:
        try:
            asked = json.loads(request.body or b"{}")
            act = {"GetProducts": _products, "DescribeServices": _services}.get(replies.action(request))
            if act is None:
                return replies.refused(request, "UnsupportedOperation", "The sandbox's price list has GetProducts.")
            return Response(200, json.dumps(act(asked)).encode(), _JSON)
        except ValueError as error:
            return replies.refused(request, "InvalidParameterException", str(error))

    def close(self) -> None:
        pass


def _services(asked: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(
        {*_COMMON, "instanceType", "regionCode", "location", "vcpu", "memory", "productFamily", "volumeApiName"}
    )
    return {"FormatVersion": "aws_v1", "Services": [{"ServiceCode": _SERVICE, "AttributeNames": names}]}


def _products(asked: Mapping[str, Any]) -> dict[str, Any]:
    if asked.get("ServiceCode") != _SERVICE:
        raise ValueError(f"the sandbox has no prices of {asked.get('ServiceCode')}")
    filters = dict[str, str]()
    for row in asked.get("Filters", ()):
        if row.get("Type") not in ("TERM_MATCH", "EQUALS"):
            raise ValueError(f"the sandbox's price list has no filters of the type {row.get('Type')}")
        filters[row["Field"]] = row["Value"]
    size = min(int(asked.get("MaxResults", _PAGE)), _PAGE)
    start = int(base64.b64decode(asked.get("NextToken", ""), validate=True) or b"0")
    rows = [row for row in _rows(filters) if _meets(row, filters)]
    reply: dict[str, Any] = {
        "FormatVersion": "aws_v1",
        "PriceList": [json.dumps(_product(*row)) for row in rows[start : start + size]],
    }
    if start + size < len(rows):
        reply["NextToken"] = base64.b64encode(str(start + size).encode()).decode()
    return reply


def _meets(row: Row, filters: Mapping[str, str]) -> bool:
    family, attributes, _, _ = row
    known = {**attributes, "productFamily": family, "ServiceCode": _SERVICE}
    return all(known.get(field, "").lower() == value.lower() for field, value in filters.items())


def _rows(filters: Mapping[str, str]) -> Iterator[Row]:
    """All rows of the regions and types that the filters leave."""
    for region in catalog.regions():
        if filters.get("regionCode", region) != region or filters.get("location", place(region)) != place(region):
            continue
        where = {"regionCode": region, "location": place(region)}
        yield "Storage", {**where, "volumeApiName": "gp3", "volumeType": "General Purpose",
                          "usagetype": "EBS:VolumeUsage.gp3", "servicecode": _SERVICE}, \
            catalog.disk_gb_month(region), "GB-Mo"  # fmt: skip
        yield "IP Address", {**where, "group": "VPCPublicIPv4Address", "usagetype": "PublicIPv4:InUseAddress",
                             "servicecode": "AmazonVPC"}, catalog.ADDRESS_HOUR, "Hrs"  # fmt: skip
        names = {name for zone in catalog.offered(region).values() for name in zone}
        if "instanceType" in filters:
            names &= {filters["instanceType"]}
        for name in sorted(names):
            yield "Compute Instance", {**where, **_machine(name)}, catalog.on_demand(name, region), "Hrs"


def place(region: str) -> str:
    """The region's name as the price list writes it; where the sandbox does not know it, its code."""
    return _PLACES.get(region, region)


def _machine(name: str) -> dict[str, str]:
    kind = catalog.types()[name]
    disk = f"{kind.disk_gb} GB" if kind.disk_gb else "EBS only"
    return {
        **_COMMON,
        "instanceType": name,
        "vcpu": str(kind.cpus),
        "memory": f"{kind.memory_mib / 1024:g} GiB",
        "storage": disk,
        "gpu": str(sum(count for _, count in kind.gpus)),
        "instanceFamily": kind.letters,
        "usagetype": f"BoxUsage:{name}",
        "currentGeneration": "Yes" if kind.row.get("CurrentGeneration") else "No",
    }


def _product(family: str, attributes: dict[str, str], price: Decimal, unit: str) -> dict[str, Any]:
    sku = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()[:16].upper()
    term, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"
    dimension = {
        "unit": unit,
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${price:.10f} per {unit} (invented by the sandbox)",
        "appliesTo": [],
        "rateCode": rate,
        "pricePerUnit": {"USD": f"{price:.10f}"},
    }
    terms = {
        "sku": sku,
        "offerTermCode": "JRTCKXETXF",
        "effectiveDate": "2026-11-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {rate: dimension},
    }
    return {
        "product": {"productFamily": family, "attributes": attributes, "sku": sku},
        "serviceCode": attributes["servicecode"],
        "terms": {"OnDemand": {term: terms}},
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    }
