"""CARRY over byte streams, the controller's end: agents join through a socket of this machine, or their own stdin.

Deliveries are kept until they are reported, and offered again when their agent has been silent for its lease. Orders
are pushed. Nothing listens beyond this machine; beyond it, the stream is somebody else's (OpenSSH).
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from elsewhere.channels import words
from elsewhere.channels.base import Claim, Receipt, Room
from elsewhere.channels.frames import pack_deliveries, pack_orders, unpack_reports
from elsewhere.channels.output import BOOTS, OUTPUT, PAGES
from elsewhere.channels.outputs import FILES
from elsewhere.channels.streams import MOST, Stream
from elsewhere.channels.words import VALUES, Pair
from elsewhere.errors import InternalError, NotFound, Refused, StateError
from elsewhere.model.orders import Orders
from elsewhere.model.reports import Ended, Report
from elsewhere.model.task import Delivery
from elsewhere.stores import Store

_BATCH = 4096
_COMPANY = 0.02
"""Seconds that what was confirmed waits for a delivery to go with."""


@dataclass
class Peer:
    """One agent's process, also while its stream is cut. `held`: None where only the number is known (we restarted)."""

    stream: Stream
    hello: words.Hello
    heard: float
    held: dict[Pair, Delivery | None] = field(default_factory=dict)
    want: words.Want = field(default_factory=lambda: words.Want(0, False))


