"""PROVISION: what a backend may have besides, so that a place is set up with somebody who has never used it.

Which keys are asked for stands in the backend's `Settings`: `metadata={"ask": "what a person is asked"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from elsewhere.backends.base import Finding, Ground
from elsewhere.hosts import Host
from elsewhere.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What may be answered where a key is asked for. `default`: taken when nothing is; empty: the key is left out."""

    default: str = ""
    means: str = ""
    """What is so when the key is left out."""
    shown: Sequence[str] = ()
    """Lines that help to decide."""
    known: Sequence[str] = ()
    """All that it can be; empty: anything."""


@runtime_checkable
class Suggests(Protocol):
    """A place that knows what its keys may say."""

    def suggest(self, key: str) -> Suggestion:
        """For a key that `Settings` asks for, in the light of those that are set. Creates nothing. Twice: may differ.

        PlaceError: the place did not tell. UsageError: it cannot be had without this key.
        """
        ...


@runtime_checkable
class Readies(Protocol):
    """A place where something must be made once before work can run there."""

    def ready(self) -> Iterable[Finding]:
        """What was looked at and what was made, as it comes; nothing is made before what can be known is well, and
        nothing after a finding that is not. Twice: what is there stays. Waits. PlaceError, as its other verbs."""
        ...


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a person comes in. `host`: None: this machine. `directory`: ours there, a whole path."""

    host: Host | None
    directory: str
    work: str = ""
    """Where a shell begins; empty: where we are."""
    python: str = ""
    """An interpreter there in which our package can be imported; empty: it must be brought."""


@runtime_checkable
class Enters(Protocol):
    """A place where a person may run a command by hand, on its host or as work of its own."""

    def ground(self) -> Ground:
        """As of a place that is distant; `fetch` finds what `bring` has brought."""
        ...

    def threshold(self) -> Threshold:
        """PlaceError: it cannot be reached. Twice: the same."""
        ...

    def bring(self, host: str, freight: Mapping[str, Path]) -> None:
        """As of a place with seats (backends/base.py)."""
        ...

    def enter(self, words: Sequence[str], terminal: bool, shape: Resources | None = None) -> Sequence[str]:
        """The words that run these there, its standard streams and its exit status passed on. Asks nobody.

        `terminal`: it shall have one. `shape`: as work of its own of this size, and not where people log in.
        """
        ...
