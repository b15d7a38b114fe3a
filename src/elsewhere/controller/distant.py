"""Puts together a job on machines that do not see our files: deposit, freight, guests, channel, pool.

What a place must be able to do for it stands in `Distant` and `Attests` (backends/base.py); no place is named here.
"""

from __future__ import annotations

import getpass
import selectors
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from elsewhere.agent.join import OwnKey
from elsewhere.backends.base import Backend, Condition, Distant, Launch, Sighting
from elsewhere.channels import registry as channels
from elsewhere.channels.carried import Sending
from elsewhere.config import secret
from elsewhere.controller import freight
from elsewhere.controller.afar import INSIST, TURN, Afar
from elsewhere.controller.files import JobFiles
from elsewhere.controller.guests import Guests
from elsewhere.controller.printed import Printed
from elsewhere.errors import UsageError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.model.orders import Orders
from elsewhere.model.resources import Resources
from elsewhere.pool import reaper
from elsewhere.pool.capacity import Ask, Bounds
from elsewhere.pool.pool import Pool
from elsewhere.ship import seal
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.letters import Contents
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Bare, BootText, render
from elsewhere.stores.objects import open_store

LEASE = timedelta(minutes=2)
FOLLOW = 30.0
"""Seconds for which a touch of the file holds."""
BRING = (2.0, 60.0)
"""Seconds between two looks for output: while somebody follows, and else."""
LEAVE = 30.0
"""Seconds in which machines may leave by themselves."""
FLIGHT = timedelta(minutes=5)
"""How long a request whose reply was lost may still take effect at a cloud."""


def distant(files: JobFiles, ledger: Ledger, epoch: int, selector: selectors.BaseSelector, backend: Backend) -> Afar:
    """The crew of such a job, opened. UsageError: the place cannot do what this needs."""
    spec, place = ledger.spec, _able(ledger.spec, backend)
    deposit = place.deposit()
    own_url = f"{deposit.url.rstrip('/')}/jobs/{spec.id}"
    whole, store = open_store(deposit.url), open_store(own_url)
    kind = spec.channel or backend.traits.channels[0]
    load = freight.load(spec, whole, target(spec), channels.needs(kind))
    signer = OwnKey()
    guests = Guests(
        store, place, spec.id, signer, signer, lambda: Contents(files.seal_key(), secret.revealed(spec.secrets))
    )
    charter = pack(Charter(spec, "", b"", load.roots, load.software))
    terms = channels.Terms(spec.id, own_url, deposit.channel, signer, guests.of, charter, seal.public(),
                           int(ledger.get(TURN, 0)))  # fmt: skip
    home = channels.home(kind, terms)
    line = Sending(home, store, files.store, spec.entry.kind == "call")
    bounds = bounds_of(spec, backend)
    order = _order(spec, bounds, home.address, _bare(place, load))
    crew = Crowd(ledger, cast(Any, line), Pool(backend, ledger, bounds, epoch, order), home.order, selector, epoch)
    crew.guests, crew.printed, crew.followed = guests, Printed(store, files.slots), files.followed
    guests.open()
    crew.open()
    return crew


class Crowd(Afar):
    """Machines far away: between turns newcomers are let in; what was printed comes home before the store goes."""

    guests: Guests
    printed: Printed

    followed: Path
    """A file that somebody who reads along touches now and then."""
    _brought = 0.0
    _home = False

    def turn(self, wait: float) -> None:
        expected = self.pool.state.alive
        if expected:
            self.line.attempt(lambda: self._let_in(expected))
            self._bring()
        super().turn(wait)

    def is_followed(self) -> bool:
        try:
            return time.time() - self.followed.stat().st_mtime < FOLLOW
        except OSError:
            return False

    def _word(self) -> Orders:
        return replace(super()._word(), logs=(0,) if self.is_followed() else ())

    def _bring(self) -> None:
        followed = self.is_followed()
        if time.monotonic() - self._brought >= (BRING[0] if followed else BRING[1]):
            self.line.attempt(self.printed.bring)
            if followed:
                self.line.attempt(self.printed.bring_pages)
            self._brought = time.monotonic()

    def _let_in(self, expected: Collection[str]) -> None:
        for why in self.guests.look(expected):
            with self.ledger.moving():
                self.ledger.note("turned away", why)

    def _end(self) -> None:
        """Machines are told that all is over and go by themselves, their output sent; who does not is stopped."""
        self.over = True
        deadline = self.clock() + LEAVE
        while self.clock() < deadline and self.line.attempt(self._tell) and self._are_there():
            self.pause(0.5)
        super()._end()

    def _put_away(self) -> bool:
        return super()._put_away() and self._home and self._insist(self._sweep, INSIST)

    def _sweep(self) -> None:
        """The job's corner of the deposit is emptied: all that was wanted of it is here."""
        store = self.printed.store
        store.delete(list(store.list()))

    def _are_there(self) -> bool:
        natives = [a.native for a in self.pool.state.allocations.values() if a.native]
        seen: list[Sighting] = []
        self.line.attempt(lambda: seen.extend(self.pool.backend.status(natives).values()))
        return any(one.condition in (Condition.PENDING, Condition.RUNNING) for one in seen)

    def fetch(self) -> None:
        self._home = self._insist(self.printed.bring, INSIST)


def target(spec: JobSpec) -> Target:
    """Whose Python, and which processors, the machines of this job have: of the user's minor version, as chosen."""
    kinds = {shape.architecture for shape in spec.machines if shape.architecture}
    return Target(spec.python_version or own().python, kinds.pop() if len(kinds) == 1 else own().architecture)


def bounds_of(spec: JobSpec, backend: Backend) -> Bounds:
    """What the pool may do: the job's limits, the place's lag."""
    if not spec.machines:
        raise UsageError(f"no machine was chosen for {spec.place}", hint="`elsewhere plan` shows what there is.")
    lag, limits = backend.traits.lag, spec.limits
    slots = min(shape.slots for shape in spec.machines)
    most = limits.machines or max(1, -(-spec.slots // slots))
    return Bounds(spec.id, most=most, shapes=spec.machines, price_per_hour=limits.price_per_hour,
                  budget=limits.budget, lag=lag, flight=max(lag, FLIGHT))  # fmt: skip


def _able(spec: JobSpec, backend: Backend) -> Any:
    """The place, which can do all that such a job needs."""
    for verb in ("deposit", "ground", "identify"):
        if not callable(getattr(backend, verb, None)):
            raise UsageError(f"{spec.place} cannot run jobs of this kind: it has no {verb}",
                             hint="see the page on adding a backend: Distant and Attests")  # fmt: skip
    return backend


def _bare(place: Distant, load: freight.Freight) -> tuple[Bare, str]:
    ground = place.ground()
    return Bare(ground.name, ground.fetch, load.python, load.archives), ground.end


def _order(spec: JobSpec, bounds: Bounds, address: str, bare: tuple[Bare, str]) -> Callable[[Ask], Launch]:
    owner = f"{getpass.getuser()}@{socket.gethostname()}"

    def order(ask: Ask) -> Launch:
        text = BootText(address, f".elsewhere/{spec.id}", "", ask.term, ask.start_by, slots=ask.slots,
                        lease=LEASE, end=bare[1], bare=bare[0])  # fmt: skip
        labels = reaper.labels(bounds.job, ask.launch, owner, ask.start_by + ask.term)  # the same each time it is asked
        need = Resources(disk=spec.resources.disk)
        return Launch(ask.launch, ask.count, render(text), need, ask.term, ask.start_by, labels, ask.offer)

    return order
