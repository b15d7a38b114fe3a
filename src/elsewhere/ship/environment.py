"""Whose Python runs the tasks, and whether the entry can be found there. Asked before anything is created.

Nothing of the user's is loaded into this process.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elsewhere.config.home import home
from elsewhere.errors import StateError, UsageError
from elsewhere.model.job import Entry

OLDEST = (3, 9)
_PACKAGE = Path(__file__).resolve().parent.parent
_SLOT = _PACKAGE / "slot" / "__main__.py"
_VERSION = "import sys; print(*sys.version_info[:2])"
SEED = ["task_id", "task_data", "worker_data"]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`path` is not resolved: a link into a virtual environment must stay one. `why`: what made it the choice."""

    path: str
    version: tuple[int, int]
    why: str

    @property
    def own(self) -> bool:
        """Is it of our own minor version, so that pickled functions can be read there?"""
        return self.version == sys.version_info[:2]


def interpreter(explicit: str = "", cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Interpreter:
    """The user's interpreter: named, else of VIRTUAL_ENV or CONDA_PREFIX, else of the nearest `.venv`, else ours.

    UsageError: it does not exist, does not run, or is older than 3.9.
    """
    known = os.environ if environ is None else environ
    where = cwd or Path.cwd()
    if explicit:
        path, why = _named(explicit, where, known), "named"
    else:
        path, why = _nearest(where, known)
    return Interpreter(path, _version(path, why), why)


def _named(explicit: str, cwd: Path, environ: Mapping[str, str]) -> str:
    import shutil

    if os.sep not in explicit:
        found = shutil.which(explicit, path=environ.get("PATH"))
        if found is None:
            raise UsageError(f"there is no {explicit!r} on PATH", hint="give --python the path of an interpreter")
        return found
    path = cwd / Path(explicit).expanduser()
    return str(path / "bin" / "python" if path.is_dir() else path)


def _nearest(cwd: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = environ.get(name)
        if prefix and (found := _python_of(Path(prefix))):
            return found, f"of {name}"
    for directory in (cwd, *cwd.parents):
        if found := _python_of(directory / ".venv"):
            return found, f"of {directory / '.venv'}"
    return sys.executable, "that runs Elsewhere"


def _python_of(prefix: Path) -> str:
    path = prefix / "bin" / "python"
    return str(path) if os.access(path, os.X_OK) else ""


def _version(path: str, why: str) -> tuple[int, int]:
    if path == sys.executable:
        return sys.version_info[0], sys.version_info[1]
    if known := _remembered(path):
        return known
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", _VERSION], capture_output=True, text=True, timeout=60, check=True
        )
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = getattr(error, "stderr", "") or getattr(error, "strerror", "") or str(error)
        raise UsageError(
            f"the interpreter {path} ({why}) does not run: {text.strip().splitlines()[-1]}",
            hint="give --python the path of a Python of 3.9 or newer",
        ) from error
    if (major, minor) < OLDEST:
        raise UsageError(
            f"the interpreter {path} ({why}) is Python {major}.{minor}; tasks need 3.9 or newer",
            hint="give --python another one",
        )
    _remember(path, (major, minor))
    return major, minor


def _sheet(path: str) -> Path:
    """Where the version of an interpreter is remembered: named by its path and by what it is now."""
    import hashlib

    found = Path(path).stat()
    about = f"{path}\0{found.st_ino}\0{found.st_size}\0{found.st_mtime_ns}"
    return home() / "cache" / "interpreters" / hashlib.sha256(about.encode()).hexdigest()[:32]


def _remembered(path: str) -> tuple[int, int] | None:
    """None: not asked yet, or no longer the file that was asked."""
    try:
        major, minor = map(int, _sheet(path).read_text().split())
    except (OSError, ValueError, StateError):
        return None
    return major, minor


def _remember(path: str, version: tuple[int, int]) -> None:
    """Best effort: what cannot be remembered is asked again."""
    try:
        sheet = _sheet(path)
        sheet.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sheet.write_text(f"{version[0]} {version[1]}\n")
    except (OSError, StateError):
        pass


Signature = list[list[Any]] | None
"""[name, kind, has a default] of each parameter of a function; None: unknown, or those of a worker."""


def check_entry(
    target: str, python: Interpreter, cwd: Path | None = None, elsewhere: bool = False
) -> tuple[Entry, Signature]:
    """The entry that `module:function` or `path.py:function` names, and its parameters.

    It is looked for in `python`, as a slot would; `elsewhere`: tasks have software that is not here, so that a module
    of others may be missing. UsageError: no such module, file or function (with the nearest), what
    the user's code raised (with its own traceback), or parameters that a task's data cannot fill.
    """
    where = cwd or Path.cwd()
    module, colon, name = target.rpartition(":")
    if not (module and colon and name):
        raise UsageError(f"{target!r} is not an entry", hint="write module:function, or path/to/file.py:function")
    if module.endswith(".py"):
        file = where / Path(module).expanduser()
        if not file.is_file():
            raise UsageError(f"there is no file {module}", hint=_nearest_file(file))
        target = f"{file.resolve()}:{name}"
    answer = _ask(target, python, where)
    if elsewhere and answer.get("error") in ("ModuleNotFoundError", "ImportError") and _is_of_others(answer, module):
        return Entry("function", target, name=name), None
    if "error" in answer:
        raise _cannot_find(target, module, name, answer)
    _judge(target, name, answer["parameters"])
    return Entry("function", target, name=name), answer["parameters"]


def _is_of_others(answer: dict[str, Any], module: str) -> bool:
    return bool(answer["message"] != f"No module named {module.split('.')[0]!r}")


def _nearest_file(file: Path) -> str:
    names = [path.name for path in file.parent.glob("*.py")] if file.parent.is_dir() else []
    near = difflib.get_close_matches(file.name, names, 1)
    return f"did you mean {near[0]}?" if near else "give the path from here"


def _ask(target: str, python: Interpreter, cwd: Path) -> dict[str, Any]:
    cloudpickle = importlib.util.find_spec("cloudpickle")
    packages = {"elsewhere": str(_PACKAGE)}
    if cloudpickle is not None and cloudpickle.origin:
        packages["cloudpickle"] = str(Path(cloudpickle.origin).parent)
    words = json.dumps({"target": target, "cwd": str(cwd), "path": [], "packages": packages})
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [python.path, str(_SLOT), "check", str(writer)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, pass_fds=(writer,), text=True,
    )  # fmt: skip
    os.close(writer)
    _, stderr = process.communicate(words)
    with os.fdopen(reader) as file:
        text = file.read()
    if not text:
        raise UsageError(
            f"loading {target} ended the interpreter with status {process.returncode}\n{stderr[-2000:].rstrip()}",
            hint="it must be importable without running its work; guard that with `if __name__ == '__main__':`",
        )
    answer: dict[str, Any] = json.loads(text)
    return answer


def _cannot_find(target: str, module: str, name: str, answer: dict[str, Any]) -> UsageError:
    if (
        answer["error"] == "AttributeError"
        and "names" in answer
        and f"attribute {name.split('.')[0]!r}" in answer["message"]
    ):
        near = difflib.get_close_matches(name, answer["names"], 1)
        has = ", ".join(answer["names"][:8]) or "nothing that can be called"
        hint = f"did you mean {module}:{near[0]}?" if near else f"it has {has}"
        return UsageError(f"{module} has no function {name!r}", hint=hint)
    if answer["error"] == "ModuleNotFoundError" and answer["message"] == f"No module named {module.split('.')[0]!r}":
        return UsageError(
            f"there is no module {module!r} to be found from here",
            hint="is it in this directory, or installed in that Python?",
        )
    if answer["error"] == "TypeError" and not answer["traceback"].count("\n  File"):
        return UsageError(answer["message"], hint="name a function")
    return UsageError(
        f"{module} cannot be loaded:\n{answer['traceback'].rstrip()}", hint="mend it, or name another --python"
    )


def _judge(target: str, name: str, parameters: Signature) -> None:
    """A function that takes positional arguments only, beyond the three of a worker, cannot be given a task's data."""
    for parameter, kind, default in parameters or ():
        if kind == "POSITIONAL_ONLY" and not default:
            raise UsageError(
                f"{name} takes {parameter!r} by position only, but a task's data comes by name",
                hint="drop the `/`, or take (task_id, task_data, worker_data)",
            )
