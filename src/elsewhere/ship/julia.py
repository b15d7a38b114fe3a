"""Julia for tasks: one that is there and fits, else that which its own index names, brought once and kept; and the
packages of a project, instantiated once for all jobs whose Project.toml and Manifest.toml are the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elsewhere.config.home import home
from elsewhere.errors import ConfigError, UsageError
from elsewhere.hosts import private_directory, write_whole
from elsewhere.model.job import Julia
from elsewhere.ship import fetched, kept
from elsewhere.ship.runtime import Target, last_lines

FOLDER = "julia"
"""In an agent's directory: the archive, where it was sent."""
SERVER = "https://julialang-s3.julialang.org"
LIMIT = 900.0
_DAY = 86400
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
_PROJECT, _MANIFEST = "Project.toml", "Manifest.toml"
_INSTANTIATE = "using Pkg; Pkg.instantiate(); Pkg.precompile()"


def read(given: str, cwd: Path) -> Julia:
    """A version, with the project of `cwd` if that is one; or the path of a project. UsageError: it is neither."""
    if _VERSION.fullmatch(given):
        return Julia(given, str(cwd) if (cwd / _PROJECT).is_file() else "")
    path = cwd / Path(given).expanduser()
    folder = path.parent if path.name == _PROJECT else path
    if not (folder / _PROJECT).is_file():
        raise UsageError(f"julia: {given} is neither a version nor a project: there is no {folder / _PROJECT}",
                         hint='For example julia: "1.10", or the directory of a Project.toml.')  # fmt: skip
    try:
        compat = tomllib.loads((folder / _PROJECT).read_text()).get("compat", {}).get("julia", "")
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise ConfigError(f"{folder / _PROJECT} cannot be read: {error}") from error
    found = re.search(r"\d+\.\d+", str(compat))
    return Julia(found[0] if found else "", str(folder.resolve()))


def address(version: str, target: Target) -> str:
    """`URL#SHA-256` of the newest release of this version for Linux; empty: the index is not to be had just now, and
    machines must have Julia. UsageError: it has none such."""
    try:
        known = _index()
    except (OSError, ValueError):
        return ""
    arch = {"arm64": "aarch64"}.get(target.architecture, target.architecture)
    fits = [name for name, about in known.items() if about.get("stable") and is_of(name, version)]
    for name in sorted(fits, key=_numbers, reverse=True):
        for file in known[name]["files"]:
            if file.get("triplet") == f"{arch}-linux-gnu" and file.get("kind", "archive") == "archive":
                return f"{file['url']}#{file['sha256']}"
    raise UsageError(f"there is no Julia {version or 'at all'} for {target.architecture}",
                     hint="julia --version shows what you have.")  # fmt: skip


def _index() -> dict[str, Any]:
    """Of all releases; kept for a day. JULIAUP_SERVER names another server, as it does to juliaup."""
    server = os.environ.get("JULIAUP_SERVER", SERVER).rstrip("/")
    sheet = home() / "cache" / "julia" / f"{kept.mark([server])}.json"
    if not sheet.exists() or time.time() - sheet.stat().st_mtime > _DAY:
        import urllib.request  # this room is loaded for every job

        with urllib.request.urlopen(f"{server}/bin/versions.json", timeout=20) as answer:
            data = answer.read()
        json.loads(data)
        private_directory(sheet.parent)
        write_whole(sheet, data)
    found: dict[str, Any] = json.loads(sheet.read_bytes())
    return found


def is_of(version: str, wanted: str) -> bool:
    return not wanted or version == wanted or version.startswith(f"{wanted}.")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def fetch(address: str) -> Path:
    """The archive, fetched once. ConfigError: it is not to be had, or is another."""
    url, _, digest = address.partition("#")
    return fetched.fetch(url, digest, "julia")


@dataclass(frozen=True, slots=True)
class Given:
    """What a machine has for it. `base`: where environments are kept; `sent`: a directory with the archive, if it
    travelled; `env`: the job's own variables."""

    base: Path
    sent: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    job: str = ""


def ready(asked: Julia, given: Given) -> dict[str, str]:
    """Variables by which tasks on this machine find Julia and the packages of its project.

    ConfigError: there is none that fits and none to bring, or Pkg's last lines.
    """
    program = there(asked.version) or _brought(asked, given)
    found = {"PATH": f"{Path(program).parent}:{os.environ.get('PATH', os.defpath)}"}
    if not asked.project:
        return found
    project = Path(asked.project)
    texts = [(project / name).read_text() if (project / name).is_file() else "" for name in (_PROJECT, _MANIFEST)]
    folder = given.base / kept.mark(["julia", program, *texts])
    _kept(folder, f"packages of {tomllib.loads(texts[0]).get('name', 'a project')}", given,
          lambda fresh: _instantiate(program, project, fresh, {**found, **given.env}, given.offline))  # fmt: skip
    own = project if (project / _MANIFEST).is_file() else folder / "project"
    return {**found, "JULIA_PROJECT": str(own), "JULIA_DEPOT_PATH": f"{folder / 'depot'}:"}


def _kept(folder: Path, what: str, given: Given, make: Callable[[Path], None]) -> None:
    kept.built(folder, {"name": "", "julia": what}, make)
    if given.job:
        kept.used(folder, given.job)


def there(version: str) -> str:
    """One on PATH that fits; empty: there is none."""
    program = shutil.which("julia")
    if program is None:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
    return program if is_of(done.stdout.strip().rpartition(" ")[2], version) else ""


def _brought(asked: Julia, given: Given) -> str:
    if not asked.address:
        raise ConfigError(
            f"there is no julia {asked.version} here, and no index of Julia was reached where the job was made",
            hint="Install it on this machine, or name a server that is reached with JULIAUP_SERVER.",
        )
    folder = given.base / kept.mark(["julia", asked.address])

    def make(fresh: Path) -> None:
        if given.sent is None and given.offline:
            raise ConfigError(f"there is no julia {asked.version} here, and none was sent")
        archive = fetch(asked.address) if given.sent is None else next(iter(given.sent.glob("*.tar.gz")))
        fresh.mkdir(parents=True)
        _run(["tar", "-xzf", str(archive), "-C", str(fresh), "--strip-components", "1"], {})

    _kept(folder, asked.address.partition("#")[0].rpartition("/")[2], given, make)
    return str(folder / "bin" / "julia")


def _instantiate(program: str, project: Path, folder: Path, env: Mapping[str, str], offline: bool) -> None:
    """In a copy of the project: what is resolved there is not written into the user's own directory."""
    own = folder / "project"
    own.mkdir(parents=True)
    for name in (_PROJECT, _MANIFEST):
        if (project / name).is_file():
            shutil.copy(project / name, own / name)
    if (project / "src").is_dir():
        shutil.copytree(project / "src", own / "src")  # a package is precompiled with what it is
    told = {**env, "JULIA_DEPOT_PATH": f"{folder / 'depot'}:", "JULIA_PROJECT": str(own)}
    if offline:
        told["JULIA_PKG_OFFLINE"] = "true"
    _run([program, "--startup-file=no", "-e", _INSTANTIATE], told)


def _run(words: list[str], env: Mapping[str, str]) -> None:
    with tempfile.TemporaryFile() as said:
        try:
            status = subprocess.run(words, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=said,
                                    stderr=said, check=False, timeout=LIMIT).returncode  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{words[0]}: {error}") from error
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    if status:
        raise ConfigError(f"the Julia project cannot be made ready:\n{last_lines(text)}")
