"""The environment of a job's tasks on this machine: kept under its mark, or built now, or the job's own."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from elsewhere.agent import sharing
from elsewhere.agent.steps import CannotFurnish
from elsewhere.errors import ElsewhereError
from elsewhere.ship import kept, prefix
from elsewhere.ship.charter import Charter

OWN = "environment"
"""In the agent's directory, where setup lines make it the job's own (sharing.py)."""


def ready(charter: Charter, own: Path) -> Path | None:
    """Where it is; None: tasks run with what the machine has. CannotFurnish."""
    spec = charter.spec
    if spec.prefix:
        return _given(spec.prefix)
    name = kept.mark_of(spec)
    if name and not (spec.setup and not sharing.may_be(kept.folder_of(own, name))):
        folder = kept.folder_of(own, name)
        kept.built(folder, kept.about(spec), lambda fresh: _made(fresh, charter, own))
        kept.used(folder, spec.id)
        return folder
    if not spec.setup:
        return None
    folder = own / OWN
    if not folder.exists():
        _make(folder, charter, own)
    return folder


def is_own(folder: Path | None, own: Path) -> bool:
    """Is it of this job alone, so that its setup lines are still to be run?"""
    return folder is None or folder.parent == own or kept.FOLDER not in folder.parts[-2:]


def variables(folder: Path) -> dict[str, str]:
    """What its `activate` would set. CannotFurnish: a hook of it fails."""
    try:
        return prefix.variables(folder)
    except ElsewhereError as error:
        raise CannotFurnish.by("environment", error) from error


def julia(charter: Charter, own: Path) -> dict[str, str]:
    """Variables by which tasks find Julia. CannotFurnish."""
    from elsewhere.ship import julia as jl

    spec = charter.spec
    assert spec.julia is not None
    sent = own / jl.FOLDER
    given = jl.Given(kept.folder_of(own, ""), sent if sent.is_dir() else None, spec.env, spec.offline, spec.id)
    try:
        return jl.ready(spec.julia, given)
    except ElsewhereError as error:
        raise CannotFurnish.by("julia", error) from error


def _given(path: str) -> Path:
    try:
        return prefix.given(path)
    except ElsewhereError as error:
        raise CannotFurnish.by("environment", error) from error


def _made(folder: Path, charter: Charter, own: Path) -> None:
    _make(folder, charter, own)
    try:
        prefix.check(folder)
    except ElsewhereError as error:
        raise CannotFurnish.by("environment", error) from error
    if charter.spec.setup:
        sharing.run(charter.spec, own, variables(folder))


def _make(folder: Path, charter: Charter, own: Path) -> None:
    """Packages of conda first, else an empty virtual environment; into it what was unpacked of the wheels."""
    if charter.spec.conda:
        from elsewhere.ship import conda

        try:
            conda.link(own / conda.FOLDER, folder)
        except ElsewhereError as error:
            raise CannotFurnish.by("conda", error) from error
    else:
        _empty(folder)
    if not charter.software:
        return
    site = prefix.site_of(folder) if charter.spec.conda else _site_of_empty(folder)
    brought = []
    for name in charter.software:
        lies = own / name
        if folder.parent != own:  # it outlives the job
            lies = lies.rename(folder / name)
        brought.append(lies)
    _join(folder, brought, site)


def _empty(folder: Path) -> None:
    """An empty virtual environment of our own interpreter."""
    from venv import EnvBuilder

    try:
        EnvBuilder(symlinks=True).create(folder)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CannotFurnish("environment", str(error)) from error


def _site_of_empty(folder: Path) -> Path:
    """Where its packages lie: it is of our own interpreter, so that no other needs to be started to say so."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))


def _join(folder: Path, brought: Sequence[Path], site: Path) -> None:
    """The unpacked software, into the environment: importable, and its programs with the right first line."""
    lines = [f"import site; site.addsitedir({str(one)!r})\n" for one in brought]
    site.mkdir(parents=True, exist_ok=True)
    (site / "elsewhere-software.pth").write_text("".join(lines))
    for program in [file for one in brought for file in (one / "bin").glob("*") if file.is_file()]:
        data, target = program.read_bytes(), folder / "bin" / program.name
        head, newline, rest = data.partition(b"\n")
        if target.exists():
            continue
        if head.startswith(b"#!") and b"python" in head:
            data = b"#!" + os.fsencode(folder / "bin" / "python") + newline + rest
        target.write_bytes(data)
        target.chmod(0o700)
