"""CARRY over byte streams, the agent's end. It goes on through a cut: what it says is in its journal until confirmed.

One thread. The way back is tried again now and then; what was delivered stays in hand for a lease.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from elsewhere.channels import words
from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.channels.door import Door
from elsewhere.channels.frames import pack_reports, unpack_deliveries, unpack_orders
from elsewhere.channels.journal import Journal
from elsewhere.channels.lent import Lent
from elsewhere.channels.streams import MOST, Stream
from elsewhere.channels.words import Pair
from elsewhere.errors import InternalError, NotFound, Refused, StateError, Unreachable
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Ended, Heartbeat, Report
from elsewhere.model.task import Delivery

_UNSAFE = 0.05
"""Seconds in which home may confirm what ended here before it is synced to our own disk."""
_COMPANY = 0.02
"""Seconds that a want waits for something else that is said: each write wakes all who are on the way."""
_AGAIN = 1.0
"""Seconds between two tries to get back."""
_BEAT = 5.0
_STOCK = 600.0
_SILENT = 5.0
"""Seconds in which nothing moves on a connection, while an answer is waited for: nobody is there, as long as nothing
comes. A wire that is cut far away says nothing for hours."""

Connect = Callable[[], tuple[int, ...] | None]
"""A way home: descriptors to read from and to write to (they may be the same), and others that are closed with these;
or None if there is none just now."""


class Away:
    """The agent's end of a pipe."""

    def __init__(
        self,
        agent: str,
        connect: Connect,
        journal: Path,
        *,
        address: str = "pipe:-",
        lease: timedelta = timedelta(minutes=2),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address, self._agent, self._connect, self._clock = address, agent, connect, clock
        self._lease = lease.total_seconds()
        self._journal = Journal(journal)
        self._process = os.urandom(12).hex()
        self._selector = selectors.DefaultSelector()
        self.watch: int | None = self._selector.fileno()
        self._stream: Stream | None = None
        self._tried = float("-inf")
        self._contact = clock()
        """When home was last known to hear us."""
        self._queue: deque[Delivery] = deque()
        self._later: list[tuple[float, Delivery]] = []
        self._holding: set[Pair] = set()
        self._lapsed: set[Pair] = set()
        self._saying: dict[int, list[Pair]] = {}
        self._unsafe: float | None = None
        """Since when something that ended is only in a file that is not synced."""
        self._wanted = words.Want(0, False)
        self._unasked: float | None = None
        """Since when home is to be told of it."""
        self._charter: bytes | None = None
        self._beat = b""
        """The last heartbeat, which needs no keeping: said again when we are back."""
        self._orders = Orders("")
        self._unread = False
        """Orders have come that nobody has asked for yet."""
        self._answers: dict[str, words.Item] = {}
        self._silence: tuple[Stream, int] | None = None
        """The connection on which an answer did not come, and how much had come by then."""
        self.beat = float("inf")
        """Seconds between two signs of life, where a lease is longer than people want to wait for news."""
        self.stock = 0.0
        """Seconds of work that are had in hand for a time in which home cannot be heard."""
        self._patience = timedelta(seconds=20)
        if isinstance(connect, Door):
            self._patience = timedelta(minutes=15)
            self.store, self.beat, self.stock = Lent(self), _BEAT, _STOCK
            self._selector.register(connect.socket, selectors.EVENT_READ)

    # --- the verbs of an agent

    def read_charter(self, within: timedelta | None = None) -> bytes:
        """What the controller told everybody who joins. NotFound if it has not within that time."""
        end = self._clock() + (self._patience if within is None else within).total_seconds()
        while self._charter is None:
            left = end - self._clock()
            if left <= 0:
                raise NotFound(f"nobody answers at {self.address}")
            self._turn()
            if self._charter is None:
                self._selector.select(min(left, 0.05 if self._stream is None else left))
        return self._charter

    def told(self) -> Orders:
        """The orders as they were last pushed; empty ones if none were."""
        self._turn()
        self._unread = False
        return self._orders

    @property
    def pushed(self) -> bool:
        """Have orders come since they were last read? A look costs nothing."""
        self._turn()
        return self._unread

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        self._turn()
        self._fall_due()
        taken: list[Delivery] = []
        while self._queue and len(taken) < room.tasks + room.stock:
            if self._queue[0].alone and (taken or not room.alone):
                break
            taken.append(self._queue.popleft())
            if taken[-1].alone:
                break
        more = max(0, len(taken) - room.tasks)
        wanted = words.Want(max(0, room.tasks - len(taken)), room.alone and not taken, max(0, room.stock - more))
        if (wanted.tasks or wanted.stock) and not self._queue and (wanted != self._wanted or taken):
            urgent = not (taken or self._wanted.tasks or self._wanted.stock)  # else home has something to go by
            self._wanted, self._unasked = wanted, self._clock() - _COMPANY if urgent else self._clock()
            self._ask_now()
        return [Claim(delivery, f"{delivery.n}/{delivery.attempt}") for delivery in taken]

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        self._turn()
        self._say(words.RENEW)
        if self._clock() - self._contact > lease.total_seconds():
            return []
        return [claim for claim in claims if claim.delivery[:2] not in self._lapsed]

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        pairs = [claim.delivery[:2] for claim in claims if claim.delivery[:2] in self._holding]
        if self._stream is not None and not self._stream.closed:
            self._holding.difference_update(pairs)
            self._say(words.RELEASE, words.encode(words.Release(pairs, after.total_seconds())))
        else:  # home will hear that we have it, and let it lapse if we never come back
            due = self._clock() + after.total_seconds()
            self._later += [(due, claim.delivery) for claim in claims if claim.delivery[:2] in self._holding]

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        pairs = [claim.delivery[:2] for claim in done]
        kept = [report for report in reports if not isinstance(report, Heartbeat)]
        if kept or pairs:
            said = pack_reports(kept)
            number = self._journal.add(words.encode(words.Said(0, said, pairs)))
            self._saying[number] = pairs
            self._say(words.REPORT, words.encode(words.Said(number, said, pairs)))
            if self._unsafe is None and (pairs or any(isinstance(report, Ended) for report in kept)):
                self._unsafe = self._clock()
        if len(kept) < len(reports):
            beats = [report for report in reports if isinstance(report, Heartbeat)]
            self._beat = words.encode(words.Said(0, pack_reports(beats), []))
            self._say(words.REPORT, self._beat)

    def close(self) -> None:
        """Twice: harmless. What is unconfirmed stays in the journal, for the next process that opens it."""
        if self._stream is not None:
            self._stream.close()
        with suppress(StateError):
            self._journal.sync()
        self._journal.close()
        self._selector.close()
        if isinstance(self._connect, Door):
            self._connect.close()

    @property
    def settled(self) -> bool:
        """Everything that was said has been confirmed."""
        self._turn()
        return not self._journal.pending

    @property
    def safe(self) -> bool:
        """Is what ended recorded at home, or on our disk, so that a power cut here loses none of it? Until then slots
        keep it in their files. Home mostly says so first."""
        if self._unsafe is not None and self._journal.safe:
            self._unsafe = None
        if self._unsafe is not None and self._clock() - self._unsafe > _UNSAFE:
            self._journal.sync()
            self._unsafe = None
        return self._unsafe is None

    def ask(self, kind: int, item: words.Item) -> words.Item:
        """Of the job's store, at the other end. Waits for the answer. Unreachable: there is nobody to ask just now."""
        self._turn()
        asked = self._stream
        if asked is None:
            raise Unreachable("the controller is not connected")
        if self._silence == (asked, asked.heard):
            raise Unreachable("the controller is silent")
        self._answers.pop(item.key, None)
        self._say(kind, words.encode(item))
        moved, since = (0, 0), self._clock()
        while item.key not in self._answers:
            if self._stream is not asked or asked.closed:
                raise Unreachable("the connection to the controller was lost")
            if moved != (asked.heard, asked.told):
                moved, since = (asked.heard, asked.told), self._clock()
            elif self._clock() - since > _SILENT:
                self._silence = (asked, asked.heard)
                raise Unreachable("the controller is silent")
            self._selector.select(0.2)
            self._turn()
        return self._answers.pop(item.key)

    # --- those of a controller are at the other end (pipe.py)

    def create(self) -> None:
        raise InternalError("this is the agent's end of a pipe")

    def send(self, deliveries: Sequence[Delivery]) -> None:
        raise InternalError("this is the agent's end of a pipe")

    def collect(self, limit: int) -> Sequence[Receipt]:
        raise InternalError("this is the agent's end of a pipe")

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        raise InternalError("this is the agent's end of a pipe")

    def destroy(self) -> None:
        raise InternalError("this is the agent's end of a pipe")

    # --- within

    def _turn(self) -> None:
        ready = self._selector.select(0)
        if any(key.data is None for key, _ in ready):  # somebody is at the door
            if self._stream is not None:  # whoever comes now has given the old connection up
                self._stream.close()
            self._tried = float("-inf")
        if self._stream is None or self._stream.closed:
            self._stream = None
            self._join()
        elif not ready:
            self._ask_now()
            return
        if self._stream is None:
            return
        self._stream.flush()
        try:
            for kind, body in self._stream.read():
                self._contact = self._clock()
                self._hear(kind, body)
        except Refused:
            self._stream.close()
        if self._stream.closed:
            self._stream = None

    def _join(self) -> None:
        now = self._clock()
        if now - self._tried < _AGAIN:
            return
        self._tried = now
        ends = self._connect()
        if ends is None:
            return
        reader, writer, *beside = ends
        self._stream = Stream(reader, writer, self._selector, beside=beside)
        self._stream.most = MOST
        holding = sorted(self._holding | {pair for pairs in self._saying.values() for pair in pairs})
        hello = words.Hello(self._agent, self._process, self._journal.id, self._lease, holding)
        self._wanted, self._unasked = words.Want(0, False), None
        self._say(words.HELLO, words.encode(hello))
        if self._beat:
            self._say(words.REPORT, self._beat)
        for number, body in list(self._journal.pending.items()):
            self._say_kept(number, body)

    def _hear(self, kind: int, body: bytes) -> None:
        if kind == words.HOME:
            self._charter = body
        elif kind == words.DELIVER:
            deliveries = unpack_deliveries(body)
            self._wanted = words.Want(0, False)
            self._queue.extend(deliveries)
            self._holding.update(d[:2] for d in deliveries)
            self._lapsed.difference_update(d[:2] for d in deliveries)
        elif kind == words.CONFIRM:
            number = words.read(words.number, body)
            self._journal.confirm(number)
            self._holding.difference_update(self._saying.pop(number, ()))
        elif kind == words.ORDERS:
            self._orders, self._unread = unpack_orders(body), True
        elif kind in (words.FOUND, words.KEPT):
            item = words.read(words.item, body)
            self._answers[item.key] = item
        elif kind == words.LAPSED:
            gone = {(n, attempt) for n, attempt in words.read(words.pairs, body)}
            self._lapsed |= gone
            self._holding -= gone
            self._queue = deque(d for d in self._queue if d[:2] not in gone)

    def _say(self, kind: int, body: bytes = b"") -> None:
        if self._stream is not None:
            if self._unasked is not None:
                self._unasked = None
                self._stream.queue(words.WANT, words.encode(self._wanted))
            self._stream.write(kind, body)

    def _ask_now(self) -> None:
        """Say what is wanted, if nothing has come for so long with which that could go."""
        if self._unasked is not None and self._stream is not None and self._clock() - self._unasked >= _COMPANY:
            self._unasked = None
            self._stream.write(words.WANT, words.encode(self._wanted))

    def _say_kept(self, number: int, body: bytes) -> None:
        said = words.read(words.said, body)
        self._say(words.REPORT, words.encode(words.Said(number, said.reports, said.done)))

    def _fall_due(self) -> None:
        now = self._clock()
        due = [d for when, d in self._later if when <= now]
        if due:
            self._later = [entry for entry in self._later if entry[0] > now]
            self._queue.extend(due)


def to_socket(path: str) -> Connect:
    """The way home through a socket of this machine."""

    def connect() -> tuple[int, int] | None:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(path)
        except OSError:
            stream.close()
            return None
        fd = stream.detach()
        return fd, fd

    return connect


def once(reader: int, writer: int) -> Connect:
    """A pair of descriptors, for one time."""
    ends = [(reader, writer)]
    return lambda: ends.pop() if ends else None
