"""Who executes for a controller: here, the slots of this process; afar, agents on machines that a pool keeps alive.

The controller's loop is the same for both; it sees only this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from elsewhere.channels.base import Channel, Receipt
from elsewhere.model.task import Delivery, NewTask
from elsewhere.observe.cost import Spending


class Crew(Protocol):
    @property
    def channel(self) -> Channel:
        """Carries deliveries to it and reports from it."""
        ...

    @property
    def sync(self) -> bool:
        """Must a hand-out survive a power cut before it is sent? Not if the agent would die of the same cut."""
        ...

    @property
    def patience(self) -> float:
        """Seconds for which reports may wait for company, so that one commit is made for many."""
        ...

    @property
    def trouble(self) -> str:
        """Why it cannot go on just now (a full disk); empty: it can."""
        ...

    @property
    def waits(self) -> str:
        """Why nobody works there just yet, though somebody will; empty: somebody does, or it is not known."""
        ...

    @property
    def stopped(self) -> str:
        """Why nothing will run there any more, however long one waits; empty: something does, or may."""
        ...

    @property
    def money(self) -> Spending | None:
        """What it has cost so far; None: it costs nothing."""
        ...

    def room(self) -> int:
        """How many more deliveries it could use now."""
        ...

    def deposit(self, tasks: Sequence[NewTask]) -> bool:
        """Lay down where agents, and whoever goes on with the job, find it what these new tasks refer to.

        Before anybody writes down that there are such tasks. False: it must be asked again. Twice: harmless.
        """
        ...

    def turn(self, wait: float) -> None:
        """Let it work; waits up to `wait` seconds for something to happen."""
        ...

    def hear(self, receipts: Sequence[Receipt]) -> None:
        """Called within the commit that is about to record these; may be called again with the same."""
        ...

    def cancel(self, ns: Collection[int]) -> None:
        """Stop these; each ends with a report."""
        ...

    def drain(self) -> Sequence[Delivery]:
        """Take nothing more; what had not begun comes back. Twice: the second finds none."""
        ...

    def settled(self) -> None:
        """All that was reported is recorded."""
        ...

    def running(self) -> list[tuple[int, int, float]]:
        """(n, attempt, seconds) of what runs now."""
        ...

    @property
    def pending(self) -> int:
        """Deliveries queued behind the running ones."""
        ...

    @property
    def size(self) -> int:
        """Slots it has now."""
        ...

    def close(self, now: bool = False) -> None:
        """End everything it runs. Twice: harmless."""
        ...
