"""What a tag stands for: the software and the share of a machine that its workers have. Checked when it is added."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.api.dask import versions
from elsewhere.errors import UsageError
from elsewhere.model import units
from elsewhere.model.resources import Resources
from elsewhere.ship.dask_worker import SLOT, kept

if TYPE_CHECKING:
    from elsewhere.backends.base import Backend
    from elsewhere.model.job import Environment
    from elsewhere.model.place import Place

_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A container as `add_container` is told of it."""

    image: str = ""
    environment: str | Environment = ""
    python: str = ""
    cpus: float = 1
    memory: str | int | None = None
    gpus: int | str = 0
    threads: int = 1
    mounts: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    runtime: str = ""
    runtime_options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """The same, settled. `plan`: of the container that runs it (ship/containers.py); empty: none does."""

    tag: str
    shape: Resources
    threads: int
    python: str
    env: Mapping[str, str]
    software: str
    """For people."""
    plan: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """Where workers of a cluster run. `directory`: the cluster's own; `path`: what is importable there."""

    place: Place
    backend: Backend
    directory: Path
    cwd: Path
    path: tuple[str, ...] = ()


def settle(tag: str, asked: Asked, site: Site) -> Container:
    """UsageError: all that is wrong with it, as far as it can be seen here; nothing is started."""
    written = written_as(tag)
    shape = shape_of(written, asked)
    if not site.backend.offers(shape):
        raise refused(written, site.place, shape)
    environment = _environment(asked)
    if environment is None:
        python = _interpreter(asked.python)
        found = Container(written, shape, asked.threads, python, dict(asked.env), python)
    elif environment.image:
        found = _boxed(written, shape, asked, environment, site)
    else:
        found = _built(written, shape, asked, environment, site)
    who = f"the {'image' if found.plan else 'Python'} of {written}"
    if found.plan or found.python != sys.executable:
        versions.check(lambda words: _run(found, words), who, found.env)
    return found


def written_as(tag: object) -> str:
    """Tags are written in small letters. UsageError: it is none."""
    if not isinstance(tag, str) or not _TAG.fullmatch(tag.lower()):
        raise UsageError(f"{tag!r} is no tag: letters, digits, '.', '_' and '-', up to 40, as in gcam or model-2")
    return tag.lower()


def refused(tag: str, place: Place, shape: Resources) -> UsageError:
    """For a tag that asks for more than any machine there has."""
    return UsageError(f"no machine of {place.name} has what {tag} asks for: {_said(shape)}",
                      hint="Ask for less; `elsewhere places check` shows what there is.")  # fmt: skip


def shape_of(tag: str, asked: Asked) -> Resources:
    """What each of its workers has. UsageError: all that is wrong with the words."""
    faults = []
    try:
        shape = Resources(cpus=asked.cpus, memory=asked.memory, gpus=asked.gpus)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        faults.append(str(error))
    if type(asked.threads) is not int or asked.threads < 1:
        faults.append(f"threads must be a whole number of 1 or more, not {asked.threads!r}")
    for name in ("mounts", "env"):
        given = getattr(asked, name)
        if not isinstance(given, Mapping) or not all(isinstance(one, str) for pair in given.items() for one in pair):
            faults.append(f"{name} must be a mapping of text to text, not {given!r}")
    if asked.python and (asked.image or asked.environment):
        faults.append("python, and an image or environment, are one too many")
    if faults:
        raise UsageError(f"{tag}: " + "; ".join(faults))
    return shape


def _said(shape: Resources) -> str:
    words = [f"{shape.cpus:g} CPUs"]
    words += [units.show_size(shape.memory)] if shape.memory else []
    words += [f"{shape.gpus} GPUs"] if shape.gpus else []
    return ", ".join(words)


def _environment(asked: Asked) -> Environment | None:
    """The software that is asked for; None: that of an interpreter which is there."""
    from elsewhere.model.job import Environment

    found = asked.environment
    if isinstance(found, str) and found:
        from elsewhere.config import load

        found = load.current().environment(found)
    if asked.image:
        found = replace(found or Environment(), image=asked.image)
    away = [f"{source} -> {target}" for source, target in asked.mounts.items() if source != target]
    if away and not (isinstance(found, Environment) and found.image):
        raise UsageError(f"without an image there is nothing to mount {away[0]} in",
                         hint="Name an image, or use the path as it is.")  # fmt: skip
    if not isinstance(found, Environment):
        return None
    options = tuple(asked.runtime_options) or found.runtime_options
    mounts = (*found.mounts, *asked.mounts.items()) if found.image else found.mounts
    return replace(found, mounts=mounts, runtime=asked.runtime or found.runtime, runtime_options=options)


def _interpreter(named: str) -> str:
    from elsewhere.ship.environment import interpreter

    return interpreter(named).path if named else sys.executable


def _built(tag: str, shape: Resources, asked: Asked, environment: Environment, site: Site) -> Container:
    """A virtual environment, with the same Dask as here."""
    from elsewhere.api import furnishing

    pip = environment.pip
    if isinstance(pip, str):
        pip = tuple((site.cwd / pip).read_text().splitlines())
    ours = versions.here()
    whole = replace(environment, pip=(*pip, f"distributed=={ours.dask}"), python=environment.python or ours.python)
    made = furnishing.furnish(whole, site.place, site.cwd, sys.executable)
    name = asked.environment if isinstance(asked.environment, str) else "an environment"
    return Container(tag, shape, asked.threads, made.python, {**made.env, **asked.env}, name)


def _boxed(tag: str, shape: Resources, asked: Asked, environment: Environment, site: Site) -> Container:
    """In a container, which finds the cluster's directory, ours and the working directory under their own names."""
    from elsewhere.api import caching, furnishing
    from elsewhere.hosts import private_directory
    from elsewhere.model.job import Mount
    from elsewhere.ship import containers

    made = furnishing.furnish(environment, site.place, site.cwd, sys.executable)
    box = made.fields["box"]
    if not box.found.python:
        raise UsageError(f"the image of {tag} has no Python, which a Dask worker needs")
    private_directory(caching.root())
    writable = (str(site.directory), str(site.cwd), str(caching.root()))
    mounts = [Mount(path, path, path in writable) for path in dict.fromkeys((*writable, str(SLOT), *site.path))]
    mounts = [mount for mount in mounts if Path(mount.source).exists()]
    if box.found.kind == "charliecloud":
        containers.make_targets(Path(box.found.image), containers.least([*box.mounts, *mounts]))
    plan = containers.plan(box, mounts, asked.env, bool(shape.gpus))
    return Container(tag, shape, asked.threads, box.found.python, dict(asked.env), environment.image, plan)


def _run(container: Container, words: list[str]) -> list[str]:
    inside = [container.python, *words]
    return kept(container.plan, inside) if container.plan else inside
