"""Where a machine's connections come in that its controller dials: a socket there, and a bridge to it for sshd to run.

The first thing that an agent makes, so that whoever dials is on the way while the rest of it is loaded: little is
imported here.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import chdir
from pathlib import Path

from elsewhere.errors import StateError

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
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            _bind(self.socket, path)
        except OSError as error:
            raise StateError(f"no socket can be made at {path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        self.socket.listen(8)
        self.socket.setblocking(False)
        bridge = " ".join(
            map(_quoted, (sys.executable, "-S", "-E", str(Path(__file__).with_name("bridge.py")), path.name))
        )
        part = directory / f".{BRIDGE}"
        part.write_bytes(os.fsencode(f"#!/bin/sh\ncd {_quoted(str(directory))} && exec {bridge}\n"))
        part.chmod(0o700)
        part.replace(directory / BRIDGE)  # who waits for it finds it whole; it is of no use after a power cut

    def waiting(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def __call__(self) -> tuple[int, ...] | None:
        """What to read from, what to write to, and what the bridge waits at while these are used."""
        found: tuple[int, ...] | None = None
        while self.waiting():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                break
            came = _handed(connection)
            if came is not None:
                for fd in found or ():
                    os.close(fd)  # they were given up for the one behind them
                found = came
        return found

    def close(self) -> None:
        """Nobody comes in any more. Twice: harmless."""
        self.socket.close()


def _bind(listener: socket.socket, path: Path) -> None:
    """Where the kernel would not take so long a path: from within its directory."""
    if len(os.fsencode(path)) <= _SOCKET:
        listener.bind(str(path))
        return
    with chdir(path.parent):
        listener.bind(path.name)


def _quoted(word: str) -> str:
    """As shlex.quote has it, which takes a while to load."""
    return "'" + word.replace("'", "'\"'\"'") + "'"


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
