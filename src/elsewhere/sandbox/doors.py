"""Security groups, held to where machines stand behind walls: the network between them lets pass what a rule admits.

As in a VPC: what comes in is dropped unless a rule of one of the machine's groups admits it; a conversation that was
admitted goes on when its rule is taken away; all may go out. `text` is pure; the whole of it replaces the whole before.
https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from elsewhere.sandbox.fallback import Group, Moto, Rule
from elsewhere.sandbox.fleet import TERMINATED, Fleet

TABLE = "ip elsewhere"
_PORTS, LAST = ("tcp", "udp"), 65535


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a machine stands, and in which groups. `cut`: nothing reaches it, nor comes from it."""

    address: str
    groups: tuple[str, ...] = ()
    cut: bool = False


class Doors:
    """`hold` makes a text of nft's what holds. `renew` after every change; it may be called by any thread."""

    def __init__(self, fleet: Fleet, moto: Moto, hold: Callable[[str], None]) -> None:
        self._fleet, self._moto, self._hold = fleet, moto, hold
        self._lock = threading.Lock()
        self._holds = ""

    def renew(self) -> None:
        """What is true now holds when it returns. Nothing changed: nothing is done. OSError: it could not be done."""
        with self._lock:
            living = [one for one in self._fleet.known() if one.move.state != TERMINATED]
            stands = [Stand(one.private, one.order.groups, one.partitioned) for one in living]
            groups: dict[str, Group] = {}
            for region in sorted({one.order.region for one in living}):
                groups |= self._moto.groups(region)
            wanted = text(stands, groups)
            if wanted != self._holds:
                self._hold(wanted)
                self._holds = wanted


def text(stands: Sequence[Stand] = (), groups: Mapping[str, Group] = {}) -> str:
    """What nft reads."""
    used = sorted({id for stand in stands for id in stand.groups if id in groups})
    asked = {rule.group for id in used for rule in groups[id].rules if rule.group}
    sets = {_name(id): [s.address for s in stands if id in s.groups] for id in sorted({*used, *asked})}
    for vpc in sorted({groups[id].vpc for id in used}):
        sets[_name(vpc)] = [s.address for s in stands if any(groups[id].vpc == vpc for id in s.groups if id in groups)]
    sets["cut"] = [stand.address for stand in stands if stand.cut]
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for name, addresses in sets.items():
        lines.append(f"  set {name} {{ type ipv4_addr; {_elements(addresses)}}}")
    for id in used:
        lines += _chain(_name(id), (line for rule in groups[id].rules for line in _admits(rule)))
    lines += _chain("arrives", ["ip saddr @cut drop"], "prerouting priority -300; policy accept")
    lines += _chain("leaves", ["ip daddr @cut drop"], "postrouting priority 300; policy accept")
    within = [f"ip saddr @{_name(groups[id].vpc)} ip daddr @{_name(id)} jump {_name(id)}" for id in used]
    lines += _chain("passes", ["ct state established,related accept", *within], "forward priority 0; policy drop")
    return "\n".join([*lines, "}", ""])


def _name(id: str) -> str:
    return id.replace("-", "_")


def _elements(addresses: Sequence[str]) -> str:
    return f"elements = {{ {', '.join(addresses)} }}; " if addresses else ""


def _chain(name: str, rules: Iterable[str], hook: str = "") -> list[str]:
    first = [f"    type filter hook {hook}"] if hook else []
    return [f"  chain {name} {{", *first, *(f"    {rule}" for rule in rules), "  }"]


def _admits(rule: Rule) -> Iterator[str]:
    """Of IPv4: no machine of the sandbox has another address. What EC2 would not have taken admits nobody."""
    if rule.group:
        source = f"@{_name(rule.group)}"
    elif rule.cidr:
        source = str(ipaddress.ip_network(rule.cidr, strict=False))
    else:
        return
    what = ""
    if rule.protocol in _PORTS:
        first, last = (rule.first, rule.last) if rule.first >= 0 else (0, LAST)
        if not first <= last <= LAST:
            return
        what = f"{rule.protocol} dport {first}-{last} "
    elif rule.protocol == "icmp" and rule.first >= 0:
        what = f"icmp type {rule.first} "
    elif rule.protocol == "icmp" or rule.protocol.isdecimal():
        what = f"ip protocol {rule.protocol} "
    elif rule.protocol != "-1":
        return
    yield f"ip saddr {source} {what}accept"
