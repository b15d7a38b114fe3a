"""The corner of a place's deposit where a cluster and its machines meet: who proves to be one of them gets its letter.

Nothing there is secret: certificates and variables are in letters that one machine alone can open. What a machine says
of itself is signed by the key that its letter named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from elsewhere.agent.meeting import OwnKey
from elsewhere.backends.base import Attests, Backend, Distant, NativeId
from elsewhere.channels.frames import Signs, seal, unseal
from elsewhere.controller.guests import Guests
from elsewhere.errors import NotFound, PlaceError, Refused
from elsewhere.ship.letters import Contents
from elsewhere.stores import Store
from elsewhere.stores.objects import open_store

SAID, LOGS, BOOTS = "said/", "logs/", "boot/"
"""What machines say: of themselves, by their ids; what was printed there, as TAG-N; how a boot failed, by their ids."""


def url_of(backend: Backend, cluster: str) -> str:
    return f"{cast(Distant, backend).deposit().url.rstrip('/')}/{folder(cluster)}"


def folder(cluster: str) -> str:
    """Below the deposit."""
    return f"clusters/{cluster}"


def store_of(backend: Backend, cluster: str) -> Store:
    return open_store(url_of(backend, cluster))


def say(store: Store, signer: Signs, cluster: str, machine: NativeId, words: Mapping[str, Any]) -> None:
    """Said by a machine; again: that counts."""
    store.put(f"{SAID}{machine}", seal(signer, _purpose(cluster, machine), json.dumps(words).encode()))


def _purpose(cluster: str, machine: NativeId) -> str:
    return f"what {machine} of {cluster} says"


class Letterbox:
    """Its owner's end. `told`: what that machine is to know, as texts by name."""

    def __init__(self, backend: Backend, cluster: str, told: Callable[[NativeId], Mapping[str, str]]) -> None:
        self.url, self._cluster = url_of(backend, cluster), cluster
        self.store, own = open_store(self.url), OwnKey()
        self._guests = Guests(
            self.store, cast(Attests, backend), cluster, own, own, lambda who: Contents(b"", told(who))
        )

    def look(self, expected: Collection[NativeId]) -> list[str]:
        """Newcomers of these are let in; why others were not, a sentence each. A place that does not answer is asked
        again."""
        try:
            return self._guests.look(expected)
        except PlaceError:
            return []

    def said(self, machine: NativeId) -> Mapping[str, Any] | None:
        """What that machine has said of itself; None: nothing that it can be believed to have said."""
        try:
            verifier = self._guests.of(machine)
            data = unseal(verifier, _purpose(self._cluster, machine), self.store.get(f"{SAID}{machine}"))
        except (NotFound, Refused):
            return None
        found: Mapping[str, Any] = json.loads(data)
        return found


def log(store: Store, name: str, machine: NativeId = "") -> bytes:
    """What TAG-N has printed, or how its machine's boot has failed; empty: nothing is known."""
    for key in (f"{LOGS}{name}", f"{BOOTS}{machine}"):
        try:
            return store.get(key)
        except NotFound:
            continue
    return b""


def clear(store: Store) -> dict[str, bytes]:
    """All of it goes; what was printed, by TAG-N. Twice: harmless."""
    keys = list(store.list())
    found = {key.removeprefix(LOGS): store.get(key) for key in keys if key.startswith(LOGS)}
    store.delete(keys)
    return found
