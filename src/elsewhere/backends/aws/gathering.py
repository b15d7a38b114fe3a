"""Whether machines may listen for each other behind the security group that a place names: what its rules say. Pure.

https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_ALL, _TCP = "-1", ("tcp", "6")
LAST = 65535
WORLD = ("0.0.0.0/0", "::/0")


def make(network: str, where: str) -> str:
    """The command lines that make such a group; `where`: their options for region and profile."""
    return (
        f"`aws ec2 create-security-group {where} --group-name elsewhere-cluster --description 'machines that listen "
        f"for each other' --vpc-id {network}` makes one, and prints its id; then {admit('ID', where)}, and "
        "`security-group: ID` of the place."
    )


def admit(group: str, where: str) -> str:
    """The command line by which it admits its own members."""
    return (
        f"`aws ec2 authorize-security-group-ingress {where} --group-id {group} --protocol tcp --port 0-{LAST} "
        f"--source-group {group}`"
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


def open_to_all(group: Mapping[str, Any]) -> dict[str, str]:
    """Rules that let in the whole world: each in words, and as `--ip-permissions` has it."""
    found = {}
    for rule in group.get("IpPermissions", ()):
        ports = "".join(f",{name}={rule[name]}" for name in ("FromPort", "ToPort") if name in rule)
        for ranges, name in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
            for source in (row.get(name) for row in rule.get(ranges, ())):
                if source in WORLD:
                    said = f"IpProtocol={rule['IpProtocol']}{ports},{ranges}=[{{{name}={source}}}]"
                    found[f"{_words(rule)} from {source}"] = said
    return found


def _words(rule: Mapping[str, Any]) -> str:
    protocol, first, last = rule.get("IpProtocol", _ALL), rule.get("FromPort"), rule.get("ToPort")
    if protocol == _ALL:
        return "all traffic"
    if first is None or first == -1:
        return str(protocol)
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def fault(group: Mapping[str, Any], networks: Collection[str], where: str) -> tuple[str, str]:
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
            f"`aws ec2 revoke-security-group-ingress {where} --group-id {id} --ip-permissions "
            f"{shlex.join(found.values())}` takes that away; or name another group.",
        )
    if not admits_itself(group):
        return (
            f"the security group {id} does not admit its own members on every TCP port",
            f"{admit(id, where)} makes it do so.",
        )
    return "", ""


def note(group: Mapping[str, Any]) -> str:
    """What is to be known of a group that a place names: a closed one is as good for jobs."""
    found = [str(group["GroupId"])]
    if not group.get("IpPermissions"):
        found.append("nothing comes in")
    elif admits_itself(group):
        found.append("its members hear each other on every TCP port")
    else:
        found.append("its members do not hear each other on every TCP port, as a Dask cluster there needs")
    if world := open_to_all(group):
        found.append(f"the whole world may come in: {', '.join(world)}")
    return "; ".join(found)
