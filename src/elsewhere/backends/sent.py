"""What a place lays out in the caches of its machines, as far as a place must know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Protocol


class Sent(Protocol):
    """A directory that is made of an earlier state of itself, where there is one (ship/trees.py)."""

    @property
    def digest(self) -> str: ...

    @property
    def bases(self) -> Sequence[str]:
        """Digests of states of which it can be made, the best first."""
        ...

    def write(self, base: str, to: IO[bytes]) -> None:
        """What makes it of that base, or of nothing (""). Twice: the same."""
        ...
