"""Puts together a job on machines that share a directory which we reach through a host: freight, spool, pool.

What they and we say to each other lies in that directory, so that work goes on while nobody is connected. What a place
must be able to do for it stands in `Lodges` (backends/base.py); no place is named here.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from elsewhere.agent.meeting import OwnKey
from elsewhere.backends.base import Backend, Launch, Lodges, NativeId
from elsewhere.channels import registry as channels
from elsewhere.channels.carried import Sending
from elsewhere.channels.outputs import Outputs
from elsewhere.config import secret
from elsewhere.controller import freight
from elsewhere.controller.afar import Afar
from elsewhere.controller.aside import Aside
from elsewhere.controller.files import JobFiles
from elsewhere.controller.guests import Guests
from elsewhere.controller.printed import Printed
from elsewhere.controller.readers import Readers
from elsewhere.errors import AccessDenied
from elsewhere.hosts import Host
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.model.orders import Orders
from elsewhere.pool import reaper
from elsewhere.pool.capacity import Ask, Bounds
from elsewhere.pool.pool import Pool
from elsewhere.ship import seal
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.letters import Contents
from elsewhere.ship.script import Bare, BootText, render
from elsewhere.stores import HostStore
from elsewhere.stores.gathering import GatheringStore

LEASE = timedelta(minutes=2)
BRING = 2.0
"""Seconds between two looks for what was printed."""
STOCK = 1200.0
"""Seconds of work that lie there for the time in which nobody is connected."""


def lodged(
    files: JobFiles, ledger: Ledger, epoch: int, selector: selectors.BaseSelector, backend: Backend,
    lodging: tuple[Host, str],
) -> Afar:  # fmt: skip
    """The crew of such a job, opened."""
    spec, (host, base) = ledger.spec, lodging
    home, own = f"{base}/jobs/{spec.id}", OwnKey()
    bounds, load, order = arranged(spec, backend, base, _brought(files, ledger, host, base))
    freight.note(ledger, load)
    charter = pack(Charter(spec, "", b"" if spec.secrets else files.seal_key(), load.roots, load.software))
    store = HostStore(host, f"{home}/store")
    spool = channels.spool_at(GatheringStore(host, f"{home}/spool"), _address(spec, base), spec.id, own, own, charter)
    outputs = Outputs(store, files.outputs) if spec.outputs else None
    line = Sending(spool, store, files.store, spec.entry.kind == "call", outputs)
    pool = Pool(backend, ledger, bounds, epoch, order, calls=Aside())
    crew = Lodged(ledger, cast(Any, line), pool, spool.order, selector, epoch)
    crew.printed, crew.host, crew.home, crew.ahead = Printed(store, files.slots, files.boots), host, home, STOCK
    crew.readers, crew.asked_before = files.readers, True
    crew.pages = Printed(GatheringStore(host, f"{home}/store"), files.slots, files.boots)
    if spec.secrets:
        _make_private(host, base, home)
        crew.guests = Guests(store, Named(), spec.id, own, own,
                             lambda _: Contents(files.seal_key(), secret.revealed(spec.secrets)))  # fmt: skip
        crew.guests.open()
    crew.open()
    return crew


def _brought(files: JobFiles, ledger: Ledger, host: Host, base: str) -> freight.Freight | None:
    """Of a job that sat there itself: what lies there since. StateError: it does not any more."""
    found = freight.brought(files, ledger)
    for one in found.archives if found else ():
        if not host.run(["test", "-e", path := f"{base}/cache/{one.key}"]).ok:
            raise freight.gone(one, f"{host.name}:{path}")
    return found


def arranged(
    spec: JobSpec, backend: Backend, base: str, lies: freight.Freight | None = None
) -> tuple[Bounds, freight.Freight, Callable[[Ask], Launch]]:
    """What may be asked for, what travels, and how a machine is asked for; nothing is asked. `lies`: what travels lies
    there already."""
    from elsewhere.controller.reach import bounds_of

    where, ground, bounds = freight.target(spec), cast(Lodges, backend).ground(), bounds_of(spec, backend)
    found = {} if lies else freight.packed(spec, where, ())
    load = lies or freight.described(spec, where, found)
    bare = Bare(ground.name, ground.fetch, load.python, load.archives, load.bringer, whole=load.whole)
    files = {one.key: one.path for one in found.values()}
    return bounds, load, _order(spec, bounds, _address(spec, base), f"{base}/jobs/{spec.id}/agents", bare, files)


def _address(spec: JobSpec, base: str) -> str:
    home = f"{base}/jobs/{spec.id}"
    proof = "directory" if spec.secrets else ""
    return channels.spool_address(Path(home, "spool"), spec.id, seal.public(), f"{home}/store", proof)


# What letters are believed by: nobody but the user may write where hellos lie, nor put another directory in its place.
_PRIVATE = """umask 077; mkdir -p "$2/store" || exit 73
for one in "$1" "$1/jobs" "$2" "$2/store"; do
  [ -O "$one" ] && [ -z "$(find "$one" -prune -perm /022)" ] || { echo "$one"; exit 66; }
