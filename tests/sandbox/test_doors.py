"""Security groups between machines behind walls: real sockets in their namespaces, real rules of the kernel.

That nothing comes through is seen by order: of two who knock, the later is let in first.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from elsewhere.sandbox import doors, walls
from elsewhere.sandbox.fallback import Group, Rule
from elsewhere.sandbox.walls import HUB
from sandbox.cloud import PATIENCE, Sandbox, sandbox, until

real = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(walls.lacking()), reason=walls.lacking()),
]


class Street:
    """Machines of a sandbox, and who may knock at whose door."""

    def __init__(self, cloud: Sandbox) -> None:
        self.cloud, self.ec2 = cloud, cloud.client("ec2")
        self.open = contextlib.ExitStack()
        self.vpc = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]

    def group(self, name: str, vpc: str = "") -> str:
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc or self.vpc)
        return str(made["GroupId"])

    def admit(self, group: str, **words: Any) -> None:
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[words])

    def machines(self, count: int, *groups: str) -> list[str]:
        named: dict[str, Any] = {"SecurityGroupIds": list(groups)} if groups else {}
        made = self.cloud.run("", count, IamInstanceProfile={"Name": "elsewhere"}, **named)
        until(lambda: all(self.cloud.state(id) == "running" for id in made))
        return made

    def address(self, id: str) -> str:
        return self.cloud.cloud.fleet.instances[id].private if id else HUB

    def _in(self, id: str) -> str:
        assert self.cloud.cloud.walls is not None
        return self.cloud.cloud.walls.prefix + (id or "hub")

    def door(self, id: str, address: str = "0.0.0.0") -> socket.socket:
        made = walls.inside(self._in(id), lambda: socket.create_server((address, 0)))
        made.settimeout(PATIENCE)
        return self.open.enter_context(made)

    def knock(self, id: str, at: str, door: socket.socket) -> socket.socket:
        """Of one that does not wait; `id` is empty: the cloud itself knocks, which no group keeps out."""
        made = walls.inside(self._in(id), lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        made.setblocking(False)
        made.connect_ex((self.address(at), door.getsockname()[1]))
        made.settimeout(PATIENCE)
        return self.open.enter_context(made)

    def let_in(self, door: socket.socket) -> tuple[socket.socket, str]:
        made, (address, _) = door.accept()
        return self.open.enter_context(made), address

    def hears(self, at: str, id: str, door: socket.socket | None = None) -> bool:
        """Whether the machine `at` lets `id` in."""
        door = door or self.door(at)
        self.knock(id, at, door)
        if id:
            self.knock("", at, door)
        first = self.let_in(door)[1]
        if first != HUB:
            assert self.let_in(door)[1] == HUB
        assert first in (HUB, self.address(id))
        return first == self.address(id)


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with sandbox(isolation="netns") as cloud:
        made = Street(cloud)
        with made.open:
            yield made


class TestDoors:
    pytestmark = real

    def test_members_of_a_group_that_admits_itself_hear_each_other_and_others_do_not(self, street: Street) -> None:
        ours, closed = street.group("ours"), street.group("closed")
        street.admit(ours, IpProtocol="tcp", FromPort=0, ToPort=65535, UserIdGroupPairs=[{"GroupId": ours}])
        (a, b), [other] = street.machines(2, ours), street.machines(1, closed)
        assert street.hears(b, a)
        assert street.hears(a, b)
        assert not street.hears(b, other), "of another group"
        assert not street.hears(other, a), "a group without rules"
        [late] = street.machines(1, ours)
        assert street.hears(a, late), "one that came later"
        street.ec2.modify_instance_attribute(InstanceId=other, Groups=[closed, ours])
        assert street.hears(b, other), "it has joined"
        street.ec2.modify_instance_attribute(InstanceId=other, Groups=[closed])
        assert not street.hears(b, other), "it has left"
        told = street.ec2.describe_instances(InstanceIds=[other])["Reservations"][0]["Instances"][0]
        assert [row["GroupId"] for row in told["SecurityGroups"]] == [closed]

    def test_a_conversation_outlives_its_rule_and_no_new_one_begins(self, street: Street) -> None:
        ours = street.group("revoked")
        rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": ours}]}
        street.admit(ours, **rule)
        a, b = street.machines(2, ours)
        door = street.door(b)
        near = street.knock(a, b, door)
        far, _ = street.let_in(door)
        street.ec2.revoke_security_group_ingress(GroupId=ours, IpPermissions=[rule])
        assert not street.hears(b, a, door)
        for one, other in ((near, far), (far, near)):
            one.sendall(b"still here")
            assert other.recv(10) == b"still here"

    def test_a_rule_by_address_admits_that_address_at_its_port(self, street: Street) -> None:
        behind = street.group("behind")
        a, b = street.machines(2, behind)
        [c] = street.machines(1, behind)
        named, another = street.door(c), street.door(c)
        port = named.getsockname()[1]
        for protocol, first in (("icmp", 8), ("icmp", -1), ("50", -1)):
            street.admit(behind, IpProtocol=protocol, FromPort=first, ToPort=-1, IpRanges=[{"CidrIp": "0.0.0.0/0"}])
        street.admit(behind, IpProtocol="tcp", FromPort=port, ToPort=port,
                     IpRanges=[{"CidrIp": f"{street.address(a)}/32"}])  # fmt: skip
        assert street.hears(c, a, named)
        assert not street.hears(c, b, named)
        assert not street.hears(c, a, another)

    def test_a_session_is_led_to_its_loopback_whatever_its_groups_say(self, street: Street) -> None:
        [closed] = street.machines(1, street.group("led"))
        door = street.door(closed, "127.0.0.1")
        with street.cloud.cloud.fleet.instances[closed].machine.reach(door.getsockname()[1]):
            assert street.let_in(door)[1] == "127.0.0.1"

    def test_who_names_no_group_is_in_the_default_one_of_the_network_alone(self, street: Street) -> None:
        a, b = street.machines(2)
        [closed] = street.machines(1, street.group("apart"))
        assert street.hears(b, a)
        assert not street.hears(b, closed)
        vpc = street.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        with pytest.raises(ClientError, match="belong to different networks"):
            street.machines(1, street.group("elsewhere", vpc))


def test_what_the_kernel_is_told() -> None:
    stands = [
        doors.Stand("172.31.0.4", ("sg-1",)),
        doors.Stand("172.31.0.5", ("sg-1", "sg-2"), cut=True),
        doors.Stand("172.31.0.6"),
    ]
    rules = (
        Rule("tcp", 22, 80, group="sg-9"),
        Rule("-1", cidr="10.0.0.7/8"),
        Rule("icmp", 8, -1, cidr="0.0.0.0/0"),
        Rule("icmp", -1, -1, group="sg-1"),
        Rule("50", cidr="10.1.0.0/16"),
        Rule("udp", -1, -1, group="sg-1"),
        Rule("tcp", 1, 2),
        Rule("tcp", 2, 1, cidr="10.2.0.0/16"),
        Rule("all } add", cidr="10.2.0.0/16"),
    )
    groups = {"sg-1": Group("sg-1", "vpc-a", rules), "sg-2": Group("sg-2", "vpc-a"), "sg-3": Group("sg-3", "vpc-b")}
    assert (
        doors.text(stands, groups)
        == """table ip elsewhere
