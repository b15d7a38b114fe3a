"""Which backends there are: entry points of the group `elsewhere.backends`, loaded when asked for by name.

The only file that may name a backend.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from elsewhere.backends.base import Backend
from elsewhere.config import seated
from elsewhere.config.shape import ASKED
from elsewhere.errors import ConfigError, MissingExtra, UnknownPlace, UsageError
from elsewhere.model import units
from elsewhere.model.place import Place

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "elsewhere.backends"
HIRED = "ELSEWHERE_HIRED"
"""The variable that is set where a controller sits on a machine that was hired for it: settings of a backend whose
field says `{"local": True}` are of the user's own machine, and mean nothing there."""
_OURS = {"aws": "elsewhere.backends.aws:Aws", "dask": "elsewhere.backends.dask:Dask",
         "local": "elsewhere.backends.local:Local",
         "slurm": "elsewhere.backends.slurm:Slurm", "ssh": "elsewhere.backends.ssh:Ssh"}  # fmt: skip
"""What is there even where the package was not installed but only put on the path."""


def names() -> list[str]:
    """All backends that are installed, sorted; nothing of them is imported."""
    return sorted({*_points(), *_OURS})


def load(name: str) -> type[Any]:
    """The class of a backend. UnknownPlace names the nearest; MissingExtra says what to install."""
    # All distributions are looked through for a name that is not ours.
    points = {} if name in _OURS else _points()
    if name not in points and name not in _OURS:
        near = difflib.get_close_matches(name, [*points, *_OURS], 1)
        known = ", ".join(names())
        raise UnknownPlace(
            f"there is no place or backend {name!r}",
            hint=f"Did you mean {near[0]}?" if near else f"There are: {known}.",
        )
    try:
        found: type[Any] = _own(name) if name in _OURS else points[name].load()
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "elsewhere":
            raise
        raise MissingExtra(
            f"the place {name} needs {error.name or error}, which is not installed",
            hint=f"pip install 'elsewhere[{name}]'",
        ) from error
    return found


def addressed(name: str) -> Place | None:
    """The place that BACKEND://ADDRESS is, of a backend whose places have an address; None: it is no such name."""
    backend, slashes, address = name.partition("://")
    if not slashes or backend not in names():
        return None
    if "address" not in {field.name for field in fields(load(backend).Settings)}:
        raise UsageError(f"a place of {backend} has no address", hint=f"Write --on {backend}.")
    return Place(name.rstrip("/"), backend, {"address": address.rstrip("/")})


def build(place: Place) -> Backend:
    """The backend of a place, with its settings. ConfigError names a key that it does not know, and the nearest."""
    kind = load(place.backend)
    given = {**place.settings, **seated.settings(place.name)}
    return kind(kind.Settings(**_checked(place.name, kind.Settings, given)))  # type: ignore[no-any-return]


def lasting(place: Place, walltime: timedelta | str | float) -> Place:
    """The place with machines that live so long. UsageError: how long they do is not asked for there, or is not so."""
    if "walltime" not in {field.name for field in fields(load(place.backend).Settings)}:
        raise UsageError(f"{place.name} does not ask for how long its machines live",
                         hint="A walltime is for batch systems such as Slurm; leave it out.")  # fmt: skip
    try:
        seconds = units.duration(walltime).total_seconds()
    except ValueError as error:
        raise UsageError(f"walltime: {error}") from None
    return replace(place, settings={**place.settings, "walltime": f"{seconds:.0f}s"})


def spreading(place: Place, how: str) -> Place:
    """The place with lists spread over its machines in this way. UsageError: there is no choice of ways there."""
    if "how" not in {field.name for field in fields(load(place.backend).Settings)}:
        raise UsageError(f"{place.name} has one way to spread a list over its machines",
                         hint="An array or pilots are for batch systems such as Slurm; leave it out.")  # fmt: skip
    return replace(place, settings={**place.settings, "how": how})


def sees_our_files(place: Place) -> bool:
    """Do its machines see the files of this one? Errors as in `build`."""
    return build(place).traits.shared_files


def _checked(place: str, settings: type[Any], given: Mapping[str, object]) -> dict[str, object]:
    known = [field.name for field in fields(settings)]
    hints, values, faults = get_type_hints(settings), {}, []
    local: Collection[str] = (
        {field.name for field in fields(settings) if field.metadata.get("local")} if HIRED in os.environ else ()
    )
    for key, value in given.items():
        name = key.replace("-", "_")
        if name in known:
            if name not in local:
                values[name] = _as_it_was(value, hints[name])
            continue
        if name in ASKED:
            continue  # it is asked of machines, not of the place: choose reads it
        near = difflib.get_close_matches(name, [*known, *ASKED], 1)
        faults.append(f"{place}: unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else ""))
    if faults:
        raise ConfigError("; ".join(faults), faults=tuple(faults))
    return values


def _as_it_was(value: Any, kind: Any) -> Any:
    """Lengths and amounts are text where a job has written its place's settings down (a length as ISO 8601 has it), and
    where a backend was not known when the file was read."""
    if not isinstance(value, str) or kind not in (timedelta, Decimal):
        return value
    if kind is timedelta and not value.startswith("P"):
        return units.duration(value)
    import msgspec

    return msgspec.convert(value, kind)


def _points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # it takes a while to load, and ours are known

    return {point.name: point for point in entry_points(group=GROUP) if point.name not in _OURS}


def _own(name: str) -> Any:
    module, _, attribute = _OURS[name].partition(":")
    return getattr(import_module(module), attribute)
