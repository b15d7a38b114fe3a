"""A controller that was overtaken, on a machine that outlives nothing, changes nothing any more."""

from __future__ import annotations

import selectors
from datetime import timedelta
from typing import Any

import pytest

from elsewhere.channels.calls import Calls
from elsewhere.controller.afar import Afar
from elsewhere.errors import JobHeld
from elsewhere.ledger.journal import Journal
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.orders import Orders
from elsewhere.model.task import NewTask
from elsewhere.pool.capacity import Bounds
from elsewhere.pool.pool import Pool
from elsewhere.stores import MemoryStore


class Nowhere:
    """A place whose every verb is written down."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def owned(self) -> list[Any]:
        self.asked.append("owned")
        return []

    def submit(self, launch: Any) -> list[str]:
        self.asked.append("submit")
        return [f"{launch.launch}.0"]

    def cancel(self, ids: Any) -> None:
        self.asked.append("cancel")


def controller(store: MemoryStore, ledger: Ledger) -> tuple[Afar, Nowhere, list[Orders]]:
    told: list[Orders] = []
    place = Nowhere()
    with ledger.moving():
        epoch = ledger.take_over()
    pool = Pool(place, ledger, Bounds("job-1"), epoch, lambda ask: ask)  # type: ignore[arg-type, return-value]
    selector = selectors.DefaultSelector()
    crew = Afar(ledger, Calls(), pool, told.append, selector, epoch)
    crew.open()
    selector.close()
    return crew, place, told


def job(store: MemoryStore) -> Ledger:
    ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "a:b"), timeout=timedelta(seconds=1)))
    journal = Journal(store)
    journal.found(ledger)
    journal.attach(ledger)
    with ledger.moving():
        ledger.add([NewTask("t1", b"{}")])
        ledger.complete()
    return ledger


def test_one_that_was_overtaken_neither_says_that_all_is_over_nor_stops_anything() -> None:
    store = MemoryStore()
    ledger = job(store)
    crew, place, told = controller(store, ledger)
    with Journal(store).restore(":memory:").moving():
        pass
    with pytest.raises(JobHeld):
        crew.close()
    assert (place.asked, told) == ([], [])


def test_one_that_was_overtaken_launches_nothing() -> None:
    store = MemoryStore()
    ledger = job(store)
    crew, place, _ = controller(store, ledger)
    other = Journal(store).restore(":memory:")
    with other.moving():
        other.take_over()
    crew.pool.need(1)
    with pytest.raises(JobHeld):
        crew.pool.look()
    assert place.asked == ["owned"]


def test_one_that_was_not_overtaken_launches_what_is_needed() -> None:
    store = MemoryStore()
    crew, place, _ = controller(store, job(store))
    crew.pool.need(1)
    crew.pool.look()
    assert place.asked == ["owned", "submit"]


def test_one_that_was_not_overtaken_says_that_all_is_over() -> None:
    store = MemoryStore()
    crew, place, told = controller(store, job(store))
    crew.close()
    assert place.asked == ["owned"] and [orders.over for orders in told] == [True]
