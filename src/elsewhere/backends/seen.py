"""What hosts have shown last, written down here: one that cannot be reached shows it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from elsewhere.backends.base import Condition, NativeId, Sighting
from elsewhere.config.home import home
from elsewhere.hosts import private_directory, write_whole


def write(key: str, seen: Mapping[NativeId, Sighting]) -> None:
    """`key`: the host's."""
    path = home() / "ssh" / f"{key}.json"
    private_directory(path.parent)
    write_whole(path, json.dumps(_plain(seen)).encode())


def read(key: str) -> dict[NativeId, Sighting]:
    """Empty: nothing was written down of that host."""
    try:
        found = json.loads((home() / "ssh" / f"{key}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    when = datetime.fromisoformat
    return {
        native: Sighting(native, Condition(state), labels, started and when(started), ended and when(ended), reason)
        for native, (state, labels, started, ended, reason) in found.items()
    }


def _plain(seen: Mapping[NativeId, Sighting]) -> dict[str, Any]:
    return {
        native: [one.condition.value, dict(one.labels), one.started and one.started.isoformat(),
                 one.ended and one.ended.isoformat(), one.reason]
        for native, one in seen.items()
    }  # fmt: skip
