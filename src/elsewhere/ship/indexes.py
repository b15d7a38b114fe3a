"""Where packages come from, for uv: what pip is told of, where uv itself is told of nothing.

uv reads its own variables and files alone; who has set up pip has done so once, and need not do it again.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_TOLD = ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX", "UV_CONFIG_FILE")
_KEYS = {
    "index-url": ("UV_DEFAULT_INDEX", " "), "extra-index-url": ("UV_INDEX", " "), "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "), "cert": ("SSL_CERT_FILE", " "), "proxy": ("ALL_PROXY", " "),
}  # fmt: skip
"""Of pip -> of uv, and what stands between several."""


def variables(cwd: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """What uv is told besides the environment it inherits. Empty: it was told something itself. `known`: for tests."""
    environ = os.environ if known is None else known
    if any(environ.get(name) for name in _TOLD) or _has_file(cwd, environ):
        return {}
    said: dict[str, str] = {}
    for path in _files(environ):
        said.update(_read(path))
    for key in _KEYS:
        if value := environ.get(f"PIP_{key.upper().replace('-', '_')}"):
            said[key] = value
    found = {name: between.join(said[key].split()) for key, (name, between) in _KEYS.items() if said.get(key)}
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # to pip all indexes are one
    return {name: value for name, value in found.items() if name not in environ}


def _has_file(cwd: Path, environ: Mapping[str, str]) -> bool:
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    files = [
        config / "uv" / "uv.toml",
        Path("/etc/uv/uv.toml"),
        *(folder / "uv.toml" for folder in (cwd, *cwd.parents)),
    ]
    return any(path.is_file() for path in files) or any(_tells_uv(folder) for folder in (cwd, *cwd.parents))


def _tells_uv(folder: Path) -> bool:
    try:
        return "tool.uv" in (folder / "pyproject.toml").read_text("utf-8")
    except (OSError, ValueError):
        return False


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Those that pip reads, the strongest last."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path(environ.get("HOME", "/"))
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    if environ.get("VIRTUAL_ENV"):
        yield Path(environ["VIRTUAL_ENV"]) / "pip.conf"
    if named:
        yield Path(named)


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, "utf-8")
    except (configparser.Error, ValueError):
        return {}  # pip will say so
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return found
