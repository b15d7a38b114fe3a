"""At the end of a job each machine that was dialled is heard, however many have had a word to say before."""

from __future__ import annotations

import selectors
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from elsewhere.channels.base import Receipt
from elsewhere.channels.calls import Calls
from elsewhere.controller.dialled import Dialling
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.reports import Heartbeat
from elsewhere.pool.capacity import Bounds
from elsewhere.pool.pool import Pool


class Saying(Calls):
    """A sign of life for each time that somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = list[Receipt]()

    def collect(self, limit: int) -> Sequence[Receipt]:
        beat = Heartbeat("i-1", datetime.now(UTC), (), 1)
        self.heard.append(Receipt(beat, str(len(self.heard))))
        return self.heard[-1:]


def test_a_first_word_at_the_end_is_not_the_last_that_is_heard() -> None:
    ledger = Ledger.create(":memory:", JobSpec("job-1", "fit", Entry("function", "a:b")))
    pool, saying = Pool(cast(Any, None), ledger, Bounds("job-1"), 1, cast(Any, None)), Saying()
    with selectors.DefaultSelector() as selector:
        crew = Dialling(ledger, cast(Any, saying), pool, lambda orders: None, selector, 1)
        crew.pipe, crew.lines = cast(Any, SimpleNamespace(connected=lambda: {"i-1"})), {}
        crew._serve(0.3)
    assert len(saying.heard) > 1
