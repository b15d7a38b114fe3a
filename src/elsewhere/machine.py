"""What this machine gives us: CPUs, memory, GPUs; and how many tasks at a time when nobody said.

Reads affinity, cgroups, devices and the environment; nothing else may enter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from elsewhere.model.resources import Resources
from elsewhere.model.units import show_size

LOGIN_NODE_SLOTS = 2
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class Gpu(NamedTuple):
    """`id`: as CUDA_VISIBLE_DEVICES names it. `model`: as its driver does; empty: unknown."""

    id: str
    model: str = ""

    def is_a(self, kind: str) -> bool:
        """Whether it is of that type; one of an unknown model is of any."""
        return not self.model or kind.lower() in self.model.lower()


def default_slots() -> tuple[int, str]:
    """How many slots to use when nobody said, and why: the CPUs this process may use; few on a shared login node."""
    cpus = usable_cpus()
    if cpus > LOGIN_NODE_SLOTS and is_login_node():
        return LOGIN_NODE_SLOTS, f"this looks like a shared login node; --slots {cpus} takes all its CPUs"
    return cpus, "the CPUs that this process may use"


def usable_cpus() -> int:
    """CPUs by affinity, by the cgroup's quota and by what a batch job was given, whichever is least; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpus() or count
    given = _given("SLURM_CPUS_ON_NODE") or count
    return max(1, min(count, int(quota), given))


def usable_memory() -> int:
    """Bytes: of the machine, of the least cgroup that we are in, or of our batch job."""
    given = _given("SLURM_MEM_PER_NODE") or _given("SLURM_MEM_PER_CPU") * _given("SLURM_CPUS_ON_NODE")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([whole, *([given << 20] if given else []), *_cgroup_memory(_CGROUPS, _OWN_CGROUP)])


def _given(name: str) -> int:
    """A number that the batch system has told its job; 0: we are in none, or it has not."""
    text = os.environ.get(name, "") if os.environ.get("SLURM_JOB_ID") else ""
    return int(text) if text.isdigit() else 0


def usable_gpus(environ: Mapping[str, str] | None = None, devices: Path = Path("/dev")) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES names if it is set, else all that NVIDIA's driver shows."""
    known = os.environ if environ is None else environ
    named = known.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        ids = [word.strip() for word in named.split(",")]
        bad = next((at for at, word in enumerate(ids) if word in ("", "-1", "NoDevFiles")), len(ids))
        return tuple(Gpu(word) for word in ids[:bad])  # what comes after one that is not there does not count
    found = sorted(int(path.name[6:]) for path in devices.glob("nvidia*") if path.name[6:].isdecimal())
    if not found:
        return _told(known)
    models = _models(Path("/proc/driver/nvidia/gpus"))
    return tuple(Gpu(str(number), models.get(number, "")) for number in found)


def _told(environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Where there are no devices of theirs to be seen: those that the driver's own program lists, if it is there."""
    import re
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return ()
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(Gpu(*pair) for pair in re.findall(r"^GPU (\d+): (.*?) \(UUID", done.stdout, re.MULTILINE))


def shortfall(need: Resources, slots: int = 0) -> list[str]:
    """What `need` asks for and this machine does not have. `slots`: that somebody asked for; each counts as a CPU."""
    short = []
    if need.cpus > 1 and need.cpus > (cpus := max(slots, usable_cpus())):
        short.append(f"it needs {need.cpus:g} CPUs, and this machine gives {cpus}")
    if need.memory and need.memory > (memory := usable_memory()):
        short.append(f"it needs {show_size(need.memory)} of memory, and this machine has {show_size(memory)}")
    if need.gpus:
        gpus = usable_gpus()
        fit = sum(gpu.is_a(need.gpu_type) for gpu in gpus)
        if need.gpus > fit:
            kind = f" of type {need.gpu_type}" if need.gpu_type else ""
            wanted = f"{need.gpus} GPU{'s' * (need.gpus > 1)}{kind}"
            short.append(f"it needs {wanted}, and this machine has {fit or 'none'}" + " of them" * bool(fit and kind))
    return short


def cgroup_cpus(root: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> float | None:
    """The least CPU quota (version 2, or 1) from our own cgroup upward; None: there is none."""
    found = []
    for directory in _cgroups(root, own, "cpu"):
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


def _cgroup_memory(root: Path, own: Path) -> list[int]:
    found = []
    for directory in _cgroups(root, own, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                found.append(int((directory / name).read_text()))
            except (OSError, ValueError):
                continue
    return found


def _cgroups(root: Path, own: Path, controller: str) -> list[Path]:
    """Our own cgroup and those above it, of version 2, or of this controller in version 1."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    directories = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            base = root if number == "0" else root / controller
            below = base / path.lstrip("/")
            directories += [below, *(parent for parent in below.parents if base in (parent, *parent.parents))]
    return directories


def _models(drivers: Path) -> dict[int, str]:
    models = {}
    for sheet in drivers.glob("*/information"):
        lines = dict(line.split(":", 1) for line in sheet.read_text().splitlines() if ":" in line)
        if lines.get("Device Minor", "").strip().isdecimal():
            models[int(lines["Device Minor"])] = lines.get("Model", "").strip()
    return models


def is_login_node(environment: dict[str, str] | None = None) -> bool:
    """Whether this machine hands out jobs of a batch system that we are not in ourselves: many people share it."""
    import shutil

    known = os.environ if environment is None else environment
    inside = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_URI")
    if any(known.get(name) for name in inside):
        return False
    return any(shutil.which(tool, path=known.get("PATH")) for tool in ("sbatch", "qsub", "bsub"))
