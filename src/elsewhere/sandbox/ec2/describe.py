"""Instances as the EC2 API shows them: filters, pages, and the XML's own names. It changes nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from elsewhere.sandbox.clock import stamp
from elsewhere.sandbox.ec2 import wire
from elsewhere.sandbox.ec2.run import profile_arn
from elsewhere.sandbox.ec2.wire import Refusal
from elsewhere.sandbox.fallback import ACCOUNT
from elsewhere.sandbox.fleet import CODES, REMEMBERED, SHUTTING_DOWN, TERMINATED, Instance, Move

Seen = tuple[Instance, Move]

_FIELDS: dict[str, Callable[[Instance, Move], str]] = {
    "instance-id": lambda i, _: i.id,
    "instance-state-name": lambda _, m: m.state,
    "instance-state-code": lambda _, m: str(CODES[m.state]),
    "instance-type": lambda i, _: i.order.type,
    "instance-lifecycle": lambda i, _: "spot" if i.order.spot else "",
    "availability-zone": lambda i, _: i.order.zone,
    "placement.availability-zone": lambda i, _: i.order.zone,
    "architecture": lambda i, _: i.order.architecture,
    "image-id": lambda i, _: i.order.image,
    "subnet-id": lambda i, _: i.order.subnet,
    "vpc-id": lambda i, _: i.order.vpc,
    "client-token": lambda i, _: i.order.token,
    "reservation-id": lambda i, _: i.reservation,
    "private-ip-address": lambda i, _: i.private,
    "ip-address": lambda i, _: i.public,
    "iam-instance-profile.arn": lambda i, _: profile_arn(i.order.profile) if i.order.profile else "",
    "owner-id": lambda *_: ACCOUNT,
}


def visible(instances: Sequence[Instance], region: str, now: float) -> list[Seen]:
    """Those of a region that the API shows just now: not yet those of this moment, no longer those long gone."""
    seen = []
    for instance in instances:
        move = instance.shown(now) if instance.order.region == region else None
        if move and not (move.state == TERMINATED and now - move.at > REMEMBERED):
            seen.append((instance, move))
    return seen


def named(seen: list[Seen], ids: list[str]) -> list[Seen]:
    """Those of `ids`, in no particular order. Refusal: the API does not show one of them."""
    for id in ids:
        if not id.startswith("i-"):
            raise Refusal("InvalidInstanceID.Malformed", f'Invalid id: "{id}"')
    missing = [id for id in ids if id not in {instance.id for instance, _ in seen}]
    if missing:
        many = len(missing) > 1
        said = f"The instance ID{'s' if many else ''} '{', '.join(missing)}' do{'' if many else 'es'} not exist"
        raise Refusal("InvalidInstanceID.NotFound", said)
    return [pair for pair in seen if pair[0].id in set(ids)]


def filtered(seen: list[Seen], filters: list[Mapping[str, Any]]) -> list[Seen]:
    for row in filters:
        name, values = row.get("Name", ""), wire.listed(row.get("Value"))
        test = _test(name)
        seen = [pair for pair in seen if any(fnmatchcase(word, value) for word in test(*pair) for value in values)]
    return seen


def _test(name: str) -> Callable[[Instance, Move], list[str]]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda i, _: [i.tags[key]] if key in i.tags else []
    if name == "tag-key":
        return lambda i, _: list(i.tags)
    if name not in _FIELDS:
        raise Refusal("InvalidParameterValue", f"The filter '{name}' is invalid")
    field = _FIELDS[name]
    return lambda i, m: [field(i, m)]


def page(seen: list[Any], asked: Mapping[str, Any], most: int = 1000) -> tuple[list[Any], str | None]:
    """One page of them and the token of the next."""
    try:
        start = int(base64.b64decode(asked.get("NextToken", ""), validate=True) or b"0")
        size = int(asked.get("MaxResults", most))
    except ValueError:
        raise Refusal("InvalidParameterValue", "The token or the size of the page is invalid") from None
    if not 1 <= size <= most:
        raise Refusal("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults is invalid: 5 to {most}.")
    token = base64.b64encode(str(start + size).encode()).decode() if start + size < len(seen) else None
    return seen[start : start + size], token


def reservations(seen: list[Seen]) -> list[dict[str, Any]]:
    together: dict[str, list[Seen]] = {}
    for pair in seen:
        together.setdefault(pair[0].reservation, []).append(pair)
    return [
        {
            "reservationId": id,
            "ownerId": ACCOUNT,
            "groupSet": [],
            "instancesSet": [element(instance, move) for instance, move in pairs],
        }
        for id, pairs in together.items()
    ]


def element(instance: Instance, move: Move) -> dict[str, Any]:
    order = instance.order
    ended = move.state not in ("pending", "running")
    host = f"ip-{instance.private.replace('.', '-')}.{order.region}.compute.internal"
    return {
        "instanceId": instance.id,
        "imageId": order.image,
        "instanceState": state(move),
        "privateDnsName": "" if move.state == TERMINATED else host,
        "dnsName": "",
        "reason": _transition(instance, move) if ended else "",
        "amiLaunchIndex": instance.number,
        "productCodes": [],
        "instanceType": order.type,
        "launchTime": stamp(instance.launched),
        "placement": {"availabilityZone": order.zone, "groupName": "", "tenancy": "default"},
        "monitoring": {"state": "disabled"},
        "subnetId": None if move.state == TERMINATED else order.subnet,
        "vpcId": None if move.state == TERMINATED else order.vpc,
        "privateIpAddress": None if move.state == TERMINATED else instance.private,
        "ipAddress": (instance.public or None) if move.state == "running" else None,
        "stateReason": {"code": move.reason.code, "message": f"{move.reason.code}: {move.reason.message}"}
        if move.reason.code
        else None,
        "architecture": order.architecture,
        "rootDeviceType": "ebs",
        "rootDeviceName": "/dev/sda1",
        "blockDeviceMapping": [],
        "virtualizationType": "hvm",
        "hypervisor": "xen",
        "instanceLifecycle": "spot" if order.spot else None,
        "spotInstanceRequestId": f"sir-{instance.id[2:10]}" if order.spot else None,
        "clientToken": order.token,
        "tagSet": [{"key": key, "value": value} for key, value in instance.tags.items()],
        "groupSet": [{"groupId": id, "groupName": id} for id in order.groups],
        "networkInterfaceSet": [],
        "iamInstanceProfile": {"arn": profile_arn(order.profile), "id": "AIPA" + instance.id[2:].upper()}
        if order.profile
        else None,
        "ebsOptimized": False,
        "sourceDestCheck": True,
        "enaSupport": True,
        "metadataOptions": {
            "state": "applied",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
            "httpEndpoint": "enabled",
        },
    }


def state(move: Move) -> dict[str, Any]:
    return {"code": CODES[move.state], "name": move.state}


def _transition(instance: Instance, move: Move) -> str:
    """The sentence in which EC2 puts why and when its end was asked for, which tools read out of it: also later."""
    asked = instance.at(SHUTTING_DOWN)
    when = stamp(move.at if asked is None else asked).replace("T", " ").replace("Z", " GMT")
    who = "User initiated" if move.reason.code.startswith("Client.User") else move.reason.code
    return f"{who} ({when})"


def status(instance: Instance, move: Move) -> dict[str, Any]:
    well = move.state == "running"
    check: dict[str, Any] = {"status": "ok" if well else "not-applicable", "details": []}
    if well:
        word = "failed" if instance.machine.frozen or instance.partitioned else "passed"
        check = {
            "status": "impaired" if word == "failed" else "ok",
            "details": [{"name": "reachability", "status": word}],
        }
    return {
        "instanceId": instance.id,
        "availabilityZone": instance.order.zone,
        "eventsSet": [],
        "instanceState": state(move),
        "systemStatus": check,
        "instanceStatus": check,
    }
