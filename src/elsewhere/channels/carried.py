"""Large values beside a channel that machines do not share files over: in the job's store, and never in a message.

Each end wraps its channel: what a delivery refers to is there before it is delivered, what a report refers to before it
is recorded. Files keep the names that they have in a job's own directory (slot/values.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.channels.base import Channel, Claim, Receipt, Room
from elsewhere.channels.words import VALUES as VALUES
from elsewhere.errors import NotFound
from elsewhere.hosts import private_directory
from elsewhere.model.reports import Ended, Form, Report
from elsewhere.model.task import Delivery
from elsewhere.slot import values
from elsewhere.stores import Store

if TYPE_CHECKING:
    from elsewhere.channels.outputs import Outputs

_STORED = frozenset((Form.STORED_JSON, Form.STORED_PICKLE))


class Carried:
    """What both ends share: any verb that is not theirs is the channel's own."""

    def __init__(self, channel: Any, store: Store, directory: Path) -> None:
        self.channel, self.store, self.directory = channel, store, directory

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)

    def put(self, key: str) -> None:
        """A file of the directory, into the store. Twice: harmless."""
        self.store.create(f"{VALUES}{key}", self._path(key).read_bytes())

    def fetch(self, key: str) -> None:
        """An object of the store, into the directory, unless it is there. NotFound: nobody has put it."""
        path = self._path(key)
        if self.is_here(key):
            return
        data = self.store.get(f"{VALUES}{key}")
        private_directory(path.parent)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_bytes(data)
        part.chmod(0o600)
        part.replace(path)

    def is_here(self, key: str) -> bool:
        return self._path(key).exists()

    def _path(self, key: str) -> Path:
        return Path(values.path_of(str(self.directory), key))


class Sending(Carried):
    """The controller's end: arguments go out before their deliveries, results come home before their reports."""

    def __init__(
        self, channel: Channel, store: Store, directory: Path, calls: bool, outputs: Outputs | None = None
    ) -> None:
        """`calls`: bodies of this job may refer to the store. `outputs`: its tasks leave files that come home."""
        super().__init__(channel, store, directory)
        self._calls, self._outputs = calls, outputs
        self._sent: set[str] = set()

    def send(self, deliveries: Sequence[Delivery]) -> None:
        self.deposit([delivery.body for delivery in deliveries])
        self.channel.send(deliveries)

    def deposit(self, bodies: Sequence[bytes]) -> None:
        """What these refer to goes into the store; what is not here came from there, on whichever machine that was."""
        for body in bodies if self._calls else ():
            for key in _referred(body):
                if key not in self._sent and self.is_here(key):
                    self.put(key)
                self._sent.add(key)

    def collect(self, limit: int) -> Sequence[Receipt]:
        receipts: Sequence[Receipt] = self.channel.collect(limit)
        if self._outputs is not None:
            self._outputs.bring(receipt.report for receipt in receipts)
        for report in [report for report, _ in receipts if isinstance(report, Ended) and report[5] in _STORED]:
            self._bring(report.value.decode("ascii", "replace"))
        return receipts

    def _bring(self, key: str) -> None:
        with suppress(NotFound, ValueError):  # reading the result says so; the outcome itself counts
            self.fetch(key)


class Taking(Carried):
    """The agent's end, the other way round."""

    def __init__(
        self, channel: Channel, store: Store, directory: Path, calls: bool, outputs: Outputs | None = None
    ) -> None:
        super().__init__(channel, store, directory)
        self._calls, self._outputs = calls, outputs
        self._lacking: Sequence[Claim] = ()
        """Taken from the channel, which gives them once, and not given on: what they refer to could not be fetched."""

    def claim(self, agent: str, room: Room, lease: timedelta) -> Sequence[Claim]:
        claims: Sequence[Claim] = self._lacking or self.channel.claim(agent, room, lease)
        self._lacking = claims if self._calls else ()
        for key in {key for claim in self._lacking for key in _referred(claim.delivery.body)}:
            with suppress(NotFound, ValueError):  # nor will it be there later: its task says so, where it is opened
                self.fetch(key)
        self._lacking = ()
        return claims

    def report(self, reports: Sequence[Report], done: Collection[Claim] = ()) -> None:
        if self._outputs is not None:
            self._outputs.send(reports)
        for report in reports:
            if isinstance(report, Ended) and report.form in _STORED:
                self.put(report.value.decode())
        self.channel.report(reports, done)


def _referred(body: bytes) -> list[str]:
    """The keys that a call refers to: its function, and its arguments if they are large."""
    if not body.startswith(b'{"function":"'):
        return []
    call = json.loads(body)
    return [key for key in (call.get("function"), call.get("stored")) if isinstance(key, str) and key.isalnum()]
