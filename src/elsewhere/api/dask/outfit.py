"""The environment of a tag on hosts that do not see our files: put together here and built there, as a job's is.

Nothing of it is asked of an index by the host, and it is kept there as those of jobs are.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elsewhere.backends.base import Backend
    from elsewhere.model.job import Environment, JobSpec
    from elsewhere.model.place import Place, Shape


def packed(environment: Environment, place: Place, machines: Sequence[Shape]) -> JobSpec:
    """What is built, as of a job on these machines. UsageError, ConfigError: it cannot be put together. Twice: what is
    here is used."""
    from elsewhere.api import furnishing
    from elsewhere.controller import freight
    from elsewhere.model import ids
    from elsewhere.model.job import Entry, JobSpec

    made = furnishing.furnish(environment, place, Path.cwd(), sys.executable)
    spec = JobSpec(
        id=ids.new("job"), name="environment", entry=Entry("command"), place=place.name, backend=place.backend,
        settings=dict(place.settings), machines=tuple(machines), **made.fields,
    )  # fmt: skip
    freight.packed(spec, freight.target(spec), ())
    return spec


def build(spec: JobSpec, backend: Backend, machine: Shape, directory: str) -> Environment:
    """It is there, in our directory on that machine. ConfigError: the builder's last lines. PlaceError: it is not
    reached. Twice: what is there is used."""
    from elsewhere.controller import building
    from elsewhere.model.job import Environment
    from elsewhere.ship import kept

    went: list[building.Built] = []
    building.build(replace(spec, machines=(machine,)), backend, went.append)
    for one in went:
        if not one.ok:
            raise ConfigError(f"the environment cannot be built there:\n{one.said}", hint="Mend it, or what is there.")
    return Environment(name=spec.environment, prefix=f"~/{directory}/{kept.FOLDER}/{kept.mark_of(spec)}")
