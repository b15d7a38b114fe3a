"""Orders go through the job's store: one signed object per epoch. Agents read that of the highest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from elsewhere.channels.frames import Signs, Verifies, pack_orders, seal, unpack_orders, unseal
from elsewhere.errors import NotFound, Refused
from elsewhere.model.orders import Orders
from elsewhere.stores import Store

_FOLDER = "orders/"
LOOK, ANEW = 30.0, 1800.0
"""Seconds between two looks at the orders of a store that bills each, and at which epochs there are."""


def write_orders(store: Store, orders: Orders, signer: Signs | None = None) -> None:
    """Publish. Twice: harmless. A controller that was overtaken only overwrites what nobody reads any more."""
    store.put(_key(orders.epoch), seal(signer, f"orders of {orders.job}", pack_orders(orders)))


def supersede(store: Store, orders: Orders, signer: Signs | None = None) -> None:
    """Publish under all lower epochs too: whoever reads one object and does not list finds the way. Once per epoch."""
    data = seal(signer, f"orders of {orders.job}", pack_orders(orders))
    for key in list(store.list(_FOLDER)):
        if key < _key(orders.epoch):
            store.put(key, data)


def read_orders(store: Store, job: str, verifier: Verifies | None = None) -> Orders:
    """Those of the highest epoch whose signature is right; empty ones if there are none. Unreachable: keep the old."""
    for key in reversed(list(store.list(_FOLDER))):
        try:
            data = store.get(key)
        except NotFound:
            continue
        if (orders := _opened(key, data, job, verifier)) is not None:
            return orders
    return Orders(job)


def _opened(key: str, data: bytes, job: str, verifier: Verifies | None) -> Orders | None:
    """None: forged, of another job, or under a number that is not its own."""
    try:
        orders = unpack_orders(unseal(verifier, f"orders of {job}", data))
    except Refused:
        return None
    return orders if orders.job == job and key == _key(orders.epoch) else None


class Remembered:
    """The orders as they were last read: the very same object as long as nothing has changed, checked but once."""

    def __init__(self, store: Store, job: str, verifier: Verifies | None = None) -> None:
        self._store, self._job, self._verifier = store, job, verifier
        self._raw: dict[str, bytes] = {}
        self._last = Orders(job)

    def read(self) -> Orders:
        """As `read_orders`."""
        raw = {}
        for key in reversed(list(self._store.list(_FOLDER))):
            try:
                raw[key] = self._store.get(key)
            except NotFound:
                continue
            if raw == self._raw:
                return self._last
            if (found := _opened(key, raw[key], self._job, self._verifier)) is not None:
                self._raw, self._last = raw, found
                return found
        return Orders(self._job)


@runtime_checkable
class Tagged(Protocol):
    """A store that does not send again what the reader has."""

    def changed(self, key: str, tag: str) -> tuple[bytes, str] | None: ...


class OrdersReader:
    """The orders as an agent looks at them: one object, now and then, and only if it has changed."""

    def __init__(self, store: Store, job: str, verifier: Verifies | None, clock: Callable[[], float],
                 look: float = LOOK) -> None:  # fmt: skip
        self._store, self._job, self._verifier, self._clock, self._look = store, job, verifier, clock, look
        self._last = Orders(job)
        self._key, self._tag = "", ""
        self._looked = self._listed = float("-inf")

    def read(self, look: float | None = None) -> Orders:
        """Those of the highest epoch that was seen, at most `look` seconds old. Unreachable: keep the old."""
        now = self._clock()
        if now - self._looked >= min(self._look, self._look if look is None else look):
            if now - self._listed >= (ANEW if self._key else LOOK * 2):
                keys = list(self._store.list(_FOLDER))
                self._turn_to(max([self._key, *keys]))
                self._listed = now
            if self._key:
                self._fetch()
            self._looked = now
        return self._last

    def _fetch(self) -> None:
        try:
            found = self._get()
            if found is None:
                return
            orders = unpack_orders(unseal(self._verifier, f"orders of {self._job}", found[0]))
        except NotFound:
            return
        except Refused:  # forged, perhaps under a number of its own: back to what holds
            self._last, self._key = max(self._last, read_orders(self._store, self._job, self._verifier), key=_epoch), ""
            return
        self._tag = found[1]
        if orders.job == self._job and orders.epoch >= self._last.epoch and _key(orders.epoch) >= self._key:
            self._last = orders
            self._turn_to(_key(orders.epoch))

    def _get(self) -> tuple[bytes, str] | None:
        if isinstance(self._store, Tagged):
            return self._store.changed(self._key, self._tag)
        return self._store.get(self._key), ""

    def _turn_to(self, key: str) -> None:
        if key != self._key:
            self._key, self._tag = key, ""


def _epoch(orders: Orders) -> int:
    return orders.epoch


def _key(epoch: int) -> str:
    return f"{_FOLDER}{epoch:010d}"
