"""All instances of the sandbox and their lives: asked for, booting, running, warned, ended, and for how long.

It knows no wire format. Every change is a move with two moments: when it happened, and when the API begins to show it.
"""

from __future__ import annotations

import queue
import random
import secrets
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal

from elsewhere.sandbox import machines
from elsewhere.sandbox.clock import Clock

PENDING, RUNNING, SHUTTING_DOWN, TERMINATED = "pending", "running", "shutting-down", "terminated"
CODES = {PENDING: 0, RUNNING: 16, SHUTTING_DOWN: 32, TERMINATED: 48}
_BOOTING = 8
REMEMBERED = 3600.0
"""Seconds for which an ended instance is still shown."""


@dataclass(frozen=True, slots=True)
class Reason:
    code: str = ""
    message: str = ""
    by_cloud: bool = False
    """A spot machine taken back by the cloud, not ended by its owner."""


BY_USER = Reason("Client.UserInitiatedShutdown", "User initiated shutdown")
BY_ITSELF = Reason("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
RECLAIMED = Reason("Server.SpotInstanceTermination", "Spot instance termination", by_cloud=True)
DIED = Reason("Server.InternalError", "The machine under the instance has failed")


@dataclass(frozen=True, slots=True)
class Move:
    state: str
    at: float
    shown: float
    reason: Reason = Reason()


@dataclass(frozen=True, slots=True)
class Order:
    """What one RunInstances asked for, once it was found good."""

    type: str
    cpus: int
    architecture: str
    image: str
    region: str
    zone: str
    subnet: str
    vpc: str
    spot: bool = False
    max_price: Decimal | None = None
    user_data: bytes = b""
    profile: str = ""
    role: str = ""
    disk_gb: int = 8
    public: bool = True
    groups: tuple[str, ...] = ()
    token: str = ""
    stop_on_shutdown: bool = False
    quota: str = "standard"
    shows_tags: bool = False
    """In its metadata."""


@dataclass
class Instance:
    id: str
    order: Order
    reservation: str
    number: int
    launched: float
    machine: machines.Machine
    secret: str
    """The path of its metadata."""
    private: str
    public: str
    tags: dict[str, str] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    notice: float | None = None
    """When it will be taken back, once it was warned."""
    rebalance: float | None = None
    partitioned: bool = False
    off: int = 0
    """Grows when a shutdown is asked for or taken back, so that an older one does nothing."""

    @property
    def move(self) -> Move:
        return self.moves[-1]

    @property
    def alive(self) -> bool:
        return self.move.state in (PENDING, RUNNING)

    def shown(self, now: float) -> Move | None:
        """What the API says of it; None: it does not say anything yet."""
        seen = [move for move in self.moves if move.shown <= now]
        return seen[-1] if seen else None

    def at(self, state: str) -> float | None:
        return next((move.at for move in self.moves if move.state == state), None)


class Fleet:
    """`make` builds the machine of an instance, of its id, the path of its metadata and its address.

    All methods may be called from any thread.
    """

    def __init__(self, clock: Clock, make: Callable[[str, str, str], machines.Machine], lag: float, seed: int):
        self.clock, self.lag, self._make = clock, lag, make
        self.lock = threading.RLock()
        self.instances: dict[str, Instance] = {}
        self.by_secret: dict[str, Instance] = {}
        self.ended: Callable[[Instance], None] = lambda _: None
        self.fitted: Callable[[Instance], None] = lambda _: None
        """Called before it boots: what machines of its type have."""
        self._chance = random.Random(seed)
        self._boots = ThreadPoolExecutor(_BOOTING, "boot")
        self._dying: queue.SimpleQueue[list[Instance] | None] = queue.SimpleQueue()
        self._undertaker = threading.Thread(target=self._bury, name="undertaker", daemon=True)
        self._undertaker.start()

    def launch(self, order: Order, count: int, tags: dict[str, str]) -> list[Instance]:
        reservation = "r-" + secrets.token_hex(9)[:17]
        now = self.clock.now()
        made = []
        with self.lock:
            for number in range(count):
                made.append(self._add(order, reservation, number, now, tags))
        for instance in made:
            self._boots.submit(self._boot, instance)
        return made

    def _add(self, order: Order, reservation: str, number: int, now: float, tags: dict[str, str]) -> Instance:
        id, secret, serial = "i-" + secrets.token_hex(9)[:17], secrets.token_urlsafe(24), len(self.instances)
        private = f"172.31.{serial // 250 % 250}.{serial % 250 + 4}"
        public = f"198.18.{serial // 250 % 250}.{serial % 250 + 4}" if order.public else ""
        machine = self._make(id, secret, private)
        instance = Instance(id, order, reservation, number, now, machine, secret, private, public, dict(tags))
        self._move(instance, PENDING)
        self.instances[id] = self.by_secret[secret] = instance
        return instance

    def _boot(self, instance: Instance) -> None:
        try:
            self.fitted(instance)
            instance.machine.boot(instance.order.user_data)
        except OSError as error:
            self.end([instance.id], Reason("Server.InternalError", f"The machine could not be booted: {error}"))
            return
        with self.lock:
            if instance.move.state == PENDING:
                self._move(instance, RUNNING)

    def _move(self, instance: Instance, state: str, reason: Reason = Reason()) -> None:
        now = self.clock.now()
        # Answers may be late, never out of order: a later state is not shown before an earlier one.
        shown = max([now + self._chance.uniform(0, self.lag), *(move.shown for move in instance.moves)])
        instance.moves.append(Move(state, now, shown, reason))

    def end(self, ids: Collection[str], reason: Reason) -> list[Instance]:
        """Those of them that lived begin to end; returns when asked, not when gone. Again: harmless."""
        with self.lock:
            going = [self.instances[id] for id in ids if id in self.instances and self.instances[id].alive]
            for instance in going:
                self._move(instance, SHUTTING_DOWN, reason)
        if going:
            self._dying.put(going)
        return going

    def _bury(self) -> None:
        while (batch := self._dying.get()) is not None:
            machines.kill(instance.machine.mark for instance in batch)
            for instance in batch:
                instance.machine.kill()
                with self.lock:
                    self._move(instance, TERMINATED, instance.move.reason)
                    self.by_secret.pop(instance.secret, None)
                self.ended(instance)

    def preempt(self, id: str, notice: float) -> None:
        """A recommendation now, the notice now, the end after `notice` seconds of the sandbox."""
        with self.lock:
            instance = self.instances[id]
            now = self.clock.now()
            instance.rebalance = instance.rebalance or now
            instance.notice = now + notice if notice > 0 else None
        if notice <= 0:
            self.end([id], RECLAIMED)
        else:
            self.clock.at(now + notice, lambda: self._take_back(id))

    def _take_back(self, id: str) -> None:
        self.end([id], RECLAIMED)

    def switch_off(self, instance: Instance, after: float) -> None:
        """The machine itself asked for its end; below 0: takes that back."""
        with self.lock:
            instance.off += 1
            asked = instance.off
        if after == 0:
            self.end([instance.id], BY_ITSELF)
        elif after > 0:
            self.clock.at(self.clock.now() + after, lambda: self._switch_off(instance, asked))

    def _switch_off(self, instance: Instance, asked: int) -> None:
        if instance.off == asked:
            self.end([instance.id], BY_ITSELF)

    def at(self, address: str) -> Instance | None:
        """The living machine of this private address."""
        return next((i for i in self.known() if i.private == address and i.move.state != TERMINATED), None)

    def known(self) -> list[Instance]:
        """All, in the order in which they were asked for."""
        with self.lock:
            return list(self.instances.values())

    def alive(self) -> Iterable[Instance]:
        return [instance for instance in self.known() if instance.alive]

    def close(self) -> None:
        """Ends every machine, and waits until their processes are gone."""
        self._boots.shutdown(cancel_futures=True)
        self.end([instance.id for instance in self.alive()], BY_USER)
        self._dying.put(None)
        self._undertaker.join()
