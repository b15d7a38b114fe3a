"""Which nodes have what a task needs, how large a job is asked for, and what comes nearest if there is none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from elsewhere.backends.base import Finding
from elsewhere.backends.slurm import text
from elsewhere.backends.slurm.settings import SlurmSettings
from elsewhere.backends.slurm.text import Nodes
from elsewhere.errors import PlaceError, Refused, UsageError
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.units import show_duration, show_size


def of_partition(rows: Sequence[Nodes], name: str) -> list[Nodes]:
    """The rows of this partition; empty: of the default one. Refused, which names the nearest: there is none."""
    if name:
        several = name.split(",")
        found = [row for row in rows if row.partition in several]
        missing = [one for one in several if one not in {row.partition for row in rows}]
        if missing and rows:
            known = [row.partition for row in rows]
            raise Refused(f"Slurm has no partition {missing[0]!r}", hint=text.nearest(missing[0], known))
        return found
    return [row for row in rows if row.default] or list(rows)


def fits(row: Nodes, need: Resources) -> bool:
    return row.usable and not _short(row, need)


def named(row: Nodes) -> str:
    gpus = "".join(f"-{count}x{kind or 'gpu'}" for kind, count in row.gpus)
    return f"{row.partition}-{row.cpus}c-{row.memory >> 30}g{gpus}"


def resources(row: Nodes) -> Resources:
    kind, count = row.gpus[0] if row.gpus else ("", 0)
    return Resources(cpus=max(row.cpus, 1), memory=row.memory or None, gpus=count, gpu_type=kind)


def size(rows: Sequence[Nodes], need: Resources, settings: SlurmSettings, slots: int = 0) -> Shape:
    """A job with room for as many tasks as the settings say, and how many such jobs. UsageError: no node has that."""
    if not rows:
        raise Refused("Slurm shows no nodes", hint="`sinfo` says more")
    _check_walltime(rows, settings)
    tasks = min(settings.tasks_per_job, slots or settings.tasks_per_job)
    whole = times(need, tasks)
    fit = [row for row in rows if fits(row, whole)]
    if not fit:
        raise _too_much(rows, whole, tasks)
    offer = Offer(settings.partition or rows[0].partition, whole, price=Decimal(0))
    return Shape(offer, tasks, min(settings.max_jobs, -(-slots // tasks)) if slots else settings.max_jobs)


def is_array(settings: SlurmSettings, tasks: int) -> bool:
    """Does a list of so many tasks become an array? If it was said so, or if each job of those that may run at a time
    gets no more than it runs at once: then each task has a whole walltime, and nobody waits longer for that."""
    return settings.how == "array" or (not settings.how and 0 < tasks <= settings.tasks_per_job * settings.max_jobs)


def as_array(shape: Shape, tasks: int, limit: int) -> Shape:
    """One array of at most `limit` elements, each for as few tasks as that allows. `tasks` 0: not known, and it is made
    as they come."""
    each = max(shape.slots, -(-tasks // max(1, limit)))
    return replace(shape, most=min(limit, -(-tasks // each)) if tasks else limit, serves=each,
                   abreast=shape.abreast or shape.most or 0)  # fmt: skip


def times(need: Resources, count: int) -> Resources:
    memory = need.memory * count if need.memory else None
    return Resources(need.cpus * count, memory, need.gpus * count, need.gpu_type)


def _check_walltime(rows: Sequence[Nodes], settings: SlurmSettings) -> None:
    limits = [row.longest for row in rows]
    known = [limit for limit in limits if limit is not None]
    if len(known) == len(limits) and known and settings.length > max(known):
        asked, most = show_duration(settings.length), show_duration(max(known))
        raise UsageError(f"a walltime of {asked} is more than the partition {rows[0].partition} allows: {most}",
                         hint=f"Set `walltime: {most}` or less, or another `partition:`.")  # fmt: skip


def _too_much(rows: Sequence[Nodes], need: Resources, tasks: int) -> UsageError:
    """Which kind of node comes closest: that which lacks least, the largest of those."""
    up = [row for row in rows if row.up] or list(rows)
    best = min(up, key=lambda row: (len(_short(row, need)), not row.usable, -row.cpus, -row.memory))
    short = _short(best, need)
    what = "a task needs" if tasks == 1 else f"{tasks} tasks in one job need"
    if not short:
        return UsageError(f"{what} a node as {best.partition} has it, and all of those are {best.state}",
                          hint="`sinfo -R` says why.")  # fmt: skip
    lacks = " and ".join(short)
    return UsageError(f"{what} more than a node of {best.partition} has: {lacks}",
                      hint=f"The nearest have {_told(best)}." + (" Set a smaller `tasks-per-job:`." if tasks > 1 else
                                                                 ""))  # fmt: skip


def _short(row: Nodes, need: Resources) -> list[str]:
    found = []
    if need.cpus > row.cpus:
        found.append(f"{need.cpus:g} CPUs of {row.cpus}")
    if need.memory and row.memory and need.memory > row.memory:
        found.append(f"{show_size(need.memory)} of memory of {show_size(row.memory)}")
    if need.gpus:
        there = sum(count for kind, count in row.gpus if not need.gpu_type or need.gpu_type.lower() == kind.lower())
        if need.gpus > there:
            kind = f" of type {need.gpu_type}" if need.gpu_type else ""
            found.append(f"{need.gpus} GPUs{kind} of {there or 'none'}")
    return found


def _told(row: Nodes) -> str:
    gpus = "".join(f", {count} GPUs {kind}".rstrip() for kind, count in row.gpus)
    return f"{row.cpus} CPUs and {show_size(row.memory)}{gpus}"


_BY = {"constraint": "feature", "account": "invalid account", "qos": "qos", "partition": "partition"}
"""An option -> what Slurm speaks of when it does not know what that names."""


def explained(error: PlaceError, settings: SlurmSettings, known: Callable[[str], Sequence[str]]) -> PlaceError:
    """The same, with the nearest word that would have been known. `known`: those that an option may have."""
    for name, said in _BY.items():
        value = str(getattr(settings, name, "") or settings.slurm.get(name, ""))
        if value and said in error.message.lower():
            near = text.nearest(value, words) if (words := known(name)) else error.hint
            error.hint = f"`{name}: {value}` was asked for; {near}".strip()
            break
    return error


def findings(rows: Sequence[Nodes], settings: SlurmSettings) -> Iterable[Finding]:
    """The partition's limits and nodes, a line each; that which is named first."""
    try:
        mine = of_partition(rows, settings.partition)
    except Refused as error:
        yield Finding(f"partition {settings.partition}", False, error.message, error.hint)
        return
    used = {row.partition for row in mine}
    yield from partitions([*mine, *(row for row in rows if row.partition not in used)], *used)
    try:
        _check_walltime(mine, settings)
        yield Finding("walltime", True, show_duration(settings.length))
    except UsageError as error:
        yield Finding("walltime", False, error.message, error.hint)


def partitions(rows: Sequence[Nodes], *used: str) -> Iterable[Finding]:
    """A line for each: what is free there, how long, how large."""
    for name in dict.fromkeys(row.partition for row in rows):
        some = [row for row in rows if row.partition == name]
        usable = sum(row.count for row in some if row.usable)
        idle = sum(row.count for row in some if row.state.lower().startswith("idle"))
        largest = max(some, key=lambda row: (row.cpus, row.memory))
        detail = f"{idle} of {usable} nodes idle, up to {_limit(some)} a job, nodes of {_told(largest)}"
        ok = name not in used or any(row.usable for row in some)
        yield Finding(f"partition {name}" + " (used)" * (name in used), ok, detail, "" if ok else "`sinfo -R` says why")


def _limit(rows: Sequence[Nodes]) -> str:
    limits: list[timedelta] = [row.longest for row in rows if row.longest is not None]
    return show_duration(max(limits)) if len(limits) == len(rows) and limits else "any length"
