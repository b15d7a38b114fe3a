"""What this machine gives us: how many tasks at a time when nobody said.

Reads affinity, cgroups and the environment; nothing else may enter.
"""

from __future__ import annotations

import os
from pathlib import Path

LOGIN_NODE_SLOTS = 2


def default_slots() -> tuple[int, str]:
    """How many slots to use when nobody said, and why: the CPUs this process may use; few on a shared login node."""
    cpus = usable_cpus()
    if cpus > LOGIN_NODE_SLOTS and is_login_node():
        return LOGIN_NODE_SLOTS, f"this looks like a shared login node; --slots {cpus} takes all its CPUs"
    return cpus, "the CPUs that this process may use"


def usable_cpus() -> int:
    """CPUs by affinity and by the cgroup's quota, whichever is less; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpus()
    return max(1, min(count, int(quota) if quota else count))


def cgroup_cpus(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The least CPU quota (version 2, or 1) from our own cgroup upward; None: there is none."""
    found = []
    for directory in _cgroups(root, own):
        try:
            if (directory / "cpu.max").exists():
                quota, period = (directory / "cpu.max").read_text().split()
            else:
                quota = (directory / "cpu.cfs_quota_us").read_text().strip()
                period = (directory / "cpu.cfs_period_us").read_text().strip()
            if quota not in ("max", "-1"):
                found.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return min(found, default=None)


def _cgroups(root: Path, own: Path) -> list[Path]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    directories = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            base = root if number == "0" else root / "cpu"
            below = base / path.lstrip("/")
            directories += [below, *(parent for parent in below.parents if base in (parent, *parent.parents))]
    return directories


def is_login_node(environment: dict[str, str] | None = None) -> bool:
    """Whether this machine hands out jobs of a batch system that we are not in ourselves: many people share it."""
    import shutil

    known = os.environ if environment is None else environment
    inside = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_URI")
    if any(known.get(name) for name in inside):
        return False
    return any(shutil.which(tool, path=known.get("PATH")) for tool in ("sbatch", "qsub", "bsub"))
