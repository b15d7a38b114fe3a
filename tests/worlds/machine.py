"""Machines and the agents on them. What an agent decides is the project's own (agent/claims.py); the rest is fate."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from elsewhere.agent.claims import Hands, Steps, Ways, first_switch
from elsewhere.backends.base import Launch
from elsewhere.channels.orders import read_orders
from elsewhere.model.reports import Ended, Form, Heartbeat
from elsewhere.model.states import Outcome
from elsewhere.model.task import Delivery
from worlds.clockwork import TICK
from worlds.post import Post

if TYPE_CHECKING:
    from worlds.world import World

LEASE, RENEW, BOOT, IDLE, SWITCH = 6, 2, 2, 6, 12
SLOTS, SILENCE = 2, 28
"""Of a plain machine; ticks after which one that never spoke is stopped."""


class Machine:
    """One machine, from its first minute to its last."""

    def __init__(self, world: World, native: str, launch: Launch) -> None:
        self.world, self.native, self.launch = world, native, launch.labels["launch"]
        assert launch.offer is not None
        self.offer = launch.offer
        self.slots = next(s.slots for s in world.shapes if s.offer.key == launch.offer.key)
        self.start_by, self.started = launch.start_by, world.now
        self.alive = self.agent = True
        self.booted = self.spoke = self.draining = False
        self.hidden, self.frozen, self.agent_died = -1, 0, 10**6
        self.ended = 0.0
        self.idle = 0
        self.reported: list[tuple[int, int]] = []
        """(tick, task) of what it has reported."""
        self.over: set[tuple[int, int]] = set()
        """(task, number) of what has ended here."""
        self.lapsed: set[int] = set()
        """What it let go of without a word, so that the ledger may think that it has it."""
        self.stuck = world.rng.random() < 0.03 * world.evil or world.barren
        """It never boots."""
        self.unarmed = self.stuck and world.rng.random() < 0.5
        """Nor was its boot text ever run: only the cloud's own limit, its term, ends it."""
        self.reason = ""
        self.ways = Ways(native, world.job, launch.term.total_seconds(), LEASE * TICK, IDLE * TICK, SWITCH * TICK,
                         retry=world.spec.retry)  # fmt: skip
        self.hands = Hands(self.ways)
        self.switch = self.hands.term if self.unarmed else first_switch(self.ways, SWITCH * TICK)
        self.work: dict[int, tuple[Delivery, int]] = {}
        self.post = Post(world)

    @property
    def bought(self) -> float:
        """Ticks."""
        return self.hands.term / TICK

    def age(self) -> float:
        return (self.world.now - self.started) * TICK

    def cost(self) -> float:
        """Dollars of this tick, of which only a part may be left to it."""
        return min(1.0, max(0.0, (self.switch - self.age()) / TICK)) * float(self.offer.price) / 60

    def end(self, reason: str, killer: int = -1) -> None:
        if not self.alive:
            return
        self.alive, self.reason = False, reason
        self.ended = self.started + self.switch / TICK if reason == "term" else self.world.now
        if reason == "crash":
            self.world.judge.given_up -= {claim.delivery[:2] for claim in self.hands.claims}
            thought_here = self.lapsed | {
                n for when, n in self.reported if when + world_lag(self.world) >= self.world.now
            }
            for n in thought_here.union(self.work if killer < 0 else ()):
                self.world.deaths[n] += 1

    # --- a tick ---------------------------------------------------------------------------------------------------

    def step(self) -> None:
        world, now = self.world, self.world.now
        if self.age() >= self.switch:
            world.judge.term_ends(self)
            return self.end("term")
        if now - self.started < BOOT or now < self.frozen or not self.agent or self.stuck:
            return None
        if not self.booted:
            if world.late(self.start_by):
                return self.end("late")
            world.judge.begins(self)
            self.booted, self.hands = True, Hands(self.ways, self.age())
        self._faults()
        if not self.alive or not self.agent or now < self.frozen:
            return None
        return self._live()

    def _live(self) -> None:
        if (self.world.now - self.started) % RENEW == 0:
            self._renew()
        self.switch = self.hands.switch(self.age())
        for n in [n for n, (_, due) in self.work.items() if due <= self.world.now]:
            if self.alive and n in self.work:
                self._finish(n)
        if not self.alive:
            return
        self._run(self.hands.due(self.age()))
        self._claim()
        if self.alive and (why := self.hands.leaves(self.age())):
            self.end("idle" if why == "idle" else "over")

    def _faults(self) -> None:
        world = self.world
        chance = world.rng.random() / (world.evil * world.rough or 1e-9)
        if chance < 0.01:
            self.end("crash")
        elif chance < 0.02:
            self.end("preempted")
        elif chance < 0.03:  # with notice: hand back, then go, one way or the other
            world.judge.given_up |= {claim.delivery[:2] for claim in self.hands.claims}
            self._do(self.hands.give_up(list(self.work), world.seconds()))
            self.end(world.rng.choice(["preempted", "crash"]))
        elif chance < 0.05:
            self.frozen = world.now + world.rng.randint(3, SWITCH + 4)
        elif chance < 0.055:
            self.agent, self.agent_died = False, world.now

    def _renew(self) -> None:
        self._read_orders()
        claims = self.hands.claims
        self._do(self.hands.renewed(claims, self.post.renew(claims, self._lease())))
        if self.alive and (self.world.now % 6 == 0 or not self.spoke):
            self._beat()

    def _read_orders(self) -> None:
        self._do(self.hands.told(read_orders(self.world.store, self.world.job)))
        self.world.judge.heeds(self)
        if self.alive and self.hands.draining and not self.draining:
            self.draining = True
            self._beat()

    def _beat(self) -> None:
        self.spoke = True
        running = tuple(claim.delivery[:2] for claim in self.hands.claims) if self.draining else tuple(self._running())
        beat = Heartbeat(self.native, self.world.instant(self.world.now), running, draining=self.draining)
        self.post.report([beat])

    def _running(self) -> list[tuple[int, int]]:
        return [(d.n, d.attempt) for d, _ in self.work.values()]

    def _lease(self) -> timedelta:
        return timedelta(seconds=self.ways.lease)

    def _claim(self) -> None:
        room = self.hands.room(self.slots - len(self.hands.claims))
        if room is None:
            return None
        claims = self.post.claim(self.native, room, self._lease())
        if claims and self.world.slips.random() < self.world.slippery:
            return self.end("crash")
        if claims:  # orders are read before a delivery is run
            self._read_orders()
            self._do(self.hands.took(claims))

    def _run(self, deliveries: tuple[Delivery, ...]) -> None:
        for delivery in deliveries:
            self.world.judge.runs(self, delivery)
            self.world.runs[delivery.n] += 1
            self.work[delivery.n] = (delivery, self.world.now + self.world.rng.randint(1, 8))

    def _finish(self, n: int) -> None:
        world, (delivery, _) = self.world, self.work[n]
        claims = [claim for claim in self.hands.claims if claim.delivery.n == n]
        self._do(self.hands.renewed(claims, self.post.renew(claims, self._lease())))
        if n not in self.work:
            return  # it lapsed
        kind = world.kinds[n]
        if kind == "killer":
            world.kills[n] += world.judge.minded()  # where nobody is, nobody stops it
            return self.end("crash", n)
        bad = kind == "bad" or (kind.startswith("flaky") and world.failed[n] < int(kind[5:]))
        world.failed[n] += bad
        del self.work[n]
        outcome, form = (Outcome.ERRORED, Form.FAILURE) if bad else (Outcome.SUCCEEDED, Form.JSON)
        value = json.dumps({"type": "ValueError", "message": "bad"} if bad else n).encode()
        report = Ended(n, delivery.attempt, outcome, world.seconds(), 60.0, form, value)
        steps = self.hands.ended([report], self.age(), self._wait)
        world.judge.given_up |= {claim.delivery[:2] for claim in steps.done}
        self._do(steps)

    def _wait(self, strikes: int) -> float:
        return world_wait(self.world, strikes)

    # --- doing ----------------------------------------------------------------------------------------------------

    def _do(self, steps: Steps) -> None:
        """Carry the steps out, in their order; the machine may die between any two of them."""
        for n in steps.stop:
            self.work.pop(n, None)
            if not steps.done:
                self.lapsed.add(n)
        for act in self.in_order(steps):
            act()
            if self.world.rng.random() < 0.02 * self.world.evil:
                self.work.update({d.n: (d, self.world.now) for d in steps.run})  # claimed, and as good as begun
                return self.end("crash")
        self.post.release(steps.release)
        self._run(steps.run)

    def _report(self, steps: Steps) -> None:
        receipts = {claim.delivery.n: claim.receipt for claim in steps.done}
        for report in steps.reports:
            if isinstance(report, Ended):
                self.world.judge.reports(self, report, self.world.out.holds(receipts[report.n]))
                self.reported.append((self.world.now, report.n))
                self.over.add(report[:2])
        self.post.report(steps.reports)

    def in_order(self, steps: Steps) -> list[Callable[[], None]]:
        acts: list[Callable[[], None]] = []
        if steps.reports:
            acts.append(lambda: self._report(steps))
        if steps.done:
            acts.append(lambda: self.post.report((), steps.done))
        return acts


def world_wait(world: World, strikes: int) -> float:
    """Seconds before the next try: the job's policy, with the world's own dice."""
    return world.spec.retry.wait(strikes, world.rng).total_seconds()


def world_lag(world: World) -> int:
    """Ticks for which a report may be on its way."""
    return world.home.late + 5
