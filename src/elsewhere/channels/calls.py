"""CARRY within one process: the agent is a thread, or a loop, of the controller; nothing is written and nothing lapses.

It dies with its controller, and needs to outlive nothing: what was handed out is in the ledger.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from threading import Lock
from time import monotonic

from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.model.reports import Report
from elsewhere.model.task import Delivery


class Calls:
    """One object for both ends, for any number of agents in any threads.

    `on_send` and `on_report` are called after something was sent, handed back or reported, in the caller's thread:
    a loop that waits is woken by them. They must return at once.
    """

    address = "calls:"
    watch: int | None = None

    def __init__(self, on_send: Callable[[], None] | None = None, on_report: Callable[[], None] | None = None) -> None:
        self.on_send, self.on_report = on_send, on_report
        self._lock = Lock()
        self._ready: deque[Delivery] = deque()
        self._suspects: deque[Delivery] = deque()
        self._later: list[tuple[float, Delivery]] = []
        self._reports: deque[Receipt] = deque()
        self._confirmed: set[str] = set()
        self._serial = itertools.count()

    def create(self) -> None:
        """Nothing needs to be made."""

    def send(self, deliveries: Sequence[Delivery]) -> None:
        suspects = [d for d in deliveries if d.alone]
        if suspects:
            deliveries = [d for d in deliveries if not d.alone]
        with self._lock:
            self._suspects.extend(suspects)
            self._ready.extend(deliveries)
        if self.on_send is not None:
            self.on_send()

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        with self._lock:
            if self._later:
                self._fall_due()
            if room.alone and room.tasks > 0 and self._suspects:
                return [Claim(self._suspects.popleft())]
            take = self._ready.popleft
            return [Claim(take()) for _ in range(min(room.tasks, len(self._ready)))]

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        return claims

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        due = monotonic() + after.total_seconds()
        with self._lock:
            self._later.extend((due, claim.delivery) for claim in claims)
        if self.on_send is not None:
            self.on_send()

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        with self._lock:
            serial = self._serial
            self._reports.extend([Receipt(report, str(next(serial))) for report in reports])
        if self.on_report is not None:
            self.on_report()

    def collect(self, limit: int) -> Sequence[Receipt]:
        """The oldest first; they come again until they are confirmed."""
        with self._lock:
            if self._confirmed:
                return [receipt for receipt in self._reports if receipt.token not in self._confirmed][:limit]
            return list(itertools.islice(self._reports, limit))

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        with self._lock:
            confirmed, reports = self._confirmed, self._reports
            confirmed.update([receipt.token for receipt in receipts])
            while reports and reports[0].token in confirmed:
                confirmed.discard(reports.popleft().token)
            if confirmed:  # out of order, or confirmed twice: keep only what is still to come
                first = int(reports[0].token) if reports else 0
                self._confirmed = {token for token in confirmed if reports and int(token) >= first}

    def destroy(self) -> None:
        with self._lock:
            for kept in (self._ready, self._suspects, self._later, self._reports, self._confirmed):
                kept.clear()

    def _fall_due(self) -> None:
        now = monotonic()
        due = [delivery for when, delivery in self._later if when <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        self._ready.extendleft(reversed([d for d in due if not d.alone]))
        self._suspects.extendleft(reversed([d for d in due if d.alone]))
