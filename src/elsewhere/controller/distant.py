"""Puts together a job on machines that do not see our files: deposit, freight, guests, channel, pool.

What a place must be able to do for it stands in `Distant` and `Attests` (backends/base.py); no place is named here.
"""

from __future__ import annotations

import getpass
import selectors
import socket
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

from elsewhere.agent.meeting import OwnKey
from elsewhere.backends.base import Backend, Condition, Distant, Launch, Sighting
from elsewhere.channels import registry as channels
from elsewhere.channels.carried import Sending
from elsewhere.channels.output import BOOTS
from elsewhere.channels.outputs import Outputs
from elsewhere.config import secret
from elsewhere.controller import freight, keeping
from elsewhere.controller.afar import COMPANY, Afar
from elsewhere.controller.bell import Bell
from elsewhere.controller.compaction import Compaction
from elsewhere.controller.corner import Corner, earlier, kind_of, sweep
from elsewhere.controller.ending import INSIST, TURN
from elsewhere.controller.files import JobFiles
from elsewhere.controller.guests import Guests
from elsewhere.controller.printed import Printed
from elsewhere.controller.readers import Readers
from elsewhere.errors import UsageError
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.ledger.views import SEAT
from elsewhere.model.job import JobSpec
from elsewhere.model.orders import EVERY_TASK, Orders
from elsewhere.model.resources import Resources
from elsewhere.model.task import Delivery, NewTask
from elsewhere.observe.bill import set_aside
from elsewhere.pool import reaper
from elsewhere.pool.capacity import Ask, Bounds
from elsewhere.pool.pool import Pool
from elsewhere.ship import seal, startup
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.letters import Contents
from elsewhere.ship.script import HOLDS, Bare, BootText, Startup, render
from elsewhere.stores.objects import open_store

LEASE = timedelta(minutes=2)
IDLE = timedelta(minutes=1)
"""How long a machine without work stays, beside what its job lingers."""
BRING = (1.0, 60.0)
"""Seconds between two looks for output: while somebody follows, and else."""
ATTEND = 0.25
"""Seconds between two looks for who reads along here."""
HOLD = 30.0
"""Seconds for which collected reports are kept from another controller, at least: if ours is killed they come again."""
LEAVE, ENDING = 30.0, (0.1, 0.5)
"""Seconds in which machines may leave by themselves; between two looks whether they have, first and at most."""
SCRIPTS = 2
"""A startup script that has failed on so many machines in a row is not tried on another."""
ASK_BOOTS = 10.0
"""Seconds between two looks at what those have said that have not spoken, where machines are kept if a boot fails."""
FLIGHT = timedelta(minutes=5)
"""How long a request whose reply was lost may still take effect at a cloud."""


def distant(files: JobFiles, ledger: Ledger, epoch: int, selector: selectors.BaseSelector, corner: Corner) -> Afar:
    """The crew of such a job, opened."""
    spec, place, backend = ledger.spec, corner.place, cast(Backend, corner.place)
    deposit, own_url, store = corner.deposit, corner.url, corner.store
    kind = kind_of(spec, backend)
    load = freight.of(files, ledger, open_store(deposit.url), freight.target(spec), channels.needs(kind))
    signer = OwnKey()
    guests = Guests(
        store, place, spec.id, signer, signer, lambda: Contents(files.seal_key(), secret.revealed(spec.secrets))
    )
    charter = pack(Charter(replace(spec, startup=""), "", b"", load.roots, load.software))
    terms = channels.Terms(spec.id, own_url, deposit.channel, signer, guests.of, charter, seal.public(),
                           int(ledger.get(TURN, 0)))  # fmt: skip
    home = channels.home(kind, terms)
    outputs = Outputs(store, files.outputs) if spec.outputs else None
    line = Sending(home, store, files.store, spec.entry.kind == "call", outputs)
    bounds = bounds_of(spec, backend)
    if bounds.budget is not None:  # its controller's own machine is paid from it, too
        bounds = replace(bounds, budget=max(Decimal(0), bounds.budget - set_aside(ledger.get(SEAT, None))))
    order = _order(spec, bounds, home.address, _bare(place, load, f"jobs/{spec.id}/{BOOTS}"))
    crew = Crowd(ledger, cast(Any, line), Pool(backend, ledger, bounds, epoch, order), home.order, selector, epoch)
    printed = Printed(store, files.slots, files.boots)
    crew.guests, crew.printed, crew.readers = guests, printed, files.readers
    crew.bell = Bell(getattr(backend, "ring", None))
    crew.pool.said = printed.boot
    crew.journal, crew.values, crew.home, crew.sending = corner.journal, files.store, home, line
    crew.compaction = Compaction(ledger, corner.journal)
    crew.outputs, crew.boots, crew.earlier = outputs, {}, earlier(ledger, corner)
    guests.open()
    crew.open()
    return crew


