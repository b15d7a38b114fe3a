"""From keys to Wants: what was typed, or stands in settings, within the limits of a place; checked. Pure.

The keys are those of config/settings.py's Machines, which the options of the command line share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from elsewhere.choose.wants import BootDisk, Span, Wants
from elsewhere.model.place import Limits
from elsewhere.model.resources import Resources

_PLAIN = {
    name: name
    for name in (
        "machine_cpus", "machine_memory", "memory_per_cpu", "memory_per_task", "machine_gpus", "local_disk",
        "local_disk_per_cpu", "local_disk_per_task", "tasks_per_machine", "simultaneous", "machines", "total_cpus",
        "architecture", "spot", "budget", "machine_types", "cpu_family", "gpu_types",
    )
} | {"max_price_per_task": "price_per_task", "zone": "zones", "region": "regions"}  # fmt: skip
_DISKS = {"boot_disk": "total", "boot_disk_base": "base", "boot_disk_per_cpu": "per_cpu",
          "boot_disk_per_task": "per_task"}  # fmt: skip


def wants(given: Mapping[str, Any], task: Resources | None = None, limits: Limits | None = None) -> Wants:
    """`task`: the needs of one. None counts as absent. UsageError: bounds that contradict themselves."""
    known = {key: value for key, value in given.items() if value is not None}
    found: dict[str, Any] = {ours: known[key] for key, ours in _PLAIN.items() if key in known}
    found["boot_disk"] = BootDisk(**{ours: known[key] for key, ours in _DISKS.items() if key in known})
    found["price_per_hour"] = Span(known.get("min_price_per_hour"), known.get("max_price_per_hour"))
    made = Wants(task=task or Resources(), **found)
    if limits is not None:
        made = replace(
            made,
            regions=made.regions or limits.regions,
            machines=_within(made.machines, limits.machines),
            price_per_hour=_within(made.price_per_hour, limits.price_per_hour),
            budget=min((b for b in (made.budget, limits.budget) if b is not None), default=None),
        )
    return made.check()


def _within(span: Span, most: Any) -> Span:
    if most is None or (span.most is not None and span.most <= most):
        return span
    return Span(span.least, most)
