"""SSM's sessions: a way from a port of the user's machine to a port of a machine's loopback, whatever its groups say.

A session has a port of its own on loopback, for its plugin alone: each connection begins with the session's word and
what it is for. The one that holds it open is the first; when that ends, or the machine does, all of it ends.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from elsewhere.sandbox import replies
from elsewhere.sandbox.fleet import RUNNING, Fleet, Instance
from elsewhere.sandbox.http import Request, Response, Service
from elsewhere.sandbox.programs.session_manager_plugin import FORWARDS
from elsewhere.sandbox.walls import join

_TERMINAL = "SSM-SessionManagerRunShell"
_PORT = re.compile(r"[1-9]\d{0,4}")
_FORMS = {"portNumber": _PORT, "localPortNumber": re.compile(r"0|[1-9]\d{0,4}")}
"""Of the document: https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-schema.html"""
_WORD, _PATIENCE = 200, 30.0


class Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Sessions:
    """A Service: SSM, whose other calls `otherwise` answers."""

    def __init__(self, fleet: Fleet, otherwise: Service) -> None:
        self._fleet, self._otherwise = fleet, otherwise
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        self._actions: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "StartSession": self._start, "TerminateSession": self._terminate,
        }  # fmt: skip

    def answer(self, request: Request) -> Response:
        act = self._actions.get(replies.action(request))
        if act is None:
            return self._otherwise.answer(request)
        try:
            told = act(json.loads(request.body or b"{}"))
        except Refused as error:
            return replies.refused(request, error.code, str(error))
        return Response(200, json.dumps(told).encode(), {"content-type": "application/x-amz-json-1.1"})

    def forget(self, machine: str) -> None:
        """It has ended: so do its sessions."""
        self._close(lambda session: session.instance.id == machine)

    def close(self) -> None:
        self._close(lambda _: True)
        self._otherwise.close()

    def _close(self, meant: Callable[[Session], bool]) -> None:
        with self._lock:
            ending = [session for session in self._open.values() if meant(session)]
        for session in ending:
            session.close()

    def _start(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        target, document = str(asked.get("Target", "")), str(asked.get("DocumentName", _TERMINAL))
        instance = self._fleet.instances.get(target)
        # its agent speaks to SSM by the rights of the machine's role
        if instance is None or instance.move.state != RUNNING or not instance.order.role or instance.partitioned:
            raise Refused("TargetNotConnected", f"{target} is not connected.")
        if document not in (FORWARDS, _TERMINAL):
            raise Refused("InvalidDocument", f"Document with name {document} does not exist.")
        port = _port(asked.get("Parameters", {})) if document == FORWARDS else 0
        session = Session(instance, port, self._over)
        with self._lock:
            self._open[session.id] = session
        return {
            "SessionId": session.id,
            "TokenValue": session.token,
            "StreamUrl": f"ws://127.0.0.1:{session.port}/v1/data-channel/{session.id}?role=publish_subscribe",
        }

    def _over(self, session: Session) -> None:
        with self._lock:
            self._open.pop(session.id, None)

    def _terminate(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        id = str(asked.get("SessionId", ""))
        self._close(lambda session: session.id == id)
        return {"SessionId": id}


def _port(said: Mapping[str, Any]) -> int:
    values = {"portNumber": ["80"], "localPortNumber": ["0"], **said}
    for name, value in values.items():
        form = _FORMS.get(name)
        if form is None:
            raise Refused("InvalidParameters", f"Parameter {name} is not defined in the document.")
        if len(value) != 1 or not form.fullmatch(value[0]) or int(value[0]) > 65535:
            raise Refused("InvalidParameters", f"Parameter {name} has the value {value}, which its pattern forbids.")
    return int(values["portNumber"][0])


class Session:
    """`over` is called once it has ended. `close` may be called again."""

    def __init__(self, instance: Instance, target: int, over: Callable[[Session], None]) -> None:
        self.instance, self._target, self._over = instance, target, over
        self.id, self.token = f"sandbox-{secrets.token_hex(9)[:17]}", secrets.token_urlsafe(24)
        self._door = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._door.getsockname()[1]
        self._lock, self._closed = threading.Lock(), False
        self._lines: set[socket.socket] = set()
        threading.Thread(target=self._serve, name=f"session {self.id}", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            self._closed, lines = True, [self._door, *self._lines]
        for one in lines:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._over(self)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                threading.Thread(target=self._admit, args=(near,), daemon=True).start()

    def _kept(self, line: socket.socket) -> None:
        with self._lock:
            if self._closed:
                raise OSError("the session is over")
            self._lines.add(line)

    def _admit(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            self._kept(near)
            try:
                near.settimeout(_PATIENCE)
                token, _, what = _line(near).partition(" ")
                near.settimeout(None)
                if hmac.compare_digest(token.encode(), self.token.encode()):
                    {"hold": self._hold, "data": self._lead}.get(what, _turn_away)(near)
            finally:
                with self._lock:
                    self._lines.discard(near)

    def _hold(self, near: socket.socket) -> None:
        near.sendall(b"+")
        try:
            near.recv(1)
        finally:
            self.close()

    def _lead(self, near: socket.socket) -> None:
        try:
            if self.instance.partitioned:
                raise OSError("it is cut off")
            far = self.instance.machine.reach(self._target)
        except OSError:
            return _turn_away(near)
        with far:
            self._kept(far)
            try:
                near.sendall(b"+")
                join(near, far)
            finally:
                with self._lock:
                    self._lines.discard(far)


def _turn_away(near: socket.socket) -> None:
    near.sendall(b"-")


def _line(near: socket.socket) -> str:
    """Byte by byte: what comes after it is not ours."""
    text = bytearray()
    while len(text) < _WORD and (byte := near.recv(1)) not in (b"", b"\n"):
        text += byte
    return text.decode(errors="replace")
