"""An environment on this machine: a virtual environment or a prefix of conda, built once and shared by jobs.

Kept below the state directory until `elsewhere environments rm`, or until nothing has used it for long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.config.home import home
from elsewhere.errors import ConfigError, UsageError
from elsewhere.ship import conda, indexes, kept, prefix
from elsewhere.ship.runtime import last_lines, uv

if TYPE_CHECKING:
    from elsewhere.ship.resolve import Resolved


def build(found: Resolved, setup: Sequence[str], python: str, cwd: Path, name: str = "") -> Path:
    """The directory of such an environment; built now if it is not there. ConfigError: the builder's last lines.

    `python`: a minor version, or the path of an interpreter that it is made from. `name`: what the settings call it.
    """
    facts = [python, *found.pins, "", *setup, *([str(cwd)] if setup else []), *found.conda]
    folder = home() / kept.FOLDER / kept.mark(facts)
    about = {"name": name, "python": found.python, "pip": list(found.pins), "conda": kept.names(found.conda)}
    kept.built(folder, about, lambda fresh: _make(fresh, found, setup, python, cwd))
    return folder


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


def _make(folder: Path, found: Resolved, setup: Sequence[str], python: str, cwd: Path) -> None:
    if found.conda:
        with tempfile.TemporaryDirectory() as packages:
            for name, path in conda.fetch(found.conda).items():
                (Path(packages) / name).symlink_to(path)
            conda.link(Path(packages), folder)
    else:
        _run([uv(), "venv", "--quiet", "--python", python, str(folder)], "", cwd)
    if found.pins:
        words = [uv(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), "--no-deps", "-r", "-"]
        _run(words, "\n".join(found.pins), cwd, indexes.variables(cwd))
    if not setup:
        prefix.check(folder)
    set_up(folder, setup, cwd)


def set_up(folder: Path, lines: Sequence[str], cwd: Path) -> None:
    """Run these in an environment that is there. ConfigError: the last lines of what they said."""
    if lines:
        _run(["/bin/sh", "-ex"], "\n".join(lines) + "\n", cwd, prefix.variables(folder))


def _run(words: list[str], given: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        words, input=given, cwd=cwd, env={**os.environ, **(env or {})}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        said = f"the environment cannot be built here:\n{last_lines(done.stdout)}"
        raise ConfigError(said, hint="nothing was started")
