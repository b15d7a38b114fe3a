"""What a controller shows of itself, for the live line and for `watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elsewhere.ledger.views import Counts

if TYPE_CHECKING:
    from elsewhere.observe.cost import Spending


@dataclass(frozen=True, slots=True)
class View:
    """`running`: (task id, seconds it has run), oldest first, at most twenty. `note`: why it waits, or "".

    `money`: of a place that has prices.
    """

    counts: Counts
    slots: int = 0
    busy: int = 0
    running: tuple[tuple[str, float], ...] = ()
    draining: bool = False
    note: str = ""
    money: Spending | None = None
