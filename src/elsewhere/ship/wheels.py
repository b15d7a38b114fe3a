"""SHIP what a requirement names by a path: as a wheel that is called by what is in it, so that whatever is made of it,
and kept, is of that and no other. Directories are built here, by uv, with the files of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from elsewhere.config.home import home
from elsewhere.errors import ConfigError
from elsewhere.hosts import private_directory, write_whole
from elsewhere.ship import bundle, indexes
from elsewhere.ship.runtime import last_lines, uv

_EXTRAS = re.compile(r"\[[\w\s,.-]*\]$")
_MADE = re.compile(r"build|dist|.*\.egg-info")
"""What building leaves in a project is none of it."""


def fixed(pin: str, cwd: Path) -> str:
    """The same requirement; of one that names a path, seen from `cwd`: that of its wheel. ConfigError: it cannot be
    built, with the builder's last lines. Twice: what is here is used."""
    named, semicolon, marker = pin.removeprefix("-e ").partition(" ;")
    if (path := _path(named.strip(), cwd)) is None:
        return pin
    base = home() / "cache" / "wheels"
    sheet = base / f"{_digest(path)}.of"
    wheel = next(iter((base / sheet.read_text()).glob("*.whl")), None) if sheet.exists() else None
    if wheel is None:
        wheel = _made(path, base, cwd)
        write_whole(sheet, wheel.parent.name.encode())
    for one in (wheel, sheet):
        os.utime(one)  # its age is counted from its last use
    return f"{wheel.name.partition('-')[0].replace('_', '-')} @ {wheel.as_uri()}{semicolon}{marker}"


def _path(named: str, cwd: Path) -> Path | None:
    """That which it names; None: it names none."""
    _, at, address = named.partition(" @ ")
    text = _EXTRAS.sub("", (address if at else named).partition("#")[0].strip())
    if text.startswith("file:"):
        return Path(unquote(urlsplit(text).path))
    if at or "://" in text or "==" in text:
        return None
    return found if (found := cwd / text).exists() else None


def _digest(path: Path) -> str:
    if path.is_file():
        return sha256(path.read_bytes()).hexdigest()
    whole = sha256()
    for file in bundle.project_files(path):
        name = file.relative_to(path)
        if not _MADE.fullmatch(name.parts[0]) and not any(part.endswith(".egg-info") for part in name.parts):
            whole.update(f"{name} {sha256(file.read_bytes()).hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _made(path: Path, base: Path, cwd: Path) -> Path:
    """In a folder of its own below that one, whole or not there."""
    private_directory(base)
    with tempfile.TemporaryDirectory(dir=base) as own:
        if path.suffix == ".whl":
            shutil.copy(path, own)
        else:
            done = subprocess.run(
                [uv(), "build", "--wheel", "--out-dir", own, str(path)], text=True, capture_output=True,
                check=False, env={**os.environ, **indexes.variables(cwd)},
            )  # fmt: skip
            if done.returncode:
                raise ConfigError(f"no wheel can be built of {path}:\n{last_lines(done.stderr)}",
                                  hint="mend it; nothing was started")  # fmt: skip
        [wheel] = Path(own).glob("*.whl")
        folder = base / _content(wheel)
        folder.mkdir(exist_ok=True)
        return wheel.replace(folder / wheel.name)


def _content(wheel: Path) -> str:
    """Of its files, whenever it was built."""
    whole = sha256(wheel.name.encode())
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            whole.update(f"{name} {sha256(archive.read(name)).hexdigest()}\n".encode())
    return whole.hexdigest()
