"""`config show`: every setting in force as one line, with its origin. Secrets are shown as references."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from elsewhere.config.shape import Leaf, Tree, merged
from elsewhere.model import units
from elsewhere.model.job import JobSpec
from elsewhere.model.spans import Span
from elsewhere.model.task import RetryPolicy

if TYPE_CHECKING:
    from elsewhere.config.load import Settings

BUILT_IN = "default"
_SIZES = ("memory", "disk", "max_state")
"""What is in the names of keys whose numbers are bytes."""


def rows(settings: Settings, profile: str, call: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value, origin), the settings of runs first, then places, profiles, jobs and environments."""
    run = merged(merged(_built_in(), settings.run(profile)), {key: Leaf(value, "call") for key, value in call.items()})
    found = list(_lines("", run))
    for section in ("profiles", "places", "environments", "jobs"):
        found += _lines(f"{section}.", settings.tree.get(section, {}))
    return found


def _built_in() -> Tree:
    import dataclasses

    of_spec = {found.name: found for found in dataclasses.fields(JobSpec)}
    policy = RetryPolicy()
    retries = {name: getattr(policy, name) for name in ("retries", "losses", "asks", "delay", "factor", "max_delay")}
    values = {name: of_spec[name].default for name in ("grace", "isolate", "priority", "recycle_tasks", "keep")}
    values["recycle_memory"] = of_spec["recycle_memory"].default
    return {
        "on": Leaf("local", BUILT_IN),
        "slots": Leaf("the CPUs this process may use", BUILT_IN),
        "resources": {"cpus": Leaf(1, BUILT_IN)},
        "retries": {name: Leaf(value, BUILT_IN) for name, value in retries.items()},
        **{name: Leaf(value, BUILT_IN) for name, value in values.items()},
    }


def _lines(prefix: str, tree: Tree) -> list[tuple[str, str, str]]:
    found = []
    for key in sorted(tree, key=lambda key: (isinstance(tree[key], dict), key)):
        value = tree[key]
        if key == "wants" and prefix.startswith("places."):
            continue  # the same keys stand among its settings, as they were written
        if isinstance(value, dict):
            inner = "" if key == "settings" and prefix.startswith("places.") else f"{key}."
            found += _lines(prefix + inner, value)
        else:
            found.append((prefix + key, written(key, value.value), value.origin))
    return found


def written(key: str, value: Any) -> str:
    """A value as a file may have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return units.show_duration(value)
    if isinstance(value, Decimal) and key == "max_failures":
        return f"{value * 100:f}".rstrip("0").rstrip(".") + "%"
    if isinstance(value, Span):
        low, high = ("" if end is None else written(key, end) for end in (value.least, value.most))
        return low if low == high else f"{low}..{high}"
    if isinstance(value, int) and any(word in key for word in _SIZES):
        exact = units.show_size(value)
        return exact if units.size(exact) == value else str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {written('', one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
