"""What the sandbox sells: types of machines and their zones as moto's tables list them, at prices of the sandbox's own.

The prices are invented: plausible for their size and family, and no statement of what AWS asks. Pure, but for reading
moto's tables.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

_CPU_HOUR = 0.0333
_GIB_HOUR = 0.0037
_GPU_HOUR = {
    "T4": 0.35,
    "T4g": 0.3,
    "M60": 0.4,
    "K80": 0.6,
    "L4": 0.5,
    "A10G": 0.75,
    "L40S": 1.2,
    "V100": 2.5,
    "A100": 3.0,
}
_ANY_GPU_HOUR = 4.5
_DISK_GB_HOUR = 0.00008
_FAMILY = {"t": 0.87, "z": 1.3, "x": 0.85, "u": 1.1, "i": 1.25, "d": 1.3, "h": 1.2}
_QUOTAS = {
    "g": "g",
    "vt": "g",
    "p": "p",
    "x": "x",
    "inf": "inf",
    "trn": "trn",
    "dl": "dl",
    "f": "f",
    "hpc": "hpc",
    "u": "u",
}
_AT_HOME = ("us-east-1", "us-east-2", "us-west-2")


@dataclass(frozen=True, slots=True)
class MachineType:
    name: str
    cpus: int
    memory_mib: int
    architectures: tuple[str, ...]
    gpus: tuple[tuple[str, int], ...]
    disk_gb: int
    manufacturer: str
    row: Any
    """As moto lists it."""

    @property
    def letters(self) -> str:
        """`c` of `c7g.large`, `inf` of `inf2.xlarge`."""
        found = re.match(r"[a-z]+", self.name)
        return found[0] if found else ""

    @property
    def quota(self) -> str:
        """The quota that its vCPUs count against, by the sandbox's short name."""
        return _QUOTAS.get(self.letters, "standard")


@functools.cache
def types() -> dict[str, MachineType]:
    found = {}
    for name, row in _table("instance_types.json").items():
        gpus = tuple((gpu["Name"], gpu["Count"]) for gpu in row.get("GpuInfo", {}).get("Gpus", ()))
        found[name] = MachineType(
            name,
            row["VCpuInfo"]["DefaultVCpus"],
            row["MemoryInfo"]["SizeInMiB"],
            tuple(row["ProcessorInfo"]["SupportedArchitectures"]),
            gpus,
            row.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
            row["ProcessorInfo"].get("Manufacturer", ""),
            row,
        )
    return found


@functools.cache
def offered(region: str) -> dict[str, tuple[str, ...]]:
    """By zone, the types that can be had there. Empty: no such region."""
    zones: dict[str, list[str]] = {}
    for row in _table(f"instance_type_offerings/availability-zone/{region}.json", []):
        if row["InstanceType"] in types():
            zones.setdefault(row["Location"], []).append(row["InstanceType"])
    return {zone: tuple(names) for zone, names in sorted(zones.items())}


@functools.cache
def regions() -> tuple[str, ...]:
    folder = _resources() / "instance_type_offerings/availability-zone"
    return tuple(sorted(path.name.partition(".")[0] for path in folder.iterdir()))


@functools.cache
def on_demand(name: str, region: str) -> Decimal:
    """Dollars an hour, invented; to a hundredth of a cent, and never 0."""
    kind = types()[name]
    price = kind.cpus * _CPU_HOUR + kind.memory_mib / 1024 * _GIB_HOUR
    price *= _FAMILY.get(kind.letters, 1.0) * _maker(kind) * _generation(name)
    price += sum(_GPU_HOUR.get(gpu, _ANY_GPU_HOUR) * count for gpu, count in kind.gpus)
    price += kind.disk_gb * _DISK_GB_HOUR
    return max(Decimal(price * dearness(region)).quantize(Decimal("0.0001")), Decimal("0.0001"))


def _maker(kind: MachineType) -> float:
    return 0.8 if "arm64" in kind.architectures else 0.9 if kind.manufacturer == "AMD" else 1.0


def _generation(name: str) -> float:
    found = re.match(r"[a-z]+(\d+)", name)
    return {7: 1.03, 8: 1.06}.get(int(found[1]), 1.0) if found else 1.0


def dearness(region: str) -> float:
    """How much dearer than in us-east-1 things are there; invented too."""
    return 1.0 if region in _AT_HOME else 1.05 + hashlib.sha256(region.encode()).digest()[0] / 255 * 0.3


def disk_gb_month(region: str) -> Decimal:
    """Dollars for a gigabyte of gp3 during a month of 730 hours."""
    return Decimal(0.08 * dearness(region)).quantize(Decimal("0.0001"))


ADDRESS_HOUR = Decimal("0.005")
"""Dollars for a public IPv4 address."""


def _table(name: str, absent: Any = None) -> Any:
    path = _resources() / f"{name}.gz"
    if path.is_file():
        return json.loads(gzip.decompress(path.read_bytes()))
    plain = _resources() / name
    return json.loads(plain.read_bytes()) if plain.is_file() or absent is None else absent


def _resources() -> Path:
    found = importlib.util.find_spec("moto")  # found, not imported: that takes seconds
    if found is None or not found.origin:
        raise ModuleNotFoundError("moto")
    return Path(found.origin).parent / "ec2" / "resources"
