"""The least rights that suffice, as data: of the user who launches machines, and of the machines themselves. Pure.

What ends or changes a machine is allowed for those that bear our labels, and no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from elsewhere.aws import RING
from elsewhere.backends.aws.labels import PREFIX
from elsewhere.backends.aws.settings import AwsSettings
from elsewhere.backends.aws.shell import FORWARDS
from elsewhere.errors import UsageError

Statement = Mapping[str, Any]
VERSION = "2012-10-17"
_OURS = {"Null": {f"aws:ResourceTag/{PREFIX}job": "false", f"aws:ResourceTag/{PREFIX}launch": "false"}}
_LABELLED = {"Null": {f"aws:RequestTag/{PREFIX}job": "false", f"aws:RequestTag/{PREFIX}launch": "false"}}
QUEUES = "arn:aws:sqs:*:*:elsewhere-*"
BUCKETS = "elsewhere-*"
"""Where no bucket is named: elsewhere-ACCOUNT-REGION, made when it is first needed."""


def _allow(
    name: str, actions: list[str], resource: object = "*", condition: Mapping[str, Any] | None = None
) -> Statement:
    found: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resource}
    return found if condition is None else {**found, "Condition": condition}


_LOOK = _allow("Look", [
    "ec2:DescribeAvailabilityZones", "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes", "ec2:DescribeRegions", "ec2:DescribeSecurityGroups", "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets", "ec2:DescribeVpcs", "pricing:GetProducts", "servicequotas:ListServiceQuotas",
    "sts:DecodeAuthorizationMessage", "sts:GetCallerIdentity",
])  # fmt: skip
_IMAGE = _allow("FindImages", ["ssm:GetParameter"], "arn:aws:ssm:*::parameter/aws/service/*")
_MACHINES = _allow("LaunchMachines", ["ec2:RunInstances"], ["arn:aws:ec2:*:*:instance/*", "arn:aws:ec2:*:*:volume/*"],
                   _LABELLED)  # fmt: skip
_PARTS = _allow("UsePartsOfMachines", ["ec2:RunInstances"], [
    f"arn:aws:ec2:*:*:{part}/*" for part in ("subnet", "network-interface", "security-group", "key-pair",
                                             "spot-instances-request")
] + ["arn:aws:ec2:*::image/*", "arn:aws:ec2:*::snapshot/*"])  # fmt: skip
_TAGS = _allow("LabelWhatIsCreated", ["ec2:CreateTags"], "arn:aws:ec2:*:*:*/*", {
    "StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateSecurityGroup"]}})  # fmt: skip
_END = _allow("EndOurMachines", ["ec2:TerminateInstances", "ec2:GetConsoleOutput"], "arn:aws:ec2:*:*:instance/*", _OURS)
_RING = _allow("CallOurMachines", ["ec2:CreateTags"], "arn:aws:ec2:*:*:instance/*", {
    **_OURS, "ForAllValues:StringEquals": {"aws:TagKeys": [RING]}})  # fmt: skip
_GROUP = _allow("CloseTheDoor", ["ec2:CreateSecurityGroup"],
                ["arn:aws:ec2:*:*:security-group/*", "arn:aws:ec2:*:*:vpc/*"])  # fmt: skip
_SPOT = _allow("UseTheSpotMarket", ["iam:CreateServiceLinkedRole"],
               "arn:aws:iam::*:role/aws-service-role/spot.amazonaws.com/*",
               {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}})  # fmt: skip
_QUEUES = _allow("Queues", [
    "sqs:ChangeMessageVisibility", "sqs:CreateQueue", "sqs:DeleteMessage", "sqs:DeleteQueue", "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl", "sqs:PurgeQueue", "sqs:ReceiveMessage", "sqs:SendMessage", "sqs:SetQueueAttributes",
    "sqs:TagQueue",
], QUEUES)  # fmt: skip
_SHELL = _allow("OpenATerminal", ["ssm:StartSession", "ssm:TerminateSession"], [
    "arn:aws:ec2:*:*:instance/*", "arn:aws:ssm:*:*:session/*", "arn:aws:ssm:*:*:document/SSM-SessionManagerRunShell",
    f"arn:aws:ssm:*:*:document/{FORWARDS}",
])  # fmt: skip
_TERMINAL = _allow("AnswerATerminal", [
    "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
])  # fmt: skip
_FIXED = (_LOOK, _IMAGE, _MACHINES, _PARTS, _TAGS, _END, _RING, _GROUP, _SPOT, _QUEUES, _SHELL)


def document(settings: AwsSettings, who: str = "user") -> Mapping[str, Any]:
    """The policy of the `user` who launches, of a `machine`, or of that of a `controller`, as IAM takes it."""
    if who not in _WHO:
        raise UsageError(f"a policy is of a user, of a machine or of a controller, not of {who!r}")
    return {"Version": VERSION, "Statement": _WHO[who](settings)}


def _of_user(settings: AwsSettings) -> list[Statement]:
    found = [*_FIXED, *_bucket(settings, ["s3:DeleteObject"])]
    if not settings.bucket:
        found.append(
            _allow("MakeTheBucket", ["s3:CreateBucket", "s3:PutBucketPublicAccessBlock"], f"arn:aws:s3:::{BUCKETS}")
        )
    if settings.instance_profile:
        found.append(_allow("GiveMachinesTheirProfile", ["iam:GetInstanceProfile"],
                            f"arn:aws:iam::*:instance-profile/{settings.instance_profile}"))  # fmt: skip
        found.append(_allow("PassItsRole", ["iam:PassRole"], "arn:aws:iam::*:role/*",
                            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}))  # fmt: skip
    return found


def _of_machine(settings: AwsSettings) -> list[Statement]:
    queues = _allow("Queues", ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
                               "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage"], QUEUES)  # fmt: skip
    return [queues, _TERMINAL, *_bucket(settings, [])]


def _of_controller(settings: AwsSettings) -> list[Statement]:
    """It launches, as the user does; and somebody may open a terminal on it."""
    return [*_of_user(settings), _TERMINAL]


_WHO = {"user": _of_user, "machine": _of_machine, "controller": _of_controller}


def _bucket(settings: AwsSettings, more: list[str]) -> list[Statement]:
    name, _, prefix = (settings.bucket or f"s3://{BUCKETS}").removeprefix("s3://").partition("/")
    below = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    objects = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject", *more]
    return [
        _allow("Bytes", sorted(objects), f"arn:aws:s3:::{name}/{below}*"),
        _allow("ListBytes", ["s3:ListBucket"], f"arn:aws:s3:::{name}"),
    ]


def line(action: str) -> str:
    """The statement that allows `action`, reduced to it, on one line; empty if we never need it."""
    found = lines([action])
    return json.dumps(found[0]) if found else ""


def lines(actions: list[str], settings: AwsSettings | None = None) -> list[Statement]:
    """The statements that allow these actions, and nothing else."""
    some = AwsSettings(bucket="s3://your-bucket", instance_profile="your-profile")
    found: list[Statement] = []
    for statement in _of_user(settings or some):
        needed = [action for action in statement["Action"] if action in actions]
        if needed:
            found.append({**statement, "Action": needed})
    return found