delete table ip elsewhere
table ip elsewhere {
  set sg_1 { type ipv4_addr; elements = { 172.31.0.4, 172.31.0.5 }; }
  set sg_2 { type ipv4_addr; elements = { 172.31.0.5 }; }
  set sg_9 { type ipv4_addr; }
  set vpc_a { type ipv4_addr; elements = { 172.31.0.4, 172.31.0.5 }; }
  set cut { type ipv4_addr; elements = { 172.31.0.5 }; }
  chain sg_1 {
    ip saddr @sg_9 tcp dport 22-80 accept
    ip saddr 10.0.0.0/8 accept
    ip saddr 0.0.0.0/0 icmp type 8 accept
    ip saddr @sg_1 ip protocol icmp accept
    ip saddr 10.1.0.0/16 ip protocol 50 accept
    ip saddr @sg_1 udp dport 0-65535 accept
  }
  chain sg_2 {
  }
  chain arrives {
    type filter hook prerouting priority -300; policy accept
    ip saddr @cut drop
  }
  chain leaves {
    type filter hook postrouting priority 300; policy accept
    ip daddr @cut drop
  }
  chain passes {
    type filter hook forward priority 0; policy drop
    ct state established,related accept
    ip saddr @vpc_a ip daddr @sg_1 jump sg_1
    ip saddr @vpc_a ip daddr @sg_2 jump sg_2
  }
}
"""
    )
