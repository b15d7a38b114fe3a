"""What a machine needs before its first task: packages of the system, an interpreter with the software, setup lines.

A step that fails is told with its own last lines, and the machine goes. What is done is done once per machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from elsewhere.agent.boot import Boot
from elsewhere.errors import ElsewhereError
from elsewhere.model.job import Box, Input, JobSpec
from elsewhere.ship.charter import Charter

LIMIT = 900.0
"""Seconds for each step: the dead man's switch stands at twenty minutes until the agent lives."""
LINES = 12
VENV = "environment"


class CannotFurnish(Exception):
    """A step failed; `said` are its last lines."""

    def __init__(self, step: str, said: str) -> None:
        super().__init__(f"{step}: {said}")
        self.step, self.said = step, said


def furnish(charter: Charter, own: Path) -> JobSpec:
    """The job as it reads where all that its environment asks for is there. CannotFurnish."""
    spec = replace(charter.spec, inputs=_inputs(charter.spec, own))
    if spec.cwd:
        Path(spec.cwd).mkdir(parents=True, exist_ok=True)  # an archive of no files makes no directory
    if spec.resources.gpus:
        _run("gpus", ["nvidia-smi"])  # a driver that does not work is seen here, not by each task
    if spec.apt:
        _install(spec.apt)
    if spec.box is not None:
        return replace(spec, box=_settled(spec, own))
    if not (spec.software or spec.setup):
        return spec
    venv = own / VENV
    python = venv / "bin" / "python"
    if not python.exists():
        _make(venv)
        _join(venv, [own / folder for folder in charter.software])
    env = {"VIRTUAL_ENV": str(venv), "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}"}
    if spec.setup:
        told = {**os.environ, **env, **spec.env}
        _run("setup", ["/bin/sh", "-ex"], told, spec.cwd or str(own), "\n".join(spec.setup) + "\n")
    return replace(spec, python=str(python), env={**env, **spec.env})


def _settled(spec: JobSpec, own: Path) -> Box:
    """The container, once this machine has its image."""
    from elsewhere.ship import images

    assert spec.box is not None
    for mount in spec.box.mounts:
        if mount.sent and not Path(mount.source).exists():
            Path(mount.source).mkdir(parents=True)  # an archive of no files makes no directory
    try:
        box = images.settle(spec.box, told=True)
        images.check_kind(box, spec.entry.kind)
        Boot.of(replace(spec, box=box), own, b"").plan()
    except ElsewhereError as error:
        raise CannotFurnish("container", error.message + (f"\n{error.hint}" if error.hint else "")) from error
    return box


def _inputs(spec: JobSpec, own: Path) -> tuple[Input, ...]:
    """Fetched, where they are named by URLs; none may be written to."""
    for path in (own / "inputs").rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    if not spec.inputs:
        return ()
    from elsewhere.ship.inputs import fetched

    try:
        return fetched(spec.inputs, own / "fetched")
    except ElsewhereError as error:
        raise CannotFurnish("inputs", error.message) from error


def _make(venv: Path) -> None:
    """An empty virtual environment of our own interpreter."""
    from venv import EnvBuilder

    try:
        EnvBuilder(symlinks=True).create(venv)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CannotFurnish("environment", str(error)) from error


def _join(venv: Path, folders: Sequence[Path]) -> None:
    """The unpacked software, into a virtual environment: importable, and its programs with the right first line."""
    [site] = (venv / "lib").glob("python*/site-packages")
    lines = [f"import site; site.addsitedir({str(folder)!r})\n" for folder in folders]
    (site / "elsewhere-software.pth").write_text("".join(lines))
    for program in [file for folder in folders for file in (folder / "bin").glob("*") if file.is_file()]:
        data, target = program.read_bytes(), venv / "bin" / program.name
        head, newline, rest = data.partition(b"\n")
        if target.exists():
            continue
        if head.startswith(b"#!") and b"python" in head:
            data = b"#!" + os.fsencode(venv / "bin" / "python") + newline + rest
        target.write_bytes(data)
        target.chmod(0o700)


def _install(packages: Sequence[str]) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run("apt", [*as_root, "apt-get", "-q", "update"], env)
    _run("apt", [*as_root, "apt-get", "-q", "install", "-y", "--no-install-recommends", "--", *packages], env)


def _run(
    step: str, words: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None, given: str = ""
) -> None:
    """Its output also goes to our own, which is the boot's."""
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, input=given.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CannotFurnish(step, f"it took longer than {LIMIT / 60:.0f} minutes") from error
    except OSError as error:
        raise CannotFurnish(step, f"{words[0]}: {error.strerror}") from error
    sys.stderr.buffer.write(done.stdout)
    sys.stderr.flush()
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip().splitlines()[-LINES:]
        raise CannotFurnish(step, "\n".join([*last, f"exit status {done.returncode}"]))
