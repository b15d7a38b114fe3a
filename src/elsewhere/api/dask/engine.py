"""What has a cluster: this process (own.py), or one on another machine that is asked for it (afar.py)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from elsewhere.api.dask.records import Record
from elsewhere.errors import UsageError
from elsewhere.model import units
from elsewhere.model.place import Place
from elsewhere.ship.certificates import Papers


class Engine(Protocol):
    """Each verb as of Cluster, whose door this is."""

    record: Record
    papers: Papers

    @property
    def walltime(self) -> timedelta | None: ...

    @property
    def door(self) -> str:
        """By which a client on this machine reaches the scheduler: tls://..."""
        ...

    @property
    def dashboard(self) -> str:
        """A link for a browser on this machine; empty: there is none."""
        ...

    def set_walltime(self, value: timedelta | None) -> None: ...

    def add_container(self, tag: str, words: Mapping[str, Any]) -> None: ...

    def add_workers(self, tag: str, n: int) -> None: ...

    def remove_workers(self, tag: str, n: int) -> None: ...

    def scale(self, workers: Mapping[str, int]) -> object: ...

    def adapt(self, tag: str, minimum: int, maximum: int) -> None: ...

    def arrived(self, tag: str) -> int:
        """Workers of that tag which are there and stay. UsageError as of `usable`."""
        ...

    def usable(self, tag: str) -> str: ...

    def status(self) -> dict[str, Any]: ...

    def check_open(self) -> None: ...

    def close(self, before: Callable[[], None] = lambda: None) -> None: ...


WHERE = ("here", "job", "login")
"""Where a scheduler may run."""
QUIET = 120.0
"""Seconds without a word from whoever has a cluster from afar, after which it ends."""


def begin(place: Place, scheduler: str, *, quiet: float = 0.0, **words: Any) -> Engine:
    """Put one up. `quiet`: as of Cluster.standing; `words`: as of Own. UsageError: a scheduler cannot run there."""
    from elsewhere.api.dask import afar
    from elsewhere.backends import registry

    backend = registry.build(place)
    where = asked_for(place, scheduler)
    if not afar.is_for(backend):
        from elsewhere.api.dask import quarters
        from elsewhere.api.dask.own import Own

        quarters.check(place, where)
        return Own(place, scheduler="job" if where == "job" else "here", quiet=quiet, **words)
    return afar.Afar(afar.begin(place, backend, where, QUIET, **words))


def up(place: Place, scheduler: str, file: Path | None, **words: Any) -> Record:
    """The record of one that stays: a process of its own has it, here or on the place's own host. `words`: name,
    walltime, interface. Errors as of `begin`, and of a file of containers."""
    from elsewhere.api.dask import afar, detached
    from elsewhere.backends import registry

    where = asked_for(place, scheduler)
    backend = registry.build(place)
    if afar.is_for(backend):
        length = words.pop("walltime")
        return afar.begin(place, backend, where, 0.0, file.read_text() if file else "",
                          walltime=units.duration(length) if length else None, **words)  # fmt: skip
    named = [place.name, place.backend, dict(place.settings)]
    return detached.up(place=named, scheduler=where, file=str(file or ""), **words)


def asked_for(place: Place, scheduler: str) -> str:
    """Where it is to run: as the call says, or the place; empty: nobody said."""
    where = str(scheduler or place.settings.get("scheduler") or "")
    if where and where not in WHERE:
        near = difflib.get_close_matches(where, WHERE, 1)
        raise UsageError(f"scheduler must be one of {', '.join(WHERE)}, not {where!r}",
                         hint=f"Did you mean {near[0]}?" if near else "")  # fmt: skip
    return where


def unknown(tag: str, known: Mapping[str, Any]) -> UsageError:
    """For a tag without a container."""
    near = difflib.get_close_matches(tag, known, 1)
    there = ", ".join(sorted(known)) or "none"
    return UsageError(f"there is no container {tag!r}" + (f"; did you mean {near[0]}?" if near else ""),
                      hint=f"Containers that were added: {there}.")  # fmt: skip


def count(n: object) -> int:
    """UsageError: it is no number of workers."""
    if type(n) is not int or n < 0:
        raise UsageError(f"a number of workers is 0 or more, not {n!r}")
    return n
