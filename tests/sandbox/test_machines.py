"""What a machine sees of its cloud: metadata, credentials, notices; and what can be done to it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import InstanceMetadataFetcher
from botocore.exceptions import ClientError, HTTPClientError

from sandbox.cloud import Sandbox, fetch, until

SPOT: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}
ROLE: dict[str, Any] = {"IamInstanceProfile": {"Name": "elsewhere"}}


class Inside:
    """The metadata as a program on the machine reads it."""

    def __init__(self, cloud: Sandbox, id: str) -> None:
        self.base = f"{cloud.endpoint}/_elsewhere/machine/{cloud.cloud.fleet.instances[id].secret}"
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        self.token = self.ask("latest/api/token", ttl, "PUT")[1]

    def ask(self, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str]:
        return fetch(urllib.request.Request(f"{self.base}/{path}", headers=headers, method=method))

    def read(self, path: str) -> str | None:
        code, text = self.ask(f"latest/{path}", {"X-aws-ec2-metadata-token": self.token})
        assert code in (200, 404)
        return text if code == 200 else None


def test_metadata_is_told_to_who_holds_a_token_alone(shared: Sandbox) -> None:
    [id] = shared.run(kind="c5.large", **ROLE)
    inside = Inside(shared, id)
    assert inside.read("meta-data/instance-id") == id
    assert inside.read("meta-data/instance-type") == "c5.large"
    assert inside.read("meta-data/placement/region") == "us-east-1"
    assert inside.read("meta-data/instance-life-cycle") == "on-demand"
    assert inside.read("meta-data/spot/instance-action") is None
    assert "placement/" in (inside.read("meta-data/") or "").split()
    assert json.loads(inside.read("dynamic/instance-identity/document") or "")["instanceId"] == id
    [other] = shared.run()
    for token in ("", "guess", Inside(shared, other).token):
        assert inside.ask("latest/meta-data/instance-id", {"X-aws-ec2-metadata-token": token})[0] == 401


def test_tags_show_in_the_metadata_of_a_machine_that_was_started_so_as_soon_as_they_are_set(shared: Sandbox) -> None:
    ec2 = shared.client("ec2")
    shown: dict[str, Any] = {"MetadataOptions": {"InstanceMetadataTags": "enabled"}}
    [one], [other] = shared.run(**shown), shared.run()
    inside = Inside(shared, one)
    assert inside.read("meta-data/tags/instance/elsewhere:ring") is None
    until(lambda: ec2.describe_instances(InstanceIds=[one, other]), "both are known")
    for word in ("first", "second"):
        ec2.create_tags(Resources=[one, other], Tags=[{"Key": "elsewhere:ring", "Value": word}])
        assert inside.read("meta-data/tags/instance/elsewhere:ring") == word
    assert Inside(shared, other).read("meta-data/tags/instance/elsewhere:ring") is None
    named: Any = [{"ResourceType": "instance", "Tags": [{"Key": "Cost Center", "Value": "7"}]}]
    with pytest.raises(ClientError, match="not a valid tag key"):
        shared.run(TagSpecifications=named, **shown)
    assert shared.run(TagSpecifications=named)


def test_the_sdk_on_a_machine_finds_credentials_that_name_the_machine(shared: Sandbox) -> None:
    script = """#!/bin/sh
