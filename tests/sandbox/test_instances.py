"""Instances through real boto3: asked for, shown, ended, refused; the same token twice; answers that are lost."""

from __future__ import annotations

import base64
import gzip
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from elsewhere.sandbox.ec2.describe import element
from elsewhere.sandbox.fleet import (
    BY_USER,
    PENDING,
    RUNNING,
    SHUTTING_DOWN,
    TERMINATED,
    Instance,
    Move,
    Order,
    Reason,
)
from sandbox.cloud import Sandbox, sandbox, until


def _shown(ec2: Any, id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
    return found


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def _ask(cloud: Sandbox, **words: Any) -> Any:
    asked = {"ImageId": cloud.image(), "InstanceType": "c5.large", "MinCount": 1, "MaxCount": 1, **words}
    return cloud.client("ec2").run_instances(**asked)


def test_an_instance_runs_its_script_in_its_own_directory_and_ends_with_all_its_processes(shared: Sandbox) -> None:
    script = "#!/bin/sh\necho at $PWD\nsetsid sleep 600 &\nsetsid sh -c 'sleep 601 & sleep 602' &\nwait\n"
    [id] = shared.run(script)
    ec2 = shared.client("ec2")
    until(lambda: _shown(ec2, id)["State"]["Name"] == "running")
    machine = shared.cloud.fleet.instances[id].machine
    until(lambda: len(machine.processes()) >= 6)
    until(lambda: f"at {machine.root}" in shared.console(id))
    processes = machine.processes()
    ec2.terminate_instances(InstanceIds=[id])
    until(lambda: _shown(ec2, id)["State"]["Name"] == "terminated")
    assert [p for p in processes if p.is_running() and p.status() != "zombie"] == []
    assert not machine.root.exists()


def test_user_data_may_be_gzipped_and_its_output_is_the_console(shared: Sandbox) -> None:
    [id] = shared.run(gzip.compress(b"#!/bin/sh\necho packed\nexit 3\n"))  # type: ignore[arg-type]
    until(lambda: "ended with status 3" in shared.console(id))
    said = shared.client("ec2").get_console_output(InstanceId=id)["Output"]
    assert "packed" in said
    shared.client("ec2").terminate_instances(InstanceIds=[id])


def test_a_machine_that_powers_itself_off_is_terminated(shared: Sandbox) -> None:
    [id] = shared.run("#!/bin/sh\nshutdown -h now\n", InstanceInitiatedShutdownBehavior="terminate")
    until(lambda: shared.state(id) == "terminated")
    assert _shown(shared.client("ec2"), id)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_when_an_end_was_asked_for_is_told_the_same_once_it_has_come() -> None:
    order = Order("c5.large", 2, "x86_64", "ami-1", "us-east-1", "us-east-1a", "subnet-1", "vpc-1")
    instance = Instance("i-1", order, "r-1", 0, 0.0, cast(Any, None), "", "", "")
    for state, at in ((PENDING, 0.0), (RUNNING, 5.0), (SHUTTING_DOWN, 100.0), (TERMINATED, 160.0)):
        instance.moves.append(Move(state, at, at, BY_USER if at >= 100 else Reason()))
    told = [element(instance, move)["reason"] for move in instance.moves]
    assert told == ["", "", *["User initiated (1970-01-01 00:01:40 GMT)"] * 2]


def test_filters_choose_by_tag_and_state(shared: Sandbox) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "job", "Value": "job-1"}, {"Key": "owner", "Value": "me"}]}]
    ids = shared.run(count=2, TagSpecifications=tags)
    shared.run(count=1)
    ec2 = shared.client("ec2")

    def found(*filters: dict[str, Any]) -> list[str]:
        pages = ec2.get_paginator("describe_instances").paginate(
            Filters=list(filters), PaginationConfig={"PageSize": 5}
        )
        return sorted(i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"])

    by_tag = {"Name": "tag:job", "Values": ["job-*"]}
    until(lambda: found(by_tag, {"Name": "instance-state-name", "Values": ["running"]}) == sorted(ids))
    ec2.terminate_instances(InstanceIds=ids[:1])
    assert found(by_tag, {"Name": "instance-state-name", "Values": ["pending", "running"]}) == ids[1:]
    assert found({"Name": "tag:job", "Values": ["other"]}) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"InstanceType": "zz9.huge"}, "InvalidParameterValue"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "c7g.large"}, "InvalidParameterValue"),
        ({"InstanceType": "c7i.large", "Placement": {"AvailabilityZone": "us-east-1e"}}, "Unsupported"),
        ({"Placement": {"AvailabilityZone": "us-east-1z"}}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"UserData": "x" * 16385}, "InvalidParameterValue"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        (
            {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.0001"}}},
            "SpotMaxPriceTooLow",
        ),
    ],
)
def test_what_the_cloud_would_refuse_is_refused_by_its_code(shared: Sandbox, words: dict[str, Any], code: str) -> None:
    before = len(shared.machines())
    with pytest.raises(ClientError) as refused:
        _ask(shared, **words)
    assert (_code(refused), len(shared.machines())) == (code, before)


def test_the_same_token_gives_the_same_instances_and_other_words_under_it_are_refused(shared: Sandbox) -> None:
    first = [i["InstanceId"] for i in _ask(shared, MaxCount=2, ClientToken="launch-1")["Instances"]]
    again = [i["InstanceId"] for i in _ask(shared, MaxCount=2, ClientToken="launch-1")["Instances"]]
    assert first == again
    with pytest.raises(ClientError) as refused:
        _ask(shared, MaxCount=3, ClientToken="launch-1")
    assert _code(refused) == "IdempotentParameterMismatch"


