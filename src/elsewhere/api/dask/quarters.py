"""Where what belongs to a cluster runs, and how it gets there: on machines that see our files, or do not: those that
are there (hosts.py), or are started for it (clouds.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from elsewhere.api.dask import scheduling
from elsewhere.api.dask.containers import Asked, Container, Site, settle
from elsewhere.api.dask.keeping import Schedules
from elsewhere.errors import UsageError
from elsewhere.model.place import Place, life

if TYPE_CHECKING:
    from elsewhere.api.dask.records import Record
    from elsewhere.pool.hold import Hold, Member, Text
    from elsewhere.ship.certificates import Papers

TERM = timedelta(days=30)
"""How long a worker may live where nobody said: it leaves with its scheduler anyway."""
Came = Callable[[str, Mapping[str, Any]], None]


class Stands(Schedules, Protocol):
    """A scheduler that can be ended. `door`: by which a client on this machine reaches it, as in tls://..."""

    address: str
    dashboard: str

    @property
    def door(self) -> str: ...

    def close(self) -> None: ...


class Quarters(Protocol):
    """Of one cluster; its record is there."""

    place: Place

    def scheduler(self, where: str, papers: Papers, came: Came, went: Callable[[], None]) -> Stands:
        """A scheduler, once it is there. UsageError, PlaceError: it cannot be, and why; nothing of it is left."""
        ...

    def settle(self, tag: str, words: Mapping[str, Any]) -> Container:
        """What is asked for by `add_container`. UsageError, PlaceError: what is wrong with it."""
        ...

    def text(self, found: Container, papers: Papers, address: str, walltime: timedelta | None) -> Text:
        """What its workers carry, who look for the scheduler there."""
        ...

    def last_words(self, member: Member) -> str:
        """What one that has ended has said last; all of it is kept here. Empty: nothing is known of it."""
        ...

    def turn(self) -> None:
        """What is to be done every second or so."""
        ...

    def leave(self) -> None:
        """Nothing of the cluster runs any more: what it has there is removed, and its output brought here. Twice:
        harmless."""
        ...


def of(place: Place, hold: Hold, record: Record, interface: str, stays: bool) -> Quarters:
    """UsageError: no cluster can stand at this place."""
    from elsewhere.api.dask import clouds, hosts

    if hold.backend.traits.shared_files:
        return Shared(place, hold, record, interface, stays)
    kind = hosts.Hosts if hosts.is_for(hold.backend) else clouds.Clouds
    return kind(place, hold, record, interface, stays)


def check(place: Place, scheduler: str) -> None:
    """UsageError: no cluster can stand there, or its scheduler not where it was asked for; why, and what is to be done.
    A place whose machines are started is asked for their door; nothing is made."""
    from elsewhere.api.dask import clouds, hosts
    from elsewhere.backends import registry

    backend = registry.build(place)
    if backend.traits.shared_files:
        return
    if not hosts.is_for(backend) and not clouds.is_for(backend):
        raise UsageError(
            f"no Dask cluster can stand at {place.name}: its processes must listen for each other on a network, and "
            "nothing of ours listens on machines that are started there",
            hint="Name a place of hosts that you reach by SSH, a Slurm cluster, or local; task lists, commands and "
            f"@remote run at {place.name} as they are.",
        )
    if scheduler not in ("", "job"):
        here = f"workers of {place.name} cannot reach this machine, so its scheduler cannot run here"
        on = "on the first host" if hosts.is_for(backend) else "on a machine of its own"
        raise UsageError(here if scheduler == "here" else f"{place.name} has no login node for a scheduler",
                         hint=f"Write scheduler: job, the default there: it runs {on}.")  # fmt: skip
    if clouds.is_for(backend):
        clouds.check(backend)


def clear(hold: Hold, record: Record) -> None:
    """What a cluster that is over has left at a place that does not see our files goes; its output comes here. Twice:
    harmless."""
    from elsewhere.api.dask import clouds, hosts

    (hosts.clear if hosts.is_for(hold.backend) else clouds.clear)(hold, record)


def fetch_log(record: Record, tag: str, number: str) -> None:
    """What a worker of such a place has said until now, into the file where it will be. It is of none: nothing is
    done."""
    from elsewhere.api.dask import clouds, hosts
    from elsewhere.backends import registry

    backend = registry.build(Place(record.place, record.backend, record.settings))
    (hosts.fetch_log if hosts.is_for(backend) else clouds.fetch_log)(backend, record, tag, number)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


class Shared:
    """Machines that see our files: this one, or nodes of a batch system."""

    def __init__(self, place: Place, hold: Hold, record: Record, interface: str, stays: bool) -> None:
        self.place, self._hold, self._record = place, hold, record
        self._stays = stays
        here = {"host": "127.0.0.1"} if "calls" in hold.backend.traits.channels else {}
        self._network = {"interface": interface} if interface else here

    def scheduler(self, where: str, papers: Papers, came: Came, went: Callable[[], None]) -> Stands:
        from elsewhere.api.dask import apart

        if where != "job":
            return scheduling.Scheduling(self._network, papers, came, went)
        file = self._record.directory / "scheduler.json"
        site = apart.Where(self._record, papers, self._network, _umask(), self._stays, str(file))
        term = self._hold.backend.traits.max_walltime or TERM
        text = apart.text(site, term)
        return apart.post(self._hold, self._record.name, text, lambda _: apart.read(file), papers, came, went)

    def settle(self, tag: str, words: Mapping[str, Any]) -> Container:
        from elsewhere.ship import codec

        site = Site(self.place, self._hold.backend, self._record.directory, Path.cwd(), codec.import_path())
        return settle(tag, Asked(**words), site)

    def text(self, found: Container, papers: Papers, address: str, walltime: timedelta | None) -> Text:
        from elsewhere.pool.hold import Text
        from elsewhere.ship import codec
        from elsewhere.ship.dask_worker import Workers, render

        most = self._hold.backend.traits.max_walltime
        listens = [word for key, value in self._network.items() for word in (f"--{key}", value)]
        workers = Workers(
            self._record.name, found.tag, address, papers, self._record.directory, found.python, found.shape.cpus,
            found.threads, found.shape.memory, str(Path.cwd()), codec.import_path(), found.env, found.plan, listens,
            _umask(), life(most).total_seconds() if most else 0.0,
        )  # fmt: skip
        return Text(partial(_rendered, render, workers), found.shape, walltime or most or TERM)

    def last_words(self, member: Member) -> str:
        from elsewhere.ship.dask_worker import log_of

        path = log_of(self._record.directory, member.kind, member.number)
        return last_line(path.read_text("utf-8", "replace")) if path.is_file() else ""

    def turn(self) -> None:
        """Nothing."""

    def leave(self) -> None:
        """All of it lies here."""


def _rendered(render: Callable[..., str], workers: Any, number: int, start_by: Any, _machine: str) -> str:
    found: str = render(workers, number, start_by)
    return found


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found
