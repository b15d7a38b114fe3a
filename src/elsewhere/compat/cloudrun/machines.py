"""From an instance of CloudRun to a machine of ours: its place, type, software and price. Launches nothing."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere import session
from elsewhere.api import choosing, furnishing
from elsewhere.compat.cloudrun import keeping, runs, software
from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.compat.cloudrun.words import Config
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.place import Place
from elsewhere.model.resources import Resources
from elsewhere.model.spans import Span

if TYPE_CHECKING:
    from elsewhere.model.catalog import MachineType


def base() -> Place:
    """The place `aws`, as elsewhere.yaml may define it."""
    from elsewhere.config import load

    return load.current().places().get("aws") or Place("aws", "aws")


def place(config: Config) -> Place:
    """The same, with what an instance says over it. A network that there is not is the default one."""
    where = base()
    found = {"region": config["region"], "image": config["img_id"], "disk_type": config["disk_type"]}
    settings = {**where.settings, **{name: value for name, value in found.items() if value is not None}}
    made = replace(where, settings=settings)
    if config["cloud_id"] is not None and config["cloud_id"] in session.networks(made):
        made = replace(made, settings={**settings, "network": config["cloud_id"]})
    return made


def kind(config: Config) -> MachineType:
    """Its type. CloudRunError: there is none of this name in its region."""
    found = _types(str(place({**config, "cloud_id": None}).settings.get("region") or ""))
    if config["type"] not in found:
        from elsewhere.config.faults import nearest

        near = nearest(config["type"], found).partition("; known")[0]
        raise CloudRunError(f"there is no type {config['type']!r} in {config['region'] or 'this region'}{near}")
    return found[config["type"]]


@functools.lru_cache(maxsize=8)
def _types(region: str) -> dict[str, MachineType]:
    """By name; asked once for each region."""
    where = base()
    offered = session.inventory(replace(where, settings={**where.settings, **({"region": region} if region else {})}))
    assert offered is not None
    return {one.name: one for one in offered.catalog(()).types}


def spec(run: runs.Run, cwd: Path, share: int, dev: bool = False) -> JobSpec:
    """The job of a run, with its machine. `share`: one of so many that share what may be spent; `dev`: it is kept."""
    where, env = place(run.instance.get_config_DIRTY()), run.jobs[0].get_env()
    fields: dict[str, Any] = runs.files_of(run)
    path: tuple[str, ...] = ()
    if env is not None:
        made = furnishing.furnish(software.environment(env._config, cwd), where, cwd, sys.executable)
        fields, path = {**fields, **made.fields}, made.path
    need = Resources(cpus=min(job.get_config("cpus_req", 1) for job in run.jobs))
    if run.instance.get_config("gpu"):
        need = replace(need, gpus=1)
    found = JobSpec(
        id=ids.new("job"), name=run.name, entry=Entry("command", name="cloudrun"), place=where.name,
        backend="" if where.backend == where.name else where.backend, settings=dict(where.settings),
        python=sys.executable, cwd=str(cwd), path=path, resources=need, command_line=tuple(sys.argv),
        linger=keeping.LINGER if dev else timedelta(0), **fields,
    )  # fmt: skip
    room = max(1, int(run.instance.get_cpus() / need.cpus))
    return _chosen(run, found, where, need, share, room if dev else min(len(run.jobs), room))


def _chosen(run: runs.Run, found: JobSpec, where: Place, need: Resources, share: int, slots: int) -> JobSpec:
    """A bid is a ceiling, and a life what may be spent in that time. CPUs of a type that was named are as many as it
    says, also where they may not be used for ever."""
    config = run.instance.get_config_DIRTY()
    asked = {
        **where.wants, "machine_types": (config["type"],), "spot": "spot" if config["eco"] else "on-demand",
        "machines": Span(None, 1), "architecture": "any", "max_price_per_hour": config["max_bid"],
        "gpu_types": (config["gpu"],) if config["gpu"] else None,
        "boot_disk": config["disk_size"] and config["disk_size"] << 30,
        "budget": (where.limits.budget or choosing.BUDGET) / share,
    }  # fmt: skip
    need = replace(need, cpus=need.cpus * kind(config).baseline)
    made = choosing.of_call(found, where, need, slots, asked)
    if config["eco_life"] is None:
        return made
    price = max(shape.offer.price for shape in made.machines)
    most = (price * Decimal(config["eco_life"] / timedelta(hours=1))).quantize(Decimal("0.0001"))
    return replace(made, limits=replace(made.limits, budget=min(most, made.limits.budget or most)))


def said(run: runs.Run, made: JobSpec) -> str:
    """What it costs, a line."""
    offer = made.machines[0].offer
    kind = "spot" if offer.spot else "on demand"
    kept = f"; it is kept for {int(made.linger.total_seconds() / 60)} minutes" * bool(made.linger)
    return (f"{run.instance.get_name()}: {offer.name}, {kind}, ${offer.price:.4f}/h, at most "
            f"${made.limits.budget:.2f}{kept}; as {run.name}")  # fmt: skip
