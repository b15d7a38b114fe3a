"""A cloud that misbehaves: lost replies, late effects, refusals, listings that lag, stops that are not heeded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol

from elsewhere.backends.base import Condition, Finding, Launch, NativeId, Sighting, Traits
from elsewhere.errors import NoCapacity, QuotaExceeded, Throttled, Unreachable
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources
from worlds.clockwork import TICK

if TYPE_CHECKING:
    from worlds.seat import Seat
    from worlds.world import World

LAG, FLIGHT, REMEMBERS = 4, 5, 60
"""Ticks: how late listings may be, how late a lost request may take effect, how long a launch id is remembered."""


class Machine(Protocol):
    """What a cloud sees of a machine."""

    native: str
    launch: str
    started: int
    ended: float
    alive: bool
    hidden: int
    reason: str

    def end(self, reason: str) -> None: ...
    def cost(self) -> float: ...


class Cloud:
    """The truth of it, shared by all seats."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machines: dict[str, Machine] = {}
        self.flying: list[tuple[int, Launch, bool]] = []
        """(when, what, far too late) of requests whose reply was lost and whose effect is to come."""
        self._ids: dict[str, tuple[list[str], int]] = {}

    def tick(self) -> None:
        for entry in [e for e in self.flying if e[0] <= self.world.now]:
            self.flying.remove(entry)
            if not entry[2] or entry[1].id not in self._ids:
                self.create(entry[1])

    def create(self, launch: Launch, refuse: bool = False) -> list[str] | None:
        """The same launch gives the same set while it is remembered; fewer is a partial yes; None is a refusal."""
        world = self.world
        ids, best = self._ids.get(launch.id, ([], -1))
        if ids and best > world.now:
            return ids
        if refuse:
            return None
        count = world.rng.randint(1, launch.count) if world.rng.random() < world.evil else launch.count
        ids = [f"{launch.id}.{k}at{world.now}" for k in range(count)]
        self._ids[launch.id] = ids, world.now + REMEMBERS
        for native in ids:
            machine = self.machines[native] = world.machine(native, launch)
            assert isinstance(launch.offer, Offer)
            if world.evil:
                machine.hidden = world.now + world.rng.randint(0, LAG)
        return ids


class Desk:
    """A Backend: the cloud as one seat's controller reaches it."""

    Settings: ClassVar[type] = object
    traits: ClassVar[Traits] = Traits(
        prices=True, interruptible=True, outlives_client=True, lag=timedelta(seconds=LAG * TICK)
    )

    def __init__(self, world: World, seat: Seat) -> None:
        self.world, self.seat, self.cloud = world, seat, world.cloud
        self.to_stop: set[str] = set()
        """What the last answer showed that must not live on."""
        self.void: Callable[[], bool] = lambda: False
        """Did it come so late that it was not acted upon?"""
        self.rests: dict[str, tuple[int, frozenset[str]]] = {}
        """Offer -> when it was refused, and the launches that were decided by then; "": the whole place was."""

    def offers(self, need: Resources) -> Sequence[Offer]:
        return []

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        self.seat.step()
        world = self.world
        world.judge.old(self.seat, launch.labels["launch"] in world.judge.launches, "submit")
        world.judge.tries(launch)
        chance = world.rng.random() / (world.evil or 1e-9)
        if chance < 0.15:
            raise Unreachable("no answer, nothing done")
        if chance < 0.25:
            late = world.rng.random() < 0.03
            due = world.now + (world.rng.randint(50, 120) if late else world.rng.randint(1, FLIGHT))
            self.cloud.flying.append((due, launch, late))
            raise Unreachable("no answer, done later")
        world.judge.asks(launch)
        assert isinstance(launch.offer, Offer)
        for key in self.rests.keys() & {launch.offer.key, ""}:
            world.judge.rests(launch, *self.rests[key])
        if 0.45 < chance < 0.5:
            self._refuse(shape.offer.key for shape in world.shapes if shape.offer.spot == launch.offer.spot)
            raise QuotaExceeded("no more of this market")
        if 0.5 < chance < 0.55:
            self._refuse([""])
            raise Throttled("asked too often")
        ids = self.cloud.create(launch, refuse=chance < 0.45)
        self.seat.step()
        if 0.9 < chance < 1.1:
            raise Unreachable("done, no answer")
        if ids is None or len(ids) < launch.count:
            self._refuse([launch.offer.key])
        if ids is None:
            raise NoCapacity("none left")
        self.rests.pop("", None)  # a yes ends the whole place's pause
        return ids

    def _refuse(self, keys: Iterable[str]) -> None:
        decided = frozenset(self.world.judge.launches)
        self.rests.update({key: (self.world.now, decided) for key in keys})

    def owned(self) -> Iterable[Sighting]:
        self.seat.step()
        world = self.world
        world.judge.looks(self.seat)
        if world.rng.random() < 0.1 * world.evil:
            raise Unreachable("no answer")
        for machine in self.cloud.machines.values():  # now and then one is not listed for a while
            if machine.hidden + 3 * LAG < world.now and world.rng.random() < 0.03 * world.evil:
                machine.hidden = world.now + LAG
        found = [m for m in self.cloud.machines.values()
                 if m.hidden < world.now and (m.alive or world.now - m.ended < 30)]  # fmt: skip
        world.judge.stopped(set() if self.void() else self.to_stop)
        doomed = {m.native for m in found if m.alive and world.judge.dooms(m.native, m.launch)}
        self.to_stop = doomed if world.judge.heads(self.seat) else set()  # else that was decided without us
        answer = [self._sighting(m) for m in found]
        self.seat.step()
        return answer

    def _sighting(self, machine: Machine) -> Sighting:
        world = self.world
        conditions = {"crash": Condition.FAILED, "preempted": Condition.PREEMPTED}
        condition = Condition.RUNNING if machine.alive else conditions.get(machine.reason, Condition.STOPPED)
        return Sighting(machine.native, condition, {"job": world.job, "launch": machine.launch},
                        started=world.instant(machine.started), reason=machine.reason,
                        ended=None if machine.alive else world.instant(machine.ended))  # fmt: skip

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        return {s.native: s for s in self.owned() if s.native in ids}

    def cancel(self, ids: Collection[NativeId]) -> None:
        for native in ids:
            self.seat.step()
            self.to_stop.discard(native)
            self.world.judge.old(self.seat, native in self.world.judge.stops, "stop")
            if self.world.rng.random() > 0.3 * self.world.evil:  # else asked, and not heeded
                self.cloud.machines[native].end("user")

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        return b""

    def check(self) -> Iterable[Finding]:
        return []
