"""The EC2 API: the actions that concern machines are answered here, all others by moto."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from elsewhere.sandbox import catalog
from elsewhere.sandbox.clock import Clock, stamp
from elsewhere.sandbox.ec2 import describe, wire
from elsewhere.sandbox.ec2.limits import Limits
from elsewhere.sandbox.ec2.run import Runs
from elsewhere.sandbox.ec2.wire import Refusal
from elsewhere.sandbox.fallback import Moto
from elsewhere.sandbox.fleet import BY_USER, Fleet, Instance
from elsewhere.sandbox.http import Request, Response
from elsewhere.sandbox.market import Market

Asked = Mapping[str, Any]
_CONSOLE = 64 << 10
_REFUSED = (
    "CreateFleet", "RequestSpotInstances", "RequestSpotFleet", "StopInstances", "StartInstances", "RebootInstances",
)  # fmt: skip
_DEFAULT_HISTORY = 90 * 86400.0


class Ec2:
    """A Service."""

    def __init__(self, fleet: Fleet, market: Market, limits: Limits, moto: Moto, clock: Clock) -> None:
        self.fleet, self.market, self.limits, self.moto, self.clock = fleet, market, limits, moto, clock
        self.runs = Runs(fleet, market, limits, moto)
        self.regrouped: Callable[[], None] = lambda: None
        """Called when security groups, or their members, have changed."""
        self._actions: dict[str, Callable[[Asked, str], Mapping[str, Any]]] = {
            "RunInstances": self._run,
            "DescribeInstances": self._describe,
            "DescribeInstanceStatus": self._status,
            "TerminateInstances": self._terminate,
            "DescribeSpotPriceHistory": self._spot_prices,
            "DescribeSpotInstanceRequests": self._spot_requests,
            "DescribeInstanceTypeOfferings": self._offerings,
            "DescribeInstanceAttribute": self._attribute,
            "ModifyInstanceAttribute": self._modify,
            "GetConsoleOutput": self._console,
            "CreateTags": self._create_tags,
            "DeleteTags": self._delete_tags,
            "DescribeTags": self._describe_tags,
        }

    def answer(self, request: Request) -> Response:
        try:
            asked = wire.read(request.body, request.query)
            action, region = str(asked.get("Action", "")), request.caller.region
            if region not in catalog.regions():
                raise Refusal("AuthFailure", f"There is no region {region}")
            narrow = any(word in asked for word in ("InstanceId", "Filter", "MaxResults", "NextToken"))
            resources = int(asked.get("MaxCount", len(wire.listed(asked.get("InstanceId"))) or 1))
            self.limits.throttle(region, action, narrow, resources)
            if action in _REFUSED:
                raise Refusal("UnsupportedOperation", f"The sandbox has no {action}: it has RunInstances.")
            act = self._actions.get(action)
            if act is None or self._is_moto_s(asked):
                response = self.moto.answer(request)
                if "SecurityGroup" in action and not action.startswith("Describe"):
                    self.regrouped()
                return response
            return wire.answer(action, act(asked, region))
        except Refusal as refusal:
            return wire.refused(refusal.code, refusal.message)

    def close(self) -> None:
        pass

    def _is_moto_s(self, asked: Asked) -> bool:
        """Tags of what is no instance."""
        resources = wire.listed(asked.get("ResourceId"))
        return bool(resources) and not any(str(id).startswith("i-") for id in resources)

    def _run(self, asked: Asked, region: str) -> Mapping[str, Any]:
        made = self.runs.run(asked, region)
        return describe.reservations([(instance, instance.move) for instance in made])[0]

    def _seen(self, asked: Asked, region: str) -> list[describe.Seen]:
        seen = describe.visible(self.fleet.known(), region, self.clock.now())
        ids = wire.listed(asked.get("InstanceId"))
        if ids:
            seen = describe.named(seen, ids)
        return describe.filtered(seen, wire.listed(asked.get("Filter")))

    def _describe(self, asked: Asked, region: str) -> Mapping[str, Any]:
        if "InstanceId" in asked and "MaxResults" in asked:
            raise Refusal("InvalidParameterCombination", "The parameter instancesSet cannot be used with maxResults")
        with self.fleet.lock:
            rows, token = describe.page(self._seen(asked, region), asked)
            return {"reservationSet": describe.reservations(rows), "nextToken": token}

    def _status(self, asked: Asked, region: str) -> Mapping[str, Any]:
        everything = wire.true(asked.get("IncludeAllInstances"))
        with self.fleet.lock:
            seen = [pair for pair in self._seen(asked, region) if everything or pair[1].state == "running"]
            rows, token = describe.page(seen, asked)
            return {"instanceStatusSet": [describe.status(*pair) for pair in rows], "nextToken": token}

    def _terminate(self, asked: Asked, region: str) -> Mapping[str, Any]:
        ids = wire.listed(asked.get("InstanceId"))
        if not ids:
            raise Refusal("MissingParameter", "The request must contain the parameter InstanceId")
        with self.fleet.lock:
            # Asked by id, an instance that is not shown yet is known: what was started can be ended at once.
            all_here = [(i, i.move) for i in self.fleet.known() if i.order.region == region]
            before = describe.named(all_here, ids)
            if wire.true(asked.get("DryRun")):
                raise Refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
            self.fleet.end(ids, BY_USER)
            rows = [
                {"instanceId": i.id, "currentState": describe.state(i.move), "previousState": describe.state(move)}
                for i, move in before
            ]
        return {"instancesSet": rows}

    def _spot_prices(self, asked: Asked, region: str) -> Mapping[str, Any]:
        now = self.clock.now()
        start = _moment(asked.get("StartTime"), now - _DEFAULT_HISTORY)
        end = min(_moment(asked.get("EndTime"), now), now)
        products = wire.listed(asked.get("ProductDescription"))
        wanted = {row["Name"]: wire.listed(row.get("Value")) for row in wire.listed(asked.get("Filter"))}
        kinds = wire.listed(asked.get("InstanceType")) or wanted.get("instance-type")
        zones = wire.listed(asked.get("AvailabilityZone")) or wanted.get("availability-zone")
        products = products or wanted.get("product-description", [])
        rows = []
        if not products or any(word.startswith("Linux/UNIX") for word in products):
            rows = self._prices(region, kinds, zones, start, end)
        shown, token = describe.page(rows, asked)
        return {"spotPriceHistorySet": [self._price(*row) for row in shown], "nextToken": token or ""}

    def _prices(
        self, region: str, kinds: list[str] | None, zones: list[str] | None, start: float, end: float
    ) -> list[tuple[str, str, float, Any]]:
        pairs = [
            (kind, zone)
            for zone, offered in catalog.offered(region).items()
            if zones is None or zone in zones
            for kind in offered
            if (kinds is None or kind in kinds) and "spot" in catalog.types()[kind].row["SupportedUsageClasses"]
        ]
        if end - start < 1 or kinds is None:
            # The present price of all there is; a history of everything for weeks would be millions of rows.
            return [(kind, zone, end, self.market.spot(kind, zone, end)) for kind, zone in pairs]
        return [(kind, zone, *row) for kind, zone in pairs for row in self.market.history(kind, zone, start, end)]

    def _price(self, kind: str, zone: str, at: float, price: Any) -> dict[str, Any]:
        return {
            "instanceType": kind,
            "productDescription": "Linux/UNIX",
            "spotPrice": f"{price:.6f}",
            "timestamp": stamp(at),
            "availabilityZone": zone,
        }

    def _spot_requests(self, asked: Asked, region: str) -> Mapping[str, Any]:
        rows = [
            {
                "spotInstanceRequestId": f"sir-{i.id[2:10]}",
                "instanceId": i.id,
                "state": "active" if i.alive else "closed",
                "type": "one-time",
                "status": {"code": _fulfilment(i)},
                "launchedAvailabilityZone": i.order.zone,
                "createTime": stamp(i.launched),
            }
            for i in self.fleet.known()
            if i.order.spot and i.order.region == region
        ]  # fmt: skip
        wanted = wire.listed(asked.get("SpotInstanceRequestId"))
        rows = [row for row in rows if not wanted or row["spotInstanceRequestId"] in wanted]
        return {"spotInstanceRequestSet": rows}

    def _offerings(self, asked: Asked, region: str) -> Mapping[str, Any]:
        kind = asked.get("LocationType", "region")
        offered = catalog.offered(region)
        if kind == "availability-zone":
            pairs = [(name, zone) for zone, names in offered.items() for name in names]
        elif kind == "region":
            pairs = [(name, region) for name in sorted({name for names in offered.values() for name in names})]
        else:
            raise Refusal("UnsupportedOperation", f"The sandbox lists offerings by region or zone, not by {kind}.")
        for row in wire.listed(asked.get("Filter")):
            place = {"instance-type": 0, "location": 1}.get(row.get("Name", ""))
            if place is None:
                raise Refusal("InvalidParameterValue", f"The filter '{row.get('Name')}' is invalid")
            values = wire.listed(row.get("Value"))
            pairs = [pair for pair in pairs if any(fnmatchcase(pair[place], value) for value in values)]
        shown, token = describe.page(pairs, asked)
        rows = [{"instanceType": name, "locationType": kind, "location": where} for name, where in shown]
        return {"instanceTypeOfferingSet": rows, "nextToken": token}

    def _one(self, asked: Asked, region: str) -> Instance:
        id = wire.listed(asked.get("InstanceId"))
        return self._seen({"InstanceId": id or [""]}, region)[0][0]

    def _attribute(self, asked: Asked, region: str) -> Mapping[str, Any]:
        instance, name = self._one(asked, region), str(asked.get("Attribute", ""))
        values = {
            "userData": base64.b64encode(instance.order.user_data).decode(),
            "instanceType": instance.order.type,
            "instanceInitiatedShutdownBehavior": "stop" if instance.order.stop_on_shutdown else "terminate",
            "disableApiTermination": "false",
        }
        if name == "groupSet":
            return {"instanceId": instance.id, "groupSet": [{"groupId": id} for id in instance.order.groups]}
        if name not in values:
            raise Refusal("UnsupportedOperation", f"The sandbox does not keep the attribute {name}.")
        return {"instanceId": instance.id, name: {"value": values[name]}}

    def _modify(self, asked: Asked, region: str) -> Mapping[str, Any]:
        """Of its groups: the machine is in these from now on, and in no others."""
        instance, ids = self._one(asked, region), wire.listed(asked.get("GroupId"))
        if not ids:
            raise Refusal("UnsupportedOperation", "Of an instance, the sandbox changes the security groups alone.")
        order = instance.order
        groups = self.runs.checked_groups(ids, region, order.vpc, order.subnet)
        with self.fleet.lock:
            instance.order = replace(order, groups=groups)
        self.regrouped()
        return {"return": True}

    def _console(self, asked: Asked, region: str) -> Mapping[str, Any]:
        instance = self._one(asked, region)
        output = base64.b64encode(instance.machine.console()[-_CONSOLE:]).decode()
        return {"instanceId": instance.id, "timestamp": stamp(self.clock.now()), "output": output}

    def _tagged(self, asked: Asked, region: str) -> list[Instance]:
        ids = wire.listed(asked.get("ResourceId"))
        return [instance for instance, _ in self._seen({"InstanceId": ids}, region)]

    def _create_tags(self, asked: Asked, region: str) -> Mapping[str, Any]:
        with self.fleet.lock:
            for instance in self._tagged(asked, region):
                instance.tags |= {tag["Key"]: tag.get("Value", "") for tag in wire.listed(asked.get("Tag"))}
        return {"return": True}

    def _delete_tags(self, asked: Asked, region: str) -> Mapping[str, Any]:
        with self.fleet.lock:
            for instance in self._tagged(asked, region):
                for tag in wire.listed(asked.get("Tag")):
                    if tag.get("Value", instance.tags.get(tag["Key"])) == instance.tags.get(tag["Key"]):
                        instance.tags.pop(tag["Key"], None)
        return {"return": True}

    def _describe_tags(self, asked: Asked, region: str) -> Mapping[str, Any]:
        rows = [
            {"resourceId": i.id, "resourceType": "instance", "key": key, "value": value}
            for i, _ in describe.visible(self.fleet.known(), region, self.clock.now())
            for key, value in i.tags.items()
        ]
        names = {"resource-id": "resourceId", "resource-type": "resourceType", "key": "key", "value": "value"}
        for row in wire.listed(asked.get("Filter")):
            name, values = names.get(row.get("Name", ""), ""), wire.listed(row.get("Value"))
            if not name:
                raise Refusal("UnsupportedOperation", f"The sandbox filters no tags by {row.get('Name')}.")
            rows = [found for found in rows if found[name] in values]
        shown, token = describe.page(rows, asked)
        return {"tagSet": shown, "nextToken": token}


def _moment(text: Any, otherwise: float) -> float:
    if not text:
        return otherwise
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise Refusal("InvalidParameterValue", f"{text} is not a moment") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _fulfilment(instance: Instance) -> str:
    if instance.alive:
        return "fulfilled"
    return "instance-terminated-by-service" if instance.move.reason.by_cloud else "instance-terminated-by-user"
