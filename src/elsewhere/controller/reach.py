"""Puts together what a job of machines needs: its channel, its backend, its pool. New places and channels are named in
their registries, not here."""

from __future__ import annotations

import os
import selectors
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from elsewhere import machine
from elsewhere.agent.meeting import OwnKey
from elsewhere.backends import registry as backends
from elsewhere.backends.base import Backend, Fleet, Launch, Lodges, Renders, Shares
from elsewhere.channels import registry as channels
from elsewhere.channels.base import Channel
from elsewhere.controller.afar import Afar
from elsewhere.controller.aside import Aside
from elsewhere.controller.files import JobFiles
from elsewhere.errors import UsageError
from elsewhere.hosts import private_directory
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.model.orders import Orders
from elsewhere.model.place import HERE, Place, life
from elsewhere.pool import reaper
from elsewhere.pool.capacity import Ask, Bounds, Shape
from elsewhere.pool.pool import Pool
from elsewhere.ship import seal
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.marks import AGENT
from elsewhere.ship.script import BootText, render

if TYPE_CHECKING:
    from elsewhere.controller.corner import Corner

_SOCKET = 100
"""Bytes that the path of a socket may have, a few less than the kernel's limit."""
SHORT = timedelta(seconds=30)
LEASE = timedelta(seconds=20)
"""On a machine that is near: what an agent had that is gone is offered again after so long."""


IDLE = timedelta(minutes=1)
"""How long a machine of its own stays without work, beside what its job lingers."""
FLIGHT = timedelta(minutes=2)
BOOT = timedelta(minutes=20)
STOCK = 1200.0
"""Seconds of work that are handed out where agents outlive us: they go on with it should we not be there."""


class Home(Channel, Protocol):
    """A channel's controller end: besides its verbs, the way for orders."""

    def order(self, orders: Orders) -> None: ...


def built(spec: JobSpec) -> Backend:
    return backends.build(Place(spec.place, spec.backend or spec.place, spec.settings))


def corner_of(files: JobFiles, ledger: Ledger) -> Corner | None:
    """Of a job whose machines do not see our files: its corner of a store, with its log attached."""
    backend = built(ledger.spec)
    if backend.traits.shared_files or callable(getattr(backend, "dial", None)) or isinstance(backend, Lodges):
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
    if isinstance(backend, Lodges) and (lodging := backend.lodging()) is not None:
        from elsewhere.controller.lodged import lodged

        return lodged(files, ledger, epoch, selector, backend, lodging)
    directory = _in_sight(files, backend)
    charter = pack(Charter(spec, str(directory), files.seal_key()))
    channel = CHANNELS[_channel(spec)](directory, spec, charter)
    bounds = bounds_of(spec, backend)
    order = _order(directory, bounds, channel.address, spec)
    pool = Pool(backend, ledger, bounds, epoch, order, calls=Aside())
    crew = Afar(ledger, channel, pool, channel.order, selector, epoch)
    crew.asked_before = isinstance(backend, Fleet)
    if backend.traits.outlives_client:
        crew.ahead = STOCK
    crew.open()
    return crew


def _channel(spec: JobSpec) -> str:
    if spec.channel not in CHANNELS:
        names = ", ".join(sorted(CHANNELS))
        raise UsageError(f"there is no channel {spec.channel!r}", hint=f"it is one of: calls, {names}")
    return spec.channel


def _in_sight(files: JobFiles, backend: Backend) -> Path:
    """The directory of the job as its machines see it. Where they see another one of ours, what they share with us lies
    there, and is linked to from here. Twice: the same."""
    there = _seen(files, backend)
    if there == files.directory:
        return there
    for name in ("spool", "agents", "store", "outputs", "scratch", "checkpoints"):
        private_directory(there / name)
        files.link(name, there / name)
    return there


def _seen(files: JobFiles, backend: Backend) -> Path:
    seen = backend.shared() if isinstance(backend, Shares) else None
    return files.directory if seen is None else seen / "jobs" / files.id


