"""What needs no cloud: labels, requests, errors, sightings, prices, types, catalogs, settings, policies, quotas."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import botocore.exceptions as boto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.backends.aws import labels, policy, prices, quotas, request
from elsewhere.backends.aws.catalog import Region, assemble, offers
from elsewhere.backends.aws.ec2 import region_of
from elsewhere.backends.aws.errors import translate
from elsewhere.backends.aws.images import Found
from elsewhere.backends.aws.settings import GIB, AwsSettings
from elsewhere.backends.aws.sightings import sighting
from elsewhere.backends.aws.types import machine_type
from elsewhere.backends.base import Condition, Launch
from elsewhere.errors import (
    AccessDenied,
    ConfigError,
    CredentialsExpired,
    InternalError,
    NoCapacity,
    NotFound,
    PlaceError,
    QuotaExceeded,
    Refused,
    Throttled,
    Unreachable,
)
from elsewhere.model.catalog import Extras
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGNED = {"job": "job-1", "launch": "lch-1", "owner": "ada@mill", "expiry": NOW.isoformat()}


def launch(script: str = "#!/bin/sh\n", **changes: Any) -> Launch:
    made = Launch("lch-1", 3, script, Resources(), timedelta(hours=1), NOW, SIGNED)
    return replace(made, **changes)


def site(**changes: Any) -> request.Site:
    made = request.Site("c7g.large", "us-east-1b", False, Found("ami-1", "arm64", "/dev/sda1", 8), "sg-1", "subnet-1")
    return replace(made, **changes)


# --- labels


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=5))
def test_labels_come_back_from_tags_as_they_went(given: dict[str, str]) -> None:
    tags = labels.to_tags(given, {"Project": "x"})
    assert labels.from_tags(tags) == given
    assert all(tag["Key"] == "Project" or (tag["Key"].isascii() and tag["Value"].isascii()) for tag in tags)


def test_what_others_tagged_is_no_label_of_ours() -> None:
    assert labels.from_tags([{"Key": "job", "Value": "job-1"}, {"Key": "elsewhere:job", "Value": "a=20"}]) == {
        "job": "a "
    }


@pytest.mark.parametrize("missing", labels.SIGNATURE)
def test_a_signature_that_lacks_one_label_is_none(missing: str) -> None:
    assert labels.signed(SIGNED)
    assert not labels.signed({k: v for k, v in SIGNED.items() if k != missing})


def test_a_label_that_is_too_long_is_refused() -> None:
    with pytest.raises(Refused, match="too long"):
        labels.to_tags({"note": "ä" * 100}, {})


# --- the request


def test_a_request_leaves_nothing_about_doors_money_or_the_end_to_defaults() -> None:
    asked = request.build(launch(), AwsSettings(tags={"Owner": "ada"}), site())
    assert (asked["ClientToken"], asked["MinCount"], asked["MaxCount"]) == ("lch-1", 1, 3)
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert (asked["SecurityGroupIds"], asked["SubnetId"]) == (["sg-1"], "subnet-1")
    assert asked["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"] is True
    assert {each["ResourceType"] for each in asked["TagSpecifications"]} == {"instance", "volume"}
    for each in asked["TagSpecifications"]:
        assert labels.from_tags(each["Tags"]) == SIGNED
        assert {"Key": "Owner", "Value": "ada"} in each["Tags"]
    assert "InstanceMarketOptions" not in asked and "KeyName" not in asked


@pytest.mark.parametrize(("key", "shown"), [("Owner", "enabled"), ("Cost Center", "disabled"), ("a/b", "disabled")])
def test_tags_show_in_metadata_where_all_their_keys_may(key: str, shown: str) -> None:
    asked = request.build(launch(), AwsSettings(tags={key: "x"}), site())
    assert asked["MetadataOptions"]["InstanceMetadataTags"] == shown


def test_spot_is_one_time_ends_on_interruption_and_its_request_is_labelled_too() -> None:
    asked = request.build(launch(), AwsSettings(), site(spot=True))
    assert asked["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
    }
    assert "spot-instances-request" in {each["ResourceType"] for each in asked["TagSpecifications"]}


def test_a_burstable_machine_spends_no_credits_that_cost_money() -> None:
    assert request.build(launch(), AwsSettings(), site(burstable=True))["CreditSpecification"] == {
        "CpuCredits": "standard"
    }


def test_a_long_boot_text_is_compressed_to_the_same_bytes_each_time_and_one_too_long_is_refused() -> None:
    long = "#!/bin/sh\n" + "echo hello\n" * 4000
    assert request.user_data("#!/bin/sh\n") == b"#!/bin/sh\n"
    assert gzip.decompress(request.user_data(long)).decode() == long
    assert request.user_data(long) == request.user_data(long)
    with pytest.raises(Refused, match="boot text"):
        request.user_data("".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=60_000)))


def test_the_token_of_a_long_id_is_short_and_its_own() -> None:
    one, two = request.token("l" * 70), request.token("l" * 71)
    assert one != two and len(one) == len(two) == 64


@pytest.mark.parametrize(("count", "counts"), [(1, [1]), (500, [500]), (501, [500, 1]), (1700, [500, 500, 500, 200])])
def test_a_large_launch_is_asked_for_in_parts_that_are_the_same_each_time(count: int, counts: list[int]) -> None:
    whole = replace(launch(), count=count)
    asked = request.build(whole, AwsSettings(), site())
    parts = request.parts(whole, asked)
    assert [part["MaxCount"] for part in parts] == counts
    assert len({part["ClientToken"] for part in parts}) == len(parts)
    assert parts[0]["ClientToken"] == asked["ClientToken"] and parts == request.parts(whole, asked)
    assert {part["UserData"] for part in parts} == {asked["UserData"]}


def test_the_disk_holds_what_the_task_needs_and_what_the_image_brings() -> None:
    def size(one: Launch, image: int) -> int:
        asked = request.build(one, AwsSettings(disk=20 * GIB), site(image=Found("ami-1", "arm64", "/dev/xvda", image)))
        return int(asked["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"])

    assert size(launch(), 8) == 20
    assert size(launch(), 45) == 45
    assert size(launch(shape=Resources(disk=100 * GIB)), 8) == 108
    priced = Offer("c7g.large", Resources(2, disk=50 * GIB), "us-east-1a")
    assert size(launch(offer=priced), 8) == 50


# --- errors


def client_error(code: str, message: str = "no", status: int = 400) -> boto.ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, "RunInstances")


@pytest.mark.parametrize(
    ("code", "status", "kind", "transient"),
    [
        ("InsufficientInstanceCapacity", 500, NoCapacity, True),
        ("SpotMaxPriceTooLow", 400, NoCapacity, True),
        ("MaxSpotInstanceCountExceeded", 400, NoCapacity, True),
        ("VcpuLimitExceeded", 400, QuotaExceeded, False),
        ("UnauthorizedOperation", 403, AccessDenied, False),
        ("AuthFailure", 401, AccessDenied, False),
        ("RequestLimitExceeded", 503, Throttled, True),
        ("ExpiredToken", 400, CredentialsExpired, True),
        ("RequestExpired", 400, CredentialsExpired, True),
        ("InternalError", 500, Unreachable, True),
        ("SomethingNew", 503, Unreachable, True),
        ("SomethingNew", 400, Refused, False),
        ("InvalidAMIID.NotFound", 400, Refused, False),
        ("VPCIdNotSpecified", 400, Refused, False),
        ("InvalidInstanceID.NotFound", 400, NotFound, False),
    ],
)
def test_a_code_of_the_service_is_named_by_what_to_do_next(
    code: str, status: int, kind: type[PlaceError], transient: bool
) -> None:
    found = translate(client_error(code, status=status), "ec2:RunInstances", region="eu-west-1")
    assert type(found) is kind and found.transient is transient
    assert kind in (NotFound,) or found.hint


def test_a_token_that_is_known_with_other_words_is_our_bug() -> None:
    assert isinstance(translate(client_error("IdempotentParameterMismatch"), "ec2:RunInstances"), InternalError)


@pytest.mark.parametrize(
    "lost",
    [
        boto.ReadTimeoutError(endpoint_url="https://x"),
        boto.ConnectTimeoutError(endpoint_url="https://x"),
        boto.EndpointConnectionError(endpoint_url="https://x"),
        boto.ConnectionClosedError(endpoint_url="https://x"),
    ],
)
def test_no_answer_says_nothing_about_the_effect(lost: boto.BotoCoreError) -> None:
    assert type(translate(lost, "ec2:RunInstances")) is Unreachable


def test_a_denial_names_the_call_and_the_line_of_the_policy_that_allows_it() -> None:
    said = "You are not authorized to perform this operation. Encoded authorization failure message: AbC-123"
    found = translate(client_error("UnauthorizedOperation", said, 403), "ec2:TerminateInstances")
    assert "ec2:TerminateInstances" in str(found) and "AbC-123" not in str(found)
    line = json.loads(found.hint.removeprefix("Add to your policy: "))
    assert line["Action"] == ["ec2:TerminateInstances"] and "elsewhere:job" in json.dumps(line["Condition"])


def test_who_is_logged_out_is_told_the_command() -> None:
    found = translate(boto.UnauthorizedSSOTokenError(), "ec2:RunInstances", profile="lab")
    assert isinstance(found, CredentialsExpired) and "aws sso login --profile lab" in found.hint
    assert isinstance(translate(boto.NoCredentialsError(), "x"), AccessDenied)


# --- sightings


def instance(state: str, **more: Any) -> dict[str, Any]:
    tags = labels.to_tags(SIGNED, {})
    return {"InstanceId": "i-0123456789abcdef0", "State": {"Name": state}, "LaunchTime": NOW, "Tags": tags, **more}


def test_what_runs_is_seen_with_its_labels_and_its_start() -> None:
    seen = sighting(instance("running"))
    assert (seen.condition, seen.labels, seen.started, seen.ended) == (Condition.RUNNING, SIGNED, NOW, None)
    assert sighting(instance("pending")).condition is Condition.PENDING


@pytest.mark.parametrize(
    ("code", "condition"),
    [
        ("Server.SpotInstanceTermination", Condition.PREEMPTED),
        ("Client.UserInitiatedShutdown", Condition.STOPPED),
        ("Client.InstanceInitiatedShutdown", Condition.STOPPED),
        ("Server.InternalError", Condition.FAILED),
        ("Client.VolumeLimitExceeded", Condition.FAILED),
    ],
)
def test_why_a_machine_ended_decides_how_it_is_seen(code: str, condition: Condition) -> None:
    reason = "User initiated (2026-05-01 12:30:00 GMT)"
    seen = sighting(instance("terminated", StateReason={"Code": code}, StateTransitionReason=reason))
    assert (seen.condition, seen.ended) == (condition, NOW + timedelta(minutes=30))


# --- types, prices, the catalog

C7G = {
    "InstanceType": "c7g.large",
    "ProcessorInfo": {"SupportedArchitectures": ["arm64"], "Manufacturer": "AWS"},
    "VCpuInfo": {"DefaultVCpus": 2},
    "MemoryInfo": {"SizeInMiB": 4096},
}
G5 = {
    **C7G,
    "InstanceType": "g5.12xlarge",
    "ProcessorInfo": {"SupportedArchitectures": ["x86_64"], "Manufacturer": "AMD"},
    "VCpuInfo": {"DefaultVCpus": 48},
    "GpuInfo": {"Gpus": [{"Name": "A10G", "Count": 4, "MemoryInfo": {"SizeInMiB": 24576}}]},
    "InstanceStorageInfo": {"TotalSizeInGB": 3800},
}
T3 = {**G5, "InstanceType": "t3.micro", "VCpuInfo": {"DefaultVCpus": 2}, "GpuInfo": {}, "InstanceStorageInfo": {}}


def product(name: str, dollars: str, **said: str) -> str:
    attributes = {"instanceType": name, "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
                  "capacitystatus": "Used", "physicalProcessor": "AWS Graviton3 Processor", **said}  # fmt: skip
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": dollars}}
    return json.dumps({"product": {"attributes": attributes},
                       "terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}})  # fmt: skip


def test_types_are_read_as_their_cloud_describes_them() -> None:
    gpu = machine_type(G5)
    assert (gpu.cpus, gpu.architecture, gpu.gpus, gpu.gpu_type) == (48, "x86_64", 4, "a10g")
    assert (gpu.gpu_memory, gpu.local_disk) == (24 << 30, 3_800_000_000_000)
    assert machine_type(C7G).architecture == "arm64"
    assert machine_type(T3).baseline == 0.1


def test_only_prices_of_plain_linux_on_shared_machines_count_and_none_is_rounded_down() -> None:
    listed = [
        product("c7g.large", "0.0725000001"),
        product("c7g.large", "0.01", tenancy="Dedicated"),
        product("c7g.large", "0.0000000000", capacitystatus="Used"),
        product("m5.large", "0.2", operatingSystem="Windows"),
    ]
    assert prices.machines(listed) == {"c7g.large": (72_501, "AWS Graviton3 Processor")}


def test_of_spot_prices_the_newest_of_each_zone_counts() -> None:
    def entry(price: str, zone: str, minutes: int) -> dict[str, Any]:
        at = NOW + timedelta(minutes=minutes)
        return {"InstanceType": "c7g.large", "AvailabilityZone": zone, "SpotPrice": price, "Timestamp": at}

    found = prices.spot([entry("0.03", "a", 5), entry("0.02", "a", 0), entry("0.01", "b", 0)])
    assert found == {("c7g.large", "a"): 30_000, ("c7g.large", "b"): 10_000}


def region() -> Region:
    types = {kind.name: kind for kind in map(machine_type, (C7G, G5, T3))}
    offered = {"c7g.large": ["us-east-1a", "us-east-1b"], "g5.12xlarge": ["us-east-1a"], "t3.micro": ["us-east-1a"]}
    plain = {"c7g.large": (72_500, "AWS Graviton3 Processor"), "t3.micro": (10_400, "")}
    spot = {("c7g.large", "us-east-1b"): 30_000, ("g5.12xlarge", "us-east-1a"): 2_000_000}
    return Region("us-east-1", NOW, types, offered, plain, spot, Extras(80_000, 5_000))


def test_a_catalog_holds_each_offer_and_names_what_has_no_price() -> None:
    found = assemble([region()])
    rows = {(kind.name, zone.name, spot, price) for kind, zone, spot, price in found.rows()}
    assert rows == {
        ("c7g.large", "us-east-1a", False, Decimal("0.0725")),
        ("c7g.large", "us-east-1b", False, Decimal("0.0725")),
        ("c7g.large", "us-east-1b", True, Decimal("0.03")),
        ("g5.12xlarge", "us-east-1a", True, Decimal(2)),
        ("t3.micro", "us-east-1a", False, Decimal("0.0104")),
    }
    assert found.unpriced == ("g5.12xlarge in us-east-1",)
    assert {kind.cpu_family for kind in found.types} >= {"AWS Graviton3 Processor"}


def test_offers_bear_the_true_price_and_count_only_the_share_of_a_processor_that_lasts() -> None:
    catalog = assemble([region()])
    small = offers(catalog, Resources(cpus=0.2), AwsSettings(), 20 * GIB)
    assert [offer.name for offer in small] == ["t3.micro", "c7g.large", "c7g.large"]
    assert small[0].price == Decimal("0.0104") + Decimal("0.002192") + Decimal("0.005")
    assert [offer.zone for offer in offers(catalog, Resources(cpus=2), AwsSettings(), 20 * GIB)] == [
        "us-east-1a",
        "us-east-1b",
    ]
    assert offers(catalog, Resources(cpus=2), AwsSettings(architecture="x86_64"), GIB) == []
    spot = offers(catalog, Resources(gpus=2, gpu_type="A10G"), AwsSettings(spot=True), GIB)
    assert [(offer.name, offer.spot) for offer in spot] == [("g5.12xlarge", True)]


# --- settings, policies, quotas


def test_settings_are_read_as_they_are_written_in_files() -> None:
    made = AwsSettings(disk="40GiB", zones=["us-east-1a"])  # type: ignore[arg-type]
    assert (made.disk, made.zones) == (40 * GIB, ("us-east-1a",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"disk": 20}, "disk must be 1GiB or more"),
        ({"disk_type": "gp4"}, "disk-type must be one of gp3"),
        ({"zones": ["us-east-1"]}, "zones must be a zone"),
        ({"bucket": "my-bucket"}, "bucket must be such as s3://"),
        ({"security_group": "open"}, "security-group must be the id"),
        ({"tags": {"aws:x": "y"}}, "tags has a key"),
        ({"spot": "maybe"}, "spot must be true, false or prefer"),
        ({"instance_profile": "arn:aws:iam::1:instance-profile/x"}, "not its ARN"),
    ],
)
def test_a_bad_setting_is_answered_by_what_it_must_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AwsSettings(**given)


def test_a_policy_ends_labelled_machines_only_and_opens_no_door() -> None:
    made = policy.document(AwsSettings(bucket="s3://my-bucket/p"))
    actions = {action for each in made["Statement"] for action in each["Action"]}
    assert {"ec2:RunInstances", "ec2:TerminateInstances", "pricing:GetProducts", "sqs:SendMessage"} <= actions
    assert not any("Ingress" in action or "*" in action for action in actions)
    ends = [each for each in made["Statement"] if "ec2:TerminateInstances" in each["Action"]]
    assert all("aws:ResourceTag/elsewhere:job" in each["Condition"]["Null"] for each in ends)
    machine = {action for each in policy.document(AwsSettings(), "machine")["Statement"] for action in each["Action"]}
    assert machine and not any(action.startswith("ec2:") for action in machine)
    sits = {action for each in policy.document(AwsSettings(), "controller")["Statement"] for action in each["Action"]}
    assert {*actions, *machine} <= sits, "it launches as its user does, and is reached as machines are"


def test_the_boot_disk_is_the_one_that_was_chosen_and_priced() -> None:
    chosen = Offer("c5.large", Resources(2, 4 << 30, disk=200 * GIB), "us-east-1a")
    assert request.disk(replace(launch(), offer=chosen), AwsSettings()) == 200
    assert request.disk(replace(launch(), offer=chosen), AwsSettings(disk=300 * GIB)) == 300


def test_quotas_count_by_family_and_spot_apart() -> None:
    def one(kind: str, cores: int, **more: str) -> dict[str, Any]:
        return {"State": {"Name": "running"}, "InstanceType": kind, "CpuOptions": {"CoreCount": cores,
                "ThreadsPerCore": 2}, **more}  # fmt: skip

    running = [one("m5.xlarge", 2), one("c7i.large", 1), one("g5.xlarge", 2, InstanceLifecycle="spot"),
               {"State": {"Name": "terminated"}, "InstanceType": "m5.xlarge"}]  # fmt: skip
    assert quotas.used(running) == {(quotas.STANDARD, False): 6, (quotas.GRAPHICS, True): 4}
    assert quotas.family("inf2.xlarge") == "" and quotas.family("p5.48xlarge") == quotas.TRAINING


def test_the_region_of_a_zone() -> None:
    zones = ["us-east-1a", "us-east-1-bos-1a", "us-gov-west-1b", ""]
    assert [region_of(zone) for zone in zones] == ["us-east-1", "us-east-1", "us-gov-west-1", ""]
