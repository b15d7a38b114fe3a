"""What the sandbox would have cost, by AWS's rules at the sandbox's invented prices.

A machine is billed by the second while it runs, a minute at least; a spot machine that the cloud takes back within its
first hour is free; its disk and public address are billed beside it; requests by the thousand. Free tiers are left out.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from elsewhere.sandbox import catalog
from elsewhere.sandbox.fleet import RUNNING, SHUTTING_DOWN, TERMINATED, Instance
from elsewhere.sandbox.http import Request, Response
from elsewhere.sandbox.market import Market

_MINUTE, _HOUR = 60.0, 3600.0
_MONTH_HOURS = 730
_CHUNK = 64 << 10
_RATES = {
    "sqs": Decimal("0.40") / 1_000_000,
    "s3 write": Decimal("0.005") / 1000,
    "s3 read": Decimal("0.0004") / 1000,
}
_S3_READS = ("GetObject", "HeadObject", "SelectObject")


class Meter:
    """Counts the requests that are billed, as they are billed."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, service: str, action: str, request: Request, answer: Response) -> None:
        kind, units = service, 1
        if service == "s3":
            if action.startswith("Delete"):
                kind = "s3 free"
            else:
                kind = "s3 read" if action in _S3_READS else "s3 write"
        elif service == "sqs":
            size = len(answer.body) if action == "ReceiveMessage" else len(request.body)
            units = max(1, -(-size // _CHUNK))
        with self._lock:
            self._counts[kind] += units
            self._calls[f"{service} {action}"] += 1

    def counts(self) -> dict[str, int]:
        """Billed requests by kind; those of a kind that costs nothing too."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def calls(self) -> dict[str, int]:
        """Requests as they came, by service and action."""
        with self._lock:
            return dict(sorted(self._calls.items()))


@dataclass(frozen=True, slots=True)
class Line:
    """What one machine has cost so far, in dollars."""

    machine: str
    type: str
    zone: str
    spot: bool
    seconds: float
    """As billed."""
    compute: Decimal
    disk: Decimal
    address: Decimal
    running: bool
    note: str = ""

    @property
    def total(self) -> Decimal:
        return self.compute + self.disk + self.address


def line(instance: Instance, market: Market, now: float) -> Line:
    order = instance.order
    start, stop, gone = instance.at(RUNNING), instance.at(SHUTTING_DOWN), instance.at(TERMINATED)
    ran = max((stop or now) - start, 0.0) if start is not None else 0.0
    billed = max(ran, _MINUTE) if start is not None else 0.0
    note = ""
    if start is None:
        compute = Decimal(0)
    elif order.spot and instance.move.reason.by_cloud and ran < _HOUR:
        compute, note = Decimal(0), "taken back in its first hour"
    elif order.spot:
        compute = market.cost(order.type, order.zone, start, start + billed)
    else:
        compute = market.on_demand(order.type, order.region) * Decimal(billed) / 3600
    kept = Decimal(max((gone or now) - instance.launched, 0.0))
    disk = catalog.disk_gb_month(order.region) * order.disk_gb * kept / (3600 * _MONTH_HOURS)
    address = catalog.ADDRESS_HOUR * Decimal(ran) / 3600 if instance.public else Decimal(0)
    return Line(instance.id, order.type, order.zone, order.spot, billed, compute, disk, address, instance.alive, note)


def requests(counts: dict[str, int]) -> dict[str, Decimal]:
    """Dollars by kind of request."""
    return {kind: _RATES.get(kind, Decimal(0)) * count for kind, count in counts.items()}
