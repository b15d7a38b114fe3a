"""A job's own corner of what its place and its machines share: opened with the job's log, given up, taken back.

Who makes something there and was overtaken takes it away again, unless whoever has the job now is sure to find it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from elsewhere.agent.meeting import OwnKey
from elsewhere.backends.base import Backend, Deposit
from elsewhere.channels import registry as channels
from elsewhere.controller import keeping
from elsewhere.controller.ending import TURN
from elsewhere.controller.files import JobFiles
from elsewhere.errors import JobHeld, PlaceError, Refused, UsageError
from elsewhere.ledger.bases import BASE, DEED, LOG
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.stores import Store
from elsewhere.stores.objects import open_store


@dataclass(frozen=True, slots=True)
class Corner:
    """A job's own corner of the place's deposit, and its log there."""

    place: Any
    deposit: Deposit
    url: str
    store: Store
    journal: Journal

    def abandon(self, ledger: Ledger) -> None:
        """The place refused the job before anything ran there: nothing of it is left, as far as the place lets us."""
        with contextlib.suppress(PlaceError):
            keeping.forget(ledger)
            self.store.delete(list(self.store.list()))

    def withdraw(self, ledger: Ledger) -> None:
        """We were overtaken, and may have made something after all was swept: that is gone when this returns, as far as
        the place lets us. Where there is a log nothing is touched: whoever sweeps it finds all that is here by now."""
        _withdraw(ledger, self.place, self.deposit, self.url, self.store)


def opened(files: JobFiles, ledger: Ledger, backend: Backend) -> Corner:
    """The ledger is attached to its log (keeping.attach). UsageError: the place cannot do what this needs."""
    place = _able(ledger.spec, backend)
    deposit: Deposit = place.deposit()
    url = f"{deposit.url.rstrip('/')}/jobs/{ledger.spec.id}"
    store = open_store(url)
    try:
        made = Corner(place, deposit, url, store, keeping.attach(files, ledger, url, store))
    except JobHeld:
        _withdraw(ledger, backend, deposit, url, store)
        raise
    _settle_region(ledger, backend, deposit)
    return made


def kind_of(spec: JobSpec, backend: Backend) -> str:
    """The channel of such a job."""
    return spec.channel or backend.traits.channels[0]


def earlier(ledger: Ledger, corner: Corner) -> list[Any]:
    """The channels that the job had before it was put away and begun again, to be taken away once more."""
    return _homes(ledger, corner.place, corner.deposit, corner.url)[:-1]


def sweep(store: Store, homes: Iterable[Any]) -> None:
    """All that was wanted of the corner has come home, and its channel was taken away. Twice: harmless.

    The log's beginning goes first, then the rest, and the channel once more: a controller that was overtaken in its
    sleep may have made it again. What it makes from now on is its own to take away (Corner.withdraw).
    """
    store.delete([DEED])
    for home in homes:
        home.destroy()
    store.delete(list(store.list()))


def _homes(ledger: Ledger, backend: Backend, deposit: Deposit, url: str) -> list[Any]:
    """A controller's end for each turn of the job up to now, good for nothing but to take it away."""
    spec, signer = ledger.spec, OwnKey()
    turns = range(int(ledger.get(TURN, 0)) + 1)
    terms = [channels.Terms(spec.id, url, deposit.channel, signer, _nobody, b"", b"", turn) for turn in turns]
    return [channels.home(kind_of(spec, backend), one) for one in terms]


def _nobody(agent: str) -> Any:
    raise Refused(f"{agent} is not listened to")


def _withdraw(ledger: Ledger, backend: Backend, deposit: Deposit, url: str, store: Store) -> None:
    with contextlib.suppress(PlaceError):
        left = [key for key in store.list() if not key.startswith((LOG, BASE))]
        if Journal(store).begun():
            return
        for home in _homes(ledger, backend, deposit, url):
            home.destroy()
        store.delete(left)


def _settle_region(ledger: Ledger, backend: Backend, deposit: Deposit) -> None:
    """Whoever goes on with the job, from wherever, speaks of the region where it was begun."""
    spec, region = ledger.spec, deposit.channel.get("region", "")
    if region and not spec.settings.get("region") and "region" in backend.Settings.__dataclass_fields__:
        with ledger.moving():
            ledger.amend(replace(spec, settings={**spec.settings, "region": region}))


def _able(spec: JobSpec, backend: Backend) -> Any:
    """The place, which can do all that such a job needs."""
    for verb in ("deposit", "ground", "identify"):
        if not callable(getattr(backend, verb, None)):
            raise UsageError(f"{spec.place} cannot run jobs of this kind: it has no {verb}",
                             hint="see the page on adding a backend: Distant and Attests")  # fmt: skip
    return backend
