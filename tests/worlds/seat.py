"""A computer somewhere with a disk, on which the project's own controller drives the job: Controller, Afar, Ledger,
Journal, Pool and reactor, all as they are; only what they call (store, cloud, channel, clock) is the world's."""

from __future__ import annotations

import random
import selectors
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from elsewhere.backends.base import Launch
from elsewhere.channels.orders import write_orders
from elsewhere.controller.afar import Afar
from elsewhere.controller.controller import Controller
from elsewhere.controller.stop import Stop
from elsewhere.errors import JobHeld, StateError, Unreachable
from elsewhere.ledger import bases
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.orders import Orders
from elsewhere.pool.calls import make
from elsewhere.pool.capacity import Ask
from elsewhere.pool.pool import Pool
from elsewhere.stores import Store
from worlds.clockwork import TICK, Fiber
from worlds.cloud import Desk
from worlds.judge import Broken
from worlds.post import Post

if TYPE_CHECKING:
    from worlds.world import World


DELAYS = (0, 0, 0, 0, 0, 1, 1, 2, 6)
"""Ticks that a call waits to be made, and its answer to be heard, where somebody else makes it."""


class Keys(Stop):
    """Somebody may press Ctrl-C here, once; else this controller is killed."""

    def __init__(self) -> None:
        self.asked = 0


