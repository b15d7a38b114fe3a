"""The far half of a spool: segments as an agent sees them, its claims in them, and the beats that keep these alive.

Reads and writes objects of a store; decides nothing about tasks. Leases are judged by this reader's own clock alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from elsewhere.channels.claimlog import Claiming, ClaimLog
from elsewhere.channels.frames import Verifies, unpack_deliveries, unseal
from elsewhere.errors import NotFound, Refused, Unreachable
from elsewhere.model.task import Delivery
from elsewhere.stores import Store

SEGMENTS, CLAIMS, BEATS = "segments/", "claims/", "beats/"
ALONE = ".alone"
"""Ends the name of a segment whose one delivery wants the machine to itself."""

_encode = msgspec.msgpack.Encoder().encode
_claiming = msgspec.msgpack.Decoder(Claiming)


class Beat(msgspec.Struct, frozen=True):
    """The one heartbeat object of an agent: a counter that grows, and what it last said of itself."""

    counter: int
    said: bytes = b""
    """A batch of one Heartbeat (frames.py), or nothing."""


_beat = msgspec.msgpack.Decoder(Beat)


@dataclass
class Segment:
    """One segment as far as it has been read."""

    name: str
    deliveries: Sequence[Delivery]
    log: ClaimLog
    tried: float = float("-inf")
    """When something of it was last asked for, by our clock."""
    doubt: tuple[int, bytes] = (0, b"")
    """A claim of ours that got no answer: its number and its bytes."""

    @property
    def alone(self) -> bool:
        return self.name.endswith(ALONE)


@dataclass
class Pulse:
    """What was seen of an agent's beat: its counter, since when it has stood there, and when it was last read."""

    counter: int
    since: float
    read: float


