"""What the figures were measured on: processors, disk, versions, the day."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from pathlib import Path


def described(began: float, loads: list[float]) -> str:
    """One paragraph. `loads`: how many processes wanted to run before each measurement, ours not among them."""
    day = time.strftime("%Y-%m-%d", time.gmtime(began))
    minutes = (time.time() - began) / 60
    return (f"Measured on {day} in one run of {minutes:.0f} minutes: {os.cpu_count()} processors ({_processor()}), "
            f"{_memory():.0f} GiB, {platform.system()} {platform.release().partition('-')[0]}, Python "
            f"{platform.python_version()}, elsewhere {importlib.metadata.version('elsewhere')}. "
            f"Other processes that wanted a processor meanwhile: {_others(loads)}.")  # fmt: skip


def waiting() -> float:
    """How many processes other than this one run or want to run now."""
    return float(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1


def _others(loads: list[float]) -> str:
    if not loads:
        return "not looked"
    return f"{statistics.fmean(loads):.1f} on average"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
