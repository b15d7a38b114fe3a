"""Which vCPU quotas an account has and what is left of each: AWS counts them by family of types, spot apart.

That they cannot be read is said, and stops nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from elsewhere.backends.base import Finding
from elsewhere.errors import ElsewhereError

if TYPE_CHECKING:
    from elsewhere.backends.aws.ec2 import Aws

STANDARD, GRAPHICS, TRAINING = "standard (A, C, D, H, I, M, R, T, Z)", "GPUs for graphics (G, VT)", "GPUs (P)"
CODES = {
    (STANDARD, False): "L-1216C47A",
    (STANDARD, True): "L-34B43A08",
    (GRAPHICS, False): "L-DB2E81BA",
    (GRAPHICS, True): "L-3819A6DF",
    (TRAINING, False): "L-417A185B",
    (TRAINING, True): "L-7212CCBC",
}
"""https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html"""
_FAMILIES = {"g": GRAPHICS, "vt": GRAPHICS, "p": TRAINING, **dict.fromkeys("acdhimrtz", STANDARD)}
_LEAST = {STANDARD: 1}
"""A quota of 0 is bad news where everybody begins; GPUs are asked for when they are wanted."""


def family(machine_type: str) -> str:
    """Against which quota a type counts; empty: one that is not looked at here."""
    letters = ""
    for c in machine_type:
        if not c.isalpha():
            break
        letters += c
    if letters in ("hpc", "inf", "trn", "dl", "mac", "u", "f", "x"):
        return ""
    return _FAMILIES.get(letters, _FAMILIES.get(letters[:1], ""))


def used(instances: Iterable[Mapping[str, Any]]) -> dict[tuple[str, bool], int]:
    """vCPUs of what runs or begins to, by quota, from entries of DescribeInstances."""
    found: dict[tuple[str, bool], int] = {}
    for each in instances:
        if each.get("State", {}).get("Name") not in ("pending", "running"):
            continue
        options = each.get("CpuOptions") or {}
        key = (family(str(each.get("InstanceType", ""))), each.get("InstanceLifecycle") == "spot")
        found[key] = found.get(key, 0) + int(options.get("CoreCount", 1)) * int(options.get("ThreadsPerCore", 1))
    return found


def quotas(place: Aws, region: str) -> Iterator[Finding]:
    """One finding for each vCPU quota."""
    try:
        limits, taken = _limits(place, region), _taken(place, region)
    except ElsewhereError as error:
        yield Finding("quotas", True, f"could not be read: {error.message}", error.hint)
        return
    for (kind, spot), quota in CODES.items():
        if quota not in limits:
            continue
        limit, now = int(limits[quota]), taken.get((kind, spot), 0)
        detail = f"{limit - now} of {limit} vCPUs left, {'spot' if spot else 'on-demand'} (quota {quota} of ec2)"
        hint = (
            f"Ask for more: `aws service-quotas request-service-quota-increase --region {region} --service-code ec2 "
            f"--quota-code {quota} --desired-value 64`."
        )
        yield Finding(f"quota, {kind}", limit >= _LEAST.get(kind, 0), detail, hint)


def _limits(place: Aws, region: str) -> dict[str, float]:
    with place.clients.talking("servicequotas:ListServiceQuotas", region):
        pages = place.clients.get("service-quotas", region).get_paginator("list_service_quotas")
        return {q["QuotaCode"]: q["Value"] for page in pages.paginate(ServiceCode="ec2") for q in page["Quotas"]}


def _taken(place: Aws, region: str) -> dict[tuple[str, bool], int]:
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    with place.clients.talking("ec2:DescribeInstances", region):
        pages = place.clients.get("ec2", region).get_paginator("describe_instances")
        asked = pages.paginate(Filters=filters, PaginationConfig={"PageSize": 1000})
        return used(each for page in asked for group in page["Reservations"] for each in group["Instances"])