python3 -c 'import boto3; print("I am", boto3.client("sts", "us-east-1").get_caller_identity()["Arn"])'
"""
    [id] = shared.run(script, **ROLE)
    said = f"I am arn:aws:sts::123456789012:assumed-role/elsewhere/{id}"
    until(lambda: said in shared.console(id), "the machine says who it is")


def test_a_machine_without_a_profile_has_no_credentials(shared: Sandbox) -> None:
    [id] = shared.run()
    inside = Inside(shared, id)
    assert inside.read("meta-data/iam/security-credentials/") is None
    fetcher = InstanceMetadataFetcher(base_url=inside.base, num_attempts=1, env={})
    assert fetcher.retrieve_iam_role_credentials() == {}


def test_a_spot_machine_is_warned_and_then_taken_back(shared: Sandbox) -> None:
    [id, other] = shared.run("#!/bin/sh\nexec sleep 600\n", count=2, **SPOT)
    until(lambda: shared.state(id) == shared.state(other) == "running")
    inside = Inside(shared, id)
    assert inside.read("meta-data/spot/instance-action") is None
    shared.preempt(id, notice=1200)
    action = json.loads(inside.read("meta-data/spot/instance-action") or "")
    assert action["action"] == "terminate" and action["time"].endswith("Z")
    assert "noticeTime" in (inside.read("meta-data/events/recommendations/rebalance") or "")
    assert shared.state(id) == "running"
    shared.preempt(id, notice=0)
    until(lambda: shared.state(id) == "terminated")
    ended = shared.client("ec2").describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
    assert ended["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert shared.state(other) == "running"


def test_a_price_above_ones_own_limit_takes_the_machine_back(cloud: Sandbox) -> None:
    words: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.06"}}}
    [cheap] = cloud.run(**words)
    [other] = cloud.run(**SPOT)
    until(lambda: cloud.state(cheap) == cloud.state(other) == "running")
    cloud.price("c5.*", "0.07")
    warned = {row["id"]: row["notice"] for row in cloud.machines()}
    assert warned[cheap] is not None and warned[other] is None


def test_a_frozen_machine_stands_still_and_goes_on_when_thawed(shared: Sandbox) -> None:
    [id] = shared.run("#!/bin/sh\nwhile :; do echo x >> ticks; sleep 0.02; done\n")
    ticks = shared.root(id) / "ticks"
    until(ticks.exists)
    shared.freeze(id)
    assert {p.status() for p in shared.cloud.fleet.instances[id].machine.processes()} == {"stopped"}
    before = ticks.stat().st_size
    shared.thaw(id)
    until(lambda: ticks.stat().st_size > before)
    shared.client("ec2").terminate_instances(InstanceIds=[id])


def _as_machine(cloud: Sandbox, id: str, service: str) -> Any:
    key = cloud.cloud.keys.of_machine(id, "elsewhere")
    return cloud.client(
        service,
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token,
    )


def test_a_machine_that_is_cut_off_reaches_nothing_until_it_is_healed(shared: Sandbox) -> None:
    [id] = shared.run(**ROLE)
    s3 = _as_machine(shared, id, "s3")
    s3.create_bucket(Bucket=f"of-{id}")
    shared.partition(id)
    with pytest.raises(HTTPClientError):
        s3.put_object(Bucket=f"of-{id}", Key="k", Body=b"1")
    assert "Contents" not in shared.client("s3").list_objects_v2(Bucket=f"of-{id}")
    shared.heal(id)
    s3.put_object(Bucket=f"of-{id}", Key="k", Body=b"1")


def test_a_machine_that_is_killed_is_gone_without_a_word(shared: Sandbox) -> None:
    marked = "#!/bin/sh\ntrap 'echo told >> told' TERM\ntouch up\nwhile :; do sleep 0.05; done\n"
    [id] = shared.run(marked)
    machine = shared.cloud.fleet.instances[id].machine
    until((machine.root / "up").exists)
    shared.kill(id[:8])
    until(lambda: shared.state(id) == "terminated")
    assert machine.processes() == [] and "told" not in shared.console(id)


def test_caller_identity_is_believed_on_a_good_signature_alone(shared: Sandbox) -> None:
    [id] = shared.run(**ROLE)
    sts = _as_machine(shared, id, "sts")
    arn = f"arn:aws:sts::123456789012:assumed-role/elsewhere/{id}"
    assert sts.get_caller_identity()["Arn"] == arn
    url = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    assert arn in fetch(url)[1]
    # Another machine's name in the same words, a longer life, one bit of the signature: none is believed.
    for false in (url.replace("Expires=60", "Expires=600"), url[:-1] + ("0" if url[-1] != "0" else "1")):
        assert false != url
        code, text = fetch(false)
        assert code == 403 and "SignatureDoesNotMatch" in text
    wrong = shared.client("sts", aws_secret_access_key="not the secret")
    with pytest.raises(ClientError) as said:
        wrong.get_caller_identity()
    assert said.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert shared.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/sandbox"


def test_a_key_that_the_sandbox_did_not_give_opens_nothing(shared: Sandbox) -> None:
    for service, call in (("ec2", "describe_instances"), ("s3", "list_buckets"), ("sts", "get_caller_identity")):
        stranger = shared.client(service, aws_access_key_id="AKIAXXXXXXXXXXXXXXXX")
        with pytest.raises(ClientError):
            getattr(stranger, call)()
    assert fetch(f"{shared.endpoint}/some-bucket/some-key")[0] == 403


def test_nothing_of_the_surroundings_reaches_a_machine(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_SECRET", "swordfish")
    [id] = shared.run("#!/bin/sh\nenv > seen; mv seen found\n", **ROLE)
    found: Path = shared.root(id) / "found"
    until(found.exists)
    text = found.read_text()
    assert "swordfish" not in text and shared.cloud.keys.user.secret not in text and shared.cloud.token not in text
    assert f"HOME={shared.root(id)}/root" in text
