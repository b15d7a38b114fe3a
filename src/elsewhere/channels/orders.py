"""Orders go through the job's store: one signed object per epoch. Agents read that of the highest."""

from __future__ import annotations

from elsewhere.channels.frames import Signs, Verifies, pack_orders, seal, unpack_orders, unseal
from elsewhere.errors import NotFound, Refused
from elsewhere.model.orders import Orders
from elsewhere.stores import Store

_FOLDER = "orders/"


def write_orders(store: Store, orders: Orders, signer: Signs | None = None) -> None:
    """Publish. Twice: harmless. A controller that was overtaken only overwrites what nobody reads any more."""
    store.put(f"{_FOLDER}{orders.epoch:010d}", seal(signer, f"orders of {orders.job}", pack_orders(orders)))


def read_orders(store: Store, job: str, verifier: Verifies | None = None) -> Orders:
    """Those of the highest epoch whose signature is right; empty ones if there are none. Unreachable: keep the old."""
    for key in reversed(list(store.list(_FOLDER))):
        try:
            orders = unpack_orders(unseal(verifier, f"orders of {job}", store.get(key)))
        except (NotFound, Refused):
            continue
        if orders.job == job and key == f"{_FOLDER}{orders.epoch:010d}":
            return orders
    return Orders(job)
