"""A cluster of another process of the same user, here or on another host: looked at, scaled, used and ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from elsewhere.api.dask import records
from elsewhere.api.dask.engine import count, unknown
from elsewhere.controller import control
from elsewhere.errors import StateError, UsageError
from elsewhere.ship import certificates

if TYPE_CHECKING:
    from elsewhere.api.dask.afar import Seated
    from elsewhere.api.dask.clients import TaggedClient
    from elsewhere.hosts.tunnel import Tunnel

_PATIENCE = 60.0


class Attached:
    """`Cluster.attach(name)`."""

    def __init__(self, name: str) -> None:
        self.record = records.find(name)
        self.papers = certificates.papers(self.record.directory)
        self.address = self.record.address
        self._tags: Mapping[str, Any] = self.status()["tags"]
        self._tunnels: dict[str, Tunnel] = {}
        self._opening = threading.Lock()
        self._walltime: timedelta | None = None

    @property
    def door(self) -> str:
        """By which a client on this machine reaches its scheduler."""
        return f"tls://127.0.0.1:{self._port(self.address)}" if self.record.seat else self.record.door or self.address

    @property
    def dashboard(self) -> str:
        if not self.record.seat or not self.record.dashboard:
            return self.record.dashboard
        return f"http://127.0.0.1:{self._port(self.record.dashboard)}/status"

    @property
    def dashboard_link(self) -> str:
        """As of a Cluster."""
        return self.dashboard

    def _port(self, address: str) -> int:
        with self._opening:
            if address not in self._tunnels:
                self._tunnels[address] = self._seated.tunnel(address)
            return self._tunnels[address].port

    @property
    def walltime(self) -> timedelta | None:
        return self._walltime

    def set_walltime(self, value: timedelta | None) -> None:
        self._walltime = value
        self._ask({"do": "walltime", "seconds": None if value is None else value.total_seconds()})

    def add_container(self, tag: str, words: Mapping[str, Any]) -> None:
        self._tags = self._ask({"do": "container", "tag": tag, "words": dict(words)})["tags"]

    def add_workers(self, tag: str, n: int = 1) -> None:
        self._ask({"do": "add", "tag": tag, "n": count(n)})

    def remove_workers(self, tag: str, n: int = 1) -> None:
        self._ask({"do": "remove", "tag": tag, "n": count(n)})

    def adapt(self, tag: str, minimum: int = 0, maximum: int = 1) -> None:
        self._ask({"do": "adapt", "tag": tag, "minimum": minimum, "maximum": maximum})

    def status(self) -> dict[str, Any]:
        """As of a Cluster. StateError: it has ended."""
        return {**self._ask({"do": "status"}), "name": self.record.name}

    def scale(self, workers: Mapping[str, int] | None = None, **tags: int) -> dict[str, Any]:
        """As of a Cluster; how it stands then."""
        return self._ask({"do": "scale", "workers": {**(workers or {}), **tags}})

    def client(self, **words: Any) -> TaggedClient:
        """As of a Cluster."""
        from elsewhere.api.dask.clients import TaggedClient

        return TaggedClient(self, **words)

    def arrived(self, tag: str) -> int:
        self._tags = self.status()["tags"]
        return sum(worker["is"] == "here" for worker in self._tags[self.usable(tag)]["workers"])

    def usable(self, tag: str) -> str:
        """As of a Cluster."""
        found = str(tag).lower()
        if found not in self._tags or self._tags[found]["trouble"]:
            self._tags = self.status()["tags"]
        if found not in self._tags:
            raise unknown(found, self._tags)
        if trouble := self._tags[found]["trouble"]:
            raise UsageError(f"no worker of {found} can be used: {trouble}")
        return found

    def down(self) -> None:
        """End it; waits until it has. StateError: it has not within a minute."""
        if self.record.seat:
            from elsewhere.api.dask import afar

            afar.down(self.record)
            self.record = records.find(self.record.id)
            return
        self._ask({"do": "down"})
        until = time.monotonic() + _PATIENCE
        while not records.find(self.record.id).ended:
            if time.monotonic() > until:
                raise StateError(f"the cluster {self.record.name} has not ended within {_PATIENCE:g} s",
                                 hint=f"It is run by process {self.record.pid}.")  # fmt: skip
            time.sleep(0.05)

    def check_open(self) -> None:
        if self.record.ended:
            raise StateError(f"the cluster {self.record.name} is closed")

    def leave(self) -> None:
        """Let go of what leads there; it goes on. Twice: harmless."""
        with self._opening:
            for tunnel in self._tunnels.values():
                tunnel.close()
            self._tunnels.clear()

    def close(self, before: Callable[[], None] = lambda: None) -> None:
        """As of a Cluster."""
        with contextlib.suppress(StateError):
            before()
            self.down()
        self.leave()

    def _ask(self, words: dict[str, Any]) -> dict[str, Any]:
        answer = self._answer(words)
        if answer is None:
            raise StateError(f"the cluster {self.record.name} has ended", hint="`elsewhere cluster list` shows others.")
        return answer

    @cached_property
    def _seated(self) -> Seated:
        from elsewhere.api.dask import afar

        return afar.seated(self.record)

    def _answer(self, words: dict[str, Any]) -> dict[str, Any] | None:
        if self.record.seat:
            told: dict[str, Any] | None = None
            if not self.record.ended:
                told = self._seated.ask("ask", cluster=self.record.id, words=words)
            if told is None and not self.record.ended:
                self.record = replace(self.record, ended=time.time())
                self.record.write()
            return told
        self.record.require_here()
        return control.ask(self.record.control, words) if self.record.alive else None
