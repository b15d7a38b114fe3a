"""May this place be used: credentials, each call that is needed, network, image, bucket, quotas. Creates nothing.

Calls that would change something are made as dry runs. What is missing is said as the policy that allows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from elsewhere.backends.aws import policy, prices
from elsewhere.backends.aws.errors import DENIED, code
from elsewhere.backends.aws.quotas import quotas
from elsewhere.backends.base import Finding, Launch
from elsewhere.errors import AccessDenied, ElsewhereError, InternalError
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

if TYPE_CHECKING:
    from elsewhere.backends.aws.ec2 import Aws

NOBODY = "i-00000000000000000"


@dataclass
class _Round:
    """One looking over. `denied`: the actions that were not allowed."""

    place: Aws
    region: str
    denied: list[str] = field(default_factory=list)

    def ask(self, what: str, action: str, look: Callable[[], str]) -> Finding:
        """A finding of what `look` returns or raises."""
        try:
            with self.place.clients.talking(action, self.region):
                return Finding(what, True, look())
        except AccessDenied as error:
            self.denied.append(action)
            return Finding(what, False, error.message, error.hint)
        except InternalError:
            raise
        except ElsewhereError as error:
            return Finding(what, False, error.message, error.hint)

    def dry(self, action: str, **words: Any) -> Finding:
        """A call that would change something, or needs a machine, as a dry run."""
        import botocore.exceptions as boto

        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in action.partition(":")[2]).lstrip("_")

        def look() -> str:
            try:
                getattr(self.place.clients.get("ec2", self.region), name)(DryRun=True, **words)
            except boto.ClientError as error:
                found = code(error)
                if words.get("InstanceId", words.get("InstanceIds")) in (NOBODY, [NOBODY]):
                    # of a machine that does not exist a policy that is bound to labels says no, as it should
                    if found in DENIED:
                        return "cannot be tried without a machine of ours"
                    if found.startswith("InvalidInstanceID"):
                        return "allowed"
                if found != "DryRunOperation":
                    raise
            return "allowed"

        return self.ask(action, action, look)


def check(place: Aws) -> Iterator[Finding]:
    """Finding by finding, in the order in which they stop a beginner."""
    known = _credentials(place)
    yield known
    if not known.ok:
        return
    look = _Round(place, place.clients.region)
    yield from _looks(look)
    image = look.ask("image", "ec2:DescribeImages", lambda: _image(place))
    yield image
    network = look.ask("network", "ec2:DescribeSubnets", lambda: _network(place, look.region))
    yield network
    if network.ok:
        yield look.ask("security group", "ec2:DescribeSecurityGroups", lambda: _group(place, look.region))
    if image.ok and network.ok:
        yield _launch(look)
    yield look.dry("ec2:TerminateInstances", InstanceIds=[NOBODY])
    yield look.dry("ec2:GetConsoleOutput", InstanceId=NOBODY)
    yield from _named(look)
    yield from quotas(place, look.region)
    if look.denied:
        missing = policy.lines(look.denied, place.settings)
        text = json.dumps({"Version": policy.VERSION, "Statement": missing})
        yield Finding(
            "policy", False, f"not allowed: {', '.join(sorted(set(look.denied)))}", f"What is missing: {text}"
        )


def _credentials(place: Aws) -> Finding:
    try:
        with place.clients.talking("sts:GetCallerIdentity"):
            who = place.clients.get("sts").get_caller_identity()
    except ElsewhereError as error:
        return Finding("credentials", False, error.message, error.hint)
    return Finding("credentials", True, f"{who['Arn']} in {place.clients.region}")


def _looks(look: _Round) -> Iterator[Finding]:
    place, region = look.place, look.region
    ec2 = place.clients.get("ec2", region)
    since = datetime.now(UTC) - timedelta(minutes=10)
    asks: dict[str, Callable[[], Any]] = {
        "ec2:DescribeInstances": lambda: ec2.describe_instances(MaxResults=5),
        "ec2:DescribeInstanceTypes": lambda: ec2.describe_instance_types(MaxResults=5),
        "ec2:DescribeInstanceTypeOfferings": lambda: ec2.describe_instance_type_offerings(MaxResults=5),
        "ec2:DescribeSpotPriceHistory": lambda: ec2.describe_spot_price_history(MaxResults=5, StartTime=since),
        "pricing:GetProducts": lambda: place.clients.get("pricing", prices.HOME).get_products(
            ServiceCode="AmazonEC2", FormatVersion="aws_v1", MaxResults=1
        ),
    }
    for action, ask in asks.items():
        yield look.ask(action, action, lambda ask=ask: "allowed" if ask() else "")  # type: ignore[misc]


def _image(place: Aws) -> str:
    found = place.images()
    return ", ".join(f"{image.id} ({image.architecture}{', ' + image.name if image.name else ''})" for image in found)


def _network(place: Aws, region: str) -> str:
    found = place.network.subnets(region)
    return f"{found[0].vpc}: {', '.join(subnet.zone for subnet in found)}"


def _group(place: Aws, region: str) -> str:
    from elsewhere.backends.aws.network import GROUP

    if place.settings.security_group:
        return place.settings.security_group
    vpc = place.network.subnet(region, "").vpc
    found = place.network.ours(region, vpc)
    return f"{found} ({GROUP})" if found else f"{GROUP} will be made, into which nothing may come"


def _launch(look: _Round) -> Finding:
    """A dry run of the call that a launch makes, but for a group that is not there yet."""
    place = look.place
    labels = {"job": "job-check", "launch": "lch-check", "owner": "check", "expiry": datetime.now(UTC).isoformat()}
    kind = {"arm64": "t4g.nano"}.get(place.settings.architecture, "t3.nano")
    try:
        image = place.images()[0]
        kind = "t4g.nano" if image.architecture == "arm64" else kind
        zone = place.network.subnet(look.region, place.settings.zones[0] if place.settings.zones else "").zone
    except ElsewhereError as error:
        return Finding("ec2:RunInstances", False, error.message, error.hint)
    start_by = datetime.now(UTC) + timedelta(hours=1)
    launch = Launch("lch-check", 1, "#!/bin/sh\n", Resources(), timedelta(hours=1), start_by, labels,
                    Offer(kind, Resources(), zone, spot=place.settings.spot))  # fmt: skip
    try:
        _, words = place.plan(launch, create=False)
    except ElsewhereError as error:
        return Finding("ec2:RunInstances", False, error.message, error.hint)
    return look.dry("ec2:RunInstances", **words)


def _named(look: _Round) -> Iterator[Finding]:
    """What the settings name."""
    settings, clients = look.place.settings, look.place.clients
    if settings.instance_profile:
        name = settings.instance_profile
        yield look.ask("instance profile", "iam:GetInstanceProfile", lambda: str(
            clients.get("iam").get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]))  # fmt: skip
    if settings.bucket:
        bucket = settings.bucket.removeprefix("s3://").partition("/")[0]
        yield look.ask("bucket", "s3:ListBucket", lambda: _bucket(clients.get("s3"), bucket))


def _bucket(s3: Any, name: str) -> str:
    s3.head_bucket(Bucket=name)
    return f"s3://{name}"
