"""SHIP software: from an environment to exact versions, for a target's Python and processors.

uv resolves, before anything is started. What cannot be resolved is said in its own last lines.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from elsewhere.config.home import home
from elsewhere.errors import ConfigError, UsageError
from elsewhere.hosts import private_directory, write_whole
from elsewhere.model.job import Environment, Julia
from elsewhere.ship import conda, indexes, julia, logins, wheels
from elsewhere.ship.conda import Asked
from elsewhere.ship.runtime import Target, last_lines, own, platform_of, uv

_MINOR = re.compile(r"3\.\d{1,2}")
_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")
_USER = re.compile(r"(?P<scheme>[a-z+]+)://(?P<user>[^/@\s]+)@")
_FILLED_IN = re.compile(r"\$\{[A-Z0-9_]+\}")
_OURS = frozenset({"elsewhere", "pip", "setuptools", "wheel", "uv"})
"""What an interpreter has besides the software of a project."""
_ASK = """
import importlib.metadata as m, json, sys, sysconfig
found, roots = {}, []
for one in m.distributions():
    name, direct = one.metadata["Name"], one.read_text("direct_url.json")
    local = json.loads(direct).get("url", "").startswith("file:") if direct else False
    if name and not local:
        found.setdefault(name.lower().replace("_", "-"), one.version)
