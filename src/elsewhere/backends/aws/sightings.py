"""From DescribeInstances to sightings: in which condition a machine is, since when, and why it ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from elsewhere.backends.aws.labels import from_tags
from elsewhere.backends.base import Condition, Sighting

ID = re.compile(r"i-[0-9a-f]{8,17}")
_ALIVE = {"pending": Condition.PENDING, "running": Condition.RUNNING}
_RECLAIMED = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")
_WANTED = ("Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown", "Client.InstanceTerminated", "")
_WHEN = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[^)]*\)")


def sighting(instance: Mapping[str, Any]) -> Sighting:
    """One machine. What is shutting down counts as ended: it is no longer charged, and does no work."""
    state = str(instance.get("State", {}).get("Name", "pending"))
    why = instance.get("StateReason") or {}
    code, said = str(why.get("Code", "")), str(why.get("Message", ""))
    started = instance.get("LaunchTime")
    return Sighting(
        str(instance["InstanceId"]),
        _ALIVE.get(state) or condition(code),
        from_tags(instance.get("Tags", ())),
        None if state == "pending" else started,
        None if state in _ALIVE else _ended(str(instance.get("StateTransitionReason", "")), started),
        "" if state in _ALIVE else said or code,
    )


def condition(code: str) -> Condition:
    """Of a machine that ended for this reason."""
    if code in _RECLAIMED:
        return Condition.PREEMPTED
    return Condition.STOPPED if code in _WANTED else Condition.FAILED


def _ended(reason: str, started: datetime | None) -> datetime | None:
    """When, if the place says so; seconds are cut off there, so never before its start."""
    found = _WHEN.search(reason)
    if not found:
        return None
    ended = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return max(ended, started) if started else ended