class Pipe:
    """The controller's end, for any number of agents. One thread."""

    def __init__(
        self,
        path: Path | None = None,
        charter: bytes = b"",
        clock: Callable[[], float] = time.monotonic,
        store: Store | None = None,
    ) -> None:
        """`path`: where agents may join, a socket made by `create`, 0600. Without it streams are given to `attach`.

        `store`: the job's own, for agents that do not share our files.
        """
        self.address = f"pipe:{path}" if path else "pipe:-"
        self.charter, self._path, self._clock, self._store = charter, path, clock, store
        self._selector = selectors.DefaultSelector()
        self.watch: int | None = self._selector.fileno()
        self._door: socket.socket | None = None
        self._strangers: list[Stream] = []
        self._peers: dict[str, Peer] = {}
        self._ready: deque[Delivery] = deque()
        self._suspects: deque[Delivery] = deque()
        self._later: list[tuple[float, Delivery]] = []
        self._out: set[Pair] = set()
        """All that was sent and has not ended."""
        self._reports: dict[tuple[str, int], list[Receipt]] = {}
        self._orders = b""
        self._untold: float | None = None
        """Since when something waits to be told."""

    # --- the verbs of a controller

    def create(self) -> None:
        if self._path is None or self._door is not None:
            return
        self._path.unlink(missing_ok=True)  # that of a controller before us: only one holds the job's lock
        door = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            door.bind(str(self._path))
        except OSError as error:
            door.close()
            raise StateError(f"no socket can be made at {self._path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        door.listen(64)
        door.setblocking(False)
        self._selector.register(door, selectors.EVENT_READ, None)
        self._door = door

    def attach(self, reader: int, writer: int, skip: bytes = b"") -> Stream:
        """A stream to an agent, new or after a cut; the descriptors are taken over. `skip`: its noise's end."""
        stream = Stream(reader, writer, self._selector, skip)
        stream.write(words.HOME, self.charter)
        self._strangers.append(stream)
        return stream

    def connected(self) -> set[str]:
        """The names of the agents whose streams are open."""
        return {peer.hello.agent for peer in self._peers.values() if not peer.stream.closed}

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """What is on offer, or in an agent's hands, is left out."""
        fresh = [d for d in deliveries if (d.n, d.attempt) not in self._out]
        self._out.update((d.n, d.attempt) for d in fresh)
        self._offer(fresh)
        self._serve()

    def collect(self, limit: int) -> Sequence[Receipt]:
        self._turn()
        found: list[Receipt] = []
        for receipts in self._reports.values():
            found += receipts
            if len(found) >= limit:
                break
        return found[:limit]

    def confirm(self, receipts: Sequence[Receipt]) -> None:
        tokens = {receipt.token for receipt in receipts}
        for journal, number in map(_where, {token.partition("#")[0] for token in tokens}):
            left = [r for r in self._reports.get((journal, number), ()) if r.token not in tokens]
            if left:
                self._reports[journal, number] = left
                continue
            self._reports.pop((journal, number), None)
            if number > 0:
                self._tell(journal, words.CONFIRM, words.encode(number))
        if self._untold is None:
            self._untold = self._clock()

    def order(self, orders: Orders) -> None:
        """Push orders to all agents, and to those that join later. Twice: harmless."""
        self._orders = pack_orders(orders)
        for peer in self._peers.values():
            peer.stream.write(words.ORDERS, self._orders)

    def close(self) -> None:
        """Let go of the streams and the socket: agents come back to the next controller. Twice: harmless."""
        self.destroy()

    def destroy(self) -> None:
        for stream in [*self._strangers, *(peer.stream for peer in self._peers.values())]:
            stream.flush()
            stream.close()
        if self._door is not None:
            self._selector.unregister(self._door)
            self._door.close()
            self._door = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)
        self._peers, self._strangers, self._reports = {}, [], {}
        for kept in (self._ready, self._suspects, self._later, self._out):
            kept.clear()

    # --- the verbs of an agent are those of the other end (away.py)

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        raise InternalError("this is the controller's end of a pipe")

    def renew(self, claims: Collection[Claim], lease: timedelta) -> Collection[Claim]:
        raise InternalError("this is the controller's end of a pipe")

    def release(self, claims: Collection[Claim], after: timedelta = timedelta(0)) -> None:
        raise InternalError("this is the controller's end of a pipe")

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        raise InternalError("this is the controller's end of a pipe")

    # --- within

    def _turn(self) -> None:
        for key, _ in self._selector.select(0):
            if key.data is None:
                self._open_door()
            else:
                key.data.flush()
        for stream in [*self._strangers, *(peer.stream for peer in self._peers.values())]:
            self._listen(stream)
        now = self._clock()
        if self._untold is not None and now - self._untold > _COMPANY:
            self._untold = None
            for peer in self._peers.values():
                peer.stream.flush()
        self._fall_due(now)
        for process, peer in list(self._peers.items()):
            if now - peer.heard > peer.hello.lease:
                self._lapse(process, peer)
        self._serve()

    def _open_door(self) -> None:
        try:
            connection, _ = self._door.accept() if self._door else (None, None)
        except OSError:
            return
        if connection is not None:
            fd = connection.detach()
            self.attach(fd, fd)

    def _listen(self, stream: Stream) -> None:
        try:
            for kind, body in stream.read():
                self._hear(stream, kind, body)
        except Refused:
            stream.close()  # whoever that is does not speak our language; its claims lapse
        if stream.closed and stream in self._strangers:
            self._strangers.remove(stream)

    def _hear(self, stream: Stream, kind: int, body: bytes) -> None:
        if kind == words.HELLO:
            self._greet(stream, words.read(words.hello, body))
            return
        peer = next((peer for peer in self._peers.values() if peer.stream is stream), None)
        if peer is None:
            return  # it lapsed: it will say hello again
        peer.heard = self._clock()
        if kind == words.WANT:
            peer.want = words.read(words.want, body)
        elif kind == words.REPORT:
            self._take_report(peer, words.read(words.said, body))
        elif kind == words.RENEW:
            stream.write(words.HEARD)
        elif kind == words.RELEASE:
            back = words.read(words.release, body)
            due = self._clock() + back.after
            self._later += [(due, d) for pair in back.pairs if (d := peer.held.pop(pair, None)) is not None]
        elif self._store is not None and kind in (words.FETCH, words.KEEP):
            self._lend(self._store, peer, kind, words.read(words.item, body))

    def _lend(self, store: Store, peer: Peer, kind: int, item: words.Item) -> None:
        """Its job's values, and what it alone writes; of nothing else does an agent get to know, nor change it."""
        own = tuple(f"{folder}{peer.hello.agent}/" for folder in (OUTPUT, PAGES))
        if not item.key.startswith((VALUES, FILES, *own)) and item.key != f"{BOOTS}{peer.hello.agent}":
            raise Refused(f"{peer.hello.agent} asks for what is not its own")
        if kind == words.KEEP:
            write = store.create if item.key.startswith((VALUES, FILES)) else store.put
            write(item.key, item.data or b"")
            peer.stream.write(words.KEPT, words.encode(words.Item(item.key)))
            return
        try:
            data = store.get(item.key)
        except NotFound:
            data = None
        peer.stream.write(words.FOUND, words.encode(words.Item(item.key, data)))

    def _greet(self, stream: Stream, hello: words.Hello) -> None:
        stream.most = MOST
        if stream in self._strangers:
            self._strangers.remove(stream)
        old = self._peers.get(hello.process)
        if old is not None and old.stream is not stream:
            old.stream.close()
        has = set(hello.holding)
        held = dict(old.held) if old is not None else {}
        # what it should have and has not was lost in the cut
        lost = [held.pop(pair) for pair in list(held) if pair not in has]
        self._offer([delivery for delivery in lost if delivery is not None])
        held.update({pair: held.get(pair) for pair in has})
        self._out.update(held)
        self._peers[hello.process] = Peer(stream, hello, self._clock(), held)
        if self._orders:
            stream.write(words.ORDERS, self._orders)

    def _take_report(self, peer: Peer, said: words.Said) -> None:
        for pair in said.done:
            peer.held.pop(pair, None)
        journal = peer.hello.journal
        if said.number and (journal, said.number) in self._reports:
            return
        reports = unpack_reports(said.reports)
        self._out.difference_update([r[:2] for r in reports if isinstance(r, Ended)])
        number = said.number or -time.time_ns()
        batch = f"{journal}/{number}#"
        self._reports[journal, number] = [Receipt(r, f"{batch}{i}") for i, r in enumerate(reports)]

    def _lapse(self, process: str, peer: Peer) -> None:
        if peer.held:
            peer.stream.write(words.LAPSED, words.encode(list(peer.held)))
            self._offer([delivery for delivery in peer.held.values() if delivery is not None])
            peer.held.clear()
        if peer.stream.closed:
            del self._peers[process]

    def _offer(self, deliveries: Sequence[Delivery]) -> None:
        self._suspects.extend(d for d in deliveries if d.alone)
        self._ready.extend(d for d in deliveries if not d.alone)

    def _fall_due(self, now: float) -> None:
        due = [d for when, d in self._later if when <= now]
        if due:
            self._later = [entry for entry in self._later if entry[0] > now]
            self._offer(due)

    def _serve(self) -> None:
        """Give to each agent what it wants, as far as there is some."""
        open_ones = [peer for peer in self._peers.values() if not peer.stream.closed]
        for peer in open_ones:
            if peer.want.tasks <= 0:
                continue
            if peer.want.alone and self._suspects and not peer.held:
                self._give(peer, [self._suspects.popleft()])
                peer.want = words.Want(0, False)
            elif given := self._taken(peer.want.tasks):
                self._give(peer, given)
                peer.want = words.Want(peer.want.tasks - len(given), False, peer.want.stock)
        if self._ready:
            self._stock([peer for peer in open_ones if peer.want.stock > 0])

    def _stock(self, peers: Sequence[Peer]) -> None:
        """For times without contact each has some ahead: of all there is one half, by what each would do in that time.

        So what lies ahead grows less as the end comes near, and nobody waits long for what another has.
        """
        would = {peer.hello.process: len(peer.held) + peer.want.stock for peer in peers}
        there = len(self._ready) + sum(len(peer.held) for peer in peers)
        part = min(1.0, there / (2 * max(1, sum(would.values()))))
        for peer in peers:
            share = int(would[peer.hello.process] * part)
            more = min(share - len(peer.held), peer.want.stock)
            if more > 0 and more * 4 >= share:  # not in slivers
                given = self._taken(more)
                self._give(peer, given)
                peer.want = words.Want(peer.want.tasks, peer.want.alone, peer.want.stock - len(given))

    def _taken(self, most: int) -> list[Delivery]:
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def _give(self, peer: Peer, given: Sequence[Delivery]) -> None:
        peer.held.update({(d.n, d.attempt): d for d in given})
        for start in range(0, len(given), _BATCH):
            peer.stream.write(words.DELIVER, pack_deliveries(given[start : start + _BATCH]))

    def _tell(self, journal: str, kind: int, body: bytes) -> None:
        """Not at once: it mostly goes with the next delivery, and who is told waits for nothing."""
        for peer in self._peers.values():
            if peer.hello.journal == journal:
                peer.stream.queue(kind, body)


def _where(batch: str) -> tuple[str, int]:
    journal, _, number = batch.partition("/")
    return journal, int(number)
