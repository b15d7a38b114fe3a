"""What travels before a job's first machine boots: our agent, the user's code, the software it asks for.

Each is an archive in the place's deposit, under its digest: what is there already is not sent again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elsewhere.controller.files import JobFiles
from elsewhere.errors import StateError, UsageError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.ship import bundle, conda, kept, runtime
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.images import form_of, path_of
from elsewhere.ship.inputs import is_url
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive
from elsewhere.ship.startup import FILE
from elsewhere.ship.trees import Tree, tree
from elsewhere.stores import Store, put_file

RUNTIME, CODE, SOFTWARE, STARTUP, BRINGER, INPUTS = "runtime", "code", "software", "startup", "uv", "inputs"
PYTHON = "python"
CONDA = conda.FOLDER
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
    whole: Archive | None = None
    """For machines that may fetch nothing: Python itself. None: it is not to be had here, so that they must have it."""


def load(spec: JobSpec, store: Store, target: Target, also: tuple[str, ...]) -> Freight:
    """Pack, and put into the deposit what is not there. `also`: distributions that the channel's agent end needs.

    With a startup script only that: it installs what it needs. Twice: nothing is sent again. ConfigError: the software
    cannot be put together; nothing was started.
    """
    if spec.startup:
        agent, uv = runtime.runtime(target, also), runtime.bringer(target)
        for one in (agent, uv):
            if one is not None:
                put(store, one)
        archives = (Archive(agent.key, agent.digest, RUNTIME), _startup(spec, store))
        brings = None if uv is None else Archive(uv.key, uv.digest, BRINGER)
        return Freight(archives, {}, (), target.python, brings)
    found = packed(spec, target, also)
    for one in found.values():
        put(store, one)
    return described(spec, target, found)


def packed(spec: JobSpec, target: Target, also: tuple[str, ...], inputs: bool = True) -> dict[str, Bundle]:
    """The archives, by their folders; those of inputs only if asked for. ConfigError as above."""
    found = {RUNTIME: runtime.runtime(target, (*also, *(conda.RUNTIME if spec.conda else ())))}
    roots = roots_of(spec)
    if roots:
        found[CODE] = bundle.code({folder.removeprefix(f"{CODE}/"): Path(root) for root, folder in roots.items()})
    if inputs:
        found.update({f"{INPUTS}/{i}": bundle.given(Path(path)) for i, path in enumerate(_given(spec))})
    found |= software(spec, target)
    brings = (PYTHON, runtime.interpreter(target)) if spec.offline else (BRINGER, runtime.bringer(target))
    if brings[1] is not None:
        found[brings[0]] = brings[1]
    return found


def software(spec: JobSpec, target: Target) -> dict[str, Bundle]:
    """Of them those of which the environment is made. ConfigError: it cannot be put together."""
    found = {}
    if spec.software:
        minor = conda.python_of(spec.conda) or target.python
        found[SOFTWARE] = runtime.software(spec.software, replace(target, python=minor))
    if spec.julia and spec.offline and spec.julia.address:
        from elsewhere.ship import julia

        archive = julia.fetch(spec.julia.address)
        found[julia.FOLDER] = bundle.pack({archive.name: archive})
    if spec.conda:
        found[CONDA] = bundle.kept(CONDA, kept.mark(spec.conda), lambda: bundle.pack(conda.fetch(spec.conda)))
    return found


def laid(spec: JobSpec) -> dict[str, Tree]:
    """The inputs, by their folders, for a place that lays them out on its machines. UsageError: one cannot be read."""
    return {f"{INPUTS}/{i}": tree(Path(path)) for i, path in enumerate(_given(spec))}


def described(spec: JobSpec, target: Target, found: Mapping[str, Bundle], trees: Mapping[str, Tree] = {}) -> Freight:
    """What a boot text fetches of these, and how paths here read there."""
    inputs = {path: f"{INPUTS}/{i}/{Path(path).name}" for i, path in enumerate(_given(spec))}
    name = kept.mark_of(spec)
    boxed = spec.box is not None  # a link leads nowhere in a container
    archives = {folder: Archive(one.key, one.digest, folder, shared=folder == RUNTIME and not boxed,
                                kept=name if folder in (SOFTWARE, CONDA) else "")
                for folder, one in found.items()}  # fmt: skip
    archives.update({folder: Archive(one.key, one.digest, folder, laid=True) for folder, one in trees.items()})
    bringer, whole = archives.pop(BRINGER, None), archives.pop(PYTHON, None)
    roots = {**roots_of(spec), **inputs}
    software = (SOFTWARE,) if spec.software else ()
    return Freight(tuple(archives.values()), roots, software, target.python, bringer, whole)


def _given(spec: JobSpec) -> list[str]:
    """Inputs that are files here; so may be a container's image, and what is mounted in it."""
    found = [one.source for one in spec.inputs if not is_url(one.source)]
    if spec.box is not None:
        found += [path_of(spec.box.image)] if form_of(spec.box.image) and not spec.box.there else []
        found += [mount.source for mount in spec.box.mounts if mount.sent]
    return list(dict.fromkeys(found))


