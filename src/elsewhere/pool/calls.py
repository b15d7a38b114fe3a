"""How a pool's calls to its place are made: at once, or by somebody else while the pool's owner goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import socket

T = TypeVar("T")
Call = Callable[[], Any]
Answered = Generator[Call, Any, T]
"""Yields calls, one after the other, and is sent what each of them answered, or raised."""
Steps = Answered[None]


class Calls(Protocol):
    """Makes calls one at a time, in the order in which they were asked for."""

    @property
    def watch(self) -> socket.socket | None:
        """Can be read from once something was answered, until that is `heard`; None: answers are there at once."""
        ...

    def ask(self, call: Call) -> Future[Any]:
        """Its answer, or the error that it raised, may be there already or come later."""
        ...

    def wait(self, answer: Future[Any], seconds: float) -> None:
        """Until it is there, or for so long."""
        ...

    def heard(self) -> None: ...

    def close(self) -> None:
        """No more is asked. Twice: harmless."""
        ...


class AtOnce:
    """Each is made where it is asked for."""

    watch = None

    def ask(self, call: Call) -> Future[Any]:
        answer: Future[Any] = Future()
        make(call, answer)
        return answer

    def wait(self, answer: Future[Any], seconds: float) -> None:
        """It is there."""

    def heard(self) -> None:
        """Nobody was woken."""

    def close(self) -> None:
        """Nothing is under way."""


class Course:
    """A row of calls, of which each depends on what those before it have answered."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self._steps: Steps | None = None
        self._answer: Future[Any] | None = None

    @property
    def under_way(self) -> bool:
        return self._steps is not None

    @property
    def answered(self) -> bool:
        """Is there something to take up?"""
        return self._answer is not None and self._answer.done()

    def begin(self, steps: Steps) -> None:
        """As far as there are answers at once. What the steps raise is raised, here and below, and is their end."""
        self._step(steps, None)
        self.go_on()

    def go_on(self) -> None:
        """Take up what was answered, and make the calls that follow from it."""
        while self._steps is not None and self.answered:
            self._step(self._steps, self._answer)

    def wait(self, seconds: float) -> None:
        """Until there is something to take up, or for so long."""
        if self._answer is not None:
            self.calls.wait(self._answer, seconds)

    def _step(self, steps: Steps, answer: Future[Any] | None) -> None:
        self._steps = self._answer = None
        error = answer.exception() if answer is not None else None
        try:
            call = steps.throw(error) if error else steps.send(answer.result() if answer is not None else None)
        except StopIteration:
            return
        self._steps, self._answer = steps, self.calls.ask(call)


def make(call: Call, answer: Future[Any]) -> None:
    """Make the call; what it raises is its answer, too."""
    try:
        found = call()
    except Exception as error:
        answer.set_exception(error)
    else:
        answer.set_result(found)
