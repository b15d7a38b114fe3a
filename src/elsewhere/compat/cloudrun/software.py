"""CloudRun's environments as ours: packages of PyPI, conda and apt, each as a list, a file, or an environment."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.compat.cloudrun.words import Config
from elsewhere.model.job import Environment
from elsewhere.ship import resolve

_PYTHON = re.compile(r"python\s*(?:==?|>=|~=)?\s*(3\.\d{1,2})?(\.\d+|\.\*)*")
_ITSELF = ("pip", "setuptools", "wheel")


def environment(config: Config, cwd: Path) -> Environment:
    """CloudRunError: a file is not there, or something can only be had from conda."""
    packages, pip = ((), ()) if config["env_conda"] is None else _conda(config["env_conda"], cwd)
    python, lacking = "", []
    for package in packages:
        if match := _PYTHON.fullmatch(package.strip()):
            python = match[1] or python
        elif package.strip() not in _ITSELF:
            lacking.append(package.strip())
    if lacking:
        raise CloudRunError(
            f"env_conda: machines cannot be given packages of conda yet, such as {', '.join(lacking[:3])}",
            hint="What PyPI has too belongs into env_pypi; python, pip and a `pip:` part of env_conda are understood.",
        )
    named = (*_pypi(config["env_pypi"], cwd), *pip) if config["env_pypi"] is not None or pip else ()
    return Environment(python=python, pip=named, apt=tuple(config["env_aptget"] or ()))


def _pypi(given: str | Sequence[str], cwd: Path) -> tuple[str, ...]:
    """Of a file its lines; of an environment what is installed there, exactly."""
    if given is None or not isinstance(given, str):
        return tuple(given or ())
    path = cwd / Path(given).expanduser()
    if path.is_dir():
        python = path / "bin" / "python"
        if not python.exists():
            raise CloudRunError(f"env_pypi: {given} is no environment: it has no bin/python")
        return resolve.capture(str(python))[0]
    if not path.is_file():
        raise CloudRunError(f"env_pypi: there is no {given}", hint="A list of packages is written as a list.")
    return (f"-r {path}",)


def _conda(given: str | Sequence[str], cwd: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(packages of conda, those of its pip part)."""
    if not isinstance(given, str):
        return tuple(given), ()
    path = cwd / Path(given).expanduser()
    if path.is_dir():
        return _prefix(path, given)
    if not path.is_file():
        raise CloudRunError(f"env_conda: there is no {given}", hint="A list of packages is written as a list.")
    from elsewhere.config import files

    faults: list[str] = []
    source = files.read(path, given, faults)
    if source is None:
        raise CloudRunError("; ".join(faults), hint="Nothing was started.")
    listed = source.tree.get("dependencies") or []
    if not isinstance(listed, list):
        raise CloudRunError(f"{given}: dependencies must be a list")
    return tuple(one for one in listed if isinstance(one, str)), tuple(_part(listed, given))


def _part(listed: list[Any], name: str) -> list[str]:
    found: list[str] = []
    for one in listed:
        if isinstance(one, dict) and isinstance(one.get("pip"), list):
            found += [str(line) for line in one["pip"]]
        elif not isinstance(one, str):
            raise CloudRunError(f"{name}: dependencies are packages and one `pip:` list, not {one!r}")
    return found


def _prefix(path: Path, given: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What Python has there; whatever else conda has put there is not told by it."""
    python = path / "bin" / "python"
    if not (path / "conda-meta").is_dir() or not python.exists():
        raise CloudRunError(f"env_conda: {given} is no environment of conda with a Python")
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    others = [one.name for one in (path / "conda-meta").glob("*.json") if not one.name.startswith("python-")]
    if others:
        raise CloudRunError(f"env_conda: machines cannot be given packages of conda yet, and {given} has {len(others)}",
                            hint="What PyPI has too belongs into env_pypi.")  # fmt: skip
    return (f"python={version}",), resolve.capture(str(python))[0]
