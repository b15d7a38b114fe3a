"""CARRY by SQS and a bucket, an agent's end: whole portions are held by their message, deliveries claimed one by one.

A lease is what this agent's own clock has measured since its message was asked for, whatever SQS would still allow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.channels.frames import Signs, Verifies, unpack_deliveries, unseal
from elsewhere.channels.orders import LOOK, OrdersReader
from elsewhere.channels.parcels import Parcel, body, unwrap, wrap
from elsewhere.channels.polls import Poll
from elsewhere.channels.sqs import ALONE, WAIT, pack_parcels, reports_queue, tasks_queue
from elsewhere.channels.sqs_wire import LONGEST_DELAY, LONGEST_HOLD, Came, Wire
from elsewhere.errors import InternalError, NotFound, PlaceError, Refused, Unreachable
from elsewhere.model.orders import Orders
from elsewhere.model.ranges import numbers, ranges
from elsewhere.model.reports import Ended, Report
from elsewhere.model.task import Delivery
from elsewhere.stores import Store

FREE, HELD, GONE = 0, 1, 2
IDLE = 3.0
"""Seconds between two looks at the orders by who has nothing to do: the end of all work should not wait."""
_STALE = 1 / 3
"""Share of its lease for which the rest of a portion may lie here and no slot gets free; then somebody else gets it."""
_LET_GO = LONGEST_HOLD - 3600
"""Seconds after which a message is deleted though its work goes on: SQS would give it to another. If this machine is
lost later, the pool's evidence brings its deliveries back, under their next number."""
_GATHER = (0.5, 15.0)
"""Seconds for which reports are gathered: at least, and at most."""
_REFUSED = 900.0


@dataclass(slots=True, eq=False)
class Held:
    """A message in our hands, and what has become of each of its deliveries. `until`: by our clock."""

    serial: int
    came: Came
    queue: str
    parcel: Parcel
    deliveries: Sequence[Delivery]
    state: list[int]
    until: float
    touched: float
    """When something of it was last claimed."""
    deleted: bool = False

    @property
    def alone(self) -> bool:
        return any(delivery.alone for delivery in self.deliveries)

    def items(self, state: int) -> list[int]:
        return [i for i, one in enumerate(self.state) if one == state]