class Crowd(Afar):
    """Machines far away: between turns newcomers are let in; what was printed comes home before the store goes."""

    guests: Guests
    printed: Printed

    readers: Readers
    bell: Bell
    journal: Journal
    compaction: Compaction
    values: Path
    home: Any
    """The channel itself, as the place has it."""
    earlier: Sequence[Any]
    """Those that the job had before it was put away and begun again."""
    sending: Sending
    outputs: Outputs | None
    boots: dict[str, bytes]
    _brought = _read = _attended = _asked_boots = 0.0
    _home = _sought = False
    _followed: tuple[int, ...] = ()
    _reading: frozenset[tuple[int, str]] = frozenset()
    """(task that is followed, machine that has it or had it last)."""

    def open(self) -> None:
        self._followed = self.readers.followed()  # so that the first orders tell of it
        super().open()

    def age(self) -> float:
        """Seconds since the job was made."""
        return max(0.0, self.ledger.clock() - self.ledger.spec.created.timestamp())

    @property
    def patience(self) -> float:
        """Each commit is an append to the job's log, and billed. None where the loss of a machine is to be recorded,
        a recall is to be answered, or somebody asks for a task of which nobody is known to have it yet."""
        urgent = self.pool.urgent or self._sought or self._recall
        return 0.0 if urgent else company(self.clock() - self._opened)

    def deposit(self, tasks: Sequence[NewTask]) -> bool:
        return self.line.attempt(lambda: self.sending.deposit([task.body for task in tasks]))

    def turn(self, wait: float) -> None:
        self.home.hold = held_back(self.clock() - self._opened)
        expected, there = self.pool.expected, self.pool.there
        if expected:
            self.line.attempt(lambda: self._let_in(expected))
            self._attend(there)
            self._bring()
            self.bell.turn(there)
        self.compaction.turn()
        super().turn(wait)

    def cancel(self, ns: Collection[int]) -> None:
        """Whoever runs one of these is told at once."""
        who = self._muster.holders(ns)
        self.home.urgent = True
        super().cancel(ns)
        self.bell.call(who)

    def drain(self) -> Sequence[Delivery]:
        withdrawn = super().drain()
        self.bell.call(self.pool.there)
        return withdrawn

    def _attend(self, there: Collection[str]) -> None:
        """Machines that do what somebody has begun to follow are told at once, and so are those that take it later."""
        if self.clock() - self._attended < ATTEND:
            return
        self._attended, followed = self.clock(), self.readers.followed()
        if followed != self._followed:
            self._followed = followed
            self._tell()
        reading = {(n, who) for n in followed for who in (there if n == EVERY_TASK else self._muster.holders([n]))}
        self.bell.call(who for _, who in reading - self._reading)
        held = {n for n, _ in reading}
        last = {(n, who) for n, who in self._reading if n in followed and n not in held}
        self._reading = frozenset(reading | last)
        self._sought = not {n for n, _ in self._reading}.issuperset(followed)

    def _word(self) -> Orders:
        return replace(super()._word(), logs=self._followed)

    def _bring(self, ending: bool = False) -> None:
        """What was printed: of whom somebody reads along, all the time; of all, now and then. `ending`: no machine need
        have what is followed any more, and whoever reads along waits for the last words."""
        now, last = time.monotonic(), ending and bool(self._followed)
        everybody = last or EVERY_TASK in self._followed
        if now - self._read >= BRING[0] and self._followed:
            self._read = now
            for who in {who for _, who in self._reading} if not everybody else ():
                self.line.attempt(partial(self.printed.bring, who))
            self.line.attempt(self.printed.bring_pages)
            self.line.attempt(self.printed.bring_boots)
        if last or now - self._brought >= (BRING[0] if everybody else BRING[1]):
            self._brought = now
            self.line.attempt(self.printed.bring)

    def _is_busy(self) -> bool:
        return self.line.fresh

    def _look(self) -> None:
        if self.pool.state.bounds.keep:
            self._look_for_kept()
        self.pool.look(unheard=self.line.unrecorded > 0)

    def _look_for_kept(self) -> None:
        """A machine that is kept does not end, as others do, when its boot has failed or its agent has left: of those
        that do not speak, or had nothing to do, it is looked at what they have said."""
        if self.clock() - self._asked_boots < ASK_BOOTS:
            return
        self._asked_boots, state = self.clock(), self.pool.state
        for a in [a for a in state.allocations.values() if a.native in state.alive and not a.kept]:
            mute = a.spoke is None and a.native not in state.heard
            quiet = a.native in state.idle or not self._muster.has_spoken(a.native)
            if mute and a.native not in state.broken and self._holds(a.native):
                self.pool.cannot_boot(a.native, last_word(self.boots[a.native]))
            elif not mute and a.native in state.failed - self.stayed and quiet and self._holds(a.native):
                self.stayed.add(a.native)

    def _holds(self, native: str) -> bool:
        """Has it no more work, and is kept? It has said so, and sent what it had, before that."""
        if not self.pool.state.bounds.keep:
            return False
        self.line.attempt(lambda: self.boots.update({native: self.printed.boot(native)}))
        return HOLDS.encode() in self.boots.get(native, b"")

    def _have_said(self, waited: float) -> bool:
        """Never: what was sent lies in its queue, where a copy would be run beside it. What is nowhere is recalled."""
        return False

    def _recall_the_stuck(self, now: float) -> None:
        """Claims are heard some seconds after they were made: they lie in their queue, and wait for company."""
        super()._recall_the_stuck(now - self.home.late - self.patience)
        if self._recall:
            self.bell.call(self.pool.there)

    def _tell(self) -> None:
        """Whoever was overtaken tells agents nothing more, also where nothing was written down since."""
        if self.line.attempt(self._is_ours):
            super()._tell()

    def _is_ours(self, **within: float) -> None:
        self.journal.check(int(self.ledger.get("position", 0)) + 1, **within)

    def _let_in(self, expected: Collection[str]) -> None:
        for why in self.guests.look(expected):
            with self.ledger.moving():
                self.ledger.note("turned away", why)

    def _end(self) -> None:
        """Machines are told that all is over and go by themselves, their output sent; who does not is stopped."""
        self.compaction.close()
        self._is_ours(within=0.0)
        self.over = True
        self._note_failures()
        deadline, pause = self.clock() + LEAVE, ENDING[0]
        self.bell.call(agent for _, _, agent in self.pool.holdings.held())
        while self.clock() < deadline and self.line.attempt(self._tell) and self._are_there():
            self.bell.turn(self.pool.there)
            self._bring(ending=True)  # whoever reads along need not wait for the last machine's end
            self.pause(pause)
            pause = min(pause * 1.5, ENDING[1])
        super()._end()

    def _put_away(self) -> bool:
        if not super()._put_away() or not self._home:
            return False
        keeping.forget(self.ledger)
        return self._insist(self._sweep, INSIST)

    def _sweep(self) -> None:
        sweep(self.printed.store, (*self.earlier, self.home))

    def _are_there(self) -> bool:
        state = self.pool.state
        working = [a for a in state.allocations.values()
                   if a.native and not ((a.kept or a.native in state.failed) and self._holds(a.native))]  # fmt: skip
        natives = [a.native for a in working]
        seen: list[Sighting] = []
        self.line.attempt(lambda: seen.extend(self.pool.backend.status(natives).values()))
        return any(one.condition in (Condition.PENDING, Condition.RUNNING) for one in seen)

    def fetch(self) -> None:
        self._home = self._insist(self._bring_all, INSIST)

    def _bring_all(self) -> None:
        self.printed.bring()
        self.printed.bring_boots()
        if self.outputs is not None:
            self.outputs.bring_all()
        keeping.bring_values(self.ledger, self.printed.store, self.values)


