"""CARRY by write-once objects in a store: a directory that several machines share, or a bucket.

segments/<id>          deliveries, signed by the job        claims/<id>/<n>   who holds what of it (claimlog.py)
reports/<id>           what an agent sends home             beats/<agent>     that it lives
No object is renamed, appended to or locked; listings may be stale; clocks and file times are never compared.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

import msgspec

from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.channels.claimlog import Claiming, taking
from elsewhere.channels.frames import (
    Signs,
    Verifies,
    pack_deliveries,
    pack_reports,
    seal,
    unpack_deliveries,
    unpack_reports,
    unseal,
)
from elsewhere.channels.orders import Remembered, write_orders
from elsewhere.channels.segments import ALONE, BEATS, CLAIMS, SEGMENTS, Beat, Segment, Shelf
from elsewhere.errors import NotFound, PlaceError, Refused
from elsewhere.model import ids
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import ranges
from elsewhere.model.reports import Ended, Heartbeat, Report
from elsewhere.model.task import Delivery
from elsewhere.stores import Store

_REPORTS, _META, _CHARTER = "reports/", "spool", "charter"
_BYTES = 1 << 20
_beat = msgspec.msgpack.Decoder(Beat)


class Spool:
    """One object at each end. `address` is made by whoever knows where the store is (registry.py)."""

    watch: int | None = None
    store: Store | None = None
    """At the agent's end, where it does not see our files: what is too large for the spool."""
    words: Mapping[str, str] = MappingProxyType({})
    """At the agent's end: what its address says."""
    verifier: Verifies | None = None
    gather, stock = 0.1, 0.25
    """Seconds for which an agent gathers reports; seconds of work that it takes at once, so that claims are few."""

    def __init__(
        self,
        store: Store,
        job: str,
        *,
        light: Store | None = None,
        address: str = "",
        signer: Signs | None = None,
        verifier: Verifies | None = None,
        charter: bytes = b"",
        patience: timedelta = timedelta(seconds=0.25),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`light`: the same store without syncs, for claims and beats, which need not survive the machines themselves.
        `charter`: what an agent must know of the job, written by `create`, signed. `patience`: how long an agent
        trusts its last look at what others hold, and a controller its last look at beats."""
        self.address, self.charter = address, charter
        self._store, self._job, self._signer = store, job, signer
        self._patience, self._clock = patience.total_seconds(), clock
        self._shelf = Shelf(light or store, job, verifier, clock, self._patience)
        self._verifier, self._orders = verifier, Remembered(store, job, verifier)
        self._outstanding: set[tuple[int, int]] | None = None
        self._unconfirmed: dict[str, list[Receipt]] = {}
        self._took = 0.0
        self._beats: dict[str, int] = {}
        self._beats_read = float("-inf")
        self._last_beat: dict[str, float] = {}
        self._mark = os.urandom(4).hex()

    # --- the controller's end

    def create(self) -> None:
        self._store.put(_CHARTER, seal(self._signer, f"charter of {self._job}", self.charter))
        self._store.put(_META, b"elsewhere spool 1\n")

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """What lies in a segment already is left out: it is on offer, or will be when its holder lapses."""
        out = self._outstanding
        if out is None:
            out = self._outstanding = self._lying()
        fresh = [d for d in deliveries if d[:2] not in out]
        for part, name in self._parts(fresh):
            data = seal(self._signer, f"segment {name} of {self._job}", pack_deliveries(part))
            self._store.create(SEGMENTS + name, data)
            out.update([d[:2] for d in part])

    def collect(self, limit: int) -> Sequence[Receipt]:
        found = [receipt for receipts in self._unconfirmed.values() for receipt in receipts][:limit]
        if len(found) < limit:
            for key in list(self._store.list(_REPORTS)):
                if key not in self._unconfirmed and (receipts := self._read_reports(key)):
                    found += receipts
                    if len(found) >= limit:
                        break
        return [*found[:limit], *self._heard()]

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        settled: defaultdict[str, set[str]] = defaultdict(set)
        for _, token in receipts:
            settled[token.partition("#")[0]].add(token)
        if self._outstanding is not None:
            self._outstanding.difference_update([r[0][:2] for r in receipts if isinstance(r[0], Ended)])
        gone = []
        for key, tokens in settled.items():
            left = [receipt for receipt in self._unconfirmed.get(key, ()) if receipt.token not in tokens]
            if left:
                self._unconfirmed[key] = left
            elif self._unconfirmed.pop(key, None) is not None:
                gone.append(key)
        self._store.delete(gone)

    def order(self, orders: Orders) -> None:
        """Publish orders to all agents. Twice: harmless. Lost reply: again."""
        write_orders(self._store, orders, self._signer)

    def destroy(self) -> None:
        for folder in (SEGMENTS, CLAIMS, _REPORTS, BEATS, "orders/", _CHARTER, _META):
            self._store.delete(list(self._store.list(folder)))

    # --- the agent's end

    def read_charter(self) -> bytes:
        """What `create` was given. NotFound: no spool there (yet); Refused: not signed by the job."""
        if self._store.get(_META) != b"elsewhere spool 1\n":
            raise Refused("this spool was written by another version of Elsewhere")
        return unseal(self._verifier, f"charter of {self._job}", self._store.get(_CHARTER))

    def told(self) -> Orders:
        """The orders of the highest epoch, as they stand now; empty ones if there are none."""
        return self._orders.read()

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        claims: list[Claim] = []
        if room.tasks <= 0:
            return claims  # it is not hungry yet, and will take more at a time then
        holder = self._holder(agent)
        self._free_orphans(holder)
        try:
            for segment in self._shelf.open(room.alone):
                wanted = room.tasks + room.stock - len(claims)
                if wanted <= 0:
                    break
                claims += self._take(segment, holder, wanted, lease.total_seconds())
                if segment.alone and claims:
                    break  # it has the machine to itself
        except PlaceError:
            if not claims:
                raise
        return claims

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        kept: list[Claim] = []
        agents = set()
        for segment, numbers in self._by_segment(claims):
            if segment is None:
                continue
            self._shelf.catch_up(segment)
            stands = self._shelf.stands(segment)
            for number, places in numbers.items():
                agents.add(segment.log.agent(number))
                if stands:
                    kept += [places[i] for i in segment.log.kept(number, places)]
        for agent in agents - {""}:
            self._pulse(agent)
        return kept

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        self._settle(claims, lambda agent, items: Claiming(agent, free=items, after=after.total_seconds()))

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        for beat in [report for report in reports if isinstance(report, Heartbeat)]:
            self._pulse(self._holder(beat.agent), pack_reports([beat]))
        rest = [report for report in reports if not isinstance(report, Heartbeat)]
        if rest:
            self._store.create(_REPORTS + _name(), pack_reports(rest))
        # Only now: a delivery that is done is offered to nobody, so its report must be safe
        self._settle(done, lambda agent, items: Claiming(agent, done=items))

    # --- within

    def _holder(self, agent: str) -> str:
        """Its name in claims and beats: this process of it, so that what an earlier one held may lapse."""
        return f"{agent}.{self._mark}"

    def _free_orphans(self, holder: str) -> None:
        """A claim that we made without hearing so would be kept alive by our own beats for ever."""
        while self._shelf.orphans:
            name, number = self._shelf.orphans[0]
            segment = self._shelf.segment(name)
            items = [i for i in range(len(segment.deliveries)) if segment.log.holds(number, i)] if segment else []
            if segment is None or not items or self._shelf.append(segment, Claiming(holder, free=ranges(items))):
                del self._shelf.orphans[0]

    def _parts(self, deliveries: Sequence[Delivery]) -> Iterator[tuple[Sequence[Delivery], str]]:
        """Cut into segments: large where tasks are short, small where each will be claimed by itself."""
        most = 1024 if self._took < 1 else 256 if self._took < 60 else 64
        part: list[Delivery] = []
        size = 0
        for delivery in deliveries:
            if delivery.alone:
                yield [delivery], _name() + ALONE
                continue
            if part and (len(part) >= most or size + len(delivery.body) > _BYTES):
                yield part, _name()
                part, size = [], 0
            part.append(delivery)
            size += len(delivery.body)
        if part:
            yield part, _name()

    def _lying(self) -> set[tuple[int, int]]:
        """The deliveries of all segments that stand, with our own signature if we have a verifier."""
        found: set[tuple[int, int]] = set()
        for key in list(self._store.list(SEGMENTS)):
            name = key[len(SEGMENTS) :]
            try:
                body = unseal(self._verifier, f"segment {name} of {self._job}", self._store.get(key))
                found.update((d.n, d.attempt) for d in unpack_deliveries(body))
            except (NotFound, Refused):
                continue
        return found

    def _read_reports(self, key: str) -> list[Receipt]:
        try:
            reports = unpack_reports(self._store.get(key))
        except (NotFound, Refused):  # confirmed meanwhile by another of us; or not of our making: left where it is
            return []
        for report in reports:
            if isinstance(report, Ended):
                self._took += (report[4] - self._took) / 64
        new = tuple.__new__
        receipts = [new(Receipt, (report, f"{key}#{i}")) for i, report in enumerate(reports)]
        self._unconfirmed[key] = receipts
        return receipts

    def _heard(self) -> list[Receipt]:
        """A Heartbeat of each agent whose counter has moved since we looked; they need no confirming."""
        now = self._clock()
        if now - self._beats_read < max(self._patience, 1.0):
            return []
        self._beats_read = now
        found: list[Receipt] = []
        for key in list(self._store.list(BEATS)):
            try:
                beat = _beat.decode(self._store.get(key))
                if beat.counter != self._beats.get(key):
                    self._beats[key] = beat.counter
                    said = unpack_reports(beat.said) if beat.said else ()
                    found += [Receipt(report, f"{key}#{beat.counter}") for report in said]
            except (NotFound, Refused, msgspec.MsgspecError):
                continue
        return found

    def _take(self, segment: Segment, agent: str, limit: int, lease: float) -> list[Claim]:
        now, log = self._clock(), segment.log
        if log.exhausted() and now - segment.tried < self._patience:
            return []
        segment.tried = now
        for _ in range(2):  # who loses a race twice looks for work elsewhere
            self._shelf.catch_up(segment)
            items = log.free(self._clock(), limit) or log.held_by(self._lapsed(segment, agent), limit)
            if not items or log.finished:
                return []
            if self._clock() - self._last_beat.get(agent, float("-inf")) > lease / 4:
                self._pulse(agent)  # before the claim: one without a beat behind it would lapse
            if self._shelf.append(segment, taking(agent, lease, items, "")):
                head, deliveries = f"{segment.name}/{log.read}/", segment.deliveries
                new = tuple.__new__  # half the cost of the class's own, for each task
                return [new(Claim, (deliveries[i], f"{head}{i}")) for i in items]
        return []

    def _lapsed(self, segment: Segment, agent: str) -> list[str]:
        holders = segment.log.holders()
        return [other for other, lease in holders.items() if other != agent and self._shelf.lapsed(other, lease)]

    def _pulse(self, agent: str, said: bytes | None = None) -> None:
        now = self._clock()
        self._shelf.beat(agent, said)
        self._last_beat[agent] = now

    def _settle(self, claims: Collection[Claim], make: Callable[[str, tuple[tuple[int, int], ...]], Claiming]) -> None:
        for segment, numbers in self._by_segment(claims):
            while segment is not None and not segment.log.finished:
                by_agent: dict[str, list[int]] = {}
                for number, places in numbers.items():
                    if items := segment.log.kept(number, places):
                        by_agent.setdefault(segment.log.agent(number), []).extend(items)
                if not by_agent:
                    break
                agent, items = next(iter(by_agent.items()))
                self._shelf.append(segment, make(agent, ranges(items)))
                if self._shelf.segment(segment.name) is None:
                    break

    def _by_segment(self, claims: Collection[Claim]) -> Iterator[tuple[Segment | None, dict[int, dict[int, Claim]]]]:
        """Each segment of these, with the numbers of the claims by which they were taken, and what by each."""
        takings: defaultdict[str, dict[int, Claim]] = defaultdict(dict)
        for claim in claims:
            taking, _, i = claim.receipt.rpartition("/")
            takings[taking][int(i)] = claim
        found: defaultdict[str, dict[int, dict[int, Claim]]] = defaultdict(dict)
        for taking, places in takings.items():
            name, _, number = taking.partition("/")
            found[name][int(number)] = places
        for name, numbers in found.items():
            yield self._shelf.segment(name), numbers


def _name() -> str:
    return ids.new("s")[2:]
