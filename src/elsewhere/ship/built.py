"""An environment on this machine: a virtual environment, built once per digest under a lock, shared by jobs.

Kept below the state directory until `elsewhere clean` or its owner removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from elsewhere.config.home import home
from elsewhere.errors import ConfigError, UsageError
from elsewhere.hosts import private_directory
from elsewhere.ship.runtime import last_lines, uv

_WHOLE = ".whole"


def build(pins: Sequence[str], setup: Sequence[str], python: str, cwd: Path) -> str:
    """The interpreter of such an environment; built now if it is not there. ConfigError: the builder's last lines.

    `python`: a minor version, or the path of an interpreter that it is made from.
    """
    facts = "\n".join([python, *pins, "", *setup, *([str(cwd)] if setup else [])])
    folder = home() / "environments" / sha256(facts.encode()).hexdigest()[:32]
    private_directory(folder.parent)
    with alone(folder.with_suffix(".lock")):
        if not (folder / _WHOLE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, pins, setup, python, cwd)
            (folder / _WHOLE).touch()
    return str(folder / "bin" / "python")


def missing(packages: Sequence[str]) -> list[str]:
    """Those of the system's packages that are not installed here."""
    if shutil.which("dpkg-query") is None:
        return list(packages)
    names = [package.partition("=")[0] for package in packages]
    return [name for name in names if subprocess.run(
        ["dpkg-query", "-W", "--", name], capture_output=True, check=False).returncode]  # fmt: skip


def check_here(apt: Sequence[str]) -> None:
    """UsageError: packages of the system are asked for that this machine lacks; it is not ours to change."""
    if lacking := missing(apt):
        raise UsageError(
            f"this machine has no {' and no '.join(lacking)}, and what is installed here is not ours to change",
            hint=f"apt install {' '.join(lacking)}",
        )


def _make(folder: Path, pins: Sequence[str], setup: Sequence[str], python: str, cwd: Path) -> None:
    _run([uv(), "venv", "--quiet", "--python", python, str(folder)], "", cwd)
    if pins:
        words = [uv(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), "--no-deps", "-r", "-"]
        _run(words, "\n".join(pins), cwd)
    if setup:
        env = {"VIRTUAL_ENV": str(folder), "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}"}
        _run(["/bin/sh", "-ex"], "\n".join(setup) + "\n", cwd, env)


def _run(words: list[str], given: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        words, input=given, cwd=cwd, env={**os.environ, **(env or {})}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        said = f"the environment cannot be built here:\n{last_lines(done.stdout)}"
        raise ConfigError(said, hint="nothing was started")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
