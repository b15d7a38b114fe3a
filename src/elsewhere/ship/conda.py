"""SHIP software of conda: specs and channels -> exact packages, found here by py-rattler before anything is started;
they travel as they are, and are linked into a prefix where tasks run. No index is asked from there.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from elsewhere.errors import ConfigError, MissingExtra, UsageError
from elsewhere.ship import fetched, logins
from elsewhere.ship.logins import Logins
from elsewhere.ship.runtime import Target, last_lines

FOLDER = "conda"
"""In an agent's directory: the packages."""
RUNTIME = ("py-rattler",)
"""What our agent needs besides, where they are linked."""
USUAL = "conda-forge"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_LINE = re.compile(r"(?P<url>[a-z+]+://[^\s#]+)#(?P<digest>[0-9a-f]{64})")
_SECRET = re.compile(r"^[a-z+]+://(?:[^/@\s]+@|[^/]+/t/[^/]+/)")
_PYTHON = re.compile(r"/python-(?P<minor>3\.\d+)[^/-]*-[^/-]+\.(?:conda|tar\.bz2)$")
_GLIBC, _LINUX = "2.28", "5.10"
"""What machines are taken to have at least, as for wheels."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an environment says of conda. `exact`: addresses of packages, in place of `specs`."""

    specs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()


def read(given: str | Sequence[str], channels: Sequence[str], cwd: Path) -> Asked:
    """A list of packages, an environment.yml, or a list of addresses such as `conda list --explicit --sha256` prints.

    UsageError, ConfigError: there is no such file, or it is none of these.
    """
    if not isinstance(given, str):
        if given and all(_LINE.fullmatch(line) for line in given):
            return Asked(exact=tuple(given))
        return Asked(tuple(given), tuple(channels))
    path = cwd / Path(given).expanduser()
    if path.is_dir():
        raise UsageError(f"{given} is a directory, not a file of packages of conda",
                         hint=f"an environment that is there is used by `prefix: {given}`")  # fmt: skip
    if not path.is_file():
        raise UsageError(f"there is no file of packages of conda {path}", hint="conda: [python=3.12, numpy]")
    if path.suffix in (".yml", ".yaml"):
        return _yaml(path, given, channels)
    lines = [line.strip() for line in path.read_text().splitlines()]
    exact = tuple(line for line in lines if line and not line.startswith(("#", "@")))
    for line in exact:
        if not _LINE.fullmatch(line):
            raise ConfigError(f"{given}: {line!r} is no address of a package with its SHA-256",
                              hint="conda list --explicit --sha256 prints such a file.")  # fmt: skip
    return Asked(exact=exact)


def _yaml(path: Path, shown: str, channels: Sequence[str]) -> Asked:
    from elsewhere.config import files

    faults: list[str] = []
    source = files.read(path, shown, faults)
    if source is None:
        raise ConfigError("; ".join(faults), faults=tuple(faults))
    listed, named = source.tree.get("dependencies") or [], source.tree.get("channels") or []
    specs = tuple(one for one in listed if isinstance(one, str))
    parts = [one for one in listed if not isinstance(one, str)]
    if not all(isinstance(one, dict) and list(one) == ["pip"] and isinstance(one["pip"], list) for one in parts):
        raise ConfigError(f"{shown}: dependencies are packages, and one `pip:` list")
    pip = tuple(str(line) for part in parts for line in part["pip"])
    return Asked(specs, tuple(channels) or tuple(map(str, named)), pip)


def installed(prefix: Path) -> tuple[tuple[str, ...], frozenset[str]]:
    """(`URL#SHA-256` of each package of a prefix here, their names). ConfigError: of one that is not told."""
    lines, names = [], set()
    for sheet in sorted((prefix / "conda-meta").glob("*.json")):
        about = json.loads(sheet.read_bytes())
        if not about.get("url") or not about.get("sha256"):
            raise ConfigError(f"{prefix} does not tell where its {about.get('name', sheet.stem)} came from",
                              hint="Name its packages instead.")  # fmt: skip
        lines.append(f"{about['url']}#{about['sha256']}")
        names.add(str(about["name"]).lower().replace("_", "-"))
    return tuple(lines), frozenset(names)


def python_of(lines: Sequence[str]) -> str:
    """The minor version of the Python among these packages; empty: there is none."""
    found = (_PYTHON.search(line.partition("#")[0]) for line in lines)
    return next((match["minor"] for match in found if match), "")


def solve(asked: Asked, target: Target, here: bool, cwd: Path, known: Logins | None = None) -> tuple[str, ...]:
    """`URL#SHA-256` of each package, for this machine (`here`) or for a Linux of the target's processors.

    `known`: logins; what lies behind one is fetched now, since it is not written down with the job.
    Twice: newer ones may be there by then, unless all were named exactly. ConfigError: they do not go together, or a
    channel did not answer. MissingExtra: py-rattler is not installed.
    """
    known = known or {}
    lines = asked.exact if asked.exact or not asked.specs else _solved(asked, target, here, cwd, known)
    fetch([line for line in lines if logins.request(line.partition("#")[0], known)], known)
    return lines


