"""What a job's environment comes to for its place: resolved, and where the place is this machine, built.

Starts nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    if place.backend == "local":
        found = given.fetched(found, home() / "cache" / "inputs")
    return {"inputs": found, "outputs": given.globs(outputs)}


def minor() -> str:
    """The minor version of this Python."""
    from elsewhere.ship.runtime import own

    return own().python


def resolved(
    environment: Environment, place: Place, cwd: Path, interpreter: str, version: str = "", architecture: str = ""
) -> tuple[Resolved, str]:
    """Exact versions for the place's machines, and their processors; nothing is made. UsageError, ConfigError: it
    cannot be resolved, or asks for what this machine lacks.

    `interpreter`: what runs tasks otherwise, and what `capture` looks at; `version`: its minor one.
    """
    from elsewhere.ship import built, resolve
    from elsewhere.ship.runtime import Target, own

    for package in environment.apt:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(f"environment: {package!r} is no name of a package of the system")
    wanted = resolve.minor(environment.python)
    ours = own()
    here = place.backend == "local"
    processors = ours.architecture if here else {"any": ""}.get(architecture, architecture) or "x86_64"
    if here:
        built.check_here(environment.apt)
    target = Target(wanted or version or ours.python, processors)
    return resolve.resolve(environment, target, cwd, interpreter), processors


def furnish(
    environment: Environment, place: Place, cwd: Path, interpreter: str, version: str = "", architecture: str = ""
) -> Furnished:
    """The same words as `resolved`, and its errors; where the place is this machine, the environment is built."""
    found, _ = resolved(environment, place, cwd, interpreter, version, architecture)
    if place.backend == "local":
        from elsewhere.ship import built

        python = built.build(found.pins, environment.setup, environment.python or interpreter, cwd)
        return Furnished(python, path=found.path)
    fields = {"software": found.pins, "python_version": found.python, "apt": environment.apt,
              "setup": environment.setup}  # fmt: skip
    return Furnished("", fields, found.path)
