"""Machines in network namespaces of their own: addresses, metadata at 169.254.169.254, and a wire that can be cut.

Left out only where namespaces cannot be made: without root, iproute2 or nftables.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere.sandbox import walls
from sandbox.cloud import Sandbox, sandbox, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(walls.lacking()), reason=walls.lacking()),
]
NAMES = Path("/run/netns")
ROLE: dict[str, Any] = {"IamInstanceProfile": {"Name": "elsewhere"}}
SCRIPT = """#!/bin/sh
token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id > whose
ip -j addr show eth0 > address
curl -s -m 5 -o /dev/null -w '%{http_code}' "$AWS_ENDPOINT_URL/no-bucket/no-key" > api
mv api answered
while :; do
  curl -s -m 2 -o /dev/null "$AWS_ENDPOINT_URL/no-bucket/no-key" && echo x >> reached || echo x >> failed
  sleep 0.1
done
"""


@pytest.fixture(scope="module")
def walled() -> Iterator[Sandbox]:
    with sandbox(isolation="netns") as cloud:
        yield cloud


def ours(cloud: Sandbox) -> set[str]:
    return {path.name for path in NAMES.iterdir() if cloud.cloud.mark in path.name}


def test_each_machine_has_an_address_and_metadata_of_its_own(walled: Sandbox) -> None:
    machines = walled.run(SCRIPT, 2, **ROLE)
    for id in machines:
        root = walled.root(id)
        until((root / "answered").exists)
        assert (root / "whose").read_text() == id
        [card] = json.loads((root / "address").read_text())
        private = walled.cloud.fleet.instances[id].private
        assert private in [one["local"] for one in card["addr_info"]]
        assert (root / "answered").read_text() == "403"
    assert len(ours(walled)) == 3, "a hub, and one for each machine"
    walled.client("ec2").terminate_instances(InstanceIds=machines)
    until(lambda: len(ours(walled)) == 1, "their namespaces are gone")


def test_a_machine_that_is_cut_off_hears_nothing_until_it_is_healed(walled: Sandbox) -> None:
    [id] = walled.run(SCRIPT, **ROLE)
    reached, failed = walled.root(id) / "reached", walled.root(id) / "failed"
    until(reached.exists)
    walled.partition(id)
    until(lambda: failed.exists() and failed.stat().st_size >= 4)
    before = reached.stat().st_size
    until(lambda: failed.stat().st_size >= 8)
    assert reached.stat().st_size == before
    walled.heal(id)
    until(lambda: reached.stat().st_size > before)
    walled.client("ec2").terminate_instances(InstanceIds=[id])


def test_it_ends_itself_also_while_it_is_cut_off(walled: Sandbox) -> None:
    [id] = walled.run("#!/bin/sh\nuntil [ -e now ]; do sleep 0.05; done\nshutdown -h now\n")
    until(walled.root(id).exists)
    walled.partition(id)
    (walled.root(id) / "now").touch()
    until(lambda: walled.state(id) == "terminated")


def test_nothing_of_it_is_left_and_nobody_elses_is_touched() -> None:
    other = f"elsewhere-test-{id(object())}"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        with sandbox(isolation="netns") as cloud:
            cloud.run("#!/bin/sh\nsleep 600\n", 2)
            until(lambda: len(ours(cloud)) == 3)
            mark = cloud.cloud.mark
        assert [path.name for path in NAMES.iterdir() if mark in path.name] == []
        assert (NAMES / other).exists()
    finally:
        subprocess.run(["ip", "netns", "del", other], check=True)