def _solved(asked: Asked, target: Target, here: bool, cwd: Path, known: Logins) -> tuple[str, ...]:
    rattler = _rattler()
    platform = str(rattler.Subdir.current()) if here else _subdir(target)
    channels = [channel for name in asked.channels or (USUAL,) for channel in _channels(name, cwd)]
    virtual = rattler.VirtualPackage.detect() if here else _virtual(rattler, target)
    said = f"the packages of conda cannot be resolved for {platform} from {', '.join(channels)}"
    with logins.shown(known):
        gateway = rattler.Gateway(client=rattler.Client.authenticated_client()) if known else None
        found = _await(rattler.solve(sources=channels, specs=list(asked.specs), platforms=[platform, "noarch"],
                                     gateway=gateway, virtual_packages=virtual), said)  # fmt: skip
    lines = tuple(sorted(f"{record.url}#{record.sha256.hex()}" for record in found))
    for line in lines:
        if _SECRET.search(line):
            name = line.partition("#")[0].rpartition("/")[2]
            raise UsageError(f"the address of {name} has a password or token, which would be written down with the job",
                             hint="Name the channel without it, and say `logins: {HOST: env:NAME}`.")  # fmt: skip
    return lines


def _subdir(target: Target) -> str:
    return {"x86_64": "linux-64", "arm64": "linux-aarch64"}.get(target.architecture, f"linux-{target.architecture}")


def _channels(name: str, cwd: Path) -> list[str]:
    """As conda reads the name of one, with the mirror that CONDA_CHANNEL_ALIAS names."""
    if name == "defaults":
        return list(_DEFAULTS)
    if name == "nodefaults":
        return []
    if name.startswith((".", "/", "~")):
        return [(cwd / Path(name).expanduser()).resolve().as_uri()]
    alias = os.environ.get("CONDA_CHANNEL_ALIAS", "").rstrip("/")
    return [f"{alias}/{name}" if alias and "://" not in name else name]


def _virtual(rattler: Any, target: Target) -> list[Any]:
    """What a machine that is not there yet is taken to be. The variables are conda's own."""
    cuda = os.environ.get("CONDA_OVERRIDE_CUDA", "")
    machine = {"arm64": "aarch64"}.get(target.architecture, target.architecture)
    facts = [("__unix", "0", "0"), ("__linux", _LINUX, "0"), ("__archspec", "1", machine),
             ("__glibc", os.environ.get("CONDA_OVERRIDE_GLIBC", _GLIBC), "0"),
             *([("__cuda", cuda, "0")] if cuda else [])]  # fmt: skip
    return [rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version),
                                          rattler.BuildString(build))
            for name, version, build in facts]  # fmt: skip


def fetch(lines: Sequence[str], known: Logins | None = None) -> dict[str, Path]:
    """The packages, by their names as files; each is fetched once. ConfigError: one is not there, or is another."""

    def one(line: str) -> Path:
        url, _, digest = line.partition("#")
        return fetched.fetch(url, digest, "conda", logins.request(url, known or {}))

    with ThreadPoolExecutor(8, "conda") as pool:
        return {path.name: path for path in pool.map(one, lines)}


def link(packages: Path, prefix: Path) -> None:
    """Make a prefix of these package files. ConfigError: what py-rattler says."""
    rattler = _rattler()
    prefix.parent.mkdir(parents=True, exist_ok=True)
    said = "the packages of conda cannot be linked"
    with tempfile.TemporaryDirectory(dir=prefix.parent, prefix=".conda-") as cache:
        files = [path for path in sorted(packages.iterdir()) if path.name.endswith((".conda", ".tar.bz2"))]
        records = [_await(rattler.RepoDataRecord.from_package_archive(path), said) for path in files]
        _await(rattler.install(records, prefix, cache_dir=Path(cache), show_progress=False, execute_link_scripts=True),
               said)  # fmt: skip


def _await(work: Coroutine[Any, Any, T], said: str) -> T:
    """In a thread of its own: whoever called may have a loop that runs. ConfigError: what py-rattler says."""
    import asyncio  # this room is loaded for every job

    import rattler.exceptions

    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, work).result()
    except Exception as error:
        if getattr(rattler.exceptions, type(error).__name__, None) is not type(error):
            raise
        hint = "mend the environment; nothing was started"
        raise ConfigError(f"{said}:\n{last_lines(str(error))}", hint=hint) from error


def _rattler() -> Any:
    try:
        import rattler
    except ImportError as error:
        raise MissingExtra("packages of conda are found by py-rattler, which is not installed",
                           hint=f"{Path(sys.executable).name} -m pip install py-rattler") from error  # fmt: skip
    return rattler
