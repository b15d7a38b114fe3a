"""Where a machine's connections come in that its controller dials: a socket there, and a bridge to it for sshd to run.

The job's store is at the controller's end; the agent asks for its objects over the same connection.
"""

from __future__ import annotations

import os
import select
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from elsewhere.channels import bridge, words
from elsewhere.errors import InternalError, NotFound, StateError
from elsewhere.hosts import write_whole

BRIDGE = "bridge"
"""A script in the agent's directory: its standard streams become the connection."""
_HANDING = 2.0
"""Seconds in which whoever came in has handed its streams over; it does so with its first breath."""
_SOCKET = 100
"""Bytes that the path of a socket may have, a few less than the kernel's limit."""


class Door:
    """Called, it gives the descriptors of who came last, or None. Only this user can come in (0600)."""

    def __init__(self, directory: Path) -> None:
        path = directory / "door"
        if len(os.fsencode(path)) > _SOCKET:
            path = Path(tempfile.mkdtemp(prefix="elsewhere-")) / "door"
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            self.socket.bind(str(path))
        except OSError as error:
            raise StateError(f"no socket can be made at {path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        self.socket.listen(8)
        self.socket.setblocking(False)
        text = shlex.join([sys.executable, "-S", "-E", str(Path(bridge.__file__)), str(path)])
        write_whole(directory / BRIDGE, f"#!/bin/sh\nexec {text}\n".encode(), 0o700)

    def waiting(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def __call__(self) -> tuple[int, ...] | None:
        """What to read from, what to write to, and what the bridge waits at while these are used."""
        found = None
        while self.waiting():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                break
            came = _handed(connection)
            for fd in found or () if came is not None else ():
                os.close(fd)  # they were given up for the one behind them
            found = came or found
        return found

    def close(self) -> None:
        """Nobody comes in any more. Twice: harmless."""
        self.socket.close()


def _handed(connection: socket.socket) -> tuple[int, ...] | None:
    """The streams that somebody at the socket hands over; None: it does not."""
    connection.settimeout(_HANDING)
    try:
        _, streams, _, _ = socket.recv_fds(connection, 1, 2)
    except OSError:
        streams = []
    for fd in streams:
        os.set_inheritable(fd, False)
    if len(streams) == 2:
        return (*streams, connection.detach())
    for fd in streams:
        os.close(fd)
    connection.close()
    return None


class Asks(Protocol):
    def ask(self, kind: int, item: words.Item) -> words.Item: ...


class Lent:
    """The job's store as a machine sees it that is dialled. Of its verbs only those that agents need."""

    def __init__(self, line: Asks) -> None:
        self.line = line

    def get(self, key: str) -> bytes:
        data = self.line.ask(words.FETCH, words.Item(key)).data
        if data is None:
            raise NotFound(f"there is no {key}")
        return data

    def put(self, key: str, data: bytes) -> None:
        self.line.ask(words.KEEP, words.Item(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """The controller's end keeps what was there first."""
        self.put(key, data)
        return True

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        raise InternalError("a machine that is dialled lists nothing")

    def delete(self, keys: Iterable[str]) -> None:
        raise InternalError("a machine that is dialled deletes nothing")

    def url(self, key: str) -> str:
        return f"door:{key}"
