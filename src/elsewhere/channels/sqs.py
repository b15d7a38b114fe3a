"""CARRY by SQS and a bucket, the controller's end. What SQS counts decides nothing: the ledger does.

<prefix>-tasks[-<class>]   portions of deliveries, signed by the job      <prefix>-reports   what agents send home
In the store: charter, orders/, and bodies/ of what is too large for a message. A report is deleted from its queue only
when it is confirmed, so after its commit has been appended to the job's log: no other copy of it is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.channels.frames import Signs, Verifies, pack_deliveries, pack_reports, seal, unpack_reports, unseal
from elsewhere.channels.orders import LOOK, supersede, write_orders
from elsewhere.channels.parcels import BODIES, Parcel, body, cut, unwrap, wrap
from elsewhere.channels.polls import Poll
from elsewhere.channels.sqs_wire import BATCH, Came, Wire
from elsewhere.errors import InternalError, NotFound, PlaceError, Refused, Unreachable
from elsewhere.model import ids
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Ended, Heartbeat, Report
from elsewhere.model.task import Delivery
from elsewhere.stores import Store

ALONE = "alone"
"""The class of deliveries that want a machine to themselves: SQS cannot filter, so they have a queue of their own."""
WAIT = 20
"""Seconds that a long poll waits: the most that SQS allows, and the least that it costs."""
_CHARTER, _ORDERS = "charter", "orders/"
_HOLD = 30.0
"""Seconds that collected reports are kept from a controller that comes later: few, since the last long poll of one that
was killed may still take some, and they are not news to anybody until they come again."""
_SPACE = 5.0
"""Seconds at most between two looks for reports that do not fill an answer."""
_AHEAD, _SLOTS, _MOST = 60.0, 4, 1000
"""Seconds of work in a portion; slots of a machine that has not spoken yet; deliveries in a portion."""


def tasks_queue(prefix: str, sort: str = "") -> str:
    return f"{prefix}-tasks" + (f"-{sort}" if sort else "")


def reports_queue(prefix: str) -> str:
    return f"{prefix}-reports"


def by_alone(delivery: Delivery) -> str:
    """The class of a delivery where machines are all alike."""
    return ALONE if delivery.alone else ""


class Sqs:
    """The controller's end. `address` is made by whoever knows where the store is (registry.py)."""

    watch: int | None = None

    def __init__(
        self,
        region: str,
        prefix: str,
        store: Store,
        job: str,
        *,
        address: str = "",
        signer: Signs | None = None,
        agents: Callable[[str], Verifies] | None = None,
        charter: bytes = b"",
        classes: Sequence[str] = (),
        sort: Callable[[Delivery], str] = by_alone,
        labels: Mapping[str, str] | None = None,
        client: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: int = WAIT,
    ) -> None:
        """`agents`: who checks what an agent of this name signs; Refused by it, or a report in another's name, is not
        believed. `classes`: queues besides the plain one and that for `alone`; `sort` gives a delivery its class.
        `wait` 0: no thread, each `collect` asks for itself."""
        self.address, self.charter, self.refused = address, charter, list[str]()
        self._prefix, self._store, self._job, self._signer, self._agents = prefix, store, job, signer, agents
        self._classes, self._sort, self._labels = ("", ALONE, *classes), sort, dict(labels or {})
        self._wire, self._wait = Wire(region, client, clock), wait
        self._poll, self._clock = Poll(self._ask, inline=not wait, space=self._space), clock
        self._outstanding: set[tuple[int, int]] = set()
        self._unconfirmed: dict[str, tuple[Came, Parcel, list[Receipt]]] = {}
        self._settled: dict[str, tuple[str, str]] = {}
        self._forgot = clock()
        self._took: float | None = None
        self._sizes: dict[str, int] = {}
        self.hold = _HOLD
        """Seconds that collected reports are ours: more than they wait to be confirmed."""
        self._orders, self._ordered = Orders("", -1), 0.0
        self.urgent = False
        """Set: the next orders are published at once, whatever is new in them."""

    # --- to agents ------------------------------------------------------------------------------------------------

    @property
    def late(self) -> float:
        """Seconds for which a report may lie in its queue before it is asked for."""
        return self._space()

    def create(self) -> None:
        names = self._queues()
        self._wire.create(names[0], self._labels)  # whoever may not make one is told so once
        with ThreadPoolExecutor(len(names) - 1) as crowd:  # each is waited for
            list(crowd.map(lambda name: self._wire.create(name, self._labels), names[1:]))
        self._store.put(_CHARTER, seal(self._signer, f"charter of {self._job}", self.charter))

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """What was sent already, and has not ended, is left out: it is in the queue, or its holder's to hand back."""
        fresh: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            if (delivery.n, delivery.attempt) not in self._outstanding:
                fresh.setdefault(self._sort(delivery), []).append(delivery)
        for sort, some in fresh.items():
            most = 1 if sort == ALONE else self._portion()
            parts = list(cut(some, most, lambda delivery: len(delivery.body)))
            for start in range(0, len(parts), 10):
                self._send(tasks_queue(self._prefix, sort), parts[start : start + 10])

    def order(self, orders: Orders) -> None:
        """Publish orders to all agents. Twice: harmless. Lost reply: again.

        Where only finished tasks were added it may wait for a later call: each publication is billed, and tells agents
        no more than that what they hold twice need not be run.
        """
        same = replace(orders, ended=(), numbers={}) == replace(self._orders, ended=(), numbers={})
        if same and not self.urgent and self._clock() - self._ordered < LOOK:
            return
        write_orders(self._store, orders, self._signer)
        if orders.epoch > self._orders.epoch:
            supersede(self._store, orders, self._signer)
        self._orders, self._ordered, self.urgent = orders, self._clock(), False

    def destroy(self) -> None:
        self._poll.close()
        for name in self._queues():
            self._wire.drop(name)
        for folder in (BODIES, _ORDERS, _CHARTER):
            self._store.delete(list(self._store.list(folder)))

    def close(self) -> None:
        """Ask no more. Twice: harmless."""
        self._poll.close()
        with suppress(PlaceError):  # they come again to whoever comes next, who knows them by their numbers
            self._forget(now=True)

    # --- from agents ----------------------------------------------------------------------------------------------

    def collect(self, limit: int) -> Sequence[Receipt]:
        if self._count() < limit:
            self._arrive()
            while self._count() < limit:
                self._poll.want(10, self.hold)
                if self._arrive() < BATCH:
                    break
        return [one for _, _, receipts in self._unconfirmed.values() for one in receipts][:limit]

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        tokens: dict[str, set[str]] = {}
        for report, token in receipts:
            tokens.setdefault(token.partition("#")[0], set()).add(token)
            if isinstance(report, Ended):
                self._outstanding.discard((report.n, report.attempt))
        for name, settled in tokens.items():
            if name in self._unconfirmed:
                came, parcel, all_ = self._unconfirmed[name]
                left = [one for one in all_ if one.token not in settled]
                self._unconfirmed[name] = (came, parcel, left)
                if not left:
                    del self._unconfirmed[name]
                    self._settled[name] = (came.receipt, parcel.key)
        self._forget()

    # --- the agent's verbs are in sqs_agent.py --------------------------------------------------------------------

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        raise InternalError("this is the controller's end of the queues")

    renew: Any = claim
    release: Any = claim
    report: Any = claim

    # --- within ---------------------------------------------------------------------------------------------------

    def _queues(self) -> list[str]:
        return [*(tasks_queue(self._prefix, sort) for sort in self._classes), reports_queue(self._prefix)]

    def _portion(self) -> int:
        """So many deliveries as keep the slots of one machine at work for a minute: what it claims, it soon begins."""
        slots = max(1, round(sum(self._sizes.values()) / len(self._sizes))) if self._sizes else _SLOTS
        took = _AHEAD if self._took is None else max(self._took, 0.001)
        return max(1, min(round(slots * _AHEAD / took), _MOST))

    def _send(self, queue: str, parts: Sequence[Sequence[Delivery]]) -> None:
        texts = []
        for part in parts:
            name = ids.new("p")[2:]
            data = seal(self._signer, f"portion {name} of {self._job}", pack_deliveries(part))
            texts.append(wrap(Parcel(name, data), self._store))
        failed = set(self._wire.send(queue, texts))
        for i, part in enumerate(parts):
            if i not in failed:
                self._outstanding.update((d.n, d.attempt) for d in part)
        if failed:
            raise Unreachable(f"{len(failed)} messages were not taken by {queue}")

    def _ask(self, most: int, hold: float) -> list[Came]:
        return self._wire.receive(reports_queue(self._prefix), most, hold, self._wait)

    def _count(self) -> int:
        return sum(len(receipts) for _, _, receipts in self._unconfirmed.values())

    def _arrive(self) -> int:
        """Read what has come; how many messages that was."""
        came = self._poll.take()
        for one in came:
            if one.id in self._unconfirmed:  # it was given out again: by this receipt it can be deleted
                self._unconfirmed[one.id] = (one, *self._unconfirmed[one.id][1:])
                continue
            if one.id in self._settled:
                self._settled[one.id] = (one.receipt, self._settled[one.id][1])
                continue
            try:
                parcel = unwrap(one.text)
                reports = self._believed(parcel)
            except Refused as error:  # it comes again when its time is over, and may be checked by then
                self.refused = [*self.refused[-99:], error.message]
                continue
            except NotFound:  # it was confirmed, its object is gone, and the message is an echo
                self._settled[one.id] = (one.receipt, "")
                continue
            self._learn(reports)
            receipts = [Receipt(report, f"{one.id}#{i}") for i, report in enumerate(reports)]
            self._unconfirmed[one.id] = (one, parcel, receipts)
        return len(came)

    def _believed(self, parcel: Parcel) -> list[Report]:
        verifier = self._agents(parcel.by) if self._agents is not None else None
        purpose = f"reports {parcel.name} of {self._job} by {parcel.by}"
        reports = unpack_reports(unseal(verifier, purpose, body(parcel, self._store)))
        if verifier is not None and any(report.agent != parcel.by for report in reports):
            raise Refused(f"{parcel.by} reports in the name of another")
        return reports

    def _learn(self, reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, Ended):
                self._took = report.took if self._took is None else self._took + (report.took - self._took) / 64
            elif isinstance(report, Heartbeat):
                self._sizes.pop(report.agent, None)
                self._sizes[report.agent] = len(report.running) + report.free
        while len(self._sizes) > 1000:
            del self._sizes[next(iter(self._sizes))]

    def _forget(self, now: bool = False) -> None:
        """Ten at a time, or after a while: until then nobody else sees them, and if we die they come again."""
        if not now and len(self._settled) < BATCH and self._clock() - self._forgot < _HOLD / 5:
            return
        self._wire.delete(reports_queue(self._prefix), [receipt for receipt, _ in self._settled.values()])
        self._store.delete([key for _, key in self._settled.values() if key])
        self._settled.clear()
        self._forgot = self._clock()

    def _space(self) -> float:
        return min((self._took or 0.0) / 6, _SPACE)


def pack_parcels(reports: Sequence[Report], agent: str, job: str, signer: Signs | None, store: Store) -> list[str]:
    """Reports as texts of messages, signed by their agent."""
    texts = []
    for part in cut(reports, 2000, lambda report: len(report.value) if isinstance(report, Ended) else 64):
        name = ids.new("r")[2:]
        data = seal(signer, f"reports {name} of {job} by {agent}", pack_reports(part))
        texts.append(wrap(Parcel(name, data, by=agent), store))
    return texts
