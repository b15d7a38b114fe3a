"""In which network a machine stands, and behind which door: one of our own into which nothing may come.

The group is made once for each network, by name; nobody's group is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elsewhere.backends.aws.clients import Clients
from elsewhere.backends.aws.errors import code
from elsewhere.errors import AccessDenied, Refused

GROUP = "elsewhere-no-ingress"
_NONE = "`aws ec2 create-default-vpc` makes one, or name subnets by `subnets:`."
_DEFAULT = {"Name": "default-for-az", "Values": ["true"]}


@dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    zone: str
    vpc: str


class Network:
    """The network of one place; what was found is kept, since launches repeat."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self._subnets: dict[str, tuple[Subnet, ...]] = {}
        self._groups: dict[tuple[str, str], str] = {}

    def subnet(self, region: str, zone: str) -> Subnet:
        """For a machine in this zone; empty zone: any. Refused if there is none."""
        for found in self.subnets(region):
            if zone in ("", found.zone):
                return found
        asked = self.clients.settings.subnets
        raise Refused(
            f"no subnet of {', '.join(asked)} lies in {zone}"
            if asked
            else f"the default network has no subnet in {zone}",
            hint="Name one by `subnets:`, or allow other zones.",
        )

    def subnets(self, region: str) -> tuple[Subnet, ...]:
        """Those named by the settings, else those of the default network, one for each zone."""
        if region not in self._subnets:
            self._subnets[region] = self._find(region)
        return self._subnets[region]

    def networks(self, region: str) -> tuple[str, ...]:
        """The ids of the account's networks there."""
        with self.clients.talking("ec2:DescribeVpcs", region):
            answer = self.clients.get("ec2", region).describe_vpcs()["Vpcs"]
        return tuple(sorted(found["VpcId"] for found in answer))

    def group(self, region: str, vpc: str) -> str:
        """The id of the security group for machines there. Made if there is none. Refused if ours has been opened."""
        if self.clients.settings.security_group:
            return self.clients.settings.security_group
        if (region, vpc) not in self._groups:
            self._groups[region, vpc] = self.ours(region, vpc) or self._make(region, vpc)
        return self._groups[region, vpc]

    def groups(self, region: str, vpc: str, name: str) -> Sequence[Mapping[str, Any]]:
        filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
        with self.clients.talking("ec2:DescribeSecurityGroups", region):
            found = self.clients.get("ec2", region).describe_security_groups(Filters=filters)["SecurityGroups"]
        return found  # type: ignore[no-any-return]

    def _find(self, region: str) -> tuple[Subnet, ...]:
        named, network = list(self.clients.settings.subnets), self.clients.settings.network
        ec2 = self.clients.get("ec2", region)
        with self.clients.talking("ec2:DescribeSubnets", region):
            if named:
                answer = ec2.describe_subnets(SubnetIds=named)["Subnets"]
            else:
                wanted = {"Name": "vpc-id", "Values": [network]} if network else _DEFAULT
                answer = ec2.describe_subnets(Filters=[wanted])["Subnets"]
        found = [Subnet(s["SubnetId"], s["AvailabilityZone"], s["VpcId"]) for s in answer]
        if not found:
            said = f"{network} has no subnet in {region}" if network else f"there is no default network in {region}"
            raise Refused(said, hint=_NONE)
        order = {name: k for k, name in enumerate(named)}
        return tuple(sorted(found, key=lambda s: (order.get(s.id, 0), s.zone, s.id)))

    def ours(self, region: str, vpc: str) -> str:
        """The id of the group that we made there; empty if there is none."""
        for found in self.groups(region, vpc, GROUP):
            if found.get("IpPermissions"):
                raise Refused(
                    f"the security group {GROUP} ({found['GroupId']}) lets others in",
                    hint="Remove its inbound rules, or name a group of your own by `security-group:`.",
                )
            return str(found["GroupId"])
        return ""

    def _make(self, region: str, vpc: str) -> str:
        import botocore.exceptions as boto

        tags = [{"Key": "Name", "Value": GROUP}, {"Key": "elsewhere:purpose", "Value": "machines without ingress"}]
        specification = [{"ResourceType": "security-group", "Tags": tags}]
        try:
            with self.clients.talking("ec2:CreateSecurityGroup", region):
                try:
                    made = self.clients.get("ec2", region).create_security_group(
                        GroupName=GROUP, Description="Machines of Elsewhere: nothing comes in", VpcId=vpc,
                        TagSpecifications=specification,
                    )  # fmt: skip
                except boto.ClientError as error:
                    if code(error) != "InvalidGroup.Duplicate":
                        raise
                    return self.ours(region, vpc)  # somebody else made it just now
        except AccessDenied:
            return self._default(region, vpc)
        return str(made["GroupId"])

    def _default(self, region: str, vpc: str) -> str:
        """The network's own default group will do if it lets in nobody but its own members."""
        for found in self.groups(region, vpc, "default"):
            rules = found.get("IpPermissions", ())
            if not any(rule.get(k) for rule in rules for k in ("IpRanges", "Ipv6Ranges", "PrefixListIds")):
                return str(found["GroupId"])
        raise Refused(
            f"there is no closed security group in {vpc}, and the credentials may not make one",
            hint="Name one without inbound rules by `security-group:`, or allow ec2:CreateSecurityGroup.",
        )
