"""Reach a machine: run a command there, put bytes there, get them back. Here, or later through the user's own OpenSSH.

Commands are lists of words: nothing goes through a shell unless the list itself says `sh -c`, with data as arguments.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from elsewhere.errors import AccessDenied, NotFound, PlaceError, Refused, Unreachable

if TYPE_CHECKING:
    import subprocess


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. `status` is its exit status, or minus the number of the signal that ended it."""

    status: int
    out: bytes = b""
    err: bytes = b""

    @property
    def ok(self) -> bool:
        return self.status == 0


class Host(Protocol):
    """One machine that can be reached. `name` is for people."""

    name: str

    def run(
        self, argv: Sequence[str], input: bytes = b"", timeout: timedelta | None = None, env: Mapping[str, str] = {}
    ) -> Ran:
        """Run one command there and wait for its end.

        Twice: it runs twice; who calls makes it harmless. An exit status other than 0 is an answer, not an error.
        Lost reply: Unreachable, and the command may have run. Waits until it ends; after `timeout` it is ended with
        all its children, and Unreachable is raised. NotFound: there is no such program; AccessDenied: not allowed.
        """
        ...

    def put(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Write a whole file there; readers see the old bytes or the new ones, never a part.

        Twice: the same file. Already there: replaced. Lost reply: put again. Waits until the host has it on disk.
        Directories above it that are missing are made, 0700.
        """
        ...

    def get(self, path: str) -> bytes:
        """The bytes of a file there. Twice: the same, if nobody wrote. NotFound if there is none. Waits for them."""
        ...


class Reached(Host, Protocol):
    """A host of which what it says can be read as it comes."""

    def follow(self, argv: Sequence[str], input: bytes, out: int, err: int) -> int:
        """Run a command there, its output on these descriptors as it comes; its exit status. Its standard input ends
        when this is left, however that comes about.

        Unreachable: it could not be begun, or the connection was lost, and it may go on there.
        """
        ...


class Here:
    """This machine, through subprocess."""

    name = "here"

    def run(
        self, argv: Sequence[str], input: bytes = b"", timeout: timedelta | None = None, env: Mapping[str, str] = {}
    ) -> Ran:
        if isinstance(argv, str | bytes):
            raise TypeError("a command is a list of words, not a string for a shell")
        import subprocess  # agents load this room, and start nothing by it

        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **env},
                start_new_session=True,
            )
        except OSError as error:
            raise _refused(error, str(argv[0])) from error
        with process:
            try:
                out, err = process.communicate(input, timeout.total_seconds() if timeout else None)
            except subprocess.TimeoutExpired:
                _end_group(process)
                limit = timeout.total_seconds() if timeout else 0
                raise Unreachable(f"{argv[0]} did not end within {limit:g} s and was ended") from None
            except BaseException:
                _end_group(process)  # or the `with` would wait for it
                raise
        return Ran(process.returncode, out, err)

    def put(self, path: str, data: bytes, mode: int = 0o600) -> None:
        target = Path(path)
        try:
            private_directory(target.parent)
            write_whole(target, data, mode)
        except OSError as error:
            raise _refused(error, path) from error

    def get(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise _refused(error, path) from error


def private_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, for its owner alone. Already there: left as it is."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def write_whole(target: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `target` by `data` at once and durably. OSError as the system gives it."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        write_new(fresh, data, mode)
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def write_new(path: Path, data: bytes, mode: int = 0o600, sync: bool = True) -> None:
    """Write a file that must not exist yet, on disk when this returns (unless `sync` is false)."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the file system can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:
        pass  # some network file systems refuse it for directories, and need none
    finally:
        os.close(fd)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.kill()


def _refused(error: OSError, what: str) -> PlaceError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"there is no {what}")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{what} may not be used: {error.strerror}")
    return Refused(f"{what}: {error.strerror or error}")
