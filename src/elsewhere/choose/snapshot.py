"""A catalog as a dated JSON document, and back: what a region cost on a day, to be kept and compared. Pure.

Columns stay columns; millionths of a dollar stay whole numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from elsewhere.errors import UsageError
from elsewhere.model.catalog import Catalog, Extras, MachineType, Zone

FORM = "elsewhere prices"
VERSION = 1
_COLUMNS = {"kind": "I", "zone": "I", "spot": "b", "price": "q"}


def encode(catalog: Catalog) -> dict[str, Any]:
    """What `json` can write."""
    return {
        "form": FORM,
        "version": VERSION,
        "taken": catalog.taken.isoformat(),
        "types": [asdict(one) for one in catalog.types],
        "zones": [[one.name, one.region] for one in catalog.zones],
        **{name: list(getattr(catalog, name)) for name in _COLUMNS},
        "extras": {region: asdict(one) for region, one in catalog.extras.items()},
        "unpriced": list(catalog.unpriced),
    }


def decode(found: Any) -> Catalog:
    """What `encode` gave. UsageError: it is no such document, a newer one, or damaged."""
    if not isinstance(found, Mapping) or found.get("form") != FORM:
        raise UsageError("this is no snapshot of prices", hint="`elsewhere offers --save FILE` writes one.")
    if found.get("version") != VERSION:
        raise UsageError(f"this snapshot is of version {found.get('version')}; {VERSION} is understood here",
                         hint="Take a new one: elsewhere offers --save FILE.")  # fmt: skip
    try:
        return _catalog(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"this snapshot of prices is damaged: {error}", hint="Take a new one.") from None


def _catalog(found: Mapping[str, Any]) -> Catalog:
    columns = {name: array(code, found[name]) for name, code in _COLUMNS.items()}
    types = tuple(MachineType(**one) for one in found["types"])
    zones = tuple(Zone(name, region) for name, region in found["zones"])
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError("its columns are of different lengths")
    for name, most in (("kind", len(types)), ("zone", len(zones))):
        if len(columns[name]) and max(columns[name]) >= most:
            raise ValueError(f"its {name}s point beyond the list of them")
    extras = {region: Extras(**one) for region, one in found["extras"].items()}
    taken = datetime.fromisoformat(found["taken"])
    return Catalog(taken, types, zones, extras=extras, unpriced=tuple(found["unpriced"]), **columns)
