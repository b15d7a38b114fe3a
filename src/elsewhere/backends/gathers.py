"""PROVISION: what a backend may have besides, for its machines to listen for each other behind a door that it knows.

And a way in for us that opens no port there.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from elsewhere.backends.base import NativeId


class Way(Protocol):
    """A port of this machine's loopback that leads to a port of another machine, until it is closed."""

    port: int

    def close(self) -> None:
        """Its connections end, and its process. Twice: harmless."""
        ...


@runtime_checkable
class Gathers(Protocol):
    """A place whose machines may listen for each other, behind a door that its settings name."""

    def gathering(self) -> str:
        """The id of the group that all its machines are in, once the place has said that it admits them to each
        other on every TCP port, and nobody from the whole world. Twice: asked again. Creates nothing; waits.

        UsageError: none is named, or it is not so; with the commands that make it so. Narrower rules are the user's
        own affair. PlaceError: the place did not say.
        """
        ...

    def forwards(self) -> None:
        """UsageError: `forward` needs a program that is not here; how to install it. Asks nobody, starts nothing."""
        ...

    def forward(self, native: NativeId, port: int, zone: str = "") -> Way:
        """A way to what listens on that port of that machine, at its loopback or at all of its addresses. `zone`:
        where it is, if that is known. Several connections at a time; one that nobody uses for long is made again.

        Waits until it is open. Twice: two ways. UsageError as `forwards`. Unreachable: it did not open; try again.
        AccessDenied, NotFound: the place refused it.
        """
        ...
