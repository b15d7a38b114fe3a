"""From what is asked to a job of ours on AWS: its place, its terms, its machines. Launches nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere import session
from elsewhere.api import startup, worker_flags
from elsewhere.choose import seed_names
from elsewhere.compat.cloud_tasks.settings import Asked
from elsewhere.errors import UnknownJob, UsageError
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Place

if TYPE_CHECKING:
    from elsewhere.backends.base import Inventory
    from elsewhere.choose.wants import Span, Wants
    from elsewhere.model.task import NewTask

MACHINES = 10
"""At most, where nobody said."""
RUNTIME = 3600.0
"""Seconds that a task may run, where nobody said."""
GRACE = 30.0
_DISKS = ("gp3", "gp2", "io2", "io1", "standard")
_SHOWN = ("queue_name", "exactly_once_queue", "keepalive_interval", "max_memory_allowed_per_task",
          "retry_on_exit", "retry_on_exception", "retry_on_timeout")  # fmt: skip


def place(asked: Asked) -> Place:
    """The place `aws`, as elsewhere.yaml may define it, with what the file says of region, image and disks over it."""
    from elsewhere.config import load

    base = load.current().places().get("aws") or Place("aws", "aws")
    settings: dict[str, Any] = dict(base.settings)
    zones = seed_names.words(asked.get("zone", ()))
    region = asked.get("region") or (zones[0][:-1] if zones else None)
    found = {"region": region, "zones": zones or None, "image": asked.get("image")}
    if kinds := asked.get("boot_disk_types"):
        if kinds[0] not in _DISKS:
            raise UsageError(
                f"{asked.origins['boot_disk_types']}: boot_disk_types: {kinds[0]!r} is no disk of aws; it has "
                f"{', '.join(_DISKS)}",
                hint="Nothing was started.",
            )
        found["disk_type"] = kinds[0]
    settings.update({name: value for name, value in found.items() if value is not None})
    return replace(base, settings=settings)


def wants(asked: Asked, where: Place) -> Wants:
    """What machines shall be, within the limits of the place. UsageError: nothing could be so."""
    given = {"max_instances": MACHINES, **asked.values}
    given.pop("region", None)
    if asked.get("allow_cpu_wasting") and (least := given.pop("min_memory_per_task", None)) is not None:
        made = seed_names.wants(given)
        made = replace(made, task=replace(made.task, memory=seed_names.gigabytes(least)))
    else:
        made = seed_names.wants(given)
    budgets = [b for b in (asked.get("budget"), where.limits.budget) if b is not None]
    regions = (str(where.settings["region"]),) if where.settings.get("region") else where.limits.regions
    limits = where.limits
    return replace(
        made, regions=regions, budget=min(budgets, default=None), machines=_within(made.machines, limits.machines),
        price_per_hour=_within(made.price_per_hour, limits.price_per_hour),
    ).check()  # fmt: skip


def _within(span: Span, most: Any) -> Span:
    """A bound that is no wider than the place's own."""
    return span if most is None or (span.most is not None and span.most <= most) else replace(span, most=most)


def terms(asked: Asked) -> argparse.Namespace:
    """The words of a worker's command line, as the file has them."""
    said = {name: asked.get(name) for name in ("max_memory_allowed_per_task", "retry_on_exit", "retry_on_exception",
                                               "retry_on_timeout")}  # fmt: skip
    return argparse.Namespace(max_runtime=asked.get("max_runtime", RUNTIME), shutdown_grace_period=GRACE,
                              num_simultaneous_tasks=None, num_cpus=None, **said)  # fmt: skip


def spec(asked: Asked, where: Place) -> JobSpec:
    """The job, without its machines; without a startup script it can be loaded, and not run."""
    text, name = asked.script()
    made = JobSpec(
        id=ids.new("job"), name=asked.job, entry=Entry("function"), place=where.name,
        backend="" if where.backend == where.name else where.backend, settings=dict(where.settings),
        worker={name: asked.get(name) for name in _SHOWN if asked.get(name) is not None},
        command_line=tuple(sys.argv), **worker_flags.terms(terms(asked)),
    )  # fmt: skip
    return startup.with_startup(made, text, name or "the startup script")


def tasks(path: Path, first: int, most: int | None) -> Iterator[NewTask]:
    """Those of a list from its `first` on (1 is the first), at most so many. InvalidTask: the list has faults."""
    from elsewhere.config import tasks as lists

    return islice(lists.read(path), first - 1, None if most is None else first - 1 + most)


def find(asked: Asked) -> session.JobFiles:
    """The newest job of this name. UnknownJob: there is none."""
    found = known(asked)
    if found is None:
        raise UnknownJob(f"there is no job {asked.job!r} yet", hint="load_queue or run makes one.")
    return found


def known(asked: Asked) -> session.JobFiles | None:
    """The same, or None. What answers to a name may also be the beginning of an id."""
    try:
        found = session.find(asked.job)
    except UnknownJob:
        return None
    with closing(found.open()) as ledger:
        return found if ledger.spec.name == asked.job else None


def inventory(where: Place) -> Inventory:
    """What lists the place's offers. Errors of the account: no credentials, no such region."""
    found = session.inventory(where)
    assert found is not None
    return found
