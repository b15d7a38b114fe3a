"""What was found at a place, as a person reads it: a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elsewhere.cli.terminal import coloured, paint, say

if TYPE_CHECKING:
    from elsewhere.backends.base import Finding


def show(place: str, found: Finding) -> bool:
    """Print it; whether it is well."""
    on = coloured()
    word = paint("ok ", "green", on) if found.ok else paint("BAD", "red", on)
    say(f"{word}  {place}  {found.what}  {found.detail}".rstrip())
    if found.hint and not found.ok:
        say(f"     {found.hint}")
    return found.ok
