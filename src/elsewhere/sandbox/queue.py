"""One queue as SQS keeps it: what is visible, what is in flight, what comes later, and what goes wrong on purpose.

Knows no protocol and no names of errors but its own. Its owner holds the lock.
"""

from __future__ import annotations

import heapq
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGEST = 43_200.0
"""Seconds that a message may be kept from others, from its receipt on, by all changes of its visibility together."""


@dataclass
class Dials:
    """What a queue that promises little does now and then, by seed. Shares are of messages, 0 to 1."""

    twice: float = 0.0
    """Given out once more though somebody holds it."""
    late: float = 0.0
    """Not there yet when it was sent, for up to `late_by` seconds."""
    late_by: float = 5.0
    shuffled: float = 0.0
    """Taken from anywhere, not from the front."""
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def falls(self, share: float) -> bool:
        return share > 0 and self.chance.random() < share


class NotInFlight(Exception):
    """The message of this receipt is not held by anybody."""


class TooLong(Exception):
    """Nobody may hold a message so long."""


@dataclass(slots=True, eq=False)
class Message:
    """`visible_at` tells which of its places in the line counts; the others are passed over."""

    id: str
    body: str
    md5: str
    attributes: Mapping[str, Any]
    attributes_md5: str
    size: int
    sent: float
    visible_at: float
    first: float = 0.0
    """When it was first received; 0: never."""
    taken: float = 0.0
    """When it was last received."""
    receives: int = 0
    gone: bool = False


class Queue:
    """Messages in about the order in which they came."""

    def __init__(self, attributes: Mapping[str, str], clock: Callable[[], float], dials: Dials,
                 changed: threading.Condition) -> None:  # fmt: skip
        """`changed`: those who wait for a message of this queue; with its owner's lock."""
        self.changed = changed
        self.attributes, self.tags = dict(attributes), dict[str, str]()
        self.created = self.modified = clock()
        self.purged = float("-inf")
        self._clock, self._dials = clock, dials
        self._messages: dict[str, Message] = {}
        self._ready: deque[Message] = deque()
        self._later: list[tuple[float, int, Message]] = []
        self._serial = 0
        self._again: set[str] = set()

    def setting(self, name: str) -> float:
        return float(self.attributes[name])

    def send(self, body: str, md5: str, attributes: Mapping[str, Any], attributes_md5: str, size: int,
             delay: float) -> Message:  # fmt: skip
        now = self._clock()
        if self._dials.falls(self._dials.late):
            delay += self._dials.chance.uniform(0, self._dials.late_by)
        message = Message(str(uuid.uuid4()), body, md5, attributes, attributes_md5, size, now, now + delay)
        self._messages[message.id] = message
        self._place(message, now)
        return message

    def receive(self, count: int, hold: float) -> list[tuple[Message, str]]:
        """Up to `count` visible messages, held for so long; each with its receipt."""
        now = self._promote()
        found: list[tuple[Message, str]] = []
        for message in self._draw(count, now):
            message.receives += 1
            message.first, message.taken = message.first or now, now
            found.append((message, f"{message.id}#{message.receives}"))
            message.visible_at = now + hold
            self._place(message, now)
            if self._dials.falls(self._dials.twice):  # a replica did not hear of the receipt
                self._again.add(message.id)
                self._ready.append(message)
        return found

    def delete(self, receipt: str) -> None:
        """Gone already: harmless. An older receipt deletes too: here at least, and a client cannot count on it."""
        message = self._messages.pop(receipt.partition("#")[0], None)
        if message is not None:
            message.gone = True
            self._again.discard(message.id)

    def hold(self, receipt: str, length: float) -> None:
        """Keep it from others for so long from now. NotInFlight, TooLong."""
        now = self._promote()
        message = self._messages.get(receipt.partition("#")[0])
        if message is None or message.visible_at <= now or not message.receives:
            raise NotInFlight
        if now + length - message.taken > LONGEST:
            raise TooLong
        message.visible_at = now + length
        self._place(message, now)

    def purge(self) -> None:
        for message in self._messages.values():
            message.gone = True
        self._messages.clear()
        self._again.clear()

    def counts(self) -> tuple[int, int, int]:
        """Visible, in flight, and not visible yet."""
        now = self._promote()
        hidden = [m for m in self._messages.values() if m.visible_at > now]
        flying = sum(1 for m in hidden if m.receives)
        return len(self._messages) - len(hidden), flying, len(hidden) - flying

    def due(self) -> float:
        """When the next message comes in sight, if none else is sent."""
        return self._later[0][0] if self._later else float("inf")

    def _place(self, message: Message, now: float) -> None:
        if message.visible_at <= now:
            self._ready.append(message)
        else:
            self._serial += 1
            heapq.heappush(self._later, (message.visible_at, self._serial, message))

    def _promote(self) -> float:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, message = heapq.heappop(self._later)
            if message.visible_at == due and not message.gone:
                self._ready.append(message)
        return now

    def _draw(self, count: int, now: float) -> Sequence[Message]:
        oldest = now - self.setting("MessageRetentionPeriod")
        found: list[Message] = []
        for _ in range(len(self._ready)):
            if len(found) == count:
                break
            if self._dials.falls(self._dials.shuffled):
                self._ready.rotate(-self._dials.chance.randrange(min(len(self._ready), 1000)))
            message = self._ready.popleft()
            again = message.id in self._again
            if message.gone or (message.visible_at > now and not again) or message in found:
                continue
            self._again.discard(message.id)
            if message.sent < oldest:
                self.delete(message.id)
                continue
            found.append(message)
        return found
