"""The thin loop around the reactor: tells it what the place says, writes its decisions down, carries them out.

The order is the rule of this room: an answer's writes are durable before its first ask or stop is made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from elsewhere.backends.base import Backend, Launch, NativeId
from elsewhere.errors import PlaceError, StateError, Unreachable
from elsewhere.ledger.allocations import Holdings
from elsewhere.ledger.ledger import Ledger
from elsewhere.pool.capacity import (
    Accepted,
    Ask,
    Bounds,
    Command,
    Condemn,
    Event,
    Heard,
    Listed,
    Need,
    Refused,
    State,
    Stop,
    Unanswered,
    Write,
    begin,
    settled,
)
from elsewhere.pool.reactor import react


def utc() -> datetime:
    return datetime.now(UTC)


class Pool:
    """The machines of one job at one place. `order` makes the place's request out of what the reactor asks for.

    Errors of the ledger (StateError, JobHeld) pass through: nothing that rests on what was not written is done.
    """

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger,
        bounds: Bounds,
        epoch: int,
        order: Callable[[Ask], Launch],
        now: Callable[[], datetime] = utc,
        chance: random.Random | None = None,
    ) -> None:
        self.backend, self.ledger, self.order, self.now = backend, ledger, order, now
        self.holdings = Holdings(ledger)
        self.chance = chance or random.Random()
        self.state: State = begin(bounds, epoch, self.holdings.allocations())
        self.silence = ""
        """Why the place does not answer, or empty."""

    @property
    def trouble(self) -> str:
        """Why there is no machine just now, for people; empty while there is one, or none is needed."""
        if self.state.alive or not self.state.todo:
            return ""
        return self.silence or self.state.trouble

    @property
    def settled(self) -> bool:
        """Nothing of ours is left there."""
        return settled(self.state)

    def need(self, todo: int, over: bool = False, draining: bool = False) -> None:
        """How much work is left; acted upon at the next look."""
        self._tell(Need(todo, over, draining))

    def heard(self, natives: Iterable[NativeId]) -> None:
        """Their agents reported something just now."""
        self._tell(Heard(tuple(natives)))

    def look(self) -> None:
        """Ask the place what there is of ours, decide, write down, act. Waits for the place's answers."""
        asked = self.now()
        try:
            sightings = tuple(self.backend.owned())
        except PlaceError as error:
            self.silence = error.message
            return
        self.silence = ""
        self._tell(Listed(asked, sightings))

    def _tell(self, event: Event) -> None:
        state, commands = react(self.state, event, self.now())
        self._write([c for c in commands if isinstance(c, Write | Condemn)])
        self.state = state
        for command in commands:
            if isinstance(command, Ask):
                self._tell(self._ask(command))
            elif isinstance(command, Stop):
                self._stop(command)

    def _write(self, commands: list[Command]) -> None:
        if not commands:
            return
        with self.ledger.moving():
            for command in commands:
                if isinstance(command, Write):
                    self.holdings.write(command.allocation, command.move)
                elif isinstance(command, Condemn):
                    self.ledger.note("stranger", command.native, launch=command.launch)

    def _ask(self, ask: Ask) -> Event:
        try:
            return Accepted(ask.launch, tuple(self.backend.submit(self.order(ask))))
        except (Unreachable, StateError) as error:  # StateError: this machine has no room for another just now
            self.silence = error.message
            return Unanswered(ask.launch)
        except PlaceError as error:
            return Refused(ask.launch, error.message, self.chance.random(), hopeless=not error.transient)

    def _stop(self, stop: Stop) -> None:
        try:
            self.backend.cancel(stop.natives)
        except PlaceError as error:
            self.silence = error.message  # asked again at the next look, until each is seen gone
