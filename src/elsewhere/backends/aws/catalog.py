"""All that some regions sell, as a catalog: types, where each is offered, and prices. `assemble` and `offers` are pure.

What was asked is kept in private files: types and prices for a day, spot prices for ten minutes, images for an hour.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from elsewhere.backends.aws import images, prices
from elsewhere.backends.aws.clients import Clients
from elsewhere.backends.aws.settings import GIB, AwsSettings
from elsewhere.backends.aws.types import machine_type, usable
from elsewhere.config.home import home, unusable
from elsewhere.hosts import private_directory, write_whole
from elsewhere.model.catalog import MILLION, Catalog, Extras, MachineType, Zone
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

DAY, HOUR, MINUTES = timedelta(hours=24), timedelta(hours=1), timedelta(minutes=10)
_MONTH = 730
"""Hours."""
_FORM = 1
"""Of the files; another one is asked for again."""


@dataclass(frozen=True, slots=True)
class Region:
    """What one region sells."""

    name: str
    taken: datetime
    types: Mapping[str, MachineType]
    offered: Mapping[str, Sequence[str]]
    """Type -> zones."""
    on_demand: Mapping[str, tuple[int, str]]
    """Type -> millionths of a dollar an hour, and its processor."""
    spot: Mapping[tuple[str, str], int]
    """(type, zone) -> millionths of a dollar an hour."""
    extras: Extras = field(default_factory=Extras)


def assemble(regions: Sequence[Region]) -> Catalog:
    """One catalog of all. Rows come region by region, zone by zone, in the order of the types' names."""
    types: dict[str, int] = {}
    described: list[MachineType] = []
    zones: list[Zone] = []
    catalog = Catalog(min((r.taken for r in regions), default=datetime.now(UTC)), (), ())
    unpriced: list[str] = []
    for region in regions:
        known = {
            zone: len(zones) + k for k, zone in enumerate(sorted({z for zs in region.offered.values() for z in zs}))
        }
        zones += [Zone(name, region.name) for name in known]
        for name in sorted(region.offered):
            if name not in region.types:
                continue
            plain = region.on_demand.get(name)
            if name not in types:
                types[name] = len(described)
                described.append(_with_processor(region.types[name], plain))
            if plain is None:
                unpriced.append(f"{name} in {region.name}")
            for zone in sorted(region.offered[name]):
                _add(catalog, types[name], known[zone], 0, plain[0] if plain else None)
                _add(catalog, types[name], known[zone], 1, region.spot.get((name, zone)))
    extras = {region.name: region.extras for region in regions}
    return dataclasses.replace(
        catalog, types=tuple(described), zones=tuple(zones), extras=extras, unpriced=tuple(unpriced)
    )


def _add(catalog: Catalog, kind: int, zone: int, spot: int, price: int | None) -> None:
    if price is not None:
        catalog.kind.append(kind)
        catalog.zone.append(zone)
        catalog.spot.append(spot)
        catalog.price.append(price)


def _with_processor(kind: MachineType, plain: tuple[int, str] | None) -> MachineType:
    """The price list names the processor, where the type's description only names its maker."""
    return dataclasses.replace(kind, cpu_family=plain[1]) if plain and plain[1] else kind


