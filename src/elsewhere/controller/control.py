"""The control socket: how another process of the same user asks a running controller for something.

One JSON object a line each way, over a Unix socket in the job's own directory (0600).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from elsewhere import errors
from elsewhere.errors import ElsewhereError, StateError
from elsewhere.model.task import NewTask

_PATIENCE = 10.0
_LIMIT = 1 << 24


@contextlib.contextmanager
def _near(path: Path) -> Iterator[str]:
    """A name for `path` that is short enough for a socket's address (108 bytes)."""
    if not sys.platform.startswith("linux") or len(str(path)) < 100:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


class Control:
    """The listening end. `answer` gets each request and returns the reply; its ElsewhereError is sent back."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.path, self.answer = path, answer
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            with _near(path) as address:
                self.socket.bind(address)
        finally:
            os.umask(mask)
        self.socket.listen(8)
        self.socket.setblocking(False)

    def turn(self) -> None:
        """Serve one caller. Called when the socket is readable; a caller that dawdles is dropped."""
        try:
            caller, _ = self.socket.accept()
        except OSError:
            return
        with caller:
            caller.settimeout(1.0)
            if not _same_user(caller):
                return
            with contextlib.suppress(OSError, ValueError):
                caller.sendall(json.dumps(self._reply(_line(caller))).encode() + b"\n")

    def _reply(self, request: bytes) -> dict[str, Any]:
        words = json.loads(request)
        if not isinstance(words, dict):
            raise ValueError(words)
        try:
            return self.answer(words)
        except ElsewhereError as error:
            return {"error": type(error).__name__, "message": error.message, "hint": error.hint}

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


def _same_user(caller: socket.socket) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory is 0700
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.getuid())


def _line(caller: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < _LIMIT:
        piece = caller.recv(65536)
        if not piece:
            break
        data += piece
    return data


def words(tasks: Iterable[NewTask]) -> list[list[Any]]:
    """Tasks as a request carries them: their bytes are UTF-8 JSON."""
    return [[t.id, t.body.decode(), None if t.options is None else t.options.decode(), t.priority] for t in tasks]


def tasks(found: Iterable[Any]) -> list[NewTask]:
    """And back."""
    return [NewTask(name, body.encode(), own and own.encode(), priority) for name, body, own, priority in found]


def ask(path: Path, request: dict[str, Any], patience: float = _PATIENCE) -> dict[str, Any] | None:
    """Ask the controller behind `path`; None: there is none. Waits so many seconds for its answer, or raises its error.

    May be repeated when the request may. StateError: no answer came, or an error came that is of no public kind.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(patience)
        try:
            with _near(path) as address:
                line.connect(address)
        except OSError:
            return None
        try:
            line.sendall(json.dumps(request).encode() + b"\n")
            reply = _line(line)
        except OSError as error:
            raise StateError("the controller of the job does not answer", hint="try again in a moment") from error
    if not reply:
        return None
    answer: dict[str, Any] = json.loads(reply)
    if "error" in answer:
        raise getattr(errors, answer["error"], StateError)(answer["message"], hint=answer.get("hint", ""))
    return answer
