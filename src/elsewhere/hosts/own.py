"""A process that is all ours, and no user's program."""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Objects more than were freed, before cycles are looked for: what comes with each task holds none."""


def settle() -> None:
    """All is loaded that works from here on: no cycles are looked for in it, seldom in the rest. Twice: harmless."""
    gc.freeze()
    gc.set_threshold(YOUNG)