def test_an_answer_lost_after_the_effect_is_found_again_by_its_token(cloud: Sandbox) -> None:
    cloud.lose_reply_next("RunInstances", after=True)
    with pytest.raises(HTTPClientError):
        _ask(cloud, ClientToken="launch-2")
    assert len(cloud.machines()) == 1
    again = _ask(cloud, ClientToken="launch-2")["Instances"]
    assert [i["InstanceId"] for i in again] == [cloud.machines()[0]["id"]]
    cloud.lose_reply_next("RunInstances", after=False)
    with pytest.raises(HTTPClientError):
        _ask(cloud, ClientToken="launch-3")
    assert len(cloud.machines()) == 1


def test_what_is_out_of_stock_is_given_in_part_or_refused(cloud: Sandbox) -> None:
    cloud.stock("c5.large", 3, "us-east-1a")
    here = {"Placement": {"AvailabilityZone": "us-east-1a"}}
    assert len(_ask(cloud, MaxCount=10, **here)["Instances"]) == 3
    with pytest.raises(ClientError) as refused:
        _ask(cloud, **here)
    assert _code(refused) == "InsufficientInstanceCapacity"
    # Who names no zone gets another one.
    assert _ask(cloud)["Instances"][0]["Placement"]["AvailabilityZone"] != "us-east-1a"


def test_quotas_of_vcpus_are_held_and_can_be_read(cloud: Sandbox) -> None:
    cloud.quota("standard", 4)
    cloud.quota("standard-spot", 2)
    _ask(cloud, MaxCount=2, MinCount=2)
    with pytest.raises(ClientError) as refused:
        _ask(cloud)
    assert _code(refused) == "VcpuLimitExceeded"
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    _ask(cloud, **spot)
    with pytest.raises(ClientError) as refused:
        _ask(cloud, **spot)
    assert _code(refused) == "MaxSpotInstanceCountExceeded"
    quotas = cloud.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]["Value"] == 4
    listed = quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]
    assert {q["QuotaCode"]: q["Value"] for q in listed}["L-34B43A08"] == 2


def test_requests_beyond_the_published_buckets_are_throttled() -> None:
    with sandbox(throttle=True) as cloud:
        image, ec2 = cloud.image(), cloud.client("ec2")
        with pytest.raises(ClientError) as refused:
            for _ in range(200):
                ec2.run_instances(ImageId=image, InstanceType="c5.large", MinCount=1, MaxCount=1)
        assert _code(refused) == "RequestLimitExceeded"
        assert 5 <= len(cloud.machines()) < 200


def test_an_order_to_throttle_holds_for_every_request(cloud: Sandbox) -> None:
    cloud.throttle("Describe*", seconds=1e6)
    for _ in range(3):
        with pytest.raises(ClientError) as refused:
            cloud.client("ec2").describe_instances()
        assert _code(refused) == "RequestLimitExceeded"


def test_what_was_just_made_is_not_yet_shown_and_what_was_just_ended_still_is() -> None:
    with sandbox(lag=1e6, seed=3) as cloud:
        [id] = cloud.run()
        ec2 = cloud.client("ec2")
        with pytest.raises(ClientError) as refused:
            _shown(ec2, id)
        assert _code(refused) == "InvalidInstanceID.NotFound"
        assert ec2.describe_instances()["Reservations"] == []
        until(lambda: cloud.state(id) == "running")
        ended = ec2.terminate_instances(InstanceIds=[id])["TerminatingInstances"][0]
        assert ended["PreviousState"]["Name"] == "running"


def test_instances_of_one_region_are_not_shown_in_another(shared: Sandbox) -> None:
    [id] = shared.run()
    for region in ("us-west-2", "eu-central-1"):
        other = shared.client("ec2", region)
        assert id not in str(other.describe_instances())
        zones = {subnet["AvailabilityZone"] for subnet in other.describe_subnets()["Subnets"]}
        assert len(zones) >= 3 and all(zone.startswith(region) for zone in zones)


def test_spot_prices_move_by_the_seed_and_stay_below_the_list_price(shared: Sandbox) -> None:
    def prices(cloud: Sandbox) -> list[float]:
        pages = (
            cloud.client("ec2")
            .get_paginator("describe_spot_price_history")
            .paginate(InstanceTypes=["c5.large"], AvailabilityZone="us-east-1a", ProductDescriptions=["Linux/UNIX"])
        )
        return [float(row["SpotPrice"]) for page in pages for row in page["SpotPriceHistory"]]

    here = prices(shared)
    assert len(set(here)) > 20 and 0 < min(here) <= max(here) < 0.085
    with sandbox(seed=1) as other:
        assert prices(other)[5:50] != here[5:50]


def test_tags_of_instances_are_kept_here_and_others_by_moto(shared: Sandbox) -> None:
    [id] = shared.run()
    ec2 = shared.client("ec2")
    ec2.create_tags(Resources=[id], Tags=[{"Key": "a", "Value": "1"}])
    assert {"Key": "a", "Value": "1"} in _shown(ec2, id)["Tags"]
    group = ec2.create_security_group(GroupName=f"of-{id}", Description="x")["GroupId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": "b", "Value": "2"}])
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["Tags"] == [{"Key": "b", "Value": "2"}]


def test_user_data_can_be_read_back(shared: Sandbox) -> None:
    [id] = shared.run("#!/bin/sh\ntrue\n")
    found = shared.client("ec2").describe_instance_attribute(InstanceId=id, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(found) == b"#!/bin/sh\ntrue\n"
