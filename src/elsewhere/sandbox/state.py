"""Where a sandbox keeps its files: `sandbox/` in the state directory, one sandbox at a time, 0700.

`sandbox.json` (0600) says where it listens and holds the word that its orders must bear.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from elsewhere.config.home import home, location

FOUND = "sandbox.json"


@dataclass(frozen=True, slots=True)
class Found:
    """What others need to know of a running sandbox."""

    pid: int
    port: int
    token: str
    mark: str
    """What the marks of its machines begin with."""
    region: str
    access_key: str
    secret: str

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def variables(self) -> dict[str, str]:
        """What points the SDKs at it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def directory() -> Path:
    """The sandbox's directory, whether or not it is there."""
    return location() / "sandbox"


def made() -> Path:
    path = home() / "sandbox"
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    return path


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether the directory is ours to serve from, for as long as the block lasts. False: another process has it."""
    handle = os.open(path.parent / "sandbox.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def write(path: Path, found: Found) -> None:
    """As a whole: who reads it sees all of it or nothing."""
    new = path / f".{FOUND}"
    handle = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(found), file)
    new.replace(path / FOUND)


def find(path: Path) -> Found | None:
    try:
        return Found(**json.loads((path / FOUND).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remove(path: Path) -> None:
    # The lock's file stays: removed, it would be another file to whoever comes next, and two would hold it.
    shutil.rmtree(path, ignore_errors=True)
