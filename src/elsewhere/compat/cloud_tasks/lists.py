"""list_regions, list_images, list_instance_types, list_running_instances: what aws sells, and what of it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from elsewhere import session
from elsewhere.compat.cloud_tasks import jobs
from elsewhere.compat.cloud_tasks.settings import Asked
from elsewhere.errors import UsageError
from elsewhere.observe.table import table

if TYPE_CHECKING:
    from elsewhere.choose.plan import Chosen
    from elsewhere.ledger.questions import Questions

HEADS = ("id", "type", "state", "zone", "since", "$/h")
Rows = list[dict[str, Any]]


def list_regions(asked: Asked, words: argparse.Namespace) -> int:
    offered = jobs.inventory(jobs.place(asked))
    regions = [name for name in offered.regions() if name.startswith(words.prefix or "")]
    if not words.zones and not words.detail:
        _out(regions)
        return 0
    zones = offered.catalog(regions).zones if regions else ()
    for region in regions:
        _out([f"{region}: {', '.join(sorted(zone.name for zone in zones if zone.region == region))}"])
    return 0


def list_images(asked: Asked, words: argparse.Namespace) -> int:
    found = [{"name": one.name, "id": one.id, "region": one.region, "architecture": one.architecture,
              "made": f"{one.made:%Y-%m-%d}" if one.made else ""}
             for one in jobs.inventory(jobs.place(asked)).images()]  # fmt: skip
    return _listed(found, words)


def list_instance_types(asked: Asked, words: argparse.Namespace) -> int:
    from elsewhere.choose import listing

    where = jobs.place(asked)
    wanted = jobs.wants(asked, where)
    offers, _ = listing.offers(jobs.inventory(where).catalog(wanted.regions), wanted)
    return _listed([_offer(one) for one in offers], words)


def _offer(one: Chosen) -> dict[str, Any]:
    offer, has = one.offer, one.offer.resources
    gigabytes = (has.memory or 0) / (1 << 30)
    return {
        "name": offer.name, "vcpu": int(has.cpus), "mem": gigabytes, "zone": offer.zone,
        "kind": "spot" if offer.spot else "on demand", "tasks": one.slots, "total_price": float(offer.price),
        "price_per_cpu": round(float(offer.price) / has.cpus, 6),
        "price_per_task": round(float(offer.price) / one.slots, 6), "mem_per_cpu": round(gigabytes / has.cpus, 3),
    }  # fmt: skip


def list_running_instances(asked: Asked, words: argparse.Namespace) -> int:
    """Those of the job by its own records; with --all-instances all that the account has of ours."""
    if words.all_instances:
        rows = [dict(zip(("id", "state", "job", "owner"), one, strict=True)) for one in _all(asked, words)]
    else:
        files = jobs.find(asked)
        with closing(files.open()) as ledger:
            rows = [dict(zip(HEADS, one, strict=True)) for one in machines(ledger, ended=words.include_terminated)]
    return _listed(rows, words)


def _all(asked: Asked, words: argparse.Namespace) -> list[tuple[str, ...]]:
    from elsewhere.backends import registry

    found = registry.build(jobs.place(asked)).owned()
    shown = [seen for seen in found if words.include_terminated or seen.condition.value in ("pending", "running")]
    return [(seen.native, seen.condition.value, seen.labels.get("job", ""), seen.labels.get("owner", ""))
            for seen in shown]  # fmt: skip


def machines(ledger: Questions, ended: bool) -> list[tuple[str, ...]]:
    """The job's machines, in HEADS' order; `ended`: also those that are no more."""
    from elsewhere.ledger.allocations import allocations
    from elsewhere.observe import machines as told
    from elsewhere.observe.wording import when

    since, now = told.since(ledger.events()), datetime.now(UTC).timestamp()
    return [(one.native or one.id, one.offer.name, one.state.name.lower(), one.offer.zone,
             when(since[one.id].timestamp(), now) if one.id in since else "", f"{one.offer.price:.4f}")
            for one in allocations(ledger) if ended or not one.state.ended]  # fmt: skip


def end(files: session.JobFiles) -> int:
    """Tell what still runs of a job to end, by its labels at the place; how many."""
    from elsewhere.backends import registry
    from elsewhere.model.place import Place
    from elsewhere.pool import reaper

    with closing(files.open()) as ledger:
        spec = ledger.spec
    backend = registry.build(Place(spec.place, spec.backend or spec.place, spec.settings))
    doomed = [one for one in reaper.find(backend.owned(), datetime.now(UTC), None, jobs=[spec.id])
              if one.sighting.labels["job"] == spec.id]  # fmt: skip
    reaper.reap(backend, doomed)
    return len(doomed)


# --- how lists are shown ----------------------------------------------------------------------------------------------


def _listed(rows: Rows, words: argparse.Namespace) -> int:
    """Filtered, sorted and cut as the flags say."""
    if words.filter:
        text = words.filter.lower()
        rows = [row for row in rows if any(text in str(value).lower() for value in row.values())]
    rows = _sorted(rows, words.sort_by)[: words.limit]
    if words.detail:
        for row in rows:
            _out([f"{name}: {value}" for name, value in row.items()] + [""])
    elif rows:
        _out(table(tuple(rows[0]), [tuple(row.values()) for row in rows]))
    else:
        _out(["There is none."])
    return 0


def _sorted(rows: Rows, by: str | None) -> Rows:
    """`name,-mem`: fields, or beginnings of them; a hyphen turns the order round. UsageError names those there are."""
    for field in reversed([part.strip() for part in (by or "").split(",") if part.strip()]):
        key = _field(field.lstrip("-+"), rows[0] if rows else {})
        rows = sorted(rows, key=key, reverse=field.startswith("-"))
    return rows


def _field(name: str, row: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    found = [known for known in row if known.startswith(name)] if name not in row else [name]
    if row and len(found) != 1:
        raise UsageError(f"--sort-by: {name!r} is {'no field' if not found else 'not one field'}",
                         hint=f"The fields are: {', '.join(row)}.")  # fmt: skip
    return lambda each: each[found[0]]


def _out(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
