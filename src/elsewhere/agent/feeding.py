"""What waits for a slot, and the rule by which it is given: enough ahead of each for it never to wait, and no more.

Starts no slot and ends none: whose slots they are (runner.py) asks, and acts on the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from elsewhere.agent.budget import Budget, with_devices
from elsewhere.agent.child import Child
from elsewhere.agent.watch import Terms
from elsewhere.model.task import Delivery

_AHEAD = 0.04
"""Seconds of work in one slot, so that it need not wait for us."""
_LONG = 0.05
MOST = 1000
STOCK = 8192
"""Deliveries at most, for a time in which nobody is heard of."""
_BYTES = 8 << 20
_FRAME = 256 << 10


class Queue:
    """Deliveries in the order in which they are to be run."""

    def __init__(self, budget: Budget, terms: Terms) -> None:
        self._budget, self._terms = budget, terms
        self._pending: deque[Delivery] = deque()
        self._took: float | None = None
        self._size = 100.0
        self._suspects = False

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Behind all others."""
        size = 0
        for delivery in deliveries:
            size += len(delivery.body)
            if delivery.options is not None:
                self._terms.read(delivery)
            if delivery.alone:
                self._suspects = True
        self._size += (max(size / len(deliveries), 32) - self._size) / 4
        self._pending.extend(deliveries)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """To the front, under the same attempt number."""
        self._pending.extendleft(reversed(deliveries))
        self._suspects = self._suspects or any(one.alone for one in deliveries)

    def take_out(self, ns: Collection[int] | None = None) -> list[Delivery]:
        """Of these tasks (None: of all); they will not be given to a slot."""
        found = [one for one in self._pending if ns is None or one.n in ns]
        if found:
            self._pending = deque() if ns is None else deque(one for one in self._pending if one.n not in ns)
        return found

    def take_out_hopeless(self) -> list[tuple[Delivery, str]]:
        """What needs something that this machine does not have at all, and what that is."""
        if not self._budget.exacting and not self._terms.large:
            return []
        lacks = [(one, self._budget.lacks(self._terms.need(one[:2]))) for one in self._pending]
        found = [(one, lack) for one, lack in lacks if lack]
        for one, _ in found:
            self._pending.remove(one)
        return found

    def ended(self, took: float) -> None:
        """So many seconds an attempt took, on average of the last few."""
        self._took = took if self._took is None else self._took + (took - self._took) / 2

    def room(self, children: Sequence[Child], count: int) -> int:
        """How many more it would like now: some 40 ms of work for each of `count` slots, or one long task."""
        depth, levels = self._depth(), [len(child.given) for child in children]
        if len(levels) >= count and min(levels) * 2 > depth:
            return 0  # nobody is hungry: hand-outs cost much the same for one as for many
        held = len(self._pending) + sum(levels)
        return max(0, min(count * depth - held, int(_BYTES / self._size) - held + count))

    def stock(self, children: Sequence[Child], count: int, seconds: float) -> int:
        """How many more `count` slots would do in so many seconds, about: a power of two; 0 while that is not known."""
        if not seconds or self._took is None:
            return 0
        wanted = min(count * seconds / max(self._took, 1e-6), STOCK, _BYTES / self._size)
        more = int(wanted) - len(self._pending) - sum(len(child.given) for child in children)
        return 1 << (more.bit_length() - 1) if more > 0 else 0

    def _depth(self) -> int:
        """Of deliveries in one slot: the running one and those behind it."""
        if self._took is None or self._took > _LONG:
            return 1
        return 1 + max(1, min(MOST, int(_AHEAD / max(self._took, 1e-6))))

    # -- giving

    def feed(self, children: Sequence[Child]) -> list[Child]:
        """Give to the slots that run low. Those returned must leave: they cling to GPUs that others have now."""
        takers = [child for child in children if child.alive and not child.leaving]
        if not takers or not self._pending:
            return []
        if self._suspects:
            if any(child.given for child in children):
                return []  # nothing begins until a suspect has ended, and it waits until nothing runs
            suspect = next((one for one in self._pending if one.alone), None)
            if suspect is not None:
                self._pending.remove(suspect)
                self._pending.appendleft(suspect)
                return self._feed_by_need(takers[:1], children)
            self._suspects = False
        if self._terms.large or self._budget.exacting:
            return self._feed_by_need(takers, children)
        self._feed_evenly(takers)
        return []

    def _feed_evenly(self, takers: list[Child]) -> None:
        takers.sort(key=lambda child: len(child.given))
        depth, share = self._depth(), -(-len(self._pending) // len(takers))
        for child in takers:
            level, most = len(child.given), depth
            if most > 1 and not child.ready:
                most = 1
            if level < most and level * 2 <= most:
                self._give(child, min(most - level, share))

    def _give(self, child: Child, count: int) -> None:
        pending, batch, size = self._pending, list[Delivery](), 0
        while pending and len(batch) < count and size < _FRAME:
            delivery = pending.popleft()
            size += len(delivery.body)
            batch.append(delivery)
        if batch:
            child.give(batch)

    def _feed_by_need(self, takers: Sequence[Child], children: Iterable[Child]) -> list[Child]:
        """One to each idle slot, in their order, for as long as the machine has what the next one needs."""
        terms, budget, clinging = self._terms, self._budget, list[Child]()
        busy = [(child.pid, terms.need(next(iter(child.given)))) for child in children if child.given]
        taken, used = [need for _, need in busy], budget.used([pid for pid, need in busy if need.gpus])
        for child in [child for child in takers if not child.given]:
            if not self._pending:
                break
            delivery = self._pending[0]
            need = terms.need(delivery[:2])
            if not budget.fits(need, taken):
                break
            if need.gpus:
                devices = budget.devices(need, used, child.pid)
                if devices is None:
                    break
                if not budget.hold(child.pid, devices):
                    clinging.append(child)
                    continue
                used.update(devices)
                delivery = with_devices(delivery, devices)
            self._pending.popleft()
            child.give([delivery])
            taken.append(need)
        return clinging
