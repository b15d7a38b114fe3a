"""What the cloud can and will give: stock by type and zone, quotas of vCPUs, and the buckets that throttle requests.

The buckets are those that AWS publishes ("Request throttling for the Amazon EC2 API"); they fill by everybody's clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fnmatch import fnmatchcase

from elsewhere.sandbox.ec2.wire import Refusal
from elsewhere.sandbox.fleet import Fleet, Order

QUOTAS = {
    "standard": "L-1216C47A",
    "standard-spot": "L-34B43A08",
    "g": "L-DB2E81BA",
    "g-spot": "L-3819A6DF",
    "p": "L-417A185B",
    "p-spot": "L-7212CCBC",
    "x": "L-7295265B",
    "x-spot": "L-E3A00192",
    "inf": "L-1945791B",
    "inf-spot": "L-B5D1601B",
    "trn": "L-2C3B7624",
    "trn-spot": "L-6B0D517C",
    "dl": "L-6E869C2A",
    "dl-spot": "L-85EED4F7",
    "f": "L-74FC7D96",
    "f-spot": "L-88CF9481",
    "hpc": "L-F7808C92",
    "u": "L-43DA4232",
}
"""The sandbox's short names of the quotas of vCPUs, and their codes in Service Quotas."""
_DEFAULT = 20_000.0
_REQUESTS = {"RunInstances": (5, 2), "TerminateInstances": (100, 5), "CreateTags": (100, 10)}
_RESOURCES = {"RunInstances": (1000, 2), "TerminateInstances": (1000, 20)}
_READ, _READ_ALL, _WRITE = (100, 20), (50, 10), (50, 5)


class Bucket:
    def __init__(self, size: float, rate: float, ticks: Callable[[], float] = time.monotonic) -> None:
        self.size, self.rate, self._ticks = size, rate, ticks
        self._left, self._at = float(size), ticks()

    def take(self, count: float) -> bool:
        """True, and they are gone, if it holds so many."""
        now = self._ticks()
        self._left = min(self.size, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class Limits:
    def __init__(self, fleet: Fleet, held: bool = True, ticks: Callable[[], float] = time.monotonic) -> None:
        """`held`: whether requests are throttled at all."""
        self.fleet, self._held, self._ticks = fleet, held, ticks
        self.quotas = dict.fromkeys(QUOTAS, _DEFAULT)
        self._stock: dict[tuple[str, str], int] = {}
        self._buckets: dict[tuple[str, str, str], Bucket] = {}
        self._lock = threading.Lock()
        self.throttled = 0

    def throttle(self, region: str, action: str, narrow: bool, resources: int) -> None:
        """RequestLimitExceeded when a bucket of this action has too little. `narrow`: filtered, by id, or paged."""
        if not self._held:
            return
        size = _REQUESTS.get(action)
        if size is None:
            reads = action.startswith(("Describe", "Get", "List"))
            size = (_READ if narrow else _READ_ALL) if reads else _WRITE
        with self._lock:
            well = self._bucket(region, action, f"requests {narrow}", size).take(1)
            if well and action in _RESOURCES:
                well = self._bucket(region, action, "resources", _RESOURCES[action]).take(resources)
            if not well:
                self.throttled += 1
                raise Refusal("RequestLimitExceeded", "Request limit exceeded.")

    def _bucket(self, region: str, action: str, kind: str, size: tuple[int, int]) -> Bucket:
        key = (region, action, kind)
        if key not in self._buckets:
            self._buckets[key] = Bucket(*size, self._ticks)
        return self._buckets[key]

    def keep_stock(self, kind: str, zone: str, count: int) -> None:
        """At most so many machines of these types (a glob) at once, in this zone (empty: in each)."""
        with self._lock:
            self._stock.pop((kind, zone), None)
            self._stock[kind, zone] = count

    def stock(self) -> dict[str, int]:
        with self._lock:
            return {kind + (f"@{zone}" if zone else ""): count for (kind, zone), count in self._stock.items()}

    def room(self, order: Order, most: int) -> int:
        """How many of `most` the quota and the stock allow."""
        quota = self.quotas[_name(order)]
        by_quota = int((quota - self._used(order)) // max(order.cpus, 1))
        return max(0, min(most, by_quota, self._in_stock(order.type, order.zone, most)))

    def roomiest(self, kind: str, zones: list[str], spot: bool) -> str:
        """Of these zones, the first with the most left."""
        return max(zones, key=lambda zone: self._in_stock(kind, zone, 1 << 30))

    def _in_stock(self, kind: str, zone: str, most: int) -> int:
        with self._lock:
            rules = [n for (glob, where), n in self._stock.items() if fnmatchcase(kind, glob) and where in ("", zone)]
        if not rules:
            return most
        held = sum(1 for i in self.fleet.alive() if i.order.type == kind and i.order.zone == zone)
        return max(0, rules[-1] - held)

    def _used(self, order: Order) -> int:
        alike = (i.order for i in self.fleet.alive() if i.order.region == order.region)
        return sum(o.cpus for o in alike if _name(o) == _name(order))

    def check_quota(self, order: Order, least: int) -> None:
        limit = self.quotas[_name(order)]
        if self._used(order) + least * order.cpus <= limit:
            return
        if order.spot:
            raise Refusal("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
        raise Refusal(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limit:g} allows for the instance "
            "bucket that the specified instance type belongs to.",
        )

    def check_capacity(self, order: Order, least: int, room: int) -> None:
        if room < least:
            raise Refusal(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {order.type} capacity in the Availability Zone you requested "
                f"({order.zone}).",
            )


def _name(order: Order) -> str:
    name = order.quota + ("-spot" if order.spot else "")
    return name if name in QUOTAS else order.quota
