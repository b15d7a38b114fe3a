"""Environments as things of their own: built before there is a job, listed, removed. Of a place whose machines stay."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere import session
from elsewhere.api import furnishing
from elsewhere.backends import registry
from elsewhere.backends.base import Keeps, Kept
from elsewhere.controller.building import Built
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.model.job import Environment
    from elsewhere.model.place import Place


def build(
    environment: Environment, place: Place, cwd: Path, interpreter: str, version: str, told: Callable[[Built], None]
) -> None:
    """On all machines of the place; `told` of each. The words and errors of `furnishing.furnish`, and those of places.

    Twice: what is there is used.
    """
    if environment.image:
        raise UsageError("an image is pulled where tasks run, and there is nothing to build",
                         hint="`elsewhere run` pulls it, once for each machine.")  # fmt: skip
    keeps(place)
    made = furnishing.furnish(environment, place, cwd, interpreter, version)
    if not made.fields:
        told(Built("here", True))
        return
    from elsewhere.controller import building
    from elsewhere.model import ids
    from elsewhere.model.job import Entry, JobSpec

    spec = JobSpec(
        id=ids.new("job"), name="environment", entry=Entry("command"), place=place.name, backend=place.backend,
        settings=dict(place.settings), **{**made.fields, "setup": ()},
    )  # fmt: skip
    building.build(session.survey(spec), registry.build(place), told)


def keeps(place: Place) -> Keeps:
    """The place as one that keeps environments. UsageError: its machines do not stay."""
    backend = registry.build(place)
    if not isinstance(backend, Keeps):
        raise UsageError(f"machines of {place.name} do not stay, so nothing can be kept on them",
                         hint="They get the environment of a job from here, once for each machine.")  # fmt: skip
    return backend


def kept(place: Place) -> list[Kept]:
    """All that is kept there, what was used last first."""
    found = keeps(place).environments()
    at_work = _at_work() if any(one.path for one in found) else set()
    marked = [replace(one, busy=one.busy or any(one.path in text for text in at_work))
              if one.path else one for one in found]  # fmt: skip
    return sorted(marked, key=lambda one: one.used, reverse=True)


def chosen(found: Sequence[Kept], names: Collection[str], older: timedelta | None) -> list[Kept]:
    """Those to remove: by name or beginning of the mark (none: all), unused for so long, and not in use. Pure.

    UsageError: a name that none of them has.
    """
    for name in names:
        if not any(_is_named(one, name) for one in found):
            raise UsageError(f"there is no environment {name!r} there", hint="`elsewhere environments` lists them.")
    now = datetime.now(UTC)
    wanted = [one for one in found if not names or any(_is_named(one, name) for name in names)]
    return [one for one in wanted if not one.busy and (older is None or now - one.used >= older)]


def remove(place: Place, gone: Sequence[Kept]) -> None:
    """Twice: harmless."""
    keeps(place).discard(gone)


def sweep(older: timedelta) -> None:
    """Archives here that were not used for so long: what is needed again is made, or fetched, again."""
    from elsewhere.config.home import home

    limit = (datetime.now(UTC) - older).timestamp()
    for path in (home() / "cache").rglob("*"):
        try:
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
        except OSError:
            continue


def _is_named(one: Kept, name: str) -> bool:
    return one.about.get("name") == name or one.mark.startswith(name)


def _at_work() -> set[str]:
    """By what jobs here that are not over find their software: interpreters and variables."""
    found = set()
    for files in session.listing():
        try:
            ledger = files.open()
        except UsageError:  # damaged
            continue
        try:
            if not ledger.count().over:
                found |= {ledger.spec.python, *ledger.spec.env.values()}
        finally:
            ledger.close()
    return found


def interpreter(python: str = "") -> tuple[str, str]:
    """(path, minor version) of what runs tasks otherwise."""
    from elsewhere.ship import environment

    found = environment.interpreter(python) if python else environment.interpreter()
    return found.path or sys.executable, ".".join(map(str, found.version))
