"""The machine that is hired for a seat, as its place has it: asked for, let in, looked at (hired.py)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import unquote, urlsplit

from elsewhere.agent.meeting import OwnKey
from elsewhere.backends.base import Attests, Backend, Condition, Launch, Lodges, NativeId, Sighting
from elsewhere.controller.guests import Guests
from elsewhere.errors import PlaceError, Refused, Unreachable
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources
from elsewhere.pool import reaper
from elsewhere.ship.letters import Contents
from elsewhere.stores import HostStore, Store
from elsewhere.stores.objects import open_store

COMES = timedelta(minutes=15)
"""In which it must have introduced itself."""
LOOK = 0.1
"""Seconds between two looks whether it has."""
ASK_PLACE = 10.0
"""Seconds without a word after which it is looked whether the machine is there."""
ALIVE = (Condition.PENDING, Condition.RUNNING)
_TRIES = 4


def opened(hires: Backend, url: str) -> Store:
    """A part of its deposit, as it is reached from here."""
    lodging = hires.lodging() if isinstance(hires, Lodges) else None
    return open_store(url) if lodging is None else HostStore(lodging[0], unquote(urlsplit(url).path))


def launched(hires: Backend, launch: str, text: str, offer: Offer, term: timedelta, start_by: datetime) -> NativeId:
    """After a lost reply it is asked again under the same name, which is the same machine."""
    labels = reaper.labels(launch.rpartition("-")[0], launch, reaper.me(), start_by + term)
    order = Launch(launch, 1, text, Resources(), term, start_by, labels, offer)
    for left in range(_TRIES - 1, -1, -1):
        try:
            return hires.submit(order)[0]
        except Unreachable:
            if not left:
                raise
            time.sleep(1.0)
    raise AssertionError("unreachable")


def admit(
    hires: Backend, native: NativeId, store: Store, who: str, contents: Contents, told: Callable[[str], None]
) -> None:
    """Wait until it has proved which machine it is, and write to it. One that waits for its turn has all the time."""
    signer = OwnKey()
    guests = Guests(store, cast(Attests, hires), who, signer, signer, lambda _: contents)
    end, looked, said = time.monotonic() + COMES.total_seconds(), time.monotonic(), ""
    while time.monotonic() < end:
        with contextlib.suppress(Unreachable):
            if why := guests.look([native]):
                raise Refused(f"the machine of the controller was turned away: {why[0]}")
            with contextlib.suppress(Refused):
                guests.of(native)
                return
            if time.monotonic() - looked > ASK_PLACE:
                looked = time.monotonic()
                now = seen(hires, native)
                if now is None:
                    raise Refused(f"the machine of the controller, {native}, has ended before it spoke{_said(store)}")
                if now.condition is Condition.PENDING and hires.traits.waits:
                    end = looked + COMES.total_seconds()
                    if now.reason and now.reason != said:
                        said = now.reason
                        told(f"controller: {native} waits: {said}")
        time.sleep(LOOK)
    raise Unreachable(f"the machine of the controller, {native}, has not spoken within {COMES}{_said(store)}",
                      hint="`elsewhere places check` shows whether machines reach the deposit.")  # fmt: skip


def _said(store: Store) -> str:
    """The last line of its boot, if it came."""
    with contextlib.suppress(PlaceError):
        for key in store.list("boot/"):
            lines = store.get(key).decode("utf-8", "replace").strip().splitlines()
            said = [line for line in lines if not line.startswith("elsewhere: it ends")]
            return f": {said[-1]}" if said else ""
    return ""


def seen(hires: Backend, native: NativeId) -> Sighting | None:
    """The machine, if it lives, or is to."""
    found = hires.status([native]).get(native)
    if found is None:  # an answer may be late
        time.sleep(max(1.0, min(hires.traits.lag.total_seconds(), 10.0)))
        found = hires.status([native]).get(native)
    return found if found is not None and found.condition in ALIVE else None