def target(spec: JobSpec) -> Target:
    """Whose Python, and which processors, the machines of this job have: of the user's minor version, as chosen."""
    kinds = {shape.architecture for shape in spec.machines if shape.architecture}
    return Target(spec.python_version or own().python, kinds.pop() if len(kinds) == 1 else own().architecture)


def of(files: JobFiles, ledger: Ledger, store: Store, target: Target, also: tuple[str, ...]) -> Freight:
    """That of this job, noted in its ledger. Of a job that was brought here from another machine: what is noted there,
    since its code lies on that machine, and what may lie here under the same names is other code.

    StateError: it is not in the deposit any more.
    """
    if noted := brought(files, ledger):
        for archive in noted.archives:
            if archive.key not in store.list(archive.key):
                raise gone(archive, store.url(archive.key))
        return noted
    return note(ledger, load(ledger.spec, store, target, also))


def brought(files: JobFiles, ledger: Ledger) -> Freight | None:
    """What is noted of a job that was brought here from another machine; None: it began here, or nothing is."""
    noted = ledger.get("freight", None)
    return _read(noted) if files.brought.exists() and noted else None


def note(ledger: Ledger, load: Freight) -> Freight:
    """Written down, for whoever goes on with the job where its files are not. Twice: harmless."""
    if _plain(load) != ledger.get("freight", None):
        with ledger.moving():
            ledger.set("freight", _plain(load))
    return load


def gone(archive: Archive, where: str) -> StateError:
    return StateError(f"the {archive.folder} of the job is gone: {where}",
                      hint="resume it on the machine where it began")  # fmt: skip


def _plain(load: Freight) -> dict[str, object]:
    return {"archives": [[a.key, a.digest, a.folder, a.kept] for a in load.archives], "roots": dict(load.roots),
            "software": list(load.software), "python": load.python,
            **{name: one and [one.key, one.digest, one.folder]
               for name, one in (("bringer", load.bringer), ("whole", load.whole))}}  # fmt: skip


def _read(noted: dict[str, Any]) -> Freight:
    archives = tuple(Archive(*words) for words in noted["archives"])
    bringer, whole = (Archive(*noted[name]) if noted.get(name) else None for name in ("bringer", "whole"))
    return Freight(archives, noted["roots"], tuple(noted["software"]), noted["python"], bringer, whole)


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
        put_file(store, packed.key, packed.path)


def roots_of(spec: JobSpec) -> dict[str, str]:
    """The directories whose code travels: the working directory, and those of the entry and of `path` outside it.

    UsageError: the working directory is a home or the root, so that all of it would travel.
    """
    wanted = [spec.cwd, *spec.path, spec.julia.project if spec.julia else ""]
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
