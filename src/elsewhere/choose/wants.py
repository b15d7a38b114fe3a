"""What is asked of machines: the needs of a task, and bounds on the machines, on all of them, and on the price.

Plain frozen data and its checks; sizes in bytes, money in Decimal dollars. No machine is looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from elsewhere.errors import UsageError
from elsewhere.model import units
from elsewhere.model.resources import Resources
from elsewhere.model.spans import NO_BOUND as NO_BOUND
from elsewhere.model.spans import Span as Span

ON_DEMAND, SPOT, PREFER = "on-demand", "spot", "prefer"
CEILING = Decimal(10)
"""Dollars an hour for all machines together, where nothing else was said: a paid place always has a ceiling."""


@dataclass(frozen=True, slots=True)
class BootDisk:
    """The size of a machine's boot disk: the larger of `total` and of base + per CPU + per task. Bytes."""

    total: int = 20 << 30
    base: int = 0
    per_cpu: int = 0
    per_task: int = 0

    def size(self, cpus: int, tasks: int) -> int:
        return max(self.total, self.base + self.per_cpu * cpus + self.per_task * tasks)


@dataclass(frozen=True, slots=True)
class Wants:
    """Everything that may be asked. Empty tuples and spans ask for nothing."""

    task: Resources = field(default_factory=Resources)
    machine_cpus: Span = NO_BOUND
    machine_memory: Span = NO_BOUND
    memory_per_cpu: Span = NO_BOUND
    memory_per_task: Span = NO_BOUND
    local_disk: Span = NO_BOUND
    local_disk_per_cpu: Span = NO_BOUND
    local_disk_per_task: Span = NO_BOUND
    machine_gpus: Span = NO_BOUND
    boot_disk: BootDisk = field(default_factory=BootDisk)
    architecture: str = "x86_64"
    """x86_64, arm64, or any."""
    cpu_family: tuple[str, ...] = ()
    """Patterns, as for machine_types."""
    machine_types: tuple[str, ...] = ()
    """Globs, or regular expressions of the whole name after `re:`."""
    gpu_types: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    spot: str = ON_DEMAND
    """on-demand, spot (nothing else), or prefer (on-demand only where there is no spot)."""
    tasks_per_machine: Span = NO_BOUND
    simultaneous: Span = NO_BOUND
    """Tasks that run at a time, on all machines."""
    machines: Span = NO_BOUND
    total_cpus: Span = NO_BOUND
    price_per_hour: Span = NO_BOUND
    """Dollars, of all machines."""
    price_per_task: Decimal | None = None
    """Dollars at most; it takes the duration of a task to know."""
    budget: Decimal | None = None
    """Dollars in all."""

    @property
    def ceiling(self) -> Decimal:
        """Dollars an hour that all machines together may cost."""
        most = self.price_per_hour.most
        return CEILING if most is None else Decimal(most)

    def check(self) -> Wants:
        """Itself, if it can be met by anything at all. UsageError names every bound that contradicts itself."""
        if faults := list(_faults(self)):
            raise UsageError("; ".join(faults), hint="A span is MIN..MAX, MIN.. or ..MAX; nothing was started.")
        return self


def _faults(wants: Wants) -> Iterator[str]:
    for one in fields(wants):
        span = getattr(wants, one.name)
        if isinstance(span, Span) and None not in (span.least, span.most) and span.least > span.most:
            name = one.name.replace("_", "-")
            yield f"{name}: the least ({_said(span.least)}) is more than the most ({_said(span.most)})"
    for name in ("machines", "simultaneous", "total_cpus", "tasks_per_machine", "price_per_hour"):
        most = getattr(wants, name).most
        if most is not None and most <= 0:
            yield f"{name.replace('_', '-')}: at most {most} is none at all"
    if wants.spot not in (ON_DEMAND, SPOT, PREFER):
        yield f"spot: {wants.spot!r} is not one of {ON_DEMAND}, {SPOT}, {PREFER}"
    if wants.architecture not in ("x86_64", "arm64", "any"):
        yield f"architecture: {wants.architecture!r} is not one of x86_64, arm64, any"
    for name in ("machine_types", "cpu_family", "gpu_types", "regions", "zones"):
        yield from (f"{name.replace('_', '-')}: {why}" for why in _bad_patterns(getattr(wants, name)))


def _bad_patterns(patterns: tuple[str, ...]) -> Iterator[str]:
    import re

    for pattern in patterns:
        if pattern.startswith("re:"):
            try:
                re.compile(pattern[3:])
            except re.error as error:
                yield f"{pattern!r} is not a regular expression: {error}"
        elif not pattern:
            yield "an empty pattern"


def _said(value: Any) -> str:
    return units.show_size(value) if isinstance(value, int) and value >= 1 << 20 else str(value)
