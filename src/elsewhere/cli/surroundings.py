"""Where we stand: the working directory, whose Python runs the tasks, how many slots this machine gives us.

Composition of config, ship and model into a JobSpec; nothing is made here.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import asking

if TYPE_CHECKING:
    from elsewhere.model.job import JobSpec
    from elsewhere.ship.environment import Interpreter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

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


def spec_of_command(asked: SimpleNamespace, name: str, place: str, words: tuple[str, ...]) -> JobSpec:
    """The job of one command, or of one for each line. Our own interpreter starts them; whose it is does not matter."""
    import sys

    from elsewhere.model.job import Entry

    own = () if asked.each_line is not None else words
    entry = Entry("command", "", own, " ".join(words[:3]))
    return _spec(asked, name, place, entry, sys.executable, ())


def _spec(
    asked: SimpleNamespace, name: str, place: str, entry: Any, python: str, path: tuple[str, ...], cwd: str = ""
) -> JobSpec:
    import sys

    from elsewhere.model import ids
    from elsewhere.model.job import JobSpec

    fields = asking.settings(asked)
    fields.setdefault("slots", default_slots()[0])
    return JobSpec(
        id=ids.new("job"),
        name=name,
        entry=entry,
        place=place,
        python=python,
        cwd=cwd or str(Path.cwd()),
        path=path,
        command_line=("elsewhere", *sys.argv[1:]),
        **fields,
    )


def interpreter(python: str | None) -> Interpreter:
    """The interpreter that runs the tasks: as asked for, else the user's nearest (ship/environment.py)."""
    from elsewhere.ship import environment

    return environment.interpreter(python or "")


def spec_of_function(asked: SimpleNamespace, name: str, place: str) -> JobSpec:
    """The job of a task list; its function is looked for in the interpreter that will call it, before anything runs."""
    from elsewhere.ship import environment

    found = interpreter(asked.python)
    entry, path = environment.check_entry(asked.entry, found)
    asked.why = found.why
    return _spec(asked, name, place, entry, found.path, path)


def own_spec(name: str, entry: str, directory: Path, slots: int | None) -> JobSpec:
    """The job of a function of ours in `directory`, in our own interpreter, with the defaults of everything."""
    import sys

    from elsewhere.model import ids
    from elsewhere.model.job import Entry, JobSpec

    target = f"{directory / entry}"
    return JobSpec(
        id=ids.new("job"),
        name=name,
        entry=Entry("function", target, name=entry.rpartition(":")[2]),
        slots=slots or default_slots()[0],
        python=sys.executable,
        cwd=str(directory),
        command_line=("elsewhere", *sys.argv[1:]),
    )