@dataclass
class Shelf:
    """The segments of a spool, read when needed and remembered while they stand."""

    store: Store
    job: str
    verifier: Verifies | None
    clock: Callable[[], float]
    patience: float
    """Seconds after which what others hold is looked at again."""
    refused: list[str] = field(default_factory=list)
    """What was left alone because its signature is not the job's, one sentence each; the last hundred."""
    orphans: list[tuple[str, int]] = field(default_factory=list)
    """Claims (segment, number) that turned out to be ours though their making had no answer: nobody works on them."""
    _known: dict[str, Segment | None] = field(default_factory=dict)
    _bad: set[str] = field(default_factory=set)
    _listed: float = float("-inf")
    _pulses: dict[str, Pulse] = field(default_factory=dict)
    _beats: dict[str, Beat] = field(default_factory=dict)

    def open(self, alone: bool) -> Iterator[Segment]:
        """The segments that are not finished, oldest first; those for a machine of one's own first, if `alone`."""
        now = self.clock()
        if now - self._listed >= self.patience:
            self._listed = now
            listed = {key[len(SEGMENTS) :] for key in self.store.list(SEGMENTS)} - self._bad
            # a listing may be stale: what is missing from it is dropped only when it is not there either
            listed |= {name for name in self._known if name not in listed and self._there(SEGMENTS + name)}
            names = sorted(listed, key=lambda name: (not name.endswith(ALONE), name))
            self._known = {name: self._known.get(name) for name in names}
        for name in list(self._known):
            segment = self.segment(name) if alone or not name.endswith(ALONE) else None
            if segment is not None:
                yield segment

    def segment(self, name: str) -> Segment | None:
        """By name; None if it is gone, finished, or not signed by the job."""
        segment = self._known.get(name)
        if segment is None:
            segment = self._read(name)
            if segment is None:
                self._known.pop(name, None)
                return None
            self._known[name] = segment
        return segment

    def catch_up(self, segment: Segment) -> None:
        """Read the claims that were made since; a finished segment is swept and forgotten."""
        log = segment.log
        while True:
            now = self.clock()
            try:
                data = self.store.get(f"{CLAIMS}{segment.name}/{log.read + 1}")
            except NotFound:
                break
            log.apply(_read_claiming(data), now)
            if segment.doubt == (log.read, data):
                self.orphans.append((segment.name, log.read))
        if log.finished:
            self.sweep(segment)

    def append(self, segment: Segment, claiming: Claiming) -> bool:
        """Make the next claim. False: somebody was faster (their claims have been read now), or the segment is gone."""
        log, folder = segment.log, f"{CLAIMS}{segment.name}/"
        claiming = msgspec.structs.replace(claiming, nonce=os.urandom(6).hex())
        key, data = f"{folder}{log.read + 1}", _encode(claiming)
        try:
            made = self.store.create(key, data)
        except Unreachable:
            segment.doubt = (log.read + 1, data)  # the nonce in it tells whose it is, now or when it is read
            made = self._is(key, data)
        if not made:
            self.catch_up(segment)
            return False
        # It may have been finished and swept since we read it, claims and all; the sweep goes from the segment upward,
        # so that what comes before our claim is gone by the time our number is free again.
        if not self.stands(segment):
            self.store.delete([key])
            self._known.pop(segment.name, None)
            return False
        log.apply(claiming, self.clock())
        if log.finished:
            self.sweep(segment)
        return True

    def stands(self, segment: Segment) -> bool:
        """Whether what we read of it last is there; else it was finished and swept, with claims that we never saw."""
        read = segment.log.read
        return self._there(f"{CLAIMS}{segment.name}/{read}" if read else SEGMENTS + segment.name)

    def sweep(self, segment: Segment) -> None:
        """Remove a finished segment: itself first, then its claims upward (see `append`). Twice: harmless."""
        self.store.delete([SEGMENTS + segment.name])
        self.store.delete(f"{CLAIMS}{segment.name}/{n}" for n in range(1, segment.log.read + 1))
        self._known.pop(segment.name, None)

    def beat(self, agent: str, said: bytes | None = None) -> None:
        """Grow the agent's counter: all its claims live for another lease. `said` None: as before."""
        last = self._beats.get(agent) or Beat(int.from_bytes(os.urandom(5), "big"))
        beat = self._beats[agent] = Beat(last.counter + 1, last.said if said is None else said)
        self.store.put(BEATS + agent, _encode(beat))

    def lapsed(self, agent: str, lease: float) -> bool:
        """Has this agent's counter stood still for a lease, as seen from here? A beat that is missing stands still."""
        now, pulse = self.clock(), self._pulses.get(agent)
        if pulse is not None and now - pulse.read < min(self.patience, lease / 4):
            return pulse.read - pulse.since > lease
        counter = self._counter(agent)
        if pulse is None or pulse.counter != counter:
            self._pulses[agent] = Pulse(counter, now, now)
            return False
        pulse.read = now
        return now - pulse.since > lease

    def _counter(self, agent: str) -> int:
        try:
            return _beat.decode(self.store.get(BEATS + agent)).counter
        except (NotFound, msgspec.MsgspecError):
            return 0

    def _is(self, key: str, data: bytes) -> bool:
        try:
            return self.store.get(key) == data
        except NotFound:
            return False

    def _there(self, key: str) -> bool:
        try:
            self.store.get(key)
        except NotFound:
            return False
        return True

    def _read(self, name: str) -> Segment | None:
        try:
            data = self.store.get(SEGMENTS + name)
            deliveries = unpack_deliveries(unseal(self.verifier, f"segment {name} of {self.job}", data))
        except NotFound:
            return None
        except Refused as error:
            self.refused = [*self.refused[-99:], str(error)]
            self._bad.add(name)
            return None
        return Segment(name, deliveries, ClaimLog(len(deliveries)))


def _read_claiming(data: bytes) -> Claiming:
    try:
        return _claiming.decode(data)
    except msgspec.MsgspecError:
        return Claiming("")  # damaged: it takes nothing, and its number is spent
