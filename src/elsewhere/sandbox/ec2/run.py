"""RunInstances: what was asked for, checked in the order of the cloud's own refusals, then started."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from elsewhere.sandbox import catalog, userdata
from elsewhere.sandbox.ec2 import wire
from elsewhere.sandbox.ec2.limits import Limits
from elsewhere.sandbox.ec2.wire import Refusal
from elsewhere.sandbox.fallback import ACCOUNT, PROFILES, Moto, Subnet
from elsewhere.sandbox.fleet import Fleet, Instance, Order
from elsewhere.sandbox.market import Market

_NOT_HERE = ("LaunchTemplate", "HibernationOptions", "ElasticGpuSpecification", "LicenseSpecification")
_WORD = re.compile(r"(?!(?:\.|\.\.|_index)$)[0-9a-zA-Z\-_+=,.@:]+")
_UNTOLD = ("ClientToken", "DryRun", "Action", "Version")


class Runs:
    def __init__(self, fleet: Fleet, market: Market, limits: Limits, moto: Moto) -> None:
        self.fleet, self.market, self.limits, self.moto = fleet, market, limits, moto
        self._tokens: dict[tuple[str, str], tuple[str, list[Instance]]] = {}

    def run(self, asked: Mapping[str, Any], region: str) -> list[Instance]:
        """The instances of this request; the same token gives the same ones. Refusal: nothing was started."""
        token = str(asked.get("ClientToken", ""))
        told = {name: value for name, value in asked.items() if name not in _UNTOLD}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        with self.fleet.lock:
            before = self._tokens.get((region, token)) if token else None
            if before and before[0] != digest:
                raise Refusal(
                    "IdempotentParameterMismatch",
                    "The arguments on this idempotent request are inconsistent with arguments used in previous "
                    "request(s).",
                )
            if before:
                return before[1]
            least, most = _counts(asked)
            order = self._order(asked, region, most)
            if wire.true(asked.get("DryRun")):
                raise Refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
            self.limits.check_quota(order, least)
            most = min(most, self.limits.room(order, most))
            self.limits.check_capacity(order, least, most)
            made = self.fleet.launch(order, most, _tags(asked, "instance"))
            if token:
                self._tokens[region, token] = (digest, made)
            return made

    def _order(self, asked: Mapping[str, Any], region: str, most: int) -> Order:
        for name in _NOT_HERE:
            if name in asked:
                raise Refusal("UnsupportedOperation", f"The sandbox starts no machines by {name}.")
        kind = _kind(asked)
        image = str(asked.get("ImageId", ""))
        architecture = self._architecture(image, kind, region)
        spot, max_price = _market(asked)
        subnet = self._subnet(asked, kind, region, most, spot)
        if spot:
            self._check_price(kind.name, subnet.zone, max_price, region)
        profile, role = self._profile(asked)
        return Order(
            type=kind.name,
            cpus=kind.cpus,
            architecture=architecture,
            image=image,
            region=region,
            zone=subnet.zone,
            subnet=subnet.id,
            vpc=subnet.vpc,
            spot=spot,
            max_price=max_price,
            user_data=_user_data(asked),
            profile=profile,
            role=role,
            disk_gb=_disk(asked),
            public=_public(asked),
            groups=self._groups(asked, region, subnet),
            token=str(asked.get("ClientToken", "")),
            stop_on_shutdown=asked.get("InstanceInitiatedShutdownBehavior", "stop") == "stop",
            quota=kind.quota,
            shows_tags=_shows_tags(asked),
        )

    def _architecture(self, image: str, kind: catalog.MachineType, region: str) -> str:
        if not image:
            raise Refusal("MissingParameter", "The request must contain the parameter ImageId")
        if not image.startswith("ami-"):
            raise Refusal("InvalidAMIID.Malformed", f'Invalid id: "{image}" (expecting "ami-...")')
        found = self.moto.image(region, image)
        if found is None:
            raise Refusal("InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist")
        if found not in kind.architectures:
            raise Refusal(
                "InvalidParameterValue",
                f"The architecture '{','.join(kind.architectures)}' of the specified instance type does not match the "
                f"architecture '{found}' of the specified AMI. Specify an instance type and an AMI that have matching "
                "architectures, and try again.",
            )
        return found

    def _subnet(
        self, asked: Mapping[str, Any], kind: catalog.MachineType, region: str, most: int, spot: bool
    ) -> Subnet:
        interfaces = wire.listed(asked.get("NetworkInterface"))
        wanted = asked.get("SubnetId") or (interfaces[0].get("SubnetId") if interfaces else None)
        subnets = self.moto.subnets(region)
        if wanted:
            chosen = next((subnet for subnet in subnets if subnet.id == wanted), None)
            if chosen is None:
                raise Refusal("InvalidSubnetID.NotFound", f"The subnet ID '{wanted}' does not exist")
            zone = chosen.zone
        else:
            zone = asked.get("Placement", {}).get("AvailabilityZone", "")
        offered = catalog.offered(region)
        having = [name for name, kinds in offered.items() if kind.name in kinds]
        if zone and zone not in offered:
            raise Refusal("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
        if not having or (zone and zone not in having):
            where = f"your requested Availability Zone ({zone})" if zone else f"any Availability Zone of {region}"
            raise Refusal(
                "Unsupported",
                f"Your requested instance type ({kind.name}) is not supported in {where}. Please retry your request by "
                f"not specifying an Availability Zone or choosing {', '.join(having) or 'another type'}.",
            )
        zone = zone or self.limits.roomiest(kind.name, having, spot)
        if wanted and chosen:
            return chosen
        found = next((subnet for subnet in subnets if subnet.zone == zone), None)
        if found is None:
            raise Refusal("MissingInput", f"No subnets found for the default VPC in {zone}. Please specify a subnet.")
        return found

    def _check_price(self, kind: str, zone: str, limit: Decimal | None, region: str) -> None:
        price = self.market.spot(kind, zone, self.fleet.clock.now())
        if price > (limit if limit is not None else self.market.on_demand(kind, region)):
            raise Refusal(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {limit} is lower than the minimum required Spot request fulfillment price "
                f"of {price}.",
            )

    def _profile(self, asked: Mapping[str, Any]) -> tuple[str, str]:
        said = asked.get("IamInstanceProfile", {})
        name = said.get("Name") or said.get("Arn", "").rpartition("/")[2]
        if not name:
            return "", ""
        role = name if name in PROFILES else self.moto.role(name)
        if role is None:
            raise Refusal(
                "InvalidParameterValue",
                f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            )
        return name, role

    def _groups(self, asked: Mapping[str, Any], region: str, subnet: Subnet) -> tuple[str, ...]:
        interfaces = wire.listed(asked.get("NetworkInterface"))
        ids = wire.listed(asked.get("SecurityGroupId"))
        ids += wire.listed(interfaces[0].get("SecurityGroupId")) if interfaces else []
        return self.checked_groups(ids, region, subnet.vpc, subnet.id)

    def checked_groups(self, ids: list[str], region: str, vpc: str, subnet: str) -> tuple[str, ...]:
        """Those of a machine in that network; none: its default one."""
        known = self.moto.groups(region)
        for id in ids:
            if id not in known:
                raise Refusal("InvalidGroup.NotFound", f"The security group '{id}' does not exist")
            if known[id].vpc != vpc:
                raise Refusal(
                    "InvalidParameter", f"Security group {id} and subnet {subnet} belong to different networks."
                )
        return tuple(ids) or tuple(filter(None, [self.moto.default_group(region, vpc)]))


def _counts(asked: Mapping[str, Any]) -> tuple[int, int]:
    try:
        least, most = int(asked["MinCount"]), int(asked["MaxCount"])
    except KeyError as missing:
        raise Refusal("MissingParameter", f"The request must contain the parameter {missing.args[0]}") from None
    except ValueError:
        raise Refusal("InvalidParameterValue", "MinCount and MaxCount must be whole numbers") from None
    if not 1 <= least <= most:
        raise Refusal("InvalidParameterValue", f"Invalid value '{least}' for minCount: it must be 1 to {most}.")
    return least, most


def _kind(asked: Mapping[str, Any]) -> catalog.MachineType:
    name = str(asked.get("InstanceType", "m1.small"))
    found = catalog.types().get(name)
    if found is None:
        raise Refusal("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    return found


def _market(asked: Mapping[str, Any]) -> tuple[bool, Decimal | None]:
    said = asked.get("InstanceMarketOptions", {})
    market = said.get("MarketType", "")
    if market not in ("", "spot"):
        raise Refusal("InvalidParameterValue", f"Invalid value '{market}' for MarketType.")
    options = said.get("SpotOptions", {})
    if options.get("InstanceInterruptionBehavior", "terminate") != "terminate":
        raise Refusal(
            "UnsupportedOperation", "The sandbox's spot machines are terminated, neither stopped nor hibernated."
        )
    try:
        return market == "spot", Decimal(options["MaxPrice"]) if options.get("MaxPrice") else None
    except InvalidOperation:
        raise Refusal("InvalidParameterValue", f"Invalid value '{options['MaxPrice']}' for MaxPrice.") from None


def _user_data(asked: Mapping[str, Any]) -> bytes:
    try:
        data = base64.b64decode(asked.get("UserData", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > userdata.LIMIT:
        raise Refusal("InvalidParameterValue", f"User data is limited to {userdata.LIMIT} bytes")
    return data


def _disk(asked: Mapping[str, Any]) -> int:
    """Gigabytes of all its volumes; an image's own root volume has 8."""
    sizes = [row.get("Ebs", {}).get("VolumeSize") for row in wire.listed(asked.get("BlockDeviceMapping"))]
    try:
        given = [int(size) for size in sizes if size]
    except ValueError:
        raise Refusal("InvalidParameterValue", f"Invalid volume size among {sizes}") from None
    return sum(given) if given else 8


def _public(asked: Mapping[str, Any]) -> bool:
    interfaces = wire.listed(asked.get("NetworkInterface"))
    return wire.true(interfaces[0].get("AssociatePublicIpAddress", "true")) if interfaces else True


def _tags(asked: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {
        tag["Key"]: tag.get("Value", "")
        for row in wire.listed(asked.get("TagSpecification"))
        if row.get("ResourceType") == kind
        for tag in wire.listed(row.get("Tag"))
    }


def _shows_tags(asked: Mapping[str, Any]) -> bool:
    """Whether they are to be in its metadata; EC2 then takes no key that would be no word of a path."""
    if asked.get("MetadataOptions", {}).get("InstanceMetadataTags") != "enabled":
        return False
    for key in _tags(asked, "instance"):
        if not _WORD.fullmatch(key):
            raise Refusal(
                "InvalidParameterValue",
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and "
                "must not be a reserved name ('.', '..', '_index')",
            )
    return True


def profile_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:instance-profile/{name}"
