"""An environment that stands on this machine, ours or not: its interpreter, and what `activate` would set."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from elsewhere.errors import ConfigError, UsageError

_HOOKS = "etc/conda/activate.d"
_SHELL = f'for hook in "$CONDA_PREFIX"/{_HOOKS}/*.sh; do . "$hook" >&2; done; exec env -0'
_SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
_PATIENCE, _LACKS = 120.0, "lacks: "
_IMPORTS = f"""
import importlib, importlib.metadata as m, re
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
found = {{plain(one.metadata["Name"]): one for one in m.distributions() if one.metadata["Name"]}}
lines = [line for one in found.values() for line in one.requires or () if "extra ==" not in line]
needed = {{plain(re.match(r"[\\w.-]+", line)[0]) for line in lines}}
for name in sorted(found.keys() - needed):
    files = [file for file in found[name].files or () if file.suffix in (".py", ".so") and ".." not in file.parts]
    for top in sorted({{file.parts[0].partition(".")[0] for file in files}}):
        try:
            importlib.import_module(top)
        except ImportError as error:
            if ".so" in str(error) and "libcuda" not in str(error):
                print(f"{_LACKS}{{name}}: {{error}}")
        except BaseException:
            pass
"""
_OF_THE_SHELL = frozenset({"_", "SHLVL", "PWD", "OLDPWD"})


def python_of(folder: Path) -> str:
    """The path of its interpreter; empty: it has none."""
    python = folder / "bin" / "python"
    return str(python) if os.access(python, os.X_OK) else ""


def site_of(folder: Path) -> Path:
    """Where its packages lie, as its interpreter says."""
    done = subprocess.run([python_of(folder), "-I", "-c", _SITE], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def variables(folder: Path) -> dict[str, str]:
    """What its `activate` would set, the hooks of conda's packages included."""
    path = f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    if not (folder / "conda-meta").is_dir():
        return {"VIRTUAL_ENV": str(folder), "PATH": path}
    plain = {"CONDA_PREFIX": str(folder), "PATH": path}
    return {**plain, **_hooked(plain)} if any(folder.glob(f"{_HOOKS}/*.sh")) else plain


def _hooked(plain: Mapping[str, str]) -> dict[str, str]:
    before = {**os.environ, **plain}
    shell = shutil.which("bash") or "sh"  # most hooks were tried with bash alone
    done = subprocess.run([shell, "-c", _SHELL], env=before, capture_output=True, check=False)
    if done.returncode:
        last = os.fsdecode(done.stderr).strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise UsageError(f"the environment {plain['CONDA_PREFIX']} cannot be activated: {last[0]}")
    pairs = [os.fsdecode(one).partition("=") for one in done.stdout.split(b"\0") if one]
    return {name: value for name, _, value in pairs if before.get(name) != value and name not in _OF_THE_SHELL}


def check(folder: Path) -> None:
    """Import what nothing else in it needs. ConfigError: a library of the system is missing, which no resolver can see.

    Whatever else goes wrong is left to the tasks, and so is the driver of a GPU, which may be on other machines.
    """
    python = python_of(folder)
    if not python:
        return
    try:
        done = subprocess.run(
            [python, "-c", _IMPORTS], env={**os.environ, **variables(folder)}, cwd=folder, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return
    if lacking := [line.removeprefix(_LACKS) for line in done.stdout.splitlines() if line.startswith(_LACKS)]:
        raise ConfigError("what was installed cannot be imported:\n" + "\n".join(lacking),
                          hint="name what is missing under `apt`, or ask for it to be installed there")  # fmt: skip


def joined(env: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """Both; what each has put before PATH stands there."""
    first = more["PATH"].partition(":")[0]
    return {**more, **env, "PATH": f"{first}:{env['PATH']}"} if "PATH" in env else more


def given(path: str) -> Path:
    """An environment of others, by its path on this machine. UsageError: there is none."""
    folder = Path(path).expanduser()
    if not (folder / "pyvenv.cfg").is_file() and not (folder / "conda-meta").is_dir() and not python_of(folder):
        raise UsageError(f"there is no environment {path}", hint="`prefix` is a virtual environment, or one of conda.")
    return folder
