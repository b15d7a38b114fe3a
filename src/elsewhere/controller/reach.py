"""Puts together what a job of machines needs: its channel, its backend, its pool. New places and channels are named in
their registries, not here."""

from __future__ import annotations

import os
import selectors
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from elsewhere import machine
from elsewhere.agent.join import OwnKey
from elsewhere.backends import registry as backends
from elsewhere.backends.base import Backend, Launch
from elsewhere.channels import registry as channels
from elsewhere.channels.base import Channel
from elsewhere.controller.afar import Afar
from elsewhere.controller.files import JobFiles
from elsewhere.errors import UsageError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.model.orders import Orders
from elsewhere.model.place import HERE, Place
from elsewhere.pool import reaper
from elsewhere.pool.capacity import Ask, Bounds, Shape
from elsewhere.pool.pool import Pool
from elsewhere.ship import seal
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.script import BootText, render

if TYPE_CHECKING:
    from elsewhere.controller.corner import Corner

_SOCKET = 100
"""Bytes that the path of a socket may have, a few less than the kernel's limit."""
SHORT = timedelta(seconds=30)
LEASE = timedelta(seconds=20)
"""On a machine that is near: what an agent had that is gone is offered again after so long."""


class Home(Channel, Protocol):
    """A channel's controller end: besides its verbs, the way for orders."""

    def order(self, orders: Orders) -> None: ...


def built(spec: JobSpec) -> Backend:
    return backends.build(Place(spec.place, spec.backend or spec.place, spec.settings))


def corner_of(files: JobFiles, ledger: Ledger) -> Corner | None:
    """Of a job whose machines do not see our files: its corner of a store, with its log attached."""
    backend = built(ledger.spec)
    if backend.traits.shared_files or callable(getattr(backend, "dial", None)):
        return None
    from elsewhere.controller import corner

    return corner.opened(files, ledger, backend)


def afar(
    files: JobFiles, ledger: Ledger, epoch: int, selector: selectors.BaseSelector, corner: Corner | None = None
) -> Afar:
    """The crew of a job whose agents are processes of their own, opened: it goes on from where the ledger stands."""
    spec = ledger.spec
    if corner is not None:
        from elsewhere.controller.distant import distant

        return distant(files, ledger, epoch, selector, corner)
    backend = built(spec)
    if callable(getattr(backend, "dial", None)):
        from elsewhere.controller.dialled import dialled

        return dialled(files, ledger, epoch, selector, backend)
    charter = pack(Charter(spec, str(files.directory), files.seal_key()))
    channel = CHANNELS[_channel(spec)](files, spec, charter)
    bounds = _bounds(spec, backend)
    pool = Pool(backend, ledger, bounds, epoch, _order(files, bounds, channel.address))
    crew = Afar(ledger, channel, pool, channel.order, selector, epoch)
    crew.open()
    return crew


def _channel(spec: JobSpec) -> str:
    if spec.channel not in CHANNELS:
        names = ", ".join(sorted(CHANNELS))
        raise UsageError(f"there is no channel {spec.channel!r}", hint=f"it is one of: calls, {names}")
    return spec.channel


def _spool(files: JobFiles, spec: JobSpec, charter: bytes) -> Home:
    own = OwnKey()
    return channels.spool_in(files.directory / "spool", spec.id, own, own, charter, key=seal.public())


def _pipe(files: JobFiles, spec: JobSpec, charter: bytes) -> Home:
    from elsewhere.channels.pipe import Pipe

    path = files.directory / "pipe"
    if len(os.fsencode(path)) > _SOCKET:
        path = Path(tempfile.gettempdir()) / f"elsewhere-{os.getuid()}-{spec.id[-16:]}"
    return Pipe(path, charter)


CHANNELS: dict[str, Callable[[JobFiles, JobSpec, bytes], Home]] = {"spool": _spool, "pipe": _pipe}


def _bounds(spec: JobSpec, backend: Backend) -> Bounds:
    """On a place that answers at once nothing is in flight for long. Never more slots in all than were asked for."""
    lag = backend.traits.lag
    machines = _machines(spec)
    flight = max(lag, timedelta(seconds=5))
    return Bounds(spec.id, most=machines, shapes=(Shape(HERE, spec.slots // machines),), lag=lag, flight=flight,
                  asking=SHORT if not lag else timedelta(minutes=20), pause=timedelta(seconds=0.5))  # fmt: skip


def _machines(spec: JobSpec) -> int:
    """Two, so that there is somebody left when one dies, where each task finds room in one half of this machine. Its
    GPUs cannot be divided ahead: one agent has them all."""
    need = spec.resources
    half = need.cpus * 2 <= max(spec.slots, machine.usable_cpus()) and (need.memory or 0) * 2 <= machine.usable_memory()
    whole = need.gpus or machine.usable_gpus({**os.environ, **spec.env})
    return 2 if spec.slots >= 4 and spec.slots % 2 == 0 and half and not whole else 1


def _order(files: JobFiles, bounds: Bounds, address: str) -> Callable[[Ask], Launch]:
    owner = reaper.me()
    directory = files.directory / "agents"
    lease = LEASE if not bounds.lag else timedelta(minutes=2)

    def order(ask: Ask) -> Launch:
        text = BootText(address, str(directory), sys.executable, ask.term, ask.start_by,
                        slots=ask.slots, share=bounds.most, lease=lease)  # fmt: skip
        labels = reaper.labels(bounds.job, ask.launch, owner, ask.start_by + ask.term)
        return Launch(ask.launch, ask.count, render(text), ask.offer.resources, ask.term, ask.start_by, labels,
                      ask.offer)  # fmt: skip

    return order
