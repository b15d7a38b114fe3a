"""Machine types as DescribeInstanceTypes tells them, as ours. Pure.

What that call does not say, the lasting share of burstable types, stands here as its documentation has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elsewhere.model.catalog import MachineType

_T3 = {"nano": 0.05, "micro": 0.10, "small": 0.20, "medium": 0.20, "large": 0.30, "xlarge": 0.40, "2xlarge": 0.40}
_T2 = {"nano": 0.05, "micro": 0.10, "small": 0.20, "medium": 0.20, "large": 0.30, "xlarge": 0.225, "2xlarge": 0.17}
BASELINES = {"t1": {"micro": 0.10}, "t2": _T2, "t3": _T3, "t3a": _T3, "t4g": _T3}
"""Of each vCPU. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html"""
MIB = 1 << 20


def usable(described: Mapping[str, Any]) -> bool:
    """Whether machines of this type can be had for a while and boot a Linux of ours: no Macs, no 32 bits alone."""
    architectures = described.get("ProcessorInfo", {}).get("SupportedArchitectures", ())
    return bool({"x86_64", "arm64"} & set(architectures))


def machine_type(described: Mapping[str, Any]) -> MachineType:
    """From one entry of DescribeInstanceTypes."""
    name = str(described["InstanceType"])
    processor = described.get("ProcessorInfo", {})
    gpus = [gpu for gpu in described.get("GpuInfo", {}).get("Gpus", ()) if gpu.get("Count")]
    first: Mapping[str, Any] = gpus[0] if gpus else {}
    return MachineType(
        name,
        int(described["VCpuInfo"]["DefaultVCpus"]),
        int(described["MemoryInfo"]["SizeInMiB"]) * MIB,
        "arm64" if "arm64" in processor.get("SupportedArchitectures", ()) else "x86_64",
        str(processor.get("Manufacturer", "")),
        baseline(name),
        sum(int(gpu["Count"]) for gpu in gpus),
        str(first.get("Name", "")).lower(),
        int(first.get("MemoryInfo", {}).get("SizeInMiB", 0)) * MIB,
        int(described.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)) * 10**9,
    )


def baseline(name: str) -> float:
    family, _, size = name.partition(".")
    return BASELINES.get(family, {}).get(size, 1.0)


def burstable(name: str) -> bool:
    return name.partition(".")[0] in BASELINES
