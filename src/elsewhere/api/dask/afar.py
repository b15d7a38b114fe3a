"""A cluster that sits on a place's own host, and is asked from here through the user's own OpenSSH.

There it is a cluster like any other, with all of us and the project beside it (controller/seat.py): containers,
environments and paths are those of that host. Here is a record of it, and its certificates, by which clients of this
machine are let in. It ends when we have not been heard for a while, unless it was put up to stay.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from elsewhere import errors
from elsewhere.api.dask import records
from elsewhere.api.dask.attached import Attached
from elsewhere.errors import PlaceError, Refused, StateError, Unreachable, UsageError
from elsewhere.hosts import write_whole
from elsewhere.hosts.tunnel import Tunnel
from elsewhere.model.place import Place
from elsewhere.ship import certificates

if TYPE_CHECKING:
    from elsewhere.backends.base import Backend
    from elsewhere.backends.seats import Seats
    from elsewhere.controller.away import Away
    from elsewhere.hosts.openssh import OpenSsh

MODULE = "elsewhere.api.dask.there"
BEAT = 30.0
"""Seconds between two words to a cluster that is ours."""
LIMIT = timedelta(minutes=15)
"""For one answer: an environment may be built there."""


def is_for(backend: Backend) -> bool:
    """Do workers of that place see files of a host of its own, and not ours?"""
    from elsewhere.backends.base import Lodges
    from elsewhere.backends.seats import Seats

    return not backend.traits.shared_files and isinstance(backend, Lodges) and isinstance(backend, Seats)


class Seated:
    """How it is asked."""

    def __init__(self, away: Away) -> None:
        from elsewhere.backends import registry

        self.away = away
        backend = cast("Seats", registry.build(Place(away.place, away.backend, away.settings)))
        self.host = cast("OpenSsh", backend.seat(away.host).host)

    def ask(self, do: str, **words: Any) -> Any:
        """Its answer. Errors as they were raised there; Unreachable: it may have been done."""
        from elsewhere.ship import seat

        request = json.dumps({"do": do, "work": self.away.work, **words}).encode() + b"\n"
        done = self.host.run(seat.asking(self.away.directory, self.away.we, MODULE), request, LIMIT)
        try:
            answer = json.loads(done.out.splitlines()[-1])
        except (ValueError, IndexError):
            last = (done.err.decode("utf-8", "replace").strip().splitlines() or [f"status {done.status}"])[-1]
            raise Refused(f"{self.away.host} did not answer as it should: {last}") from None
        if "error" in answer:
            kind = getattr(errors, answer["error"], StateError)
            raise kind(answer["message"], hint=answer["hint"])
        return answer["told"]

    def tunnel(self, address: str) -> Tunnel:
        """From a port here to this address there."""
        target = address.rpartition("//")[2].partition("/")[0]
        return Tunnel(lambda: self.host.forward(target))


def begin(
    place: Place, backend: Backend, scheduler: str, quiet: float, text: str = "", name: str = "",
    walltime: timedelta | None = None, interface: str = "", **_: Any,
) -> records.Record:  # fmt: skip
    """Put one up there; the record of it. `quiet`: seconds after which it ends when it has not heard of us, 0: it
    stays. `text`: of a file of containers. UsageError: the scheduler cannot run where it was asked for."""
    from elsewhere.controller import seat

    if scheduler == "here":
        raise UsageError(f"workers of {place.name} cannot reach this machine, so its scheduler cannot run here",
                         hint="Write scheduler: login, which is the default there, or scheduler: job.")  # fmt: skip
    if name and any(other.name == name and other.alive for other in records.listing()):
        raise UsageError(f"a cluster {name!r} is up already", hint=f"elsewhere cluster down {name}")
    away = seat.settle(place, Path.cwd(), {}, needs())
    settings = dict(cast("Seats", backend).seat(away.host).settings)
    asked = {
        "place": [place.name, place.backend, settings], "quiet": quiet, "name": name, "interface": interface,
        "walltime": None if walltime is None else f"{walltime.total_seconds():.0f}s",
        "scheduler": "job" if scheduler == "job" else "here",
    }  # fmt: skip
    told = Seated(away).ask("up", asked=asked, text=text)
    there = told["record"]
    record = records.Record(
        there["id"], name or records.free_name(there["name"]), place.name, place.backend, there["pid"], 0.0,
        dict(place.settings), address=there["address"], dashboard=there["dashboard"], host=away.host,
        seat=asdict(away),
    )  # fmt: skip
    records.create(record)
    papers = certificates.papers(record.directory)
    for path, part in zip(asdict(papers).values(), told["papers"], strict=True):
        write_whole(Path(path), part.encode())
    return record


def needs() -> list[str]:
    """The distributions that Dask needs there besides ours: those that it has here, and what shows its dashboard. A
    scheduler reads calls as workers do, so what these are made of most often is among them, where it is here."""
    from packaging.requirements import Requirement

    found: dict[str, None] = {}
    left = ["distributed", "bokeh", "numpy", "pandas"]
    while left:
        name = left.pop().lower().replace("_", "-")
        try:
            wanted = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # for another Python or platform
        if name not in found:
            found[name] = None
            asked = map(Requirement, wanted)
            left += [one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return list(found)


class Afar(Attached):
    """One that is ours: it is told now and then that we are here."""

    def __init__(self, record: records.Record) -> None:
        super().__init__(record.id)
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="elsewhere cluster afar", daemon=True)
        self._beat.start()

    def _beats(self) -> None:
        told: set[str] = set()
        waited: set[str] = set()
        while not self._over.wait(BEAT):
            with contextlib.suppress(PlaceError, StateError):
                state = self._ask({"do": "status"})
                waits = {*state["waiting"], *(found["waiting"] for found in state["tags"].values())} - {""}
                for line in sorted(waits & waited - told):
                    sys.stderr.write(f"elsewhere: {line}\n")
                told, waited = (told | (waits & waited)) & waits, waits

    def close(self, before: Callable[[], None] = lambda: None) -> None:
        if self.record.ended:
            return
        self._over.set()
        before()
        try:
            self.down()
        except Unreachable as error:
            error.hint = f"It ends by itself, some minutes after {self.record.host} has lost sight of this machine."
            raise
        finally:
            self.leave()


def down(record: records.Record) -> int:
    """End it, or what it has left; how many were left. Twice: harmless."""
    left: int = seated(record).ask("sweep", cluster=record.id)
    replace(record, ended=time.time()).write()
    return left


def seated(record: records.Record) -> Seated:
    from elsewhere.controller.away import Away

    return Seated(Away(**record.seat))


def log(record: records.Record, tag: str, number: str) -> tuple[bytes, list[str]]:
    """What a worker has said, and of which workers there is something. UsageError: there is nothing of that one."""
    told: Mapping[str, Any] = seated(record).ask("log", cluster=record.id, tag=tag, number=number)
    if told["text"] is None:
        known = ", ".join(told["known"])
        raise UsageError(f"the cluster {record.name} has no output of a worker {tag}/{number}",
                         hint=f"There is that of {known}." if known else "No worker has begun.")  # fmt: skip
    return told["text"].encode(), told["known"]