def last_word(boot: bytes) -> str:
    """The last line of a boot before it said that its machine is kept."""
    lines = [line.strip() for line in boot.decode("utf-8", "replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith(HOLDS)), "it did not say why")


def company(age: float) -> float:
    """Seconds that reports wait for company when a controller has had the job so long: a hundredth, at most 60."""
    return min(max(COMPANY, age / 100), 60.0)


def held_back(age: float) -> float:
    """Seconds for which reports that were collected are nobody else's: longer than they wait here to be recorded."""
    return max(HOLD, 1.5 * company(age))


def bounds_of(spec: JobSpec, backend: Backend) -> Bounds:
    """What the pool may do: the job's limits, the place's lag."""
    if not spec.machines:
        raise UsageError(f"no machine was chosen for {spec.place}", hint="`elsewhere plan` shows what there is.")
    lag, limits = backend.traits.lag, spec.limits
    slots = min(shape.slots for shape in spec.machines)
    most = limits.machines or max(1, -(-spec.slots // slots))
    bounds = Bounds(spec.id, most=most, shapes=spec.machines, price_per_hour=limits.price_per_hour,
                    budget=limits.budget, lag=lag, flight=max(lag, FLIGHT),
                    linger=IDLE + spec.linger, keep=spec.keep_on_failure or timedelta(0))  # fmt: skip
    return replace(bounds, duds=SCRIPTS) if spec.startup else bounds


def _bare(place: Distant, load: freight.Freight, log: str) -> tuple[Bare, str]:
    ground = place.ground()
    return Bare(ground.name, ground.fetch, load.python, load.archives, load.bringer, log, whole=load.whole), ground.end


def _order(spec: JobSpec, bounds: Bounds, address: str, bare: tuple[Bare, str]) -> Callable[[Ask], Launch]:
    owner = f"{getpass.getuser()}@{socket.gethostname()}"
    scripts = [archive for archive in bare[0].archives if archive.folder == freight.STARTUP]

    def order(ask: Ask) -> Launch:
        text = BootText(address, f".elsewhere/{spec.id}", "", ask.term, ask.start_by, slots=ask.slots,
                        lease=LEASE, idle=bounds.linger, end=bare[1], bare=bare[0], keep=bounds.keep)  # fmt: skip
        if scripts:
            exported = startup.variables(spec, ask.offer, ask.slots)
            text = replace(text, startup=Startup(scripts[0], exported))
        labels = reaper.labels(bounds.job, ask.launch, owner, ask.start_by + ask.term)  # the same each time it is asked
        need = Resources(disk=spec.resources.disk)
        return Launch(ask.launch, ask.count, render(text), need, ask.term, ask.start_by, labels, ask.offer)

    return order
