"""Whether machines may listen for each other behind the security group that a place names: what its rules say. Pure.

https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

Rule = Mapping[str, Any]
_ALL, _TCP = "-1", ("tcp", "6")
LAST = 65535
WORLD = ("0.0.0.0/0", "::/0")


def make(network: str, region: str) -> str:
    """The command lines that make such a group."""
    return (
        f"`aws ec2 create-security-group --region {region} --group-name elsewhere-cluster --description 'machines that "
        f"listen for each other' --vpc-id {network}` makes one, and prints its id; then {admit('ID', region)}, and "
        "`security-group: ID` of the place."
    )


def admit(group: str, region: str) -> str:
    """The command line by which it admits its own members."""
    return (
        f"`aws ec2 authorize-security-group-ingress --region {region} --group-id {group} --protocol tcp "
        f"--port 0-{LAST} --source-group {group}`"
    )


def admits_itself(group: Mapping[str, Any]) -> bool:
    """Its members reach each other on every TCP port."""
    reached = 0
    for first, last in sorted(_spans(group)):
        if first <= reached + 1:
            reached = max(reached, last)
    return reached >= LAST


def _spans(group: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for rule in group.get("IpPermissions", ()):
        if any(pair.get("GroupId") == group["GroupId"] for pair in rule.get("UserIdGroupPairs", ())):
            if rule.get("IpProtocol") == _ALL:
                yield 0, LAST
            elif rule.get("IpProtocol") in _TCP:
                yield int(rule.get("FromPort", 0)), int(rule.get("ToPort", LAST))


def open_to_all(group: Mapping[str, Any]) -> list[str]:
    """Rules that let in the whole world, each in words, with the command line that takes it away."""
    return [
        f"{_words(rule)} from {source}"
        for rule in group.get("IpPermissions", ())
        for source in _sources(rule)
        if source in WORLD
    ]


def _sources(rule: Rule) -> Iterator[str]:
    for ranges, name in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
        for row in rule.get(ranges, ()):
            yield str(row.get(name, ""))


def _words(rule: Rule) -> str:
    protocol, first, last = rule.get("IpProtocol", _ALL), rule.get("FromPort"), rule.get("ToPort")
    if protocol == _ALL:
        return "all traffic"
    if first is None or first == -1:
        return str(protocol)
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def fault(group: Mapping[str, Any], networks: Collection[str], region: str) -> tuple[str, str]:
    """What stands against it, and what to do; both empty: nothing."""
    id = str(group["GroupId"])
    if any(network != group.get("VpcId") for network in networks):
        return (
            f"the security group {id} lies in {group.get('VpcId')}, and machines stand in {', '.join(networks)}",
            f"Name a group of that network, or subnets of {group.get('VpcId')} by `subnets:` or `network:`.",
        )
    if found := open_to_all(group):
        return (
            f"the security group {id} lets the whole world in: {'; '.join(found)}",
            f"Remove that rule (`aws ec2 describe-security-group-rules --region {region} --filters "
            f"Name=group-id,Values={id}` lists their ids, `aws ec2 revoke-security-group-ingress --region {region} "
            f"--group-id {id} --security-group-rule-ids ...` removes one), or name another group.",
        )
    if not admits_itself(group):
        return (
            f"the security group {id} does not admit its own members on every TCP port",
            f"{admit(id, region)} makes it do so.",
        )
    return "", ""
