"""The names that rms-cloud-tasks gives to what can be asked of machines, and ours: one table, read by its compat door.

Its sizes are gigabytes of 2^30 bytes; its patterns are regular expressions that match from the beginning of a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from elsewhere.choose.wants import ON_DEMAND, SPOT, BootDisk, Span, Wants
from elsewhere.errors import ConfigError
from elsewhere.model.resources import Resources


class Name(NamedTuple):
    """Where a value of the seed goes: a field of Wants, the side of it, and how the value is read."""

    field: str
    side: str
    read: Callable[[Any], Any]


def gigabytes(value: Any) -> int:
    return int(Decimal(str(value)) * (1 << 30))


def dollars(value: Any) -> Decimal:
    return Decimal(str(value))


def prefixes(value: Any) -> tuple[str, ...]:
    """Its patterns match from the beginning of a name, wherever they end."""
    return tuple(f"re:(?:{one}).*" for one in ([value] if isinstance(value, str) else value))


def words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _flag(value: Any) -> str:
    return SPOT if value in (True, "true", "True", "yes") else ON_DEMAND


def _architecture(value: Any) -> str:
    return str(value).lower()


def _spans() -> dict[str, Name]:
    table: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "cpu": ("machine_cpus", int), "total_memory": ("machine_memory", gigabytes),
        "memory_per_cpu": ("memory_per_cpu", gigabytes), "memory_per_task": ("memory_per_task", gigabytes),
        "local_ssd": ("local_disk", gigabytes), "local_ssd_per_cpu": ("local_disk_per_cpu", gigabytes),
        "local_ssd_per_task": ("local_disk_per_task", gigabytes), "instances": ("machines", int),
        "total_cpus": ("total_cpus", int), "tasks_per_instance": ("tasks_per_machine", int),
        "simultaneous_tasks": ("simultaneous", int), "total_price_per_hour": ("price_per_hour", dollars),
    }  # fmt: skip
    sides = (("min", "least"), ("max", "most"))
    return {f"{word}_{name}": Name(ours, side, read)
            for name, (ours, read) in table.items() for word, side in sides}  # fmt: skip


NAMES: Mapping[str, Name] = {
    **_spans(),
    "architecture": Name("architecture", "", _architecture),
    "cpu_family": Name("cpu_family", "", prefixes),
    "instance_types": Name("machine_types", "", prefixes),
    "use_spot": Name("spot", "", _flag),
    "region": Name("regions", "", words),
    "zone": Name("zones", "", words),
    "cpus_per_task": Name("task", "cpus", float),
    "total_boot_disk_size": Name("boot_disk", "total", gigabytes),
    "boot_disk_base_size": Name("boot_disk", "base", gigabytes),
    "boot_disk_per_cpu": Name("boot_disk", "per_cpu", gigabytes),
    "boot_disk_per_task": Name("boot_disk", "per_task", gigabytes),
}
UNKNOWN: Mapping[str, str] = {
    "min_cpu_rank": "a rank of processors is not known here; name them by cpu_family or instance_types",
    "max_cpu_rank": "a rank of processors is not known here; name them by cpu_family or instance_types",
}
"""Names that are understood and cannot be obeyed: refused with the reason, not passed over."""


def wants(given: Mapping[str, Any], base: Wants | None = None) -> Wants:
    """What the seed's keys ask for, hyphen or underscore; keys that say nothing of machines are left alone.

    ConfigError names every value that cannot be read. Null counts as absent.
    """
    base = base or Wants()
    found: dict[str, Any] = {}
    faults: list[str] = []
    for key, value in given.items():
        plain = key.replace("-", "_")
        if value is None:
            continue
        if plain in UNKNOWN:
            faults.append(f"{key}: {UNKNOWN[plain]}")
        elif plain in NAMES:
            try:
                _put(found, base, NAMES[plain], value)
            except (ValueError, TypeError, ArithmeticError):
                faults.append(f"{key}: {value!r} cannot be read")
    if faults:
        raise ConfigError("; ".join(faults), faults=tuple(faults))
    return replace(base, **found)


def _put(found: dict[str, Any], base: Wants, name: Name, value: Any) -> None:
    read = name.read(value)
    now: Span | BootDisk | Resources = found.get(name.field, getattr(base, name.field))
    found[name.field] = replace(now, **{name.side: read}) if name.side else read
