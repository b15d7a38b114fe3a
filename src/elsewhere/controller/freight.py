"""What travels before a job's first machine boots: our agent, the user's code, the software it asks for.

Each is an archive in the place's deposit, under its digest: what is there already is not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elsewhere.errors import UsageError
from elsewhere.model.job import JobSpec
from elsewhere.ship import bundle, runtime
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.inputs import is_url
from elsewhere.ship.runtime import Target
from elsewhere.ship.script import Archive
from elsewhere.stores import Store

RUNTIME, CODE, SOFTWARE, BRINGER, INPUTS = "runtime", "code", "software", "uv", "inputs"
"""Folders on the machine, below the agent's own directory."""


@dataclass(frozen=True, slots=True)
class Freight:
    """What a boot text fetches, and where the job's paths are found there."""

    archives: tuple[Archive, ...]
    roots: Mapping[str, str]
    software: tuple[str, ...]
    python: str
    bringer: Archive | None = None
    """uv, which brings Python where a machine has none of the right version; None: it is not at hand here."""


def load(spec: JobSpec, store: Store, target: Target, also: tuple[str, ...]) -> Freight:
    """Pack, and put into the deposit what is not there. `also`: distributions that the channel's agent end needs.

    Twice: nothing is sent again. ConfigError: the software cannot be put together; nothing was started.
    """
    found = {RUNTIME: runtime.runtime(target, also)}
    roots = roots_of(spec)  # those of inputs, which are longer, come to it below
    if roots:
        found[CODE] = bundle.code({folder.removeprefix(f"{CODE}/"): Path(root) for root, folder in roots.items()})
    for i, path in enumerate(one.source for one in spec.inputs if not is_url(one.source)):
        found[f"{INPUTS}/{i}"] = bundle.given(Path(path))
        roots[path] = f"{INPUTS}/{i}/{Path(path).name}"
    if spec.software:
        found[SOFTWARE] = runtime.software(spec.software, target)
    archives = tuple(_put(store, packed, folder) for folder, packed in found.items())
    uv = runtime.bringer(target)
    bringer = None if uv is None else _put(store, uv, BRINGER)
    return Freight(archives, roots, (SOFTWARE,) if spec.software else (), target.python, bringer)


def _put(store: Store, packed: Bundle, folder: str) -> Archive:
    put(store, packed)
    return Archive(packed.key, packed.digest, folder)


def put(store: Store, packed: Bundle) -> None:
    """Into the deposit, unless it is there."""
    if packed.key not in store.list(packed.key):
        store.create(packed.key, packed.path.read_bytes())


def roots_of(spec: JobSpec) -> dict[str, str]:
    """The directories whose code travels: the working directory, and those of the entry and of `path` outside it.

    UsageError: the working directory is a home or the root, so that all of it would travel.
    """
    wanted = [spec.cwd, *spec.path]
    file, colon, _ = spec.entry.target.rpartition(":")
    if spec.entry.kind == "function" and colon and file.endswith(".py"):
        wanted.append(str(Path(file).parent))
    roots: dict[str, str] = {}
    for path in wanted:
        if not path or any(path == root or path.startswith(root + "/") for root in roots):
            continue
        if Path(path) in (Path("/"), Path.home()):
            raise UsageError(
                f"the code in {path} would travel to the machines, and that is all you have",
                hint="Run this from the directory of your project.",
            )
        roots[path] = f"{CODE}/{len(roots)}"
    return roots