class SqsAgent:
    """An agent's end."""

    watch: int | None = None

    def __init__(
        self,
        region: str,
        prefix: str,
        store: Store,
        job: str,
        agent: str,
        *,
        address: str = "",
        verifier: Verifies | None = None,
        signer: Signs | None = None,
        sort: str = "",
        words: Mapping[str, str] | None = None,
        client: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: int = WAIT,
        look: float = LOOK,
    ) -> None:
        """`words`: what the address says besides. `sort`: the class of deliveries that this machine takes, besides
        those that want it to themselves. `look`: seconds for which orders that were read hold. `wait` 0: no
        threads, each `claim` asks for itself."""
        self.address, self.agent, self.refused = address, agent, list[str]()
        self.gather = _GATHER[0]
        """Seconds for which an agent shall gather reports."""
        self.words, self.store, self.verifier = dict(words or {}), store, verifier
        self._prefix, self._store, self._job, self._verifier, self._signer = prefix, store, job, verifier, signer
        self._wire, self._clock, self._wait = Wire(region, client, clock), clock, wait
        self._polls = {queue: self._poll(queue) for queue in (tasks_queue(prefix, sort), tasks_queue(prefix, ALONE))}
        self._plain, self._single = self._polls
        self._orders = OrdersReader(store, job, verifier, clock, look)
        self._held: dict[int, Held] = {}
        self._finished: dict[str, Held] = {}
        self._serial, self._portion = 0, 0

    def read_charter(self) -> bytes:
        """What `create` was given. NotFound: no job there (yet); Refused: not signed by the job."""
        return unseal(self._verifier, f"charter of {self._job}", self._store.get("charter"))

    def told(self) -> Orders:
        """The orders of the highest epoch, as they stood some seconds ago: few, while nothing is in hand."""
        return self._orders.read(None if self._held else IDLE)

    def told_soon(self) -> Orders:
        """As `told`, and as young as while nothing is in hand: for who has work that takes long. It is billed."""
        return self._orders.read(IDLE)

    def told_now(self) -> Orders:
        """As they are now: for who was called because of them. It is billed."""
        return self._orders.read(0.0)

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        self._arrive(quiet=room.tasks <= 0)
        self._hand_on()
        if room.tasks <= 0:
            return []
        claims = self._take(room, room.tasks)
        if len(claims) < room.tasks and not any(claim.delivery.alone for claim in claims):
            missing = room.tasks - len(claims)
            most = -(-missing // self._portion) if self._portion else 1
            self._polls[self._plain].want(most, lease.total_seconds())
            if room.alone and not claims:
                self._polls[self._single].want(1, lease.total_seconds())
            self._arrive(quiet=bool(claims))
            claims += self._take(room if not claims else Room(missing), missing)
        return claims

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        self._lapse()
        self._hand_on()
        self._let_go()
        by_queue: dict[str, list[Held]] = {}
        for held in self._held.values():
            if not held.deleted:
                by_queue.setdefault(held.queue, []).append(held)
        for queue, some in by_queue.items():
            now = self._clock()
            failed = set(self._wire.hold(queue, [held.came.receipt for held in some], lease.total_seconds()))
            for i, held in enumerate(some):
                if i in failed:
                    del self._held[held.serial]
                else:
                    held.until = now + lease.total_seconds()
        return [claim for claim in claims if self._mine(claim) is not None]

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        self._lapse()
        for held, items in self._by_message(claims):
            self._release(held, items, after.total_seconds())
        self._delete_finished()

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        if reports:
            texts = pack_parcels(reports, self.agent, self._job, self._signer, self._store)
            if self._wire.send(reports_queue(self._prefix), texts):
                raise Unreachable("not all reports were taken by their queue")
            self._learn(reports)
        # Only now: a delivery that is done is offered to nobody, so its report must be safe
        for held, items in self._by_message(done):
            self._settle(held, items)
        self._delete_finished()

    def collect(self, limit: int) -> Sequence[Receipt]:
        raise InternalError("this is an agent's end of the queues")

    create: Any = collect
    send: Any = collect
    confirm: Any = collect
    destroy: Any = collect

    def close(self) -> None:
        """Ask no more, and hand back at once what nobody has begun. Twice: harmless."""
        for poll in self._polls.values():
            poll.close()
        try:
            self._arrive(quiet=True)
            for held in list(self._held.values()):
                self._release(held, held.items(FREE), 0.0)
            self._delete_finished()
        except PlaceError:
            pass  # it lapses

    # --- what comes -----------------------------------------------------------------------------------------------

    def _poll(self, queue: str) -> Poll[Came]:
        return Poll(lambda most, hold: self._wire.receive(queue, most, hold, self._wait), inline=not self._wait)

    def _arrive(self, quiet: bool = False) -> None:
        for queue, poll in self._polls.items():
            try:
                came = poll.take()
            except PlaceError:
                if not quiet:
                    raise
                continue
            for one in came:
                self._accept(queue, one)
        self._lapse()

    def _accept(self, queue: str, came: Came) -> None:
        # an answer that lay about (a process that stood still) counts from when it was due, at the latest
        until = min(came.end, came.start + self._wait) + came.hold
        for held in [*self._held.values(), *self._finished.values()]:
            if held.came.id == came.id:  # given out twice, both times to us
                held.came, held.until = came, until
                return
        try:
            parcel = unwrap(came.text)
            if parcel.rest > 0:
                return self._let_rest(queue, came, parcel)
            sealed = unseal(self._verifier, f"portion {parcel.name} of {self._job}", body(parcel, self._store))
            deliveries = unpack_deliveries(sealed)
        except (NotFound, Refused) as error:
            self.refused = [*self.refused[-99:], error.message]
            self._wire.hold(queue, [came.receipt], _REFUSED)  # left for its owner to look at, out of everybody's way
            return
        meant = set(range(len(deliveries)) if parcel.only is None else numbers(parcel.only))
        state = [FREE if i in meant else GONE for i in range(len(deliveries))]
        self._serial += 1
        self._held[self._serial] = Held(self._serial, came, queue, parcel, deliveries, state, until, self._clock())
        self._portion = max(1, len(meant))

    def _take(self, room: Room, count: int) -> list[Claim]:
        """Of what lies here. What wants to be alone comes first and by itself, or goes back."""
        claims: list[Claim] = []
        for held in sorted(self._held.values(), key=lambda held: not held.alone):
            if held.alone and (claims or not room.alone):
                self._release(held, held.items(FREE), 0.0)
                continue
            for i in held.items(FREE)[: 1 if held.alone else count - len(claims)]:
                held.state[i], held.touched = HELD, self._clock()
                claims.append(Claim(held.deliveries[i], f"{held.serial}/{i}"))
            if claims and held.alone:
                break
        return claims

    def _let_rest(self, queue: str, came: Came, parcel: Parcel) -> None:
        later = msgspec.structs.replace(parcel, rest=max(0.0, parcel.rest - LONGEST_DELAY))
        if not self._wire.send(queue, [wrap(later, self._store)], parcel.rest):
            self._wire.delete(queue, [came.receipt])

    # --- what goes ------------------------------------------------------------------------------------------------

    def _lapse(self) -> None:
        now = self._clock()
        self._held = {serial: held for serial, held in self._held.items() if held.until > now}

    def _release(self, held: Held, items: Sequence[int], after: float) -> None:
        if not items:
            return
        others = [i for i, state in enumerate(held.state) if state != GONE and i not in items]
        untouched = GONE not in held.state or held.parcel.only == ranges(items)
        if not others and untouched and not held.deleted:
            left = LONGEST_HOLD - 60 - (self._clock() - held.came.start)
            self._wire.hold(held.queue, [held.came.receipt], max(0.0, min(after, left)))
            self._held.pop(held.serial, None)
            return
        copy = msgspec.structs.replace(held.parcel, only=ranges(items), rest=max(0.0, after - LONGEST_DELAY))
        if self._wire.send(held.queue, [wrap(copy, self._store)], after):
            raise Unreachable("what was handed back was not taken by its queue")
        self._settle(held, items)

    def _hand_on(self) -> None:
        """What lies here while slots are busy for long: another machine may have one free."""
        now = self._clock()
        for held in list(self._held.values()):
            stock = held.items(FREE)
            if stock and now - held.touched > held.came.hold * _STALE:
                self._release(held, stock, 0.0)
        self._delete_finished()

    def _let_go(self) -> None:
        old = self._clock() - _LET_GO
        for held in self._held.values():
            if not held.deleted and held.came.start < old:
                self._wire.delete(held.queue, [held.came.receipt])
                held.deleted, held.until = True, float("inf")

    def _settle(self, held: Held, items: Iterable[int]) -> None:
        for i in items:
            held.state[i] = GONE
        if all(state == GONE for state in held.state):
            self._held.pop(held.serial, None)
            if not held.deleted:
                self._finished[held.came.id] = held

    def _delete_finished(self) -> None:
        """Tried again at the next call: the reports are safe, and what comes again meanwhile is stale by the orders."""
        by_queue: dict[str, list[Held]] = {}
        for held in self._finished.values():
            by_queue.setdefault(held.queue, []).append(held)
        for queue, some in by_queue.items():
            try:
                self._wire.delete(queue, [held.came.receipt for held in some])
            except PlaceError as error:
                if not error.transient:
                    raise
                continue
            for held in some:
                del self._finished[held.came.id]

    def _mine(self, claim: Claim) -> tuple[Held, int] | None:
        serial, _, i = claim.receipt.partition("/")
        held = self._held.get(int(serial))
        return (held, int(i)) if held is not None and held.state[int(i)] == HELD else None

    def _by_message(self, claims: Collection[Claim]) -> Iterator[tuple[Held, list[int]]]:
        groups: dict[int, list[int]] = {}
        for claim in claims:
            if (mine := self._mine(claim)) is not None:
                groups.setdefault(mine[0].serial, []).append(mine[1])
        for serial, items in groups.items():
            if serial in self._held:
                yield self._held[serial], sorted(items)

    def _learn(self, reports: Sequence[Report]) -> None:
        """For a quarter of a task's time reports are gathered: a message for each costs more than all else."""
        for report in reports:
            if isinstance(report, Ended):
                self.gather += (min(max(report.took / 4, _GATHER[0]), _GATHER[1]) - self.gather) / 4
