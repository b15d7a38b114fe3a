"""Containers of a place: made here where they must be, written into `environments:`, and had there before a job is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.cli import finding
from elsewhere.cli.terminal import tell
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.model.job import Box, Environment

FOLDER = "containers"
"""Beside the settings file: images that were made here."""


def bring(name: str, file: Path, wanted: Sequence[tuple[str, str]]) -> bool:
    """Write an environment for each of these, and have its image at the place; whether that came about.

    UsageError: one cannot be made, or its name stands for another image already.
    """
    for tag, source in wanted:
        _write(file, tag, _image(file, tag, source))
    return all([_had(name, file, tag) for tag, _ in wanted])


def _image(file: Path, tag: str, source: str) -> str:
    """As `image:` says it."""
    from elsewhere.ship import making
    from elsewhere.ship.images import form_of, path_of

    if making.is_made(source):
        path = file.parent / FOLDER / f"{tag}.tar"
        if path.exists():
            tell(f"{path} is there, and is taken as it is; remove it to have it made again")
        making.make(source, path, tag)
        return f"docker-archive:{_seen(path)}"
    if form := form_of(source):
        path = Path(path_of(source)).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"there is no image file {path}", hint="Nothing was brought.")
        return str(_seen(path)) if path.suffix == ".sif" else f"{form}:{_seen(path)}"
    return source


def _seen(path: Path) -> Path:
    """As it is named from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _write(file: Path, tag: str, image: str) -> None:
    from elsewhere.config import edit, load
    from elsewhere.hosts import write_whole

    known = load.current(file.parent)
    if tag in known.names("environments"):
        if known.environment(tag).image != image:
            raise UsageError(f"the environment {tag} stands in the settings already, with another image: "
                             f"{known.environment(tag).image or 'none'}", hint="Change it there, or name this one "
                             "differently.")  # fmt: skip
        return
    entry = {"image": image}
    write_whole(
        file, edit.added(file.read_text("utf-8"), "environments", tag, entry).encode(), file.stat().st_mode & 0o777
    )
    tell(f"{file}: environments: {tag}: {edit.flow(entry)}")


def _had(name: str, file: Path, tag: str) -> bool:
    """Is the image there now, on its host or, where that has no runtime, by a job?"""
    from elsewhere.backends import registry
    from elsewhere.backends.base import Finding
    from elsewhere.backends.newcomers import Enters
    from elsewhere.config import load
    from elsewhere.controller import entering
    from elsewhere.model.resources import Resources

    place = registry.build(load.current(file.parent).places()[name])
    if not isinstance(place, Enters):
        return finding.show(name, Finding(f"container {tag}", True, "each machine has it before its first task"))
    box, said = box_of(tag, file.parent), ""
    for shape in (None, Resources()):
        done = subprocess.run(entering.having(place, box, shape), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", check=False)  # fmt: skip
        if done.returncode == 0:
            where = "" if shape is None else ", on a node"
            return finding.show(name, Finding(f"container {tag}", True, f"{done.stdout.strip()}{where}"))
        said = said or done.stderr.strip()
        if "no container runtime" not in done.stderr:
            break
    sys.stdout.flush()
    return finding.show(name, Finding(f"container {tag}", False, said, f"then: elsewhere places add {name} --container "
                                      f"{tag}=..., or have it brought by the first job"))  # fmt: skip


def box_of(tag: str, directory: Path | None = None) -> Box:
    """The container of an environment. UnknownPlace: there is none of that name. UsageError: it has no image."""
    from elsewhere.config import load
    from elsewhere.ship import containers

    environment: Environment = load.current(directory).environment(tag)
    if not environment.image:
        raise UsageError(f"the environment {tag} has no image", hint="Name one that has: `image:`.")
    return containers.box_of(environment.image, dict(environment.mounts).items(), environment.runtime,
                             environment.runtime_options, Path.cwd())  # fmt: skip
