"""What travels before a job's first machine boots: our agent, the user's code, the software it asks for.

Each is an archive in the place's deposit, under its digest: what is there already is not sent again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elsewhere.errors import UsageError
from elsewhere.model.job import JobSpec
from elsewhere.ship import bundle, runtime
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.runtime import Target
from elsewhere.ship.script import Archive
from elsewhere.ship.startup import FILE
from elsewhere.stores import Store

RUNTIME, CODE, SOFTWARE, STARTUP = "runtime", "code", "software", "startup"
"""Folders on the machine, below the agent's own directory."""


@dataclass(frozen=True, slots=True)
class Freight:
    """What a boot text fetches, and where the job's paths are found there."""

    archives: tuple[Archive, ...]
    roots: Mapping[str, str]
    software: tuple[str, ...]
    python: str


def load(spec: JobSpec, store: Store, target: Target, also: tuple[str, ...]) -> Freight:
    """Pack, and put into the deposit what is not there. `also`: distributions that the channel's agent end needs.

    With a startup script only that: it installs what it needs. Twice: nothing is sent again. ConfigError: the software
    cannot be put together; nothing was started.
    """
    found = {RUNTIME: runtime.runtime(target, also)}
    if spec.startup:
        put(store, found[RUNTIME])
        archive = Archive(found[RUNTIME].key, found[RUNTIME].digest, RUNTIME)
        return Freight((archive, _startup(spec, store)), {}, (), target.python)
    roots = roots_of(spec)
    if roots:
        found[CODE] = bundle.code({folder.removeprefix(f"{CODE}/"): Path(root) for root, folder in roots.items()})
    if spec.software:
        found[SOFTWARE] = runtime.software(spec.software, target)
    for packed in found.values():
        put(store, packed)
    archives = tuple(Archive(packed.key, packed.digest, folder) for folder, packed in found.items())
    return Freight(archives, roots, (SOFTWARE,) if spec.software else (), target.python)


def _startup(spec: JobSpec, store: Store) -> Archive:
    """Not in the boot text, which many may read; in the job's own corner of the deposit, which goes with the job."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        path.write_text(spec.startup, encoding="utf-8")
        packed = bundle.pack({FILE: path})
    key = f"jobs/{spec.id}/{STARTUP}.tar.gz"
    store.put(key, packed.path.read_bytes())
    return Archive(key, packed.digest, STARTUP)


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
