"""Where a cluster keeps its things, and how it is found again: by its name, or the beginning of its id."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from elsewhere.config.home import home, is_network
from elsewhere.controller.files import local_directory
from elsewhere.errors import StateError, UnknownJob, UsageError
from elsewhere.hosts import private_directory, write_whole

KEEP = 30 * 86400.0
"""Seconds for which the logs of a cluster's workers stay after its end."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down of a cluster. `pid`, `began`, `host`: the process that has it."""

    id: str
    name: str
    place: str
    backend: str
    pid: int
    began: float
    settings: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    dashboard: str = ""
    ended: float = 0.0
    shared: str = ""
    """Where its workers see our files, if not everywhere."""
    host: str = field(default_factory=socket.gethostname)
    door: str = ""
    """By which clients on this machine reach its scheduler, as long as its process is there."""
    distant: bool = False
    """Its workers' output lies on their machines until they have ended."""
    spent: float = 0.0
    """Dollars that its machines came to, once it has ended."""
    seat: dict[str, Any] = field(default_factory=dict)
    """Of one that sits on a host of its place: how it is asked there (controller/away.py)."""

    @property
    def directory(self) -> Path:
        """What its workers see of it."""
        return Path(self.shared or home()) / "clusters" / self.id

    @property
    def own(self) -> Path:
        """What only this host need see."""
        return home() / "clusters" / self.id

    @property
    def control(self) -> Path:
        """Its socket, which file systems of a network do not all know."""
        return (local_directory(self.id) if is_network(self.own) else self.own) / "control"

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """As far as it can be known on this host."""
        return not self.ended and (bool(self.seat) or not self.is_here or began(self.pid) == self.began)

    def require_here(self) -> None:
        """StateError: another host has it."""
        if not self.is_here and not self.ended:
            raise StateError(f"the cluster {self.name} is run by process {self.pid} on {self.host}",
                             hint=f"Log in to {self.host} to look at it, to scale or to end it.")  # fmt: skip

    def write(self) -> None:
        write_whole(self.own / "cluster.json", json.dumps(asdict(self), default=str).encode())


def say(text: str) -> None:
    """What whoever has a cluster is told at once."""
    TELLS[-1](f"elsewhere: {text}\n")


TELLS: list[Callable[[str], object]] = [lambda line: sys.stderr.write(line)]
"""The last of these tells it."""


def began(pid: int) -> float:
    """When a process began, by which it is told from a later one of the same number; 0: there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return 0.0


def create(record: Record) -> None:
    """Its directory, 0700. UsageError: a cluster of that name is up. Those that ended long ago are removed."""
    for other in listing():
        if other.name == record.name and other.alive:
            hint = f"Give this one a name, or end that: elsewhere cluster down {record.name}"
            whose = f"on {other.host}" if other.seat else f"process {other.pid}"
            raise UsageError(f"a cluster {record.name!r} is up already ({whose})", hint=hint)
        if not other.alive and time.time() - _last(other) > KEEP:
            for folder in (other.directory, other.own):
                shutil.rmtree(folder, ignore_errors=True)
    for folder in (record.directory / "workers", record.directory / "scratch", record.own):
        private_directory(folder)
    record.write()


def listing() -> list[Record]:
    """All clusters of which something is left, the newest first."""
    found = []
    for path in sorted((home() / "clusters").glob("clu-*/cluster.json"), reverse=True):
        try:
            found.append(Record(**json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def find(reference: str = "@last") -> Record:
    """The newest of that name, or of that unique beginning of an id, or the newest. UnknownJob names the nearest."""
    records = listing()
    if not records:
        raise UnknownJob("there is no cluster yet", hint="`elsewhere cluster up` makes one.")
    if reference in ("@last", ""):
        return next((record for record in records if record.alive), records[0])
    named = [record for record in records if record.name == reference]
    if named:
        return next((record for record in named if record.alive), named[0])
    begun = [record for record in records if record.id.startswith((reference, f"clu-{reference}"))]
    if len(begun) == 1:
        return begun[0]
    near = difflib.get_close_matches(reference, [record.name for record in records], 1)
    said = f"{len(begun)} clusters begin with {reference!r}" if begun else f"there is no cluster {reference!r}"
    raise UnknownJob(said, hint=f"Did you mean {near[0]}?" if near else "`elsewhere cluster list` lists them.")


def free_name(wanted: str) -> str:
    """This, or with a number behind it that no cluster which is up has."""
    taken = {record.name for record in listing() if record.alive}
    return next(name for n in count(1) if (name := wanted if n == 1 else f"{wanted}-{n}") not in taken)


def shown(record: Record) -> dict[str, Any]:
    """What is told of it, as plain values."""
    return {"id": record.id, "name": record.name, "place": record.place, "alive": record.alive, "pid": record.pid,
            "host": record.host,
            "address": record.address, "dashboard": record.dashboard}  # fmt: skip


def of_this_process() -> tuple[int, float]:
    return os.getpid(), began(os.getpid())


def _last(record: Record) -> float:
    try:
        return record.ended or (record.own / "cluster.json").stat().st_mtime
    except OSError:
        return time.time()
