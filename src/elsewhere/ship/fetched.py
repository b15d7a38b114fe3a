"""What somebody names with its digest, fetched once and kept; by the proxies and certificates that Python knows."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from elsewhere.config.home import home
from elsewhere.errors import ConfigError
from elsewhere.hosts import private_directory


def fetch(url: str, digest: str, sort: str, by: tuple[str, dict[str, str]] | None = None) -> Path:
    """The file, under the last part of its address. ConfigError: it is not to be had, or its SHA-256 is another.

    `by`: the address and the headers by which it is asked for, if they are others; they are said to nobody.
    """
    path = home() / "cache" / sort / digest / url.rpartition("/")[2]
    if path.exists():
        os.utime(path)  # its age is counted from its last use
        return path
    import urllib.request  # this room is loaded for every job

    private_directory(path.parent)
    part = path.with_name(f".{os.getpid()}.{os.urandom(4).hex()}")
    try:
        asked = urllib.request.Request(by[0] if by else url)
        for name, value in (by[1] if by else {}).items():
            asked.add_unredirected_header(name, value)  # it is of this host alone
        with urllib.request.urlopen(asked, timeout=60) as answer, part.open("xb") as file:
            shutil.copyfileobj(answer, file)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise ConfigError(f"{url} is not what its index names: its SHA-256 is another")
        part.rename(path)
    except OSError as error:
        raise ConfigError(f"{url} cannot be fetched: {error}", hint="Nothing was started.") from error
    finally:
        part.unlink(missing_ok=True)
    return path