def extra_cost(extras: Extras, disk: int, address: bool) -> int:
    """What disk (bytes) and address add to an hour, in millionths of a dollar."""
    return -(-extras.disk_gb_month * -(-disk // GIB) // _MONTH) + (extras.address_hour if address else 0)


def offers(catalog: Catalog, need: Resources, settings: AwsSettings, disk: int) -> list[Offer]:
    """The rows that meet `need` and the settings, cheapest first, at their true price: with disk and address.

    Of burstable types only the share that lasts is counted as CPUs. The order is the same for the same catalog.
    """
    address = settings.public_address is not False
    beside = {name: extra_cost(extras, disk, address) for name, extras in catalog.extras.items()}
    fits = [_fits(kind, need, settings) for kind in catalog.types]
    allowed = [not settings.zones or zone.name in settings.zones for zone in catalog.zones]
    rows = [
        (price + beside.get(catalog.zones[zone].region, 0), catalog.types[kind].name, catalog.zones[zone].name, kind)
        for kind, zone, spot, price in zip(catalog.kind, catalog.zone, catalog.spot, catalog.price, strict=True)
        if fits[kind] and allowed[zone] and bool(spot) == settings.spot
    ]
    return [
        Offer(name, _resources(catalog.types[kind], disk), zone, Decimal(price) / MILLION, settings.spot)
        for price, name, zone, kind in sorted(rows)
    ]


def _resources(kind: MachineType, disk: int) -> Resources:
    cpus = kind.cpus * kind.baseline
    return Resources(cpus, kind.memory, kind.gpus, kind.gpu_type, disk)


def _fits(kind: MachineType, need: Resources, settings: AwsSettings) -> bool:
    return (
        kind.cpus * kind.baseline >= need.cpus
        and kind.memory >= (need.memory or 0)
        and kind.gpus >= need.gpus
        and (need.gpus > 0 or not kind.gpus)
        and need.gpu_type.lower() in ("", kind.gpu_type)
        and settings.architecture in ("", kind.architecture)
    )


class Shop:
    """Asks the regions what they sell, and keeps it."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    def catalog(self, regions: Sequence[str], fresh: bool = False) -> Catalog:
        """Of these regions, all at once. PlaceError of the first that does not answer."""
        with ThreadPoolExecutor(min(8, len(regions) or 1)) as crowd:
            return assemble(list(crowd.map(lambda name: self.region(name, fresh), regions)))

    def region(self, name: str, fresh: bool = False) -> Region:
        sold, taken = self._kept(f"types-{name}", DAY, fresh, lambda: self._sold(name))
        priced, _ = self._kept(f"prices-{name}", DAY, fresh, lambda: self._priced(name))
        spot, newest = self._kept(f"spot-{name}", MINUTES, fresh, lambda: self._spot(name))
        return Region(
            name,
            min(taken, newest),
            {words[0]: MachineType(*words) for words in sold["types"]},
            sold["offered"],
            {kind: (price, processor) for kind, (price, processor) in priced["machines"].items()},
            {(kind, zone): price for kind, zone, price in spot},
            Extras(priced["disk"], priced["address"]),
        )

    def image(self, region: str, architecture: str, gpus: bool) -> images.Found:
        """The newest of those that machines boot if nobody names one, as it was an hour ago at most."""

        def ask() -> list[object]:
            found = images.find(self.clients, region, "", architecture, gpus)
            return [found.id, found.architecture, found.root, found.size, found.name]

        kept, _ = self._kept(f"image-{region}-{architecture}{'-gpus' if gpus else ''}", HOUR, False, ask)
        return images.Found(*kept)

    def _sold(self, region: str) -> Any:
        ec2 = self.clients.get("ec2", region)
        with self.clients.talking("ec2:DescribeInstanceTypes", region):
            asked = ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 100})
            described = [each for page in asked for each in page["InstanceTypes"] if usable(each)]
        with self.clients.talking("ec2:DescribeInstanceTypeOfferings", region):
            pages = ec2.get_paginator("describe_instance_type_offerings")
            asked = pages.paginate(LocationType="availability-zone", PaginationConfig={"PageSize": 1000})
            offered: dict[str, list[str]] = {}
            for each in (offering for page in asked for offering in page["InstanceTypeOfferings"]):
                offered.setdefault(each["InstanceType"], []).append(each["Location"])
        return {"types": [dataclasses.astuple(machine_type(each)) for each in described], "offered": offered}

    def _priced(self, region: str) -> Any:
        return {
            "machines": prices.ask_machines(self.clients, region),
            "disk": prices.ask_disk(self.clients, region, self.clients.settings.disk_type),
            "address": prices.ask_address(self.clients, region),
        }

    def _spot(self, region: str) -> Any:
        return [[kind, zone, price] for (kind, zone), price in prices.ask_spot(self.clients, region).items()]

    def _kept(self, name: str, age: timedelta, fresh: bool, ask: Callable[[], Any]) -> tuple[Any, datetime]:
        """What the file holds if it is young enough, else what is asked now. A file that cannot be read is no file."""
        directory = home() / "cache" / "aws" / self.clients.world()
        path, now = directory / f"{name}.json", datetime.now(UTC)
        if not fresh:
            try:
                kept = json.loads(path.read_bytes())
                taken = datetime.fromisoformat(kept["taken"])
                if kept["form"] == _FORM and timedelta(0) <= now - taken < age:
                    return kept["holds"], taken
            except (OSError, ValueError, KeyError, TypeError):
                pass
        holds = json.loads(json.dumps(ask()))
        try:
            private_directory(directory)
            text = json.dumps({"form": _FORM, "taken": now.isoformat(), "holds": holds})
            write_whole(path, text.encode())
        except OSError as error:
            raise unusable(home(), error) from error
        return holds, now


def regions(clients: Clients) -> Sequence[str]:
    """Those that the account may use."""
    with clients.talking("ec2:DescribeRegions"):
        answer: Iterable[Mapping[str, Any]] = clients.get("ec2").describe_regions()["Regions"]
    return sorted(str(region["RegionName"]) for region in answer)
