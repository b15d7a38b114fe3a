"""Dask clusters whose workers have tags: each tag its own software, CPUs, memory and mounts. On one place."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from elsewhere.errors import ElsewhereError, UsageError
from elsewhere.model import units
from elsewhere.model.place import Place

if TYPE_CHECKING:
    from elsewhere.api.dask.attached import Attached
    from elsewhere.api.dask.clients import TaggedClient
    from elsewhere.api.dask.engine import Engine
    from elsewhere.api.dask.records import Record
    from elsewhere.model.job import Environment
    from elsewhere.ship.certificates import Papers

_LOOK = 0.05
_open: set[Cluster] = set()


class Cluster:
    """A Dask cluster of tagged containers.

        with Cluster(on="local") as cluster:
            cluster.add_container("model", cpus=1, memory="1G")
            cluster.add_workers("model", n=2)
            client = cluster.client()
            client.submit(f, 1, tag="model").result()

    on            the place where workers run: this machine, a Slurm cluster, hosts behind SSH, or machines that are
                  started for it in a security group which the place names
    name          what `elsewhere cluster status` calls it
    walltime      how long each worker may live, as in 2h or 02:00:00; may be set later, for later workers
    interface     the network interface over which the cluster talks, as in ib0; by default the place's own
    silence_logs  what Dask says of less than this level is not shown in this process
    scheduler     where Dask's scheduler runs: `here`, a thread of this process; `job`, a launch of its own at the
                  place; `login`, its login node. By default here, or where workers cannot reach this machine, login
                  where the place has such a node, else job

    All of it talks TLS under certificates of its own. When the block is left, or the process ends in whatever way,
    the workers leave.
    """

    def __init__(
        self, on: str | Place = "local", *, name: str = "", walltime: str | timedelta | None = None,
        interface: str = "", silence_logs: str = "warning", scheduler: str = "",
    ) -> None:  # fmt: skip
        self._begin(on, name, walltime, interface, silence_logs, scheduler, False)

    @classmethod
    def standing(
        cls, on: str | Place, *, name: str = "", walltime: str | timedelta | None = None, interface: str = "",
        scheduler: str = "", quiet: float = 0.0,
    ) -> Cluster:  # fmt: skip
        """One that a process of its own has. `quiet`: seconds after which it ends when nobody has asked for anything;
        0: it stays, and so does a scheduler that is a launch of its own, until the end of its walltime."""
        made = cls.__new__(cls)
        made._begin(on, name, walltime, interface, "warning", scheduler, not quiet, quiet)
        return made

    def _begin(
        self, on: str | Place, name: str, walltime: str | timedelta | None, interface: str, silence: str,
        scheduler: str, stays: bool, quiet: float = 0.0,
    ) -> None:  # fmt: skip
        from elsewhere.api.dask import engine, versions
        from elsewhere.api.options import job_name, place_of

        versions.here()
        if name and job_name(name) != name:
            raise UsageError(f"{name!r} cannot name a cluster: letters, digits, '.', '_' and '-', up to 60")
        if str(silence).upper() not in logging.getLevelNamesMapping():
            raise UsageError(f"silence_logs must be a level such as 'warning' or 'info', not {silence!r}")
        self._clients: weakref.WeakSet[TaggedClient] = weakref.WeakSet()
        self._engine: Engine = engine.begin(
            on if isinstance(on, Place) else place_of(on), scheduler, name=name, walltime=_length(walltime),
            interface=interface, level=silence, quiet=quiet, stays=stays,
        )  # fmt: skip
        self.process = os.getpid()
        _open.add(self)

    # --- what there is

    @property
    def record(self) -> Record:
        """What is written down of it."""
        return self._engine.record

    @property
    def papers(self) -> Papers:
        """Its certificates."""
        return self._engine.papers

    @property
    def door(self) -> str:
        """By which a client on this machine reaches the scheduler."""
        return self._engine.door

    @property
    def name(self) -> str:
        """By which `elsewhere cluster` knows it."""
        return self.record.name

    @property
    def address(self) -> str:
        """Of the scheduler, as its workers know it: tls://..."""
        return self.record.address

    @property
    def dashboard_link(self) -> str:
        """Dask's dashboard, on this machine only; empty: the package bokeh, which it wants, is not installed."""
        return self._engine.dashboard

    @property
    def walltime(self) -> timedelta | None:
        """How long each worker may live. Setting it holds for workers that are launched from then on."""
        return self._engine.walltime

    @walltime.setter
    def walltime(self, value: str | timedelta | None) -> None:
        self._engine.set_walltime(_length(value))

    # --- containers

    def add_container(
        self, tag: str, *, image: str = "", environment: str | Environment = "", python: str = "", cpus: float = 1,
        memory: str | int | None = None, gpus: int | str = 0, threads: int = 1, mounts: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None, runtime: str = "", runtime_options: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Say what workers of a tag are; none is started. Said again, it holds for later workers.

        image        a container image: of a registry, or docker-archive:FILE, oci-archive:FILE, FILE.sif
        environment  or the software by itself: an Environment, or the name of one in the settings; Dask is added to it
        python       or an interpreter, or a virtual environment, that is there; by default the one that runs this
        cpus, memory, gpus   of each worker
        threads      calls that a worker runs at a time
        mounts       of an image: a path here -> where calls find it, /data or /data:ro

        Where the cluster sits on a login node, images, environments and paths are those of that host.
        Tags are written in small letters. UsageError: what is wrong, or that its Python or Dask is not that of here.
        """
        self._engine.add_container(tag, {
            "image": image, "environment": environment, "python": python, "cpus": cpus, "memory": memory, "gpus": gpus,
            "threads": threads, "mounts": mounts or {}, "env": env or {}, "runtime": runtime,
            "runtime_options": runtime_options,
        })  # fmt: skip

    # --- workers

    def add_workers(self, tag: str, n: int = 1) -> None:
        """Ask for so many more. Returns when they are asked for, not when they are there.

        UsageError: there is no such container. PlaceError: the place refuses them, with its own words.
        """
        self._engine.add_workers(tag, n)

    def remove_workers(self, tag: str, n: int = 1) -> None:
        """Let so many go, idle ones first; what they keep is handed on. UsageError: there are not so many."""
        self._engine.remove_workers(tag, n)

    def scale(self, workers: Mapping[str, int] | None = None, **tags: int) -> None:
        """So many workers of each of these tags: scale(gcam=3), or scale({"model-2": 3})."""
        self._engine.scale({**(workers or {}), **tags})

    def adapt(self, tag: str, minimum: int = 0, maximum: int = 1) -> None:
        """From now on workers of this tag follow the work, within these bounds, until their number is set again."""
        self._engine.adapt(tag, minimum, maximum)

    def wait_for_workers(self, tag: str, n: int = 1, timeout: float | None = None) -> None:
        """Until so many workers of a tag are there. TimeoutError; UsageError: they cannot come, and why."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (here := self._engine.arrived(tag)) < n:
            if time.monotonic() >= until:
                raise TimeoutError(f"{here} of {n} workers of {tag} are there after {timeout:g} s")
            time.sleep(_LOOK)

    def client(self, **words: Any) -> TaggedClient:
        """A `dask.distributed.Client` of this cluster, whose `submit` and `map` take `tag=`. `words`: of that class."""
        from elsewhere.api.dask.clients import TaggedClient

        self._engine.check_open()
        made = TaggedClient(self, **words)
        self._clients.add(made)
        return made

    def usable(self, tag: str) -> str:
        """The tag as it is written. UsageError: there is no such container, or its workers cannot be used, and why."""
        return self._engine.usable(tag)

    def status(self) -> dict[str, Any]:
        """How it stands, as `elsewhere cluster status --json` has it."""
        return self._engine.status()

    @staticmethod
    def attach(name: str = "@last") -> Attached:
        """A cluster of another process of yours, by its name. UnknownJob: there is none; StateError: it has ended."""
        from elsewhere.api.dask.attached import Attached

        return Attached(name)

    # --- its end

    def close(self) -> None:
        """End it: clients, workers, scheduler; waits until they are seen to be gone. Twice: harmless.

        StateError, PlaceError: some are not seen to be gone, and what to do."""
        try:
            self._engine.close(self._close_clients)
        except ElsewhereError:
            _open.discard(self)
            raise
        _open.discard(self)  # who is interrupted tries again at the end of the process

    def _close_clients(self) -> None:
        for client in list(self._clients):
            with contextlib.suppress(Exception):
                client.close(timeout=2)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Cluster {self.name} on {self.record.place}: {self.address}>"


def _length(text: str | timedelta | None) -> timedelta | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError as error:
        raise UsageError(f"walltime: {error}") from None


def _close_all() -> None:
    here = os.getpid()
    for cluster in list(_open):
        if cluster.process == here:
            with contextlib.suppress(ElsewhereError):
                cluster.close()


atexit.register(_close_all)
