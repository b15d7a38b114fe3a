"""Whoever sits at a terminal is asked what a place's machines ask for: a password, a passphrase, a second factor."""

from __future__ import annotations

import os
import sys

from elsewhere.model.place import Place


def greet(place: Place) -> None:
    """Before anything is made. Nobody at a terminal: nobody is asked. Twice: who has answered is not asked again for a
    while. PlaceError."""
    is_set_up = place.backend != place.name or place.settings  # one that nobody has set up has no machines
    if not (is_set_up and _is_terminal()):
        return
    from elsewhere.backends import registry
    from elsewhere.backends.base import Greets

    backend = registry.build(place)
    if isinstance(backend, Greets):
        backend.greet()


def _is_terminal() -> bool:
    """Does somebody read what we say there, and answer?"""
    try:
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is no stderr, or one of them is closed
        return False
