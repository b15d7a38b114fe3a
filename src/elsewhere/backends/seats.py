"""PROVISION: what a backend may have besides, for a controller to sit at its place: on a machine there, or hired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from elsewhere.backends.base import Backend, Ground
from elsewhere.hosts import Reached

OVER = "over"
"""A file in the directory of a machine that was hired: nothing there is needed any more, for it was put away."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A machine of a place on which a controller may sit. `directory`: ours there, below the home of its user, or a
    whole path. `settings`: of the same place, as it is seen from there; empty: it is not."""

    host: Reached
    directory: str
    architecture: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)


@runtime_checkable
class Seats(Protocol):
    """A place whose machines are there before we come and stay when we go: a controller may sit on one of them."""

    def ground(self) -> Ground: ...

    def seat(self, host: str = "") -> Seat:
        """That one; empty: the first that answers. NotFound: there is no such; else as its `shapes`, if it is asked."""
        ...

    def bring(self, host: str, freight: Mapping[str, Path]) -> None:
        """Files, by the keys under which `Ground.fetch` finds them. Twice: what is there is not sent again. Waits."""
        ...


@runtime_checkable
class Hires(Protocol):
    """A place that starts a machine for a controller to sit on: one that is `Distant`, and `Attests`."""

    def hires(self, architecture: str) -> tuple[Backend, timedelta]:
        """The place as it launches such a machine, with processors of this kind; how long that lives.

        UsageError: it cannot from here. Creates nothing; a place may be asked how long that may be.
        """
        ...
