"""A cluster that this process has: its workers kept here, its scheduler a thread of ours or a launch of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from elsewhere.api.dask import quarters, records, scheduling
from elsewhere.api.dask.engine import count, unknown
from elsewhere.api.dask.keeping import Following, Keeping
from elsewhere.errors import PlaceError, StateError, UsageError
from elsewhere.model.place import Place


class Own:
    """`listen`: what Dask is told of where to listen besides; `quiet`: it ends when nobody has asked for anything in
    so many seconds; 0: it does not. Else as of Cluster."""

    def __init__(
        self, place: Place, name: str = "", walltime: timedelta | None = None, interface: str = "",
        level: str = "warning", scheduler: str = "here", quiet: float = 0.0, stays: bool = False,
    ) -> None:  # fmt: skip
        from elsewhere import session
        from elsewhere.backends.base import Shares
        from elsewhere.model import ids

        self.place, self.walltime, self.level = place, walltime, level
        self._quiet = quiet
        self._hold = session.keep(place, ids.new("clu"), lambda member: self._quarters.last_words(member))
        self._settle_walltime()
        pid, began = records.of_this_process()
        backend = self._hold.backend
        shared = backend.shared() if isinstance(backend, Shares) else None
        self.record = records.Record(
            self._hold.job, name or records.free_name("cluster"), place.name, place.backend, pid, began,
            dict(place.settings), shared=str(shared or ""), distant=not backend.traits.shared_files,
        )  # fmt: skip
        self._closing, self._heard = threading.Lock(), time.monotonic()
        records.create(self.record)
        self._quarters = quarters.of(self.place, self._hold, self.record, interface, stays)
        try:
            self._start(scheduler)
        except BaseException:
            if hasattr(self, "scheduling"):
                self.scheduling.close()
            with contextlib.suppress(PlaceError):
                if self._hold.members:
                    self._hold.close()
            with contextlib.suppress(PlaceError):
                self._quarters.leave()
            replace(self.record, ended=time.time()).write()
            raise

    def _start(self, scheduler: str) -> None:
        from elsewhere.controller.control import Control
        from elsewhere.ship import certificates

        self.papers = certificates.make(self.record.directory)
        scheduling.quiet(self.level)
        self._arrivals: deque[tuple[str, Mapping[str, Any]]] = deque()
        self.scheduling = self._quarters.scheduler(scheduler, self.papers, self._came, self.wake)
        self.keeping = Keeping(self._hold, self.scheduling, self._arrivals)
        self.record = replace(self.record, address=self.scheduling.address, door=self.scheduling.door,
                              dashboard=self.scheduling.dashboard)  # fmt: skip
        self.record.write()
        self._control = Control(self.record.control, self._answer)
        self.keeping.start(self._control, self._look)

    @property
    def door(self) -> str:
        """As of Engine."""
        return self.record.door

    @property
    def dashboard(self) -> str:
        return self.record.dashboard

    def set_walltime(self, value: timedelta | None) -> None:
        self.walltime = value
        with self.keeping.lock:
            self._settle_walltime()
            self._quarters.place = self.place
            for tag in self.keeping.containers:
                self._declare(tag)

    def _settle_walltime(self) -> None:
        """Of a place that gives machines a length of life: what was asked for is a setting of it."""
        from elsewhere import session

        if self.walltime is not None and self._hold.backend.traits.max_walltime is not None:
            settings = {**self.place.settings, "walltime": f"{self.walltime.total_seconds():.0f}s"}
            self.place = replace(self.place, settings=settings)
            self._hold.backend = session.keep(self.place, self._hold.job, lambda _: "").backend

    # --- containers

    def add_container(self, tag: str, words: Mapping[str, Any]) -> None:
        self.check_open()
        found = self._quarters.settle(tag, words)
        with self.keeping.lock:
            self.keeping.containers[found.tag] = found
            self._declare(found.tag)

    def _declare(self, tag: str) -> None:
        found = self.keeping.containers[tag]
        self._hold.declare(tag, self._quarters.text(found, self.papers, self.record.address, self.walltime))

    # --- workers

    def add_workers(self, tag: str, n: int) -> None:
        with self._changing(tag) as known:
            self.keeping.set(known, self._hold.wanted(known) + count(n), time.monotonic())

    def remove_workers(self, tag: str, n: int) -> None:
        with self._changing(tag) as known:
            wanted = self._hold.wanted(known)
            if count(n) > wanted:
                there = f"{wanted} {'worker' if wanted == 1 else 'workers'}"
                raise UsageError(f"{known} has {there}; {n} cannot be removed")
            self.keeping.set(known, wanted - n, time.monotonic())

    def scale(self, workers: Mapping[str, int]) -> None:
        asked = {self._known(tag): count(n) for tag, n in workers.items()}
        for tag, number in asked.items():
            with self._changing(tag):
                self.keeping.set(tag, number, time.monotonic())

    def adapt(self, tag: str, minimum: int, maximum: int) -> None:
        if count(minimum) > count(maximum):
            raise UsageError(f"{tag}: the minimum {minimum} is more than the maximum {maximum}")
        with self._changing(tag) as known:
            self.keeping.following[known] = Following(minimum, maximum)
        self.keeping.turn(time.monotonic(), raising=True)

    def arrived(self, tag: str) -> int:
        known = self.usable(tag)
        with self.keeping.lock:
            return sum(member.arrived for member in self._hold.staying(known))

    def usable(self, tag: str) -> str:
        known = self._known(tag)
        if trouble := self._hold.trouble(known):
            hint = f"`elsewhere logs {self.record.name}/{known}/N` shows what the n-th has said."
            raise UsageError(f"no worker of {known} can be used: {trouble}", hint=hint)
        return known

    def status(self) -> dict[str, Any]:
        return {**records.shown(self.record), **self.keeping.state()}

    # --- its end

    def close(self, before: Callable[[], None] = lambda: None) -> None:
        """`before`: what is done once no more is kept, and before the scheduler goes."""
        with self._closing:
            if self.record.ended:
                return
            scheduling.quiet("error")  # that a worker was just coming is not worth a warning
            self.keeping.end()
            before()
            self.scheduling.close()
            try:
                left = self._hold.close()
                self._quarters.leave()
            finally:
                self._control.close()
                self.record = replace(self.record, ended=time.time())
                self.record.write()
                scheduling.quiet(self.level)
        if left:
            hint = f"Look again: elsewhere reap --on {self.record.place} --job {self.record.id}"
            raise StateError(f"{len(left)} of its workers are not seen to have ended: {', '.join(left)}", hint=hint)

    def check_open(self) -> None:
        if self.record.ended:
            raise StateError(f"the cluster {self.record.name} is closed")

    # --- within

    @contextlib.contextmanager
    def _changing(self, tag: str) -> Iterator[str]:
        """For a change of a tag's number; whatever it followed, it follows no more."""
        self.check_open()
        with self.keeping.lock:
            known = self._known(tag)
            self.keeping.following.pop(known, None)
            yield known

    def _known(self, tag: str) -> str:
        found = str(tag).lower()
        if found not in self.keeping.containers:
            raise unknown(found, self.keeping.containers)
        return found

    def _came(self, name: str, told: Mapping[str, Any]) -> None:
        self._arrivals.append((name, told))
        self.wake()

    def wake(self) -> None:
        if hasattr(self, "keeping"):
            self.keeping.stop.wake()

    def _look(self, now: float) -> None:
        """Between two turns of the keeping."""
        if self._quiet and now - self._heard > self._quiet:
            self._heard = now
            threading.Thread(target=self.close, name="elsewhere cluster unheard").start()

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What another process of the same user asks."""
        self._heard = time.monotonic()
        match asked:
            case {"do": "down"}:
                threading.Thread(target=self.close, name="elsewhere cluster down").start()
                return {}
            case {"do": "scale", "workers": workers}:
                self.scale(workers)
            case {"do": "container", "tag": tag, "words": words}:
                self.add_container(tag, words)
            case {"do": "add", "tag": tag, "n": n}:
                self.add_workers(tag, n)
            case {"do": "remove", "tag": tag, "n": n}:
                self.remove_workers(tag, n)
            case {"do": "adapt", "tag": tag, "minimum": minimum, "maximum": maximum}:
                self.adapt(tag, minimum, maximum)
            case {"do": "walltime", "seconds": seconds}:
                self.set_walltime(None if seconds is None else timedelta(seconds=seconds))
        return self.status()
