"""What a job's environment comes to for its place: resolved, and where the place is this machine, built.

Starts nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.model.job import Environment
    from elsewhere.model.place import Place
    from elsewhere.ship.resolve import Resolved

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(=[\w.+:~-]+)?")


@dataclass(frozen=True, slots=True)
class Furnished:
    """`python`: the interpreter of tasks, where it is here. `fields`: of the JobSpec. `path`: sources besides.
    `minor`: the version of that interpreter, where conda brings it. `env`: what `activate` would set here."""

    python: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    minor: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


def files(
    inputs: Sequence[str], outputs: Sequence[str], place: Place, cwd: Path, environment: Environment | None = None
) -> dict[str, Any]:
    """Inputs and outputs, as fields of a JobSpec; empty: there are none. UsageError: what is wrong with them.

    Where the place is this machine, or its machines may fetch nothing, what URLs name is fetched now.
    """
    if not inputs and not outputs:
        return {}
    from elsewhere.config.home import home
    from elsewhere.ship import inputs as given

    found = given.read(inputs, cwd)
    if _sees_our_files(place) or (environment is not None and environment.offline):
        found = given.fetched(found, home() / "cache" / "inputs")
    return {"inputs": found, "outputs": given.globs(outputs)}


def minor() -> str:
    """The minor version of this Python."""
    from elsewhere.ship.runtime import own

    return own().python


def _sees_our_files(place: Place) -> bool:
    from elsewhere.backends import registry

    return registry.sees_our_files(place)


def _processors(place: Place, architecture: str) -> str:
    from elsewhere.ship.runtime import own

    if _sees_our_files(place):
        return own().architecture
    return {"any": ""}.get(architecture, architecture) or "x86_64"


def _seen(place: Place) -> str:
    """The processors of machines that are there already; empty: there are none, or of several kinds. PlaceError."""
    from elsewhere.backends import registry
    from elsewhere.backends.base import Fleet
    from elsewhere.model.resources import Resources

    backend = registry.build(place) if place.backend in registry.names() else None
    if not isinstance(backend, Fleet):
        return ""
    kinds = {shape.architecture for shape in backend.shapes(Resources())}
    return kinds.pop() if len(kinds) == 1 else ""


def with_image(environment: Environment | None, image: str) -> Environment:
    """The same in this image."""
    from elsewhere.model.job import Environment

    return replace(environment or Environment(), image=image)


def check_kind(made: Furnished, kind: str) -> None:
    """UsageError: tasks of this kind cannot run in what was made of the environment."""
    if "box" in made.fields:
        from elsewhere.ship import images

        images.check_kind(made.fields["box"], kind)


def _boxed(environment: Environment, place: Place, cwd: Path, architecture: str) -> Furnished:
    """In a container: settled now where the place is this machine; of an image file it is seen here what it is for."""
    from elsewhere.ship import archives, containers, images

    software = _asked(environment, "python", "pip", "conda", "julia", "prefix", "apt", "setup", "capture")
    if software:
        raise UsageError(
            f"an image and {' and '.join(software)} are one too many: an image brings its own software",
            hint="Put it into the image, or leave the image out.",
        )
    if cwd == Path("/"):
        raise UsageError("the working directory is the root, which a container has one of its own of",
                         hint="Run this from the directory of your project.")  # fmt: skip
    mounts = dict(environment.mounts).items()
    box = containers.box_of(environment.image, mounts, environment.runtime, environment.runtime_options, cwd)
    containers.check_mounts(replace(box, mounts=tuple(one for one in box.mounts if one.sent)))
    form = images.form_of(box.image)
    if form in ("docker-archive", "oci-archive"):
        archives.check(Path(images.path_of(box.image)), form, architecture)
    if _sees_our_files(place):
        box = images.settle(box, told=sys.stderr.isatty())
    elif not form and not environment.offline:
        _ask_registry(box.image, place, architecture)
    return Furnished("", {"box": box})


def _ask_registry(image: str, place: Place, architecture: str) -> None:
    """UsageError: no machine of the place will get this image, as its registry says, and none has it."""
    from elsewhere.ship import registries

    answer = registries.ask(image)
    if answer is None or (not answer.there and _is_there(image, place)):
        return
    if not answer.there:
        like = f"Like it, there are: {', '.join(answer.nearest)}." if answer.nearest else ""
        raise UsageError(f"there is no image {image}, as its registry says", hint=like or "Nothing was started.")
    if answer.processors and not answer.processors >= {"x86_64", "arm64"}:
        are = _seen(place)
        if (wanted := are or architecture) and wanted not in answer.processors:
            has = " and ".join(sorted(answer.processors))
            also = "" if are else f", or ask for machines that have {has}: --architecture {min(answer.processors)}"
            raise UsageError(f"the image {image} is for {has}, and tasks would run on {wanted}",
                             hint=f"Name an image that exists for these processors{also}.")  # fmt: skip


def _is_there(image: str, place: Place) -> bool:
    """Does a machine have it that is there already?"""
    from elsewhere.backends import registry
    from elsewhere.backends.boxes import Boxes

    backend = registry.build(place)
    return isinstance(backend, Boxes) and any(one.has for one in backend.boxed(image))


def resolved(
    environment: Environment, place: Place, cwd: Path, interpreter: str, version: str = "", architecture: str = ""
) -> tuple[Resolved, str]:
    """Exact versions for the place's machines, and their processors; nothing is made. UsageError, ConfigError: it
    cannot be resolved, or asks for what this machine lacks.

    `interpreter`: what runs tasks otherwise, and what `capture` looks at; `version`: its minor one.
    """
    from elsewhere.ship import built, resolve
    from elsewhere.ship.runtime import Target

    _refuse(environment, place)
    wanted = resolve.minor(environment.python)
    here = _sees_our_files(place)
    if here:
        built.check_here(environment.apt)
    sent = environment.pip or environment.conda or environment.julia or environment.capture
    processors = (_seen(place) if sent and not architecture else "") or _processors(place, architecture)
    target = Target(wanted or version or minor(), processors)
    return resolve.resolve(environment, target, cwd, interpreter, here), processors


def _refuse(environment: Environment, place: Place) -> None:
    """UsageError: it asks for what does not go together."""
    if environment.mounts or environment.runtime or environment.runtime_options:
        raise UsageError("mounts, runtime and runtime-options belong to an image, and the environment has none")
    for package in environment.apt:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(f"environment: {package!r} is no name of a package of the system")
    if environment.prefix and (more := _asked(environment, "python", "pip", "conda", "capture")):
        raise UsageError(f"an environment that is there (prefix) and {' and '.join(more)} are one too many",
                         hint="What is there stays as it is.")  # fmt: skip
    if environment.prefix and not _sees_our_files(place) and not environment.prefix.startswith(("/", "~")):
        raise UsageError(f"prefix: {environment.prefix} is no path on another machine", hint="Write /... or ~/...")
    if environment.offline and environment.apt and not _sees_our_files(place):
        raise UsageError("the environment is offline, and packages of the system (apt) come from the network",
                         hint="Have them installed there, or leave out `offline`.")  # fmt: skip


def _asked(environment: Environment, *names: str) -> list[str]:
    return [name for name in names if getattr(environment, name)]


def furnish(
    environment: Environment, place: Place, cwd: Path, interpreter: str, version: str = "", architecture: str = ""
) -> Furnished:
    """The same words as `resolved`, and its errors; where the place is this machine, the environment is built.

    An image is its own environment: it is looked at, and where the place is this machine, pulled.
    """
    if environment.image:
        return _boxed(environment, place, cwd, _processors(place, architecture))
    found, _ = resolved(environment, place, cwd, interpreter, version, architecture)
    if _sees_our_files(place):
        return _here(environment, found, interpreter, cwd)
    from elsewhere.ship import conda, kept

    # our agent runs by a Python of its own where conda brings that of tasks
    python = "" if found.conda or environment.prefix else found.python
    brought = {"conda": found.conda, "prefix": environment.prefix, "julia": found.julia}
    marked = {"setup": environment.setup, "setup_mark": kept.mark_of_lines(environment.setup, cwd)}
    fields = {"software": found.pins, "python_version": python, "apt": environment.apt, **marked,
              "environment": environment.name, "offline": environment.offline, **brought}  # fmt: skip
    return Furnished("", fields, found.path, conda.python_of(found.conda))


def _here(environment: Environment, found: Resolved, interpreter: str, cwd: Path) -> Furnished:
    from elsewhere.config.home import home
    from elsewhere.ship import built, conda, julia, kept, prefix

    env, python = {}, ""
    if environment.prefix:
        folder = prefix.given(environment.prefix)
        built.set_up(folder, environment.setup, cwd)
        env, python = prefix.variables(folder), prefix.python_of(folder)
    elif found.julia is None or found.pins or found.conda or environment.setup or environment.python:
        folder = built.build(found, environment.setup, environment.python or interpreter, cwd, environment.name)
        env, python = prefix.variables(folder), prefix.python_of(folder)
    if found.julia is not None:
        base = home() / kept.FOLDER
        env = prefix.joined(env, julia.ready(found.julia, julia.Given(base, offline=environment.offline)))
    return Furnished(python, {}, found.path, conda.python_of(found.conda), env)