def preview(files: JobFiles, spec: JobSpec, tasks: int = 0) -> tuple[Sequence[str], str]:
    """The command by which this job would ask for its first machines, and the text that it is given; nothing is made.

    `tasks`: how many there are; 0: enough for all machines. UsageError: its place has nothing of the kind.
    """
    backend = built(spec)
    if not isinstance(backend, Renders) or not spec.machines:
        raise UsageError(f"{spec.place} is given no script that could be shown", hint="Leave --show-script out.")
    if isinstance(backend, Lodges) and (lodging := backend.lodging()) is not None:
        from elsewhere.controller.lodged import arranged

        bounds, _, order = arranged(spec, backend, lodging[1])
    else:
        there, bounds = _seen(files, backend), bounds_of(spec, backend)
        order = _order(there, bounds, channels.spool_address(there / "spool", spec.id, seal.public()), spec)
    shape = bounds.shapes[0]
    count = min(bounds.most, -(-tasks // shape.does)) if tasks else bounds.most
    term = min(bounds.unattended, bounds.longest or bounds.unattended)
    start_by = datetime.now(UTC) + bounds.asking + bounds.flight + bounds.boot
    ask = Ask(f"{spec.id}-1-1", count, term, start_by, shape.offer, shape.slots, shape.serves, shape.abreast)
    return backend.rendered(order(ask))


def _spool(directory: Path, spec: JobSpec, charter: bytes) -> Home:
    own = OwnKey()
    return channels.spool_in(directory / "spool", spec.id, own, own, charter, key=seal.public())


def _pipe(directory: Path, spec: JobSpec, charter: bytes) -> Home:
    from elsewhere.channels.pipe import Pipe

    path = directory / "pipe"
    if len(os.fsencode(path)) > _SOCKET:
        path = Path(tempfile.gettempdir()) / f"elsewhere-{os.getuid()}-{spec.id[-16:]}"
    return Pipe(path, charter)


CHANNELS: dict[str, Callable[[Path, JobSpec, bytes], Home]] = {"spool": _spool, "pipe": _pipe}


def bounds_of(spec: JobSpec, backend: Backend) -> Bounds:
    """On a place that answers at once nothing is in flight for long. Never more slots in all than were asked for."""
    lag, longest = backend.traits.lag, backend.traits.max_walltime
    flight = max(lag, timedelta(seconds=5))
    if spec.machines:
        most = sum(shape.most or 1 for shape in spec.machines)
        return Bounds(spec.id, most=most, shapes=spec.machines, lag=lag, flight=FLIGHT, linger=IDLE + spec.linger,
                      boot=BOOT + backend.traits.waits, longest=longest and life(longest),
                      seldom=backend.traits.seldom)  # fmt: skip
    machines = _machines(spec)
    return Bounds(spec.id, most=machines, shapes=(Shape(HERE, spec.slots // machines),), lag=lag, flight=flight,
                  asking=SHORT if not lag else timedelta(minutes=20), pause=timedelta(seconds=0.5))  # fmt: skip


def _machines(spec: JobSpec) -> int:
    """Two, so that there is somebody left when one dies, where each task finds room in one half of this machine. Its
    GPUs cannot be divided ahead: one agent has them all."""
    need = spec.resources
    half = need.cpus * 2 <= max(spec.slots, machine.usable_cpus()) and (need.memory or 0) * 2 <= machine.usable_memory()
    whole = need.gpus or machine.usable_gpus({**os.environ, **spec.env})
    return 2 if spec.slots >= 4 and spec.slots % 2 == 0 and half and not whole else 1


def importable() -> tuple[str, ...]:
    """The directories in which our interpreter finds what an agent imports; none if one of it lies in no directory, or
    in one that cannot be told by PYTHONPATH."""
    found = [util.find_spec(name) for name in ("elsewhere", *AGENT)]
    files = [Path(one.origin) for one in found if one is not None and one.origin]
    if len(files) < len(found) or any(one.name != "__init__.py" for one in files):
        return ()
    folders = tuple(dict.fromkeys(str(one.parent.parent) for one in files))
    return () if any(os.pathsep in one for one in folders) else folders


def _order(directory: Path, bounds: Bounds, address: str, spec: JobSpec) -> Callable[[Ask], Launch]:
    owner = reaper.me()
    share = 1 if spec.machines else bounds.most
    lease, path = LEASE if not bounds.lag else timedelta(minutes=2), importable()

    def order(ask: Ask) -> Launch:
        text = BootText(address, str(directory / "agents"), sys.executable, ask.term, ask.start_by, slots=ask.slots,
                        share=share, lease=lease, idle=bounds.linger, final=bounds.longest is not None,
                        serves=ask.serves, path=path)  # fmt: skip
        labels = reaper.labels(bounds.job, ask.launch, owner, ask.start_by + ask.term)
        return Launch(ask.launch, ask.count, render(text), ask.offer.resources, ask.term, ask.start_by, labels,
                      ask.offer, abreast=ask.abreast)  # fmt: skip

    return order
