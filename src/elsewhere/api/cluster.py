"""Dask clusters whose workers have tags: each tag its own software, CPUs, memory and mounts. On one place."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.errors import StateError, UsageError
from elsewhere.model import units
from elsewhere.model.place import Place, life

if TYPE_CHECKING:
    from elsewhere.api.dask.attached import Attached
    from elsewhere.api.dask.clients import TaggedClient
    from elsewhere.model.job import Environment
    from elsewhere.pool.hold import Member

TERM = timedelta(days=30)
"""How long a worker may live where nobody said: it leaves with its scheduler anyway."""
_LOOK = 0.05
_open: set[Cluster] = set()


class Cluster:
    """A Dask cluster of tagged containers.

        with Cluster(on="local") as cluster:
            cluster.add_container("model", cpus=1, memory="1G")
            cluster.add_workers("model", n=2)
            client = cluster.client()
            client.submit(f, 1, tag="model").result()

    on            the place where workers run; it must share this machine's files
    name          what `elsewhere cluster status` calls it
    walltime      how long each worker may live, as in 2h or 02:00:00; may be set later, for later workers
    interface     the network interface over which the cluster talks, as in ib0; by default the place's own
    silence_logs  what Dask says of less than this level is not shown in this process

    All of it talks TLS under certificates of its own. The scheduler is a thread of this process: when the block is
    left, or the process ends in whatever way, the workers leave.
    """

    def __init__(
        self, on: str | Place = "local", *, name: str = "", walltime: str | timedelta | None = None,
        interface: str = "", silence_logs: str = "warning",
    ) -> None:  # fmt: skip
        from elsewhere import session
        from elsewhere.api.dask import records, versions
        from elsewhere.api.options import job_name, place_of
        from elsewhere.backends.base import Shares
        from elsewhere.model import ids

        versions.here()
        self._walltime = _length(walltime)
        if name and job_name(name) != name:
            raise UsageError(f"{name!r} cannot name a cluster: letters, digits, '.', '_' and '-', up to 60")
        if str(silence_logs).upper() not in logging.getLevelNamesMapping():
            raise UsageError(f"silence_logs must be a level such as 'warning' or 'info', not {silence_logs!r}")
        self._place = on if isinstance(on, Place) else place_of(on)
        self._hold = session.keep(self._place, ids.new("clu"), self._last_words)
        self._settle_walltime()
        pid, began = records.of_this_process()
        shared = self._hold.backend.shared() if isinstance(self._hold.backend, Shares) else None
        self.record = records.Record(
            self._hold.job, name or records.free_name("cluster"), self._place.name, self._place.backend, pid, began,
            dict(self._place.settings), shared=str(shared or ""),
        )  # fmt: skip
        self._here = "calls" in self._hold.backend.traits.channels
        self._interface, self._level = interface, silence_logs
        self._closing = threading.Lock()
        self._clients: weakref.WeakSet[TaggedClient] = weakref.WeakSet()
        records.create(self.record)
        try:
            self._start()
        except BaseException:
            if hasattr(self, "_scheduling"):
                self._scheduling.close()
            replace(self.record, ended=time.time()).write()
            raise
        _open.add(self)

    def _start(self) -> None:
        from elsewhere.api.dask import scheduling
        from elsewhere.api.dask.keeping import Keeping
        from elsewhere.controller.control import Control
        from elsewhere.ship import certificates

        self.papers = certificates.make(self.record.directory)
        scheduling.quiet(self._level)
        self._arrivals: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._scheduling = scheduling.Scheduling(self._network(), self.papers, self._came, self._went)
        self._keeping = Keeping(self._hold, self._scheduling, self._arrivals)
        self.record = replace(self.record, address=self._scheduling.address, dashboard=self._scheduling.dashboard)
        self.record.write()
        self._control = Control(self.record.control, self._answer)
        self._keeping.start(self._control)

    def _network(self) -> dict[str, str]:
        """Where the scheduler, and each worker, listens."""
        if self._interface:
            return {"interface": self._interface}
        return {"host": "127.0.0.1"} if self._here else {}

    # --- what there is

    @property
    def name(self) -> str:
        """By which `elsewhere cluster` knows it."""
        return self.record.name

    @property
    def address(self) -> str:
        """Of the scheduler: tls://..."""
        return self.record.address

    @property
    def dashboard_link(self) -> str:
        """Dask's dashboard, on this machine only; empty: the package bokeh, which it wants, is not installed."""
        return self.record.dashboard

    @property
    def walltime(self) -> timedelta | None:
        """How long each worker may live. Setting it holds for workers that are launched from then on."""
        return self._walltime

    @walltime.setter
    def walltime(self, value: str | timedelta | None) -> None:
        self._walltime = _length(value)
        with self._keeping.lock:
            self._settle_walltime()
            for tag in self._keeping.containers:
                self._declare(tag)

    def _settle_walltime(self) -> None:
        """Of a place that gives machines a length of life: what was asked for is a setting of it."""
        from elsewhere import session

        if self._walltime is not None and self._hold.backend.traits.max_walltime is not None:
            settings = {**self._place.settings, "walltime": f"{self._walltime.total_seconds():.0f}s"}
            self._place = replace(self._place, settings=settings)
            self._hold.backend = session.keep(self._place, self._hold.job, self._last_words).backend

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

        Tags are written in small letters. UsageError: what is wrong, or that its Python or Dask is not that of here.
        """
        from elsewhere.api.dask.containers import Asked, Site, settle
        from elsewhere.ship import codec

        self._check_open()
        asked = Asked(image, environment, python, cpus, memory, gpus, threads, mounts or {}, env or {}, runtime,
                      runtime_options)  # fmt: skip
        path = codec.import_path()
        site = Site(self._place, self._hold.backend, self.record.directory, Path.cwd(), path)
        found = settle(tag, asked, site)
        with self._keeping.lock:
            self._keeping.containers[found.tag] = found
            self._declare(found.tag)

    def _declare(self, tag: str) -> None:
        from functools import partial

        from elsewhere.pool.hold import Text
        from elsewhere.ship import codec
        from elsewhere.ship.dask_worker import Workers, render

        found = self._keeping.containers[tag]
        most = self._hold.backend.traits.max_walltime
        listens = [word for key, value in self._network().items() for word in (f"--{key}", value)]
        workers = Workers(
            self.name, tag, self.address, self.papers, self.record.directory, found.python, found.shape.cpus,
            found.threads, found.shape.memory, str(Path.cwd()), codec.import_path(), found.env, found.plan, listens,
            _umask(), life(most).total_seconds() if most else 0.0,
        )  # fmt: skip
        self._hold.declare(tag, Text(partial(render, workers), found.shape, self._walltime or most or TERM))

    # --- workers

    def add_workers(self, tag: str, n: int = 1) -> None:
        """Ask for so many more. Returns when they are asked for, not when they are there.

        UsageError: there is no such container. PlaceError: the place refuses them, with its own words.
        """
        with self._changing(tag) as known:
            self._keeping.set(known, self._hold.wanted(known) + _count(n), time.monotonic())

    def remove_workers(self, tag: str, n: int = 1) -> None:
        """Let so many go, idle ones first; what they keep is handed on. UsageError: there are not so many."""
        with self._changing(tag) as known:
            wanted = self._hold.wanted(known)
            if _count(n) > wanted:
                there = f"{wanted} {'worker' if wanted == 1 else 'workers'}"
                raise UsageError(f"{known} has {there}; {n} cannot be removed")
            self._keeping.set(known, wanted - n, time.monotonic())

    def scale(self, workers: Mapping[str, int] | None = None, **tags: int) -> None:
        """So many workers of each of these tags: scale(gcam=3), or scale({"model-2": 3})."""
        asked = {self._known(tag): _count(n) for tag, n in {**(workers or {}), **tags}.items()}
        for tag, count in asked.items():
            with self._changing(tag):
                self._keeping.set(tag, count, time.monotonic())

    def adapt(self, tag: str, minimum: int = 0, maximum: int = 1) -> None:
        """From now on workers of this tag follow the work, within these bounds, until their number is set again."""
        from elsewhere.api.dask.keeping import Following

        if _count(minimum) > _count(maximum):
            raise UsageError(f"{tag}: the minimum {minimum} is more than the maximum {maximum}")
        with self._changing(tag) as known:
            self._keeping.following[known] = Following(minimum, maximum)
        self._keeping.turn(time.monotonic(), raising=True)

    def wait_for_workers(self, tag: str, n: int = 1, timeout: float | None = None) -> None:
        """Until so many workers of a tag are there. TimeoutError; UsageError: they cannot come, and why."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            known = self.usable(tag)
            with self._keeping.lock:
                here = sum(member.arrived for member in self._hold.staying(known))
            if here >= n:
                return
            if time.monotonic() >= until:
                raise TimeoutError(f"{here} of {n} workers of {known} are there after {timeout:g} s")
            time.sleep(_LOOK)

    def client(self, **words: Any) -> TaggedClient:
        """A `dask.distributed.Client` of this cluster, whose `submit` and `map` take `tag=`. `words`: of that class."""
        from elsewhere.api.dask.clients import TaggedClient

        self._check_open()
        made = TaggedClient(self, **words)
        self._clients.add(made)
        return made

    def usable(self, tag: str) -> str:
        """The tag as it is written. UsageError: there is no such container, or its workers cannot be used, and why."""
        known = self._known(tag)
        if trouble := self._hold.trouble(known):
            raise UsageError(f"no worker of {known} can be used: {trouble}",
                             hint=f"`elsewhere logs {self.name}/{known}/N` shows what the n-th has said.")  # fmt: skip
        return known

    def status(self) -> dict[str, Any]:
        """How it stands, as `elsewhere cluster status --json` has it."""
        from elsewhere.api.dask.records import shown

        return {**shown(self.record), **self._keeping.state()}

    @staticmethod
    def attach(name: str = "@last") -> Attached:
        """A cluster of another process of yours, by its name. UnknownJob: there is none; StateError: it has ended."""
        from elsewhere.api.dask.attached import Attached

        return Attached(name)

    # --- its end

    def close(self) -> None:
        """End it: clients, workers, scheduler; waits until they are seen to be gone. Twice: harmless."""
        from elsewhere.api.dask import scheduling

        with self._closing:
            if self.record.ended:
                return
            scheduling.quiet("error")  # that a worker was just coming is not worth a warning
            self._keeping.end()
            for client in list(self._clients):
                with contextlib.suppress(Exception):
                    client.close(timeout=2)
            self._scheduling.close()
            left = self._hold.close()
            self._control.close()
            self.record = replace(self.record, ended=time.time())
            self.record.write()
            scheduling.quiet(self._level)
            _open.discard(self)
        if left:
            hint = f"Look again: elsewhere reap --on {self.record.place} --job {self.record.id}"
            raise StateError(f"{len(left)} of its workers are not seen to have ended: {', '.join(left)}", hint=hint)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Cluster {self.name} on {self.record.place}: {self.address}>"

    # --- within

    @contextlib.contextmanager
    def _changing(self, tag: str) -> Any:
        """For a change of a tag's number; whatever it followed, it follows no more."""
        self._check_open()
        with self._keeping.lock:
            known = self._known(tag)
            self._keeping.following.pop(known, None)
            yield known

    def _known(self, tag: str) -> str:
        found = str(tag).lower()
        if found not in self._keeping.containers:
            raise unknown(found, self._keeping.containers)
        return found

    def _check_open(self) -> None:
        if self.record.ended:
            raise StateError(f"the cluster {self.name} is closed")

    def _came(self, name: str, told: Mapping[str, Any]) -> None:
        self._arrivals.append((name, told))
        self._went()

    def _went(self) -> None:
        if hasattr(self, "_keeping"):
            self._keeping.stop.wake()

    def _last_words(self, member: Member) -> str:
        from elsewhere.ship.dask_worker import log_of

        try:
            text = log_of(self.record.directory, member.kind, member.number).read_text("utf-8", "replace")
        except OSError:
            return ""
        return (text.strip().splitlines() or [""])[-1][:300]

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What another process of the same user asks."""
        if asked.get("do") == "down":
            threading.Thread(target=self.close, name="elsewhere cluster down").start()
            return {}
        if asked.get("do") == "scale":
            self.scale(asked["workers"])
        return self.status()


def unknown(tag: str, known: Mapping[str, Any]) -> UsageError:
    """For a tag without a container."""
    near = difflib.get_close_matches(tag, known, 1)
    there = ", ".join(sorted(known)) or "none"
    return UsageError(f"there is no container {tag!r}" + (f"; did you mean {near[0]}?" if near else ""),
                      hint=f"Containers that were added: {there}.")  # fmt: skip


def _count(n: object) -> int:
    if type(n) is not int or n < 0:
        raise UsageError(f"a number of workers is 0 or more, not {n!r}")
    return n


def _length(text: str | timedelta | None) -> timedelta | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError as error:
        raise UsageError(f"walltime: {error}") from None


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found


def _close_all() -> None:
    for cluster in list(_open):
        if cluster.record.pid == os.getpid():
            with contextlib.suppress(StateError):
                cluster.close()


atexit.register(_close_all)
