"""What one task needs, or one machine has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from elsewhere.model import units


@dataclass(frozen=True, slots=True)
class Resources:
    """Per task: CPUs (may be a fraction), memory and disk in bytes, GPUs and their type.

    Strings are accepted where people write them (`Resources(memory="16GiB")`) and kept as bytes.
    """

    cpus: float = 1
    memory: int | None = None
    """Bytes; None: no limit is asked for, and none is enforced."""
    gpus: int = 0
    gpu_type: str = ""
    disk: int | None = None
    """Bytes."""

    def __post_init__(self) -> None:
        for name in ("memory", "disk"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, units.size(value))
        if isinstance(self.cpus, bool) or not isinstance(self.cpus, int | float) or not self.cpus > 0:
            raise ValueError(f"cpus must be a number greater than 0, not {self.cpus!r}")
        if isinstance(self.gpus, str):
            kind, _, count = str(self.gpus).rpartition(":")
            object.__setattr__(self, "gpus", int(count))
            object.__setattr__(self, "gpu_type", kind or self.gpu_type)
        if self.gpus < 0:
            raise ValueError(f"gpus must not be negative, not {self.gpus!r}")

    @classmethod
    def of(cls, values: Resources | dict[str, Any] | None) -> Resources:
        """From what a file or a call gave. ValueError or TypeError names what is wrong."""
        if isinstance(values, Resources):
            return values
        return cls(**(values or {}))

    def own(self, options: Mapping[str, Any]) -> Resources:
        """As a task needs that sets these options for itself, and says nothing else."""
        found = {name: options[name] for name in self.__match_args__ if name in options}
        return replace(self, **found) if found else self
