"""What a place on AWS says of the security group that it names: whether machines there may listen for each other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from elsewhere.backends.aws import gathering
from elsewhere.backends.aws.ec2 import Aws
from elsewhere.backends.aws.settings import AwsSettings
from elsewhere.errors import UsageError
from sandbox.cloud import Sandbox

REGION = "us-east-1"
WHERE = f"--region {REGION}"
pytestmark = pytest.mark.slow
OWN: dict[str, Any] = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535}
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def account(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in shared.variables.items():
        monkeypatch.setenv(name, value)


def place(group: str = "", **words: Any) -> Aws:
    return Aws(AwsSettings(region=REGION, security_group=group, **words))


def network(shared: Sandbox) -> str:
    found = shared.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    return str(found[0]["VpcId"])


def group(shared: Sandbox, vpc: str, *rules: dict[str, Any], own: bool = True) -> str:
    ec2 = shared.client("ec2")
    name = f"gathering-{next(_numbers)}"
    id = str(ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"])
    for rule in [*([{**OWN, "UserIdGroupPairs": [{"GroupId": id}]}] if own else []), *rules]:
        ec2.authorize_security_group_ingress(GroupId=id, IpPermissions=[rule])
    return id


def addresses(cidr: str, port: int = 22, **words: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}], **words}


def seen(found: Aws) -> str:
    """As `places check` shows it."""
    return gathering.note(found.network.named(REGION))


def test_a_group_that_admits_its_own_members_is_good_also_where_an_office_may_come_in(shared: Sandbox) -> None:
    id = group(shared, network(shared), addresses("10.1.0.0/16"))
    assert place(id).gathering() == id
    assert seen(place(id)) == f"{id}; its members hear each other on every TCP port"


def test_where_none_is_named_the_commands_that_make_one_are_said(shared: Sandbox) -> None:
    vpc = network(shared)
    with pytest.raises(UsageError, match="no security group is named") as caught:
        place().gathering()
    assert "aws ec2 create-security-group" in caught.value.hint
    assert f"--vpc-id {vpc}" in caught.value.hint
    assert gathering.admit("ID", WHERE) in caught.value.hint
    with pytest.raises(UsageError, match=r"sg-00000000000000000.*InvalidGroup") as unknown:
        place("sg-00000000000000000").gathering()
    assert unknown.value.hint == caught.value.hint


def test_one_that_does_not_admit_its_members_is_refused_with_the_command_that_lets_it(shared: Sandbox) -> None:
    vpc = network(shared)
    other, closed = group(shared, vpc), group(shared, vpc, own=False)
    partly = group(shared, vpc, {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}, own=False)
    for id in (closed, partly):
        with pytest.raises(UsageError, match=f"{id} does not admit its own members") as caught:
            place(id).gathering()
        assert gathering.admit(id, WHERE) in caught.value.hint
    assert seen(place(closed)) == f"{closed}; nothing comes in"
    assert "do not hear each other" in seen(place(partly))


def test_one_that_lets_the_whole_world_in_is_refused_by_its_rule(shared: Sandbox) -> None:
    six = {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    id = group(shared, network(shared), addresses("10.0.0.0/8"), addresses("0.0.0.0/0", 443), six)
    with pytest.raises(UsageError, match=r"tcp 443 from 0.0.0.0/0; all traffic from ::/0") as caught:
        place(id).gathering()
    assert "10.0.0.0/8" not in caught.value.message
    assert caught.value.hint.startswith(
        f"`aws ec2 revoke-security-group-ingress --region {REGION} --group-id {id} --ip-permissions "
        "'IpProtocol=tcp,FromPort=443,ToPort=443,IpRanges=[{CidrIp=0.0.0.0/0}]' "
        "'IpProtocol=-1,Ipv6Ranges=[{CidrIpv6=::/0}]'`"
    )
    assert "the whole world may come in: tcp 443 from 0.0.0.0/0" in seen(place(id))


def test_one_of_another_network_or_for_several_regions_is_refused(shared: Sandbox) -> None:
    other = shared.client("ec2").create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    id = group(shared, other)
    with pytest.raises(UsageError, match=f"{id} lies in {other}, and machines stand in {network(shared)}"):
        place(id).gathering()
    with pytest.raises(UsageError, match="stand in one region"):
        place(id, regions=("us-west-2",)).gathering()


@pytest.mark.parametrize(
    ("rules", "all_ports"),
    [
        ([("-1", None, None)], True),
        ([("tcp", 0, 65535)], True),
        ([("6", 1, 65535)], True),
        ([("tcp", 30000, 65535), ("tcp", 0, 40000)], True),
        ([("tcp", 0, 29999), ("tcp", 30000, 65535)], True),
        ([("tcp", 0, 29999), ("tcp", 30001, 65535)], False),
        ([("tcp", 0, 65534)], False),
        ([("udp", 0, 65535)], False),
        ([], False),
    ],
)
def test_all_ports_are_admitted_by_one_rule_or_by_several(
    rules: list[tuple[str, int | None, int | None]], all_ports: bool
) -> None:
    made = []
    for protocol, first, last in rules:
        ports = {} if first is None else {"FromPort": first, "ToPort": last}
        made.append({"IpProtocol": protocol, **ports, "UserIdGroupPairs": [{"GroupId": "sg-1"}]})
    assert gathering.admits_itself({"GroupId": "sg-1", "IpPermissions": made}) is all_ports
    assert not gathering.admits_itself({"GroupId": "sg-2", "IpPermissions": made})
