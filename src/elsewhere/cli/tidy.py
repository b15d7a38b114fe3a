"""At the start of a run: jobs that are over and past their time go, without `elsewhere clean` being typed.

Cheap and bounded: a few of the oldest jobs are looked at, and their sizes only where the settings set a bound.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from elsewhere.cli.terminal import tell

LOOKED_AT = 30
"""Jobs, of the oldest, whose time may be past. As many may go in one run."""
PATIENCE = 1.0
"""Seconds that measuring all jobs may take; what takes longer is left to `clean`."""


def tidy(silent: bool = False) -> None:
    """Remove what `keep` and `max_state` say, as `clean` chooses; one line if something went. Never an error."""
    from elsewhere.errors import ElsewhereError

    with contextlib.suppress(ElsewhereError, OSError):
        gone = _remove(_past())
        if gone and not silent:
            from elsewhere.model.units import show_size
            from elsewhere.observe.wording import plural

            size = show_size(sum(row["bytes"] for row in gone))
            tell(f"Removed {plural(len(gone), 'job')} past what is kept of those that are over ({size}).")


def _past() -> list[dict[str, Any]]:
    from elsewhere import session
    from elsewhere.cli import clean
    from elsewhere.config import load

    oldest_first = session.listing()[::-1]
    most = load.current().value("max_state")
    if most is None:
        return clean.chosen([clean.look(files) for files in oldest_first[:LOOKED_AT]], None, None)[:LOOKED_AT]
    rows: list[dict[str, Any]] = []
    until = time.monotonic() + PATIENCE
    for files in oldest_first:
        if time.monotonic() > until:
            return clean.chosen(rows, None, None)[:LOOKED_AT]
        rows.append(clean.look(files))
    return clean.chosen(rows, None, most)[:LOOKED_AT]


def _remove(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from elsewhere import session
    from elsewhere.errors import ElsewhereError

    gone = []
    for row in rows:
        with contextlib.suppress(ElsewhereError, OSError):  # taken up by a controller just now, or not ours to remove
            session.remove(session.JobFiles(row["id"], row["directory"]))
            gone.append(row)
    return gone
