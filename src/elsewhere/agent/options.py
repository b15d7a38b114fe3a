"""What an agent reads of a task's own options."""

from __future__ import annotations

import json


def limits_of(options: bytes) -> tuple[float, int]:
    """(timeout in seconds, memory in bytes) that a task sets for itself; 0: it does not."""
    values = json.loads(options)
    return float(values.get("timeout") or 0.0), int(values.get("memory") or 0)