class Nap(selectors.BaseSelector):
    """Waiting for anything at all is waiting for the next tick."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise NotImplementedError

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise NotImplementedError

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.seat.step() if timeout == 0 else self.seat.rest()
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class Shelf:
    """The job's store, as it is reached from a seat: replies get lost."""

    def __init__(self, seat: Seat) -> None:
        self.seat, self.world = seat, seat.world

    def _trouble(self) -> None:
        if self.world.rng.random() < 0.01 * self.world.evil:
            raise Unreachable("no answer of the store")

    def get(self, key: str) -> bytes:
        self.seat.step()
        return self.world.store.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.seat.step()
        self._trouble()
        self.world.store.put(key, data)
        self._trouble()

    def create(self, key: str, data: bytes) -> bool:
        self.seat.step()
        self._trouble()
        made = self.world.store.create(key, data)
        if made and key.startswith("log/"):
            self.world.judge.appended(self.seat, data[16:])
        self.seat.step()
        self._trouble()
        return made

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        self.seat.step()
        return self.world.store.list(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        self.seat.step()
        self.world.store.delete(keys)

    def url(self, key: str) -> str:
        return key


class Aside:
    """Makes the calls of a seat to the cloud while its controller goes on: each some time after it was asked for, and
    what it answered is heard some time after that."""

    watch = None

    def __init__(self, seat: Seat) -> None:
        self.seat, self.chance = seat, random.Random(f"aside {seat.world.seed} {seat.epoch}")
        self._call: Callable[[], Any] | None = None
        self._made: Future[Any] = Future()
        self._answer: Future[Any] | None = None
        self._due = 0

    def ask(self, call: Callable[[], Any]) -> Future[Any]:
        assert self._answer is None, "one at a time"
        self._call, self._made, self._answer = call, Future(), Future()
        self._due = self._later()
        return self._answer

    def _later(self) -> int:
        world = self.seat.world
        return world.now + (0 if world.kind else self.chance.choice(DELAYS))

    def turn(self) -> None:
        """What is due by now."""
        if self._call is not None and self.seat.world.now >= self._due:
            call, self._call = self._call, None
            make(call, self._made)
            self._due = self._later()
        if self._call is None and self._answer is not None and self.seat.world.now >= self._due:
            made, answer, self._answer = self._made, self._answer, None
            make(made.result, answer)

    def wait(self, answer: Future[Any], seconds: float) -> None:
        while not answer.done():
            self.turn()
            self.seat.rest()

    def heard(self) -> None: ...

    def close(self) -> None: ...


class Seat:
    """One of possibly several. `gone`: stolen, or overtaken and left alone."""

    def __init__(self, world: World, wake: int = 0) -> None:
        self.world, self.wake = world, wake
        self.gone = False
        self.epoch = 0
        self.steps = 0
        self.skew = world.rng.uniform(-1, 1) * TICK * world.evil
        self.disk: apsw.Connection | None = None
        self.fiber: Fiber | None = None
        self.stop = Keys()

    # --- its clock and its pace -----------------------------------------------------------------------------------

    @property
    def awake(self) -> bool:
        """Somebody is at work here."""
        return not self.gone and self.fiber is not None and self.world.now >= self.wake

    def seconds(self) -> float:
        return self.world.seconds() + self.skew

    def instant(self) -> datetime:
        return self.world.instant(self.world.now) + timedelta(seconds=self.skew)

    def step(self) -> None:
        """Between this call and the next one the world may go on."""
        self.steps -= 1
        if self.steps <= 0:
            self.rest()

    def rest(self, _: float = 0.0) -> None:
        assert self.fiber is not None
        self.fiber.yield_()

    def play(self, steps: int) -> None:
        """A few steps of its controller."""
        self.steps = steps
        if self.fiber is None:
            self.fiber = Fiber(self._life)
        self.fiber.resume()
        if self.fiber.done:
            error, self.fiber = self.fiber.error, None
            if isinstance(error, JobHeld):
                self.gone = True  # overtaken: left alone
            elif error is not None and not isinstance(error, Unreachable):
                raise error

    def kill(self) -> None:
        if self.fiber is not None:
            self.fiber.kill()
            self.fiber = None

    # --- its controller -------------------------------------------------------------------------------------------

    def _life(self, fiber: Fiber) -> None:
        world, shelf = self.world, Shelf(self)
        self.fiber, self.stop = fiber, Keys()
        ledger = self._ledger(Journal(shelf, self.rest))
        self.epoch = self._take_over(ledger, Journal(shelf, self.rest))
        calls = Aside(self) if world.aside else None
        desk = Desk(world, self)
        pool = Pool(desk, ledger, world.bounds, self.epoch, self._order, self.instant, world.dice(), calls)
        desk.void = lambda: pool._slept
        crew = Afar(ledger, Post(world, self), pool, self._publish(shelf), Nap(self), self.epoch,
                    self.seconds, self.rest)  # fmt: skip
        crew.open()
        controller = Controller(ledger, crew, self.stop)
        self._wishes(controller)
        copying = self._copies(ledger, Journal(shelf, self.rest))
        while controller.turn():
            if calls is not None:
                calls.turn()
            world.judge.show(ledger)
            self._wishes(controller)
            next(copying)
        world.broke = world.broke or pool.stopped.startswith("the budget")
        controller._finish()
        world.judge.show(ledger)
        crew.close()
        world.closed = world.closed or (pool.settled and ledger.counts.over)
        self.gone = True

    def _ledger(self, journal: Journal) -> Ledger:
        try:
            if self.disk is None:
                ledger = journal.restore(":memory:", self.seconds)
                self.disk = ledger.db
            else:
                ledger = Ledger(self.disk, Path(":memory:"), self.seconds)
                journal.attach(ledger)
        except (StateError, apsw.Error) as error:
            raise Broken("all copies of the job agree", str(error)) from error
        self.world.judge.agree(ledger)
        ledger.chance = self.world.dice()
        self.world.judge.show(ledger)
        return ledger

    def _copies(self, ledger: Ledger, journal: Journal) -> Iterator[None]:
        """Copies for the log, made beside the controller's turns: one step of it to each."""
        looked = 0
        while True:
            yield
            position = int(ledger.get("position", 0))
            if not self.world.copies or position < looked + bases.LEAST:
                continue
            looked = position
            with suppress(Unreachable):
                copies = journal.copies(self.rest)
                if copies.newest()[0].worth_another(position):
                    yield from bases.Making(copies, ledger).steps()

    def _take_over(self, ledger: Ledger, journal: Journal) -> int:
        while True:
            self.rest()
            try:
                with ledger.moving():
                    epoch = ledger.take_over()
                return epoch
            except JobHeld:
                journal.attach(ledger)

    def _order(self, ask: Ask) -> Launch:
        return Launch(ask.launch, ask.count, "", ask.offer.resources, ask.term, ask.start_by,
                      {"job": self.world.job, "launch": ask.launch}, ask.offer)  # fmt: skip

    def _publish(self, store: Store) -> Callable[[Orders], None]:
        def publish(orders: Orders) -> None:
            self.world.judge.publishes(self, orders)
            write_orders(store, orders)
            self.world.judge.published(self, orders)

        return publish

    def _wishes(self, controller: Controller) -> None:
        ledger = controller.ledger
        ended = {n for first, last in controller.crew.pool.holdings.ended() for n in range(first, last)}  # type: ignore[attr-defined]
        wishes = sorted(self.world.wishes - ended)[:3]
        if wishes:
            controller.cancel([f"t{n}" for n in wishes])
            self.world.judge.heed(ledger)
