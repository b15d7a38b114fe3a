"""What a job's environment comes to for its place: resolved, and where the place is this machine, built.

Starts nothing.
"""

from __future__ import annotations

import os
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
    """`python`: the interpreter of tasks, where it is here. `fields`: of the JobSpec. `path`: sources besides."""

    python: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """What `activate` would set, where the interpreter is here."""
        if not self.python:
            return {}
        programs = Path(self.python).parent
        return {"VIRTUAL_ENV": str(programs.parent), "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}"}


def files(inputs: Sequence[str], outputs: Sequence[str], place: Place, cwd: Path) -> dict[str, Any]:
    """Inputs and outputs, as fields of a JobSpec; empty: there are none. UsageError: what is wrong with them.

    Where the place is this machine, what URLs name is fetched now.
    """
    if not inputs and not outputs:
        return {}
    from elsewhere.config.home import home
    from elsewhere.ship import inputs as given

    found = given.read(inputs, cwd)
    if _sees_our_files(place):
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

    software = [name for name in ("python", "pip", "apt", "setup", "capture") if getattr(environment, name)]
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
    return Furnished("", {"box": box})


def resolved(
    environment: Environment, place: Place, cwd: Path, interpreter: str, version: str = "", architecture: str = ""
) -> tuple[Resolved, str]:
    """Exact versions for the place's machines, and their processors; nothing is made. UsageError, ConfigError: it
    cannot be resolved, or asks for what this machine lacks.

    `interpreter`: what runs tasks otherwise, and what `capture` looks at; `version`: its minor one.
    """
    from elsewhere.ship import built, resolve
    from elsewhere.ship.runtime import Target

    if environment.mounts or environment.runtime or environment.runtime_options:
        raise UsageError("mounts, runtime and runtime-options belong to an image, and the environment has none")
    for package in environment.apt:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(f"environment: {package!r} is no name of a package of the system")
    wanted = resolve.minor(environment.python)
    if _sees_our_files(place):
        built.check_here(environment.apt)
    processors = _processors(place, architecture)
    target = Target(wanted or version or minor(), processors)
    return resolve.resolve(environment, target, cwd, interpreter), processors


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
        from elsewhere.ship import built

        python = built.build(found.pins, environment.setup, environment.python or interpreter, cwd)
        return Furnished(python, path=found.path)
    fields = {"software": found.pins, "python_version": found.python, "apt": environment.apt,
              "setup": environment.setup}  # fmt: skip
    return Furnished("", fields, found.path)
