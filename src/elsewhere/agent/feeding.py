"""Which slot gets what, and when a slot is started: enough ahead of each for it never to wait, and no more.

What comes back, and what takes too long, is the runner's (runner.py).
"""

from __future__ import annotations

import functools
import selectors
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from elsewhere.agent import verdicts, watch
from elsewhere.agent.boot import Boot
from elsewhere.agent.budget import Budget, with_devices
from elsewhere.agent.child import Child
from elsewhere.agent.recovery import mark_in
from elsewhere.model.reports import Ended
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.slot import wire

_AHEAD = 0.04
"""Seconds of work in one slot, so that it need not wait for us."""
_LONG = 0.05
_MOST = 1000
_BYTES = 8 << 20
_FRAME = 256 << 10


class Feeding:
    """The slots, what waits for them, and the rule by which it is given."""

    def __init__(self, boot: Boot, count: int, directory: Path, selector: selectors.BaseSelector) -> None:
        self.boot, self.directory = boot, directory
        self._budget = Budget(boot, count)
        self.count = self._budget.count
        self.broken = b""
        """Not empty: slots cannot start at all; every delivery ends REJECTED with this failure."""
        self._selector = selector
        self._mark = mark_in(directory)
        self._agent = directory.name
        self._disk = watch.Disk(directory)
        self._terms = watch.Terms(boot, self._budget)
        self._pending: deque[Delivery] = deque()
        self._children: list[Child] = []
        self._took: float | None = None
        self._size = 100.0
        self._draining = self._closed = False
        self._suspects = False

    @property
    def trouble(self) -> str:
        """Not empty: slots cannot write their files; nothing is begun until they can, which is tried each second."""
        return self._disk.trouble

    def room(self) -> int:
        """How many deliveries it would like now: some 40 ms of work for each slot, or one long task."""
        if self._closed or self.trouble:
            return 0
        if self.broken:
            return _MOST
        depth, levels = self._depth(), [len(child.given) for child in self._children]
        if len(levels) >= self.count and min(levels) * 2 > depth:
            return 0  # nobody is hungry: hand-outs cost much the same for one as for many
        held = len(self._pending) + sum(levels)
        return max(0, min(self.count * depth - held, int(_BYTES / self._size) - held + self.count))

    def _depth(self) -> int:
        """Of deliveries in one slot: the running one and those behind it."""
        if self._took is None or self._took > _LONG:
            return 1
        return 1 + max(1, min(_MOST, int(_AHEAD / max(self._took, 1e-6))))

    def _feed(self) -> None:
        """Give what is pending to the slots that run low; start slots while there is more work than slots."""
        if self.broken:
            while self._pending:
                self._say(verdicts.ended(self._pending.popleft()[:2], Outcome.REJECTED, self.broken))
        if not self._pending or self._draining or self.trouble:
            return
        self._hire()
        takers = [child for child in self._children if child.alive and not child.leaving]
        if self._suspects:
            self._feed_alone(takers)
            return
        if self._terms.large or self._budget.exacting:
            self._feed_by_need(takers)
            return
        if not takers:
            return
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

    def _feed_alone(self, takers: Sequence[Child]) -> None:
        """A suspect has the machine to itself: it waits until nothing runs, and nothing begins until it has ended."""
        if not takers or any(child.given for child in self._children):
            return
        suspect = next((one for one in self._pending if one.alone), None)
        if suspect is None:
            self._suspects = False
            self._feed()
            return
        self._pending.remove(suspect)
        self._pending.appendleft(suspect)
        self._feed_by_need(takers[:1])

    def _feed_by_need(self, takers: Sequence[Child]) -> None:
        """One to each idle slot, in their order, for as long as the machine has what the next one needs."""
        terms, budget = self._terms, self._budget
        busy = [(child.pid, terms.need(next(iter(child.given)))) for child in self._children if child.given]
        taken, used = [need for _, need in busy], budget.used([pid for pid, need in busy if need.gpus])
        for child in [child for child in takers if not child.given]:
            if not self._pending:
                return
            delivery = self._pending[0]
            need = terms.need(delivery[:2])
            if not budget.fits(need, taken):
                return
            if need.gpus:
                devices = budget.devices(need, used, child.pid)
                if devices is None:
                    return
                if not budget.hold(child.pid, devices):
                    self._leave(child)
                    continue
                used.update(devices)
                delivery = with_devices(delivery, devices)
            self._pending.popleft()
            child.give([delivery])
            taken.append(need)

    def _hire(self) -> None:
        """Start slots that are wanted and not there."""
        wanted = min(self.count, len(self._pending) + sum(1 for child in self._children if child.given))
        while len(self._children) < wanted:
            try:
                self._children.append(Child(len(self._children), self.boot, self.directory, self._mark, self._selector))
            except OSError as error:
                self._could_not_start(error)
                return
        for child in self._children[:wanted]:
            if not child.alive and not self.broken and not self.trouble:
                self._start(child)

    def _start(self, child: Child) -> None:
        try:
            child.start(functools.partial(self._woken, child), functools.partial(self._exited, child))
        except OSError as error:
            self._could_not_start(error)

    def _could_not_start(self, error: OSError) -> None:
        if error.errno in watch.FULL:
            self._in_trouble(error.errno or 0)
            return
        self.broken = wire.failure("SlotError", f"{self.boot.python} cannot be started: {error.strerror or error}")
        self._feed()

    # -- what the runner does with what comes back

    def _woken(self, child: Child) -> None:
        raise NotImplementedError

    def _exited(self, child: Child) -> None:
        raise NotImplementedError

    def _say(self, report: Ended) -> None:
        raise NotImplementedError

    def _leave(self, child: Child) -> None:
        raise NotImplementedError

    def _in_trouble(self, number: int) -> None:
        raise NotImplementedError