done"""


def _make_private(host: Host, base: str, home: str) -> None:
    """AccessDenied: others may write there, so that no secret is sent."""
    done = host.run(["sh", "-c", _PRIVATE, "sh", base, home])
    if not done.ok:
        where = done.out.decode("utf-8", "replace").strip() or home
        raise AccessDenied(f"secrets are not sent to {host.name}: others may write to {where}",
                           hint=f"chmod go-w {where}, or name a `work-dir:` of your own")  # fmt: skip


class Named:
    """Who it is, a machine says itself: its hello lies where only the user writes."""

    def identify(self, proof: bytes, claim: bytes) -> NativeId:
        return proof.decode("ascii", "replace")


class Lodged(Afar):
    """Between turns what was printed comes; when all is over the job's directory there goes."""

    printed: Printed
    pages: Printed
    host: Host
    home: str
    guests: Guests | None = None
    """Where tasks have secrets: each machine gets them in a letter that it alone can open."""
    quiet = (0.05, 1.0, 1.5)
    readers: Readers
    _brought = 0.0
    _followed: tuple[int, ...] = ()

    def open(self) -> None:
        self._followed = self.readers.followed()  # so that the first orders tell of it
        super().open()

    def turn(self, wait: float) -> None:
        if self.guests is not None and (expected := self.pool.expected):
            self.line.attempt(lambda: self._let_in(expected))
        if self.clock() - self._brought >= BRING:
            self._brought = self.clock()
            if (followed := self.readers.followed()) != self._followed:
                self._followed = followed
                self._tell()
            self.line.attempt(self.printed.bring)
            self.line.attempt(self.pages.bring_pages)
        super().turn(wait)

    def _word(self) -> Orders:
        return replace(super()._word(), logs=self._followed)

    def _let_in(self, expected: Collection[str]) -> None:
        for why in self.guests.look(expected) if self.guests is not None else ():
            with self.ledger.moving():
                self.ledger.note("turned away", why)

    def fetch(self) -> None:
        self.line.attempt(self.printed.bring)

    def _put_away(self) -> bool:
        done = super()._put_away()
        return done and self.line.attempt(lambda: self.host.run(["rm", "-rf", "--", self.home]))


def _order(
    spec: JobSpec, bounds: Bounds, address: str, directory: str, bare: Bare, files: Mapping[str, Path]
) -> Callable[[Ask], Launch]:
    owner = reaper.me()

    def order(ask: Ask) -> Launch:
        text = BootText(address, directory, "", ask.term, ask.start_by, slots=ask.slots, lease=LEASE,
                        idle=bounds.linger, final=bounds.longest is not None, bare=bare, serves=ask.serves)  # fmt: skip
        labels = reaper.labels(bounds.job, ask.launch, owner, ask.start_by + ask.term)
        shape = ask.offer.resources
        return Launch(ask.launch, ask.count, render(text), shape, ask.term, ask.start_by, labels, ask.offer, files,
                      abreast=ask.abreast)  # fmt: skip

    return order