inside = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
inside += [sys.prefix, sys.base_prefix]
roots = [path for path in sys.path[1:] if path and not path.startswith(tuple(inside)) and not path.endswith(".zip")]
print(json.dumps({"found": found, "roots": roots}))
"""


@dataclass(frozen=True, slots=True)
class Resolved:
    """`pins`: `name==version` each. `conda`: its packages, `URL#SHA-256`. `path`: directories of sources that travel
    as code."""

    python: str
    pins: tuple[str, ...]
    path: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    julia: Julia | None = None


def resolve(environment: Environment, target: Target, cwd: Path, interpreter: str, here: bool = False) -> Resolved:
    """For this target; `interpreter` is what `capture` looks at. UsageError, ConfigError: it cannot be.

    `here`: for this machine. Twice: newer versions may be there by then, unless all were named exactly.
    """
    asked_julia = _julia(environment.julia, target, here, cwd)
    captured, roots, exact = _captured(interpreter, target) if environment.capture else ((), (), ())
    asked = conda.read(environment.conda or exact, environment.channels, cwd)
    known = logins.read(dict(environment.logins)) if asked.specs or asked.exact else {}
    packages = conda.solve(_with_python(asked, environment.python), target, here, cwd, known)
    file = _file(cwd / Path(environment.pip).expanduser()) if isinstance(environment.pip, str) else None
    lines = [*captured, *(environment.pip if not isinstance(environment.pip, str) else ()), *asked.pip]
    if file and file.suffix in (".lock", ".toml"):
        lines, file = [*lines, *_locked(file)], None
    if not (lines or file):
        return Resolved(target.python, (), roots, packages, asked_julia)
    if packages:
        target = replace(target, python=_python_for_pip(packages))
    pins = _resolved(lines, file, target, cwd)
    return Resolved(target.python, pins, roots, packages, asked_julia)


def _captured(interpreter: str, target: Target) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """As `capture`; an environment of conda gives its own packages, exactly, to machines like this one."""
    pins, roots = capture(interpreter)
    prefix = Path(interpreter).parent.parent
    if not (prefix / "conda-meta").is_dir() or target.architecture != own().architecture:
        return pins, roots, ()
    exact, theirs = conda.installed(prefix)
    return tuple(pin for pin in pins if pin.partition("==")[0] not in theirs), roots, exact


def _julia(given: str, target: Target, here: bool, cwd: Path) -> Julia | None:
    if not given:
        return None
    found = julia.read(given, cwd)
    return (
        found if here and julia.there(found.version) else replace(found, address=julia.address(found.version, target))
    )


def _with_python(asked: Asked, python: str) -> Asked:
    """`python: "3.12"` is of conda's where there is anything of conda's."""
    named = any(re.match(r"python\b(?!-)", spec) for spec in asked.specs)
    return replace(asked, specs=(f"python {python}.*", *asked.specs)) if python and asked.specs and not named else asked


def _python_for_pip(packages: Sequence[str]) -> str:
    if python := conda.python_of(packages):
        return python
    raise UsageError("pip has nothing to install for: the packages of conda have no python among them",
                     hint="conda: [python=3.12, ...]")  # fmt: skip


def minor(python: str) -> str:
    """The minor version that an environment asks for; empty: it says nothing. UsageError: it is none."""
    if python and not _MINOR.fullmatch(python):
        raise UsageError(
            f"environment: python must be a minor version such as 3.12, not {python!r}",
            hint="An interpreter of this machine is named by --python.",
        )
    return python


def capture(interpreter: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what is installed for this interpreter, exactly; the directories of what it has as sources)."""
    done = subprocess.run([interpreter, "-c", _ASK], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{interpreter} does not say what it has:\n{last_lines(done.stderr)}")
    told = json.loads(done.stdout)
    pins = tuple(f"{name}=={version}" for name, version in sorted(told["found"].items()) if name not in _OURS)
    return pins, tuple(root for root in dict.fromkeys(told["roots"]) if not _is_ours(root))


def _is_ours(root: str) -> bool:
    return (Path(root) / "elsewhere" / "slot").is_dir()


def _file(path: Path) -> Path:
    if not path.is_file():
        names = [one.name for one in path.parent.glob("*.txt")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, 1)
        raise UsageError(
            f"there is no file of requirements {path}", hint=f"did you mean {near[0]}?" if near else "pip: [numpy]"
        )
    return path


def _resolved(lines: list[str], file: Path | None, target: Target, cwd: Path) -> tuple[str, ...]:
    """As `_compile`. Where all that is needed was named with its version, the answer stays what it was."""
    named = [*lines, *(_lines(file) if file else ())]
    if not all(_PIN.fullmatch(line) for line in named):
        return _compile(lines, file, target, cwd)
    mark = sha256("\n".join([target.python, target.architecture, *named]).encode()).hexdigest()
    sheet = home() / "cache" / "resolved" / mark
    if sheet.exists():
        return tuple(sheet.read_text().splitlines())
    pins = _compile(lines, file, target, cwd)
    if {_plain(pin) for pin in pins} == {_plain(line) for line in named}:
        private_directory(sheet.parent)
        write_whole(sheet, "\n".join(pins).encode())
    return pins


def _plain(pin: str) -> str:
    """Names of distributions are the same whatever divides their words (PEP 503)."""
    return re.sub(r"[-_.]+", "-", pin).lower()


def _lines(file: Path) -> list[str]:
    lines = (line.strip() for line in file.read_text("utf-8", "replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _locked(path: Path) -> list[str]:
    """What a `uv.lock` or a `pylock.toml` names, exactly. ConfigError: it is neither, or cannot be read."""
    if path.name == "uv.lock":
        words = ["export", "--frozen", "--quiet", "--no-hashes", "--no-header", "--no-annotate", "--no-emit-workspace",
                 "--project", str(path.parent)]  # fmt: skip
        done = subprocess.run([uv(), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"{path} cannot be read:\n{last_lines(done.stderr)}")
        return [line for line in done.stdout.splitlines() if line and not line.startswith((".", "-", "#"))]
    try:
        known = tomllib.loads(path.read_text())
        if "lock-version" not in known:
            raise ConfigError(f"{path} is no lock file", hint="uv.lock and pylock.toml are; or requirements.txt")
        return [f"{one['name']}=={one['version']}" + (f" ; {one['marker']}" if "marker" in one else "")
                for one in known.get("packages", ()) if "version" in one]  # fmt: skip
    except (tomllib.TOMLDecodeError, KeyError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _compile(lines: list[str], file: Path | None, target: Target, cwd: Path) -> tuple[str, ...]:
    words = [uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url",
             "--python", sys.executable, "--python-version", target.python, "--python-platform", platform_of(target),
             "--only-binary", ":all:"]  # fmt: skip
    sources = [*([str(file)] if file else []), *(["-"] if lines else [])]
    done = subprocess.run(
        [*words, *sources], cwd=cwd, input="\n".join(lines), text=True, capture_output=True, check=False,
        env={**os.environ, **indexes.variables(cwd)},
    )  # fmt: skip
    if done.returncode:
        raise ConfigError(
            f"the environment cannot be resolved for Python {target.python} on {target.architecture}:\n"
            f"{last_lines(done.stderr)}",
            hint="mend the requirements; nothing was started",
        )
    pins = tuple(line.strip() for line in done.stdout.splitlines() if line.strip() and not line.startswith("#"))
    for pin in pins:
        _refuse_password(pin)
    return tuple(wheels.fixed(pin, cwd) for pin in pins)


def _refuse_password(pin: str) -> None:
    """What an address holds of secrets would be written into the ledger. `${NAME}`, which uv fills in, is none."""
    found = _USER.search(pin)
    if found is None:
        return
    user, colon, password = found["user"].partition(":")
    kept = password if colon else "" if "ssh" in found["scheme"] else user
    if _FILLED_IN.sub("", kept):
        name = re.split(r"[ @]", pin, maxsplit=1)[0]
        raise UsageError(
            f"the requirement {name} has a password or token in its address, which would be written down with the job",
            hint=f"Write ${{NAME}} in its place and export NAME, or keep it in ~/.netrc: {name} @ https://${{NAME}}@...",
        )
