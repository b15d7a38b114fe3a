"""The metadata address of a machine, as the SDKs read it: version 2 alone, with its tokens.

Each machine has an address of its own, whose path only it knows. AWS: "Retrieve instance metadata", IMDSv2.
"""

from __future__ import annotations

import json
import secrets
import threading
import time

from elsewhere.sandbox.clock import Clock, stamp
from elsewhere.sandbox.fallback import ACCOUNT
from elsewhere.sandbox.fleet import Fleet, Instance
from elsewhere.sandbox.http import Request, Response
from elsewhere.sandbox.keys import Keys

PREFIX = "/_elsewhere/machine/"
_LONGEST = 21600


class Metadata:
    def __init__(self, fleet: Fleet, clock: Clock, keys: Keys) -> None:
        self.fleet, self.clock, self.keys = fleet, clock, keys
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Response:
        secret, _, path = request.path.removeprefix(PREFIX).partition("/")
        instance = self.fleet.by_secret.get(secret)
        if instance is None:
            return _text(404, "there is no such machine")
        if path == "power" and request.method == "POST":
            after = request.query.partition("after=")[2] or "0"
            self.fleet.switch_off(instance, float(after))
            return _text(200, "")
        if path == "latest/api/token":
            return self._token(instance, request)
        if request.method not in ("GET", "HEAD"):
            return _text(405, "")
        if not self._believed(instance, request.headers.get("x-aws-ec2-metadata-token", "")):
            return _text(401, "401 - Unauthorized")
        found = self._read(instance, path.strip("/"))
        return _text(404, "404 - Not Found") if found is None else _text(200, found)

    def _token(self, instance: Instance, request: Request) -> Response:
        if request.method != "PUT":
            return _text(405, "")
        wanted = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not wanted.isdigit() or not 1 <= int(wanted) <= _LONGEST or "x-forwarded-for" in request.headers:
            return _text(400 if "x-forwarded-for" not in request.headers else 403, "400 - Bad Request")
        token, now = secrets.token_urlsafe(40), time.time()
        with self._lock:
            self._tokens = {word: held for word, held in self._tokens.items() if held[1] > now}
            self._tokens[token] = (instance.id, now + int(wanted))
        return Response(200, token.encode(), {"x-aws-ec2-metadata-token-ttl-seconds": wanted})

    def _believed(self, instance: Instance, token: str) -> bool:
        with self._lock:
            owner, until = self._tokens.get(token, ("", 0.0))
        return owner == instance.id and until > time.time()

    def _read(self, instance: Instance, path: str) -> str | None:
        if path == "latest/dynamic/instance-identity/document":
            return json.dumps(self._identity(instance), indent=2)
        if path == "latest/user-data":
            data = instance.order.user_data
            return data.decode("latin-1") if data else None
        if not path.startswith("latest/meta-data"):
            return "meta-data\ndynamic\nuser-data" if path == "latest" else None
        leaves = self._leaves(instance)
        name = path.removeprefix("latest/meta-data").strip("/")
        if name in leaves:
            return leaves[name]
        inside = name + "/" if name else ""
        below = [leaf.removeprefix(inside) for leaf in leaves if leaf.startswith(inside)]
        names = dict.fromkeys(word.split("/", 1)[0] + ("/" if "/" in word else "") for word in below)
        return "\n".join(names) or None

    def _leaves(self, instance: Instance) -> dict[str, str]:
        order = instance.order
        leaves = {
            "ami-id": order.image,
            "ami-launch-index": str(instance.number),
            "hostname": f"ip-{instance.private.replace('.', '-')}.ec2.internal",
            "instance-action": "none",
            "instance-id": instance.id,
            "instance-life-cycle": "spot" if order.spot else "on-demand",
            "instance-type": order.type,
            "local-ipv4": instance.private,
            "placement/availability-zone": order.zone,
            "placement/region": order.region,
            "reservation-id": instance.reservation,
            "services/domain": "amazonaws.com",
            "services/partition": "aws",
        }
        if instance.public:
            leaves["public-ipv4"] = instance.public
        if order.role:
            leaves |= self._role(instance)
        if order.shows_tags:
            leaves |= {f"tags/instance/{key}": value for key, value in instance.tags.items()}
        # In everybody's time, not the sandbox's: the machine reckons what is left by its own clock.
        if instance.notice is not None:
            when = stamp(self.clock.true(instance.notice))
            leaves["spot/instance-action"] = json.dumps({"action": "terminate", "time": when})
            leaves["spot/termination-time"] = when
        if instance.rebalance is not None:
            noticed = {"noticeTime": stamp(self.clock.true(instance.rebalance))}
            leaves["events/recommendations/rebalance"] = json.dumps(noticed)
        return leaves

    def _role(self, instance: Instance) -> dict[str, str]:
        role = instance.order.role
        key = self.keys.of_machine(instance.id, role)
        profile = {
            "Code": "Success",
            "LastUpdated": stamp(key.issued),
            "InstanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{instance.order.profile}",
            "InstanceProfileId": "AIPA" + instance.id[2:].upper(),
        }
        given = {
            "Code": "Success",
            "LastUpdated": stamp(key.issued),
            "Type": "AWS-HMAC",
            "AccessKeyId": key.access_key,
            "SecretAccessKey": key.secret,
            "Token": key.token,
            "Expiration": stamp(key.expires),
        }
        return {"iam/info": json.dumps(profile), f"iam/security-credentials/{role}": json.dumps(given)}

    def _identity(self, instance: Instance) -> dict[str, object]:
        return {
            "accountId": ACCOUNT,
            "architecture": instance.order.architecture,
            "availabilityZone": instance.order.zone,
            "imageId": instance.order.image,
            "instanceId": instance.id,
            "instanceType": instance.order.type,
            "pendingTime": stamp(instance.launched),
            "privateIp": instance.private,
            "region": instance.order.region,
            "version": "2017-09-30",
        }


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode("latin-1"), {"content-type": "text/plain"})
