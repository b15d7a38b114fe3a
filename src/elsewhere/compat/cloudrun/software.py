"""CloudRun's environments as ours: packages of PyPI, conda and apt, each as a list, a file, or an environment."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from elsewhere.compat.cloudrun.states import CloudRunError
from elsewhere.compat.cloudrun.words import Config
from elsewhere.errors import UsageError
from elsewhere.model.job import Environment
from elsewhere.ship import conda, resolve

_PYTHON = re.compile(r"python\s*(?:==?|>=|~=)?\s*(3\.\d{1,2})?(\.\d+|\.\*)*")
_ITSELF = ("pip", "setuptools", "wheel")


def environment(config: Config, cwd: Path) -> Environment:
    """CloudRunError: a file is not there, or is none of what it should be. Python alone needs nothing of conda's."""
    packages, channels, pip = ((), (), ()) if config["env_conda"] is None else _conda(config["env_conda"], cwd)
    python, others = "", False
    for package in packages:
        match = _PYTHON.fullmatch(package.strip())
        python = (match and match[1]) or python
        others = others or not (match or package.strip() in _ITSELF)
    named = (*_pypi(config["env_pypi"], cwd), *pip) if config["env_pypi"] is not None or pip else ()
    apt = tuple(config["env_aptget"] or ())
    if others:
        return Environment(conda=packages, channels=channels, pip=named, apt=apt)
    return Environment(python=python, pip=named, apt=apt)


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


Parts = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Packages of conda, where they come from, and those of its pip part."""


def _conda(given: str | Sequence[str], cwd: Path) -> Parts:
    if not isinstance(given, str):
        return tuple(given), (), ()
    path = cwd / Path(given).expanduser()
    if path.is_dir():
        return _prefix(path, given)
    if not path.is_file():
        raise CloudRunError(f"env_conda: there is no {given}", hint="A list of packages is written as a list.")
    try:
        found = conda.read(given, (), cwd)
    except UsageError as error:
        raise CloudRunError(f"env_conda: {error.message}", hint=error.hint) from error
    return found.exact or found.specs, found.channels, found.pip


def _prefix(path: Path, given: str) -> Parts:
    """What conda has put there, exactly; what Python has there besides is taken from PyPI."""
    python = path / "bin" / "python"
    if not (path / "conda-meta").is_dir() or not python.exists():
        raise CloudRunError(f"env_conda: {given} is no environment of conda with a Python")
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    if [one.name for one in (path / "conda-meta").glob("*.json") if not one.name.startswith("python-")]:
        lines, theirs = conda.installed(path)
        return lines, (), tuple(pin for pin in resolve.capture(str(python))[0] if pin.partition("==")[0] not in theirs)
    return (f"python={version}",), (), resolve.capture(str(python))[0]
