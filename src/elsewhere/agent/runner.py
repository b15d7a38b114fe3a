"""EXECUTE: runs deliveries in slots on this machine: feeds them, reads their outcomes, bounds their time and memory.

No ledger, no channel, no thread: the agent's loop calls `turn`. A slot's death costs the one attempt that ran in it.
"""

from __future__ import annotations

import functools
import os
import selectors
import signal
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from elsewhere.agent import processes, verdicts, watch
from elsewhere.agent.boot import Boot as Boot
from elsewhere.agent.budget import Budget
from elsewhere.agent.child import Child, Key
from elsewhere.agent.feeding import MOST, Queue
from elsewhere.agent.recovery import FORMS, OUTCOMES, mark_in
from elsewhere.agent.recovery import recover as recover
from elsewhere.errors import UsageError
from elsewhere.model.reports import Ended, Output
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from elsewhere.slot import keeper, wire

_BOOTS, _DIED, _KILLED = 12, 4, 1
"""So much is borne until a slot is ready: a death at boot weighs 4, one by SIGKILL, which may come by chance, 1."""


class Slots:
    """Up to `count` warm slots, started as there is work for them.

    Called from one thread only: the kernel ends a slot when the thread that started it ends.
    """

    def __init__(
        self, boot: Boot, count: int, directory: Path, selector: selectors.BaseSelector, share: int = 1
    ) -> None:
        """`share`: how many agents share the machine, each with so many slots."""
        self.boot, self.directory = boot, directory
        self._budget = Budget(boot, count, share)
        self.count = self._budget.count
        self.broken = b""
        """Not empty: slots cannot start at all; every delivery ends REJECTED with this failure."""
        self._selector = selector
        self._mark = mark_in(directory)
        self._agent = directory.name
        self._disk = watch.Disk(directory)
        self._terms = watch.Terms(boot, self._budget)
        self._queue = Queue(self._budget, self._terms)
        self._children: list[Child] = []
        self._draining = self._closed = False
        self._ended: list[Ended] = []
        self._next = 0.0
        self._boots = 0
        self._kills = processes.Kills()

    # -- what the agent asks

    @property
    def trouble(self) -> str:
        """Not empty: slots cannot write their files; nothing is begun until they can, which is tried each second."""
        return self._disk.trouble

    def room(self) -> int:
        """How many deliveries it would like now."""
        if self._closed or self.trouble:
            return 0
        return MOST if self.broken else self._queue.room(self._children, self.count)

    def stock(self, seconds: float) -> int:
        """How many more it would do in so many seconds."""
        return 0 if self._closed or self.trouble else self._queue.stock(self._children, self.count, seconds)

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Take these; they are run once, about in this order."""
        if not deliveries:
            return
        self._draining = False
        self._queue.put(deliveries)
        for delivery, lack in self._queue.take_out_hopeless():  # a job may have been made on a larger machine
            self._say(verdicts.ended(delivery[:2], Outcome.REJECTED, wire.failure("NoCapacity", lack)))
        self._due(time.monotonic() + watch.LOOK)
        self._feed()

    def turn(self, wait: float) -> list[Ended]:
        """What has ended since the last turn; waits up to `wait` seconds for something to happen, not longer.

        What others registered with the selector is called too: the data of a key is a function without arguments.
        """
        bound = 0.0 if self._ended else max(0.0, min(wait, self._next - time.monotonic()))
        for key, _ in self._selector.select(bound):
            key.data()
        if self._queue and not self._closed:
            self._feed()
        if time.monotonic() >= self._next and not self._closed:
            self._look_around()
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, ns: Collection[int]) -> None:
        """End these, whether they run or wait; the others are not touched. Unknown ones are ignored."""
        wanted = frozenset(ns)
        for child in self._children:
            if any(key[0] in wanted for key in child.given):
                self._requeue(self._reclaim(child))
                # Not what it shows by now: what was dropped in between would come back, and be run.
                if child.doubt is not None and child.doubt[0] in wanted:
                    self._stop(child, child.doubt, Outcome.CANCELLED)
        for delivery in self._queue.take_out(wanted):
            self._say(verdicts.ended(delivery[:2], Outcome.CANCELLED))
        self._feed()

    def withdraw(self) -> list[Delivery]:
        """Everything that has not begun; what runs goes on. Nothing is begun until `put` is called again."""
        self._draining = True
        back = [delivery for child in self._children for delivery in self._reclaim(child)]
        back += self._queue.take_out()
        for delivery in back:
            self._terms.forget(delivery[:2])
        return back

    def running(self) -> list[tuple[int, int, float]]:
        """(n, attempt, seconds so far) of each task that runs now."""
        now, found = time.monotonic(), []
        for child in self._children:
            work = child.at_work() if child.given else None
            if work is not None and work[0] in child.given:
                found.append((*work[0], now - work[1]))
        return found

    def queued(self) -> int:
        """How many were put and have neither ended nor begun."""
        return len(self._queue) + sum(len(child.given) for child in self._children) - len(self.running())

    def resize(self, count: int) -> None:
        """So many slots from now on. Those that are too many leave when their task has ended."""
        self.count = self._budget.resize(count)
        for child in self._children[self.count :]:
            self._leave(child)
        self._feed()

    def settled(self) -> None:
        """All that `turn` has returned is recorded and synced: outcome files may be cut."""
        if not self._ended:
            for child in self._children:
                child.settle()

    def notice(self) -> None:
        """The machine is about to go: tasks that ask current_task().stopping are told."""
        for child in self._children:
            child.notice()

    def close(self, now: bool = False, within: float | None = None) -> None:
        """End all slots and all their descendants, `within` so many seconds (their grace), or `now`. Twice: harmless.
        The next `turn(0)` tells what ended meanwhile."""
        if self._closed:
            return
        self._closed = self._draining = True
        self._queue.take_out()
        alive = [child for child in self._children if child.alive]
        if not now:
            for child in alive:
                self._end_gently(child)
            self._await(alive, self.boot.grace.total_seconds() if within is None else within)
        for child in [child for child in alive if child.alive]:
            child.end()
        self._await(alive, 10.0 if self.boot.box is None else keeper.GONE)
        for child in self._children:
            self._collect(child)
            child.dispose()

    def _await(self, children: Sequence[Child], seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := [child for child in children if child.alive]) and time.monotonic() < end:
            for child in left:
                self._exited(child)
            time.sleep(0.002)

    # -- giving

    def _feed(self) -> None:
        """Give what waits to the slots that run low; start slots while there is more work than slots."""
        if self.broken:
            for delivery in self._queue.take_out():
                self._say(verdicts.ended(delivery[:2], Outcome.REJECTED, self.broken))
        if not self._queue or self._draining or self.trouble:
            return
        self.hire()
        for child in self._queue.feed(self._children):
            self._leave(child)

    def hire(self, least: int = 0) -> None:
        """Start slots that are wanted and not there; `least`: so many before there is work, since there will be."""
        wanted = max(least, min(self.count, len(self._queue) + sum(1 for child in self._children if child.given)))
        try:
            while len(self._children) < wanted:
                self._children.append(Child(len(self._children), self.boot, self.directory, self._mark, self._selector))
            for child in self._children[:wanted]:
                if not child.alive and not self.broken and not self.trouble:
                    child.start(functools.partial(self._woken, child), functools.partial(self._exited, child))
        except OSError as error:
            self._could_not_start(error)
        except UsageError as error:  # a container that cannot be put together
            self.broken = wire.failure("SlotError", error.message)
            self._feed()

    def _could_not_start(self, error: OSError) -> None:
        if error.errno in watch.FULL:
            self._in_trouble(error.errno or 0)
            return
        self.broken = wire.failure("SlotError", f"{self.boot.python} cannot be started: {error.strerror or error}")
        self._feed()

    # -- taking back

    def _reclaim(
        self, child: Child, epoch: int | None = None, target: Key = (0, 0), outcome: int = 0
    ) -> list[Delivery]:
        """What the slot was given and has not begun, in order; it will not begin it. The running one stays with it."""
        if not child.given and epoch is None:
            return []
        child.epoch = child.epoch % (wire.STOP - 1) + 1
        child.order(child.epoch if epoch is None else epoch, target, outcome)
        time.sleep(0.0001)  # the other half of the agreement in wire.ORDER: what we wrote is seen before we look
        work = child.at_work()
        self._collect(child)
        child.doubt = work[0] if work is not None and work[0] in child.given else None
        back = [delivery for key, delivery in child.given.items() if key != child.doubt]
        child.given = {child.doubt: child.given[child.doubt]} if child.doubt is not None else {}
        return back

    def _requeue(self, deliveries: Sequence[Delivery]) -> None:
        """Back to the front of the queue, under the same attempt number; or home, if nothing may begin any more."""
        if not self._draining:
            self._queue.put_back(deliveries)
            return
        for delivery in deliveries:
            self._say(verdicts.ended(delivery[:2], Outcome.INTERRUPTED))

    def _take_back(self, child: Child, deliveries: Sequence[Delivery]) -> None:
        """As `_requeue`, from a slot that may have been told to cancel one of these before it had begun."""
        key, outcome = child.stopping or ((0, 0), 0)
        for delivery in deliveries:
            if delivery[:2] == key and outcome == Outcome.CANCELLED:
                self._say(verdicts.ended(key, Outcome.CANCELLED))
        self._requeue([one for one in deliveries if one[:2] != key or outcome != Outcome.CANCELLED])

    def _resolve_doubt(self, child: Child) -> None:
        """A task that was shown as running when its epoch ended and is so no more, without an outcome, never began."""
        work = child.at_work()
        self._collect(child)
        if child.doubt is None or (work is not None and work[0] == child.doubt):
            return
        delivery, child.doubt = child.given.pop(child.doubt, None), None
        if delivery is not None:
            self._take_back(child, [delivery])

    # -- what comes back

    def _woken(self, child: Child) -> None:
        child.read_wake()
        if child.doubt is not None:
            self._resolve_doubt(child)
        self._collect(child)
        if self._boots and child.ready:
            self._boots = 0

    def _collect(self, child: Child) -> None:
        records = child.records()
        if not records:
            return
        given, ended, terms, slot, agent = child.given, self._ended, self._terms, child.number, self._agent
        own = terms.own
        new, outcomes, forms, total = tuple.__new__, OUTCOMES, FORMS, 0.0
        for n, attempt, outcome, form, roll, started, took, out, out_to, err, err_to, value in records:
            if given.pop((n, attempt), None) is None:
                continue
            output = None if out == out_to and err == err_to else Output(slot, roll, out, out_to, err, err_to)
            story = (n, attempt, outcomes[outcome], started, took, forms[form], value, output, agent)
            ended.append(new(Ended, story))
            total += took
            if own:
                terms.forget((n, attempt))
        self._queue.ended(total / len(records))

    def _say(self, report: Ended) -> None:
        self._terms.forget(report[:2])
        self._ended.append(report._replace(agent=self._agent))

    def _exited(self, child: Child) -> None:
        """If its process has ended: judge what ran in it, give the rest to others, who may be its successor."""
        status = child.reap()
        if status is None:
            return
        booting = child.look()[2] == wire.BOOTING
        self._collect(child)
        child.cut_tail()
        if status != wire.LEFT:
            child.clear()
        work = child.at_work()
        if work is not None and work[0] in child.given:
            self._say(verdicts.on_death(child, status, *work, self._closed, self._kills.more()))
            del child.given[work[0]]
        rest, child.given = list(child.given.values()), {}
        child.forget()
        _, number = verdicts.split(status)
        if child.trouble:
            self._in_trouble(child.trouble)
        elif booting and not self._closed:
            self._boots += _KILLED if number == signal.SIGKILL else _DIED
            if self._boots >= _BOOTS:
                self.broken = verdicts.cannot_boot(child, status)
        self._take_back(child, rest)
        self._feed()

    def _in_trouble(self, number: int) -> None:
        self._disk.failed(number)
        self._due(self._disk.due())

    # -- bounds

    def _due(self, moment: float) -> None:
        self._next = min(self._next, moment)

    def _look_around(self) -> None:
        """Time, memory, graces, work that is stuck behind a long task. Says itself when it must be called again."""
        now = time.monotonic()
        self._next = now + 1.0
        if now >= self._disk.due() and self._disk.try_again():
            self._feed()
        self._due(self._disk.due())
        for child in self._children:
            if not hasattr(os, "pidfd_open") and child.alive:
                self._exited(child)
            if child.alive and child.deadline:
                self._hold_to_grace(child, now)
            elif child.alive and child.given:
                wanted, again = watch.verdict(child, self._terms, now)
                self._due(max(again, now + 0.001))
                if wanted is not None:
                    self._stop(child, *wanted)
        if not self._queue and not self._draining:
            self._share_out(now)

    def _hold_to_grace(self, child: Child, now: float) -> None:
        if child.tidying:
            child.deadline = now + self.boot.grace.total_seconds()
        if now < child.deadline:
            self._due(child.deadline)
            return
        child.deadline = 0.0
        child.end()

    def _share_out(self, now: float) -> None:
        """Idle slots get what stands behind a long task, or in a slot that is still starting."""
        takers = [child for child in self._children if child.alive and not child.leaving]
        if all(child.given for child in takers) and len(takers) >= self.count:
            return
        for child in takers:
            work = child.at_work()
            if len(child.given) > 1 and (work is None or now - work[1] > 0.02):
                self._requeue(self._reclaim(child))
        self._feed()

    def _stop(self, child: Child, key: Key, outcome: Outcome) -> None:
        """SIGTERM to the running task; after the grace its whole tree is killed. The slot leaves in any case."""
        if child.stopping is not None:
            return
        child.leaving = True
        self._requeue(self._reclaim(child, wire.STOP, key, int(outcome)))
        if key not in child.given:
            child.hang_up()  # it has just ended by itself; a slot that is idle by now would not see the epoch
            return
        child.stopping = (key, int(outcome))
        if outcome is Outcome.OUT_OF_MEMORY:
            child.end()
            return
        child.deadline = time.monotonic() + self.boot.grace.total_seconds()
        self._due(child.deadline)
        processes.tell(child.pid, signal.SIGTERM)

    def _leave(self, child: Child) -> None:
        """It goes when its task has ended."""
        if child.alive and not child.leaving:
            child.leaving = True
            self._requeue(self._reclaim(child, wire.STOP))
            child.hang_up()

    def _end_gently(self, child: Child) -> None:
        work = child.at_work()
        if work is not None and work[0] in child.given:
            self._stop(child, work[0], Outcome.INTERRUPTED)
        self._leave(child)
        child.hang_up()
