"""The environment of a tag on machines that are started for it: as a job's it travels from here, exact, as archives.

It is put together there by what does so for tasks (agent/furnish.py). No package index need be reached from there.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.api.dask import versions
from elsewhere.api.dask.containers import Asked, Container, shape_of
from elsewhere.errors import StateError, UsageError
from elsewhere.model.job import Entry, JobSpec
from elsewhere.ship import visit
from elsewhere.ship.charter import Charter, pack, unpack

if TYPE_CHECKING:
    from elsewhere.model.job import Environment
    from elsewhere.model.place import Place


def charter(environment: Environment, place: Place, cluster: str, tag: str, architecture: str) -> Charter:
    """What a machine must know to have it, with the Dask of here in it. UsageError, ConfigError: it cannot be."""
    from elsewhere.api import furnishing
    from elsewhere.controller import freight

    pip = environment.pip
    if isinstance(pip, str):
        pip = tuple(Path(pip).read_text().splitlines())
    ours = versions.here()
    if not environment.prefix:
        environment = replace(environment, pip=(*pip, f"distributed=={ours.dask}"))
    made = furnishing.furnish(environment, place, Path.cwd(), sys.executable, ours.python, architecture)
    minor = made.minor or str(made.fields["python_version"]) or ours.python
    if why := versions.differ(versions.Versions(minor, ours.dask), ours, f"the environment of {tag}"):
        raise UsageError(why, hint=f"Write python: '{ours.python}' in it, or none.")
    root = str(Path.cwd())
    spec = JobSpec(cluster, tag, Entry("call"), place=place.name, backend=place.backend, cwd=root, **made.fields)
    software = (freight.SOFTWARE,) if spec.software else ()
    return Charter(spec, "", b"", {root: f"{visit.CODE}/{visit.PROJECT}"}, software)


def told(found: Charter) -> str:
    """The same as text."""
    return pack(found).decode()


def here(text: str, tag: str, asked: Asked, own: Path) -> Container:
    """The container of a tag, on the machine. StateError: it cannot be had there, and why."""
    from elsewhere.agent.furnish import furnish
    from elsewhere.agent.steps import CannotFurnish

    found = unpack(text.encode())
    spec = replace(found.there(own, sys.executable), env=dict(asked.env))
    try:
        spec = furnish(replace(found, spec=spec), own)
    except CannotFurnish as error:
        raise StateError(f"the environment cannot be had: {error}") from error
    versions.check(lambda words: [spec.python, *words], f"the environment of {tag}", spec.env)
    return Container(tag, shape_of(tag, asked), asked.threads, spec.python, dict(spec.env), spec.environment)
