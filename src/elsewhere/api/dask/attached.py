"""A cluster of another process of the same user: looked at, scaled, used and ended from here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from elsewhere.api.cluster import unknown
from elsewhere.api.dask import records
from elsewhere.controller import control
from elsewhere.errors import StateError, UsageError
from elsewhere.ship import certificates

if TYPE_CHECKING:
    from elsewhere.api.dask.clients import TaggedClient

_PATIENCE = 60.0


class Attached:
    """`Cluster.attach(name)`."""

    def __init__(self, name: str) -> None:
        self.record = records.find(name)
        self.papers = certificates.papers(self.record.directory)
        self.address = self.record.address
        self._tags: Mapping[str, Any] = self.status()["tags"]

    @property
    def dashboard_link(self) -> str:
        return self.record.dashboard

    def status(self) -> dict[str, Any]:
        """As of a Cluster. StateError: it has ended."""
        return self._ask({"do": "status"})

    def scale(self, workers: Mapping[str, int] | None = None, **tags: int) -> dict[str, Any]:
        """As of a Cluster; how it stands then."""
        return self._ask({"do": "scale", "workers": {**(workers or {}), **tags}})

    def client(self, **words: Any) -> TaggedClient:
        """As of a Cluster."""
        from elsewhere.api.dask.clients import TaggedClient

        return TaggedClient(self, **words)

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
        self._ask({"do": "down"})
        until = time.monotonic() + _PATIENCE
        while not records.find(self.record.id).ended:
            if time.monotonic() > until:
                raise StateError(f"the cluster {self.record.name} has not ended within {_PATIENCE:g} s",
                                 hint=f"It is run by process {self.record.pid}.")  # fmt: skip
            time.sleep(0.05)

    def _ask(self, words: dict[str, Any]) -> dict[str, Any]:
        self.record.require_here()
        answer = control.ask(self.record.control, words) if self.record.alive else None
        if answer is None:
            raise StateError(f"the cluster {self.record.name} has ended", hint="`elsewhere cluster list` shows others.")
        return answer
