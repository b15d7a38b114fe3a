"""The text of one RunInstances call. Pure: the same launch in the same place gives the same words, as the token wants.

Nothing may be left to an account's defaults that decides about money, doors or the end of a machine.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from elsewhere.backends.aws.images import Found
from elsewhere.backends.aws.labels import to_tags
from elsewhere.backends.aws.settings import GIB, AwsSettings
from elsewhere.backends.base import Launch
from elsewhere.errors import Refused

USER_DATA = 16 << 10
"""Bytes that EC2 takes, before base64."""
MOST = 500
"""Machines in one request. EC2 refuses one for more than its bucket of machines holds, 1,000 at most and 2 more each
second, and advises several smaller ones: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html"""
_SHOWN = re.compile(r"(?!(?:\.|\.\.|_index)$)[A-Za-z0-9+\-=.,_:@]+")
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html"""
SYSTEM = 8 * GIB
"""Of the boot disk, beside what tasks need."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a launch goes to, as it was found out."""

    type: str
    zone: str
    spot: bool
    image: Found
    group: str = ""
    subnet: str = ""
    burstable: bool = False


def build(launch: Launch, settings: AwsSettings, site: Site) -> dict[str, Any]:
    """The arguments of RunInstances."""
    tags = to_tags(
        {"launch": launch.id, **launch.labels}, settings.tags, name=f"elsewhere {launch.labels.get('job', '')}"
    )
    things = ["instance", "volume", *(["spot-instances-request"] if site.spot else [])]
    found: dict[str, Any] = {
        "ClientToken": token(launch.id),
        "MinCount": 1,
        "MaxCount": launch.count,
        "InstanceType": site.type,
        "ImageId": site.image.id,
        "UserData": user_data(launch.script),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": _metadata(tags),
        "BlockDeviceMappings": [_disk(launch, settings, site.image)],
        "TagSpecifications": [{"ResourceType": thing, "Tags": tags} for thing in things],
        **_network(settings, site),
    }
    if site.spot:
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        found["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    if site.burstable:
        found["CreditSpecification"] = {"CpuCredits": "standard"}  # "unlimited" spends what no budget knows of
    if settings.instance_profile:
        found["IamInstanceProfile"] = {"Name": settings.instance_profile}
    if settings.key:
        found["KeyName"] = settings.key
    return found


def parts(launch: Launch, words: dict[str, Any]) -> list[dict[str, Any]]:
    """The same request for at most `MOST` machines at a time, under tokens of their own; the first has that of all."""
    tokens = [launch.id, *(f"{launch.id}.{start}" for start in range(MOST, launch.count, MOST))]
    counts = [min(MOST, launch.count - start) for start in range(0, launch.count, MOST)]
    return [{**words, "ClientToken": token(one), "MaxCount": count} for one, count in zip(tokens, counts, strict=True)]


def token(launch: str) -> str:
    """At most 64 characters of ASCII, one for each launch."""
    return launch if len(launch) <= 64 and launch.isascii() else hashlib.sha256(launch.encode()).hexdigest()


def user_data(script: str) -> bytes:
    """As it stands, or compressed if it is longer than EC2 takes. The same text gives the same bytes."""
    plain = script.encode()
    if len(plain) <= USER_DATA:
        return plain
    packed = gzip.compress(plain, 9, mtime=0)
    if len(packed) > USER_DATA:
        raise Refused(
            f"the boot text is {len(packed)} bytes, even compressed; EC2 takes {USER_DATA}",
            hint="Shorten the startup script, or fetch its larger part from the bucket.",
        )
    return packed


def disk(launch: Launch, settings: AwsSettings) -> int:
    """GiB of the boot disk: what was chosen and priced, and no less than a task and the place want."""
    chosen = launch.offer.resources.disk if launch.offer is not None else None
    return -(-max(settings.disk, (launch.shape.disk or 0) + SYSTEM, chosen or 0) // GIB)


def _disk(launch: Launch, settings: AwsSettings, image: Found) -> dict[str, Any]:
    ebs: dict[str, Any] = {
        "VolumeSize": max(disk(launch, settings), image.size),
        "VolumeType": settings.disk_type,
        "DeleteOnTermination": True,
    }
    if settings.disk_type in ("io1", "io2"):
        ebs["Iops"] = 3000
    return {"DeviceName": image.root, "Ebs": ebs}


def _metadata(tags: list[dict[str, str]]) -> dict[str, Any]:
    """Version 2 only. Tags show there, so that a machine can be called by one, where EC2 takes all keys for that."""
    shown = all(_SHOWN.fullmatch(tag["Key"]) for tag in tags)
    return {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 2,
        "HttpEndpoint": "enabled",
        "InstanceMetadataTags": "enabled" if shown else "disabled",
    }


def _network(settings: AwsSettings, site: Site) -> dict[str, Any]:
    where = {"Placement": {"AvailabilityZone": site.zone}} if site.zone else {}
    groups = [site.group] if site.group else []
    if settings.public_address is None:
        return {
            **where,
            **({"SubnetId": site.subnet} if site.subnet else {}),
            **({"SecurityGroupIds": groups} if groups else {}),
        }
    card: dict[str, Any] = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": settings.public_address,
        "DeleteOnTermination": True,
    }
    card.update({"SubnetId": site.subnet} if site.subnet else {})
    card.update({"Groups": groups} if groups else {})
    return {**where, "NetworkInterfaces": [card]}
