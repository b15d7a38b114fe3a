"""A stand-in for AWS's session-manager-plugin, begun by its `aws ssm start-session` as that begins the real one.

It forwards a port of this machine's loopback into a machine of the sandbox, in the words of the real one:
https://github.com/aws/session-manager-plugin
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from urllib.parse import urlsplit

VERSION = "1.2.707.0"
FORWARDS = "AWS-StartPortForwardingSession"
_WORDS = 7


def main(argv: list[str]) -> int:
    if argv[1:] == ["--version"]:
        print(VERSION)
        return 0
    if len(argv) != _WORDS or argv[3] != "StartSession":
        print("The Session Manager plugin is begun by the AWS CLI: aws ssm start-session")
        return 1
    response, request = json.loads(os.environ.get(argv[1], argv[1])), json.loads(argv[5])
    id, token, stream = response["SessionId"], response["TokenValue"], urlsplit(response["StreamUrl"])
    print(f"\nStarting session with SessionId: {id}", flush=True)
    if request.get("DocumentName") != FORWARDS:
        print(f"SessionId: {id} : the sandbox forwards ports ({FORWARDS}), and opens no terminal.")
        return 1
    far = (str(stream.hostname), int(stream.port or 0))
    held = opened(far, token, "hold")
    if held is None:
        print(f"Cannot perform start session: the session {id} is not there")
        return 1
    here = request.get("Parameters", {}).get("localPortNumber", ["0"])[0]
    try:
        door = socket.create_server(("127.0.0.1", int(here)), backlog=128)
    except OSError as error:
        print(f"Unable to open tcp connection to port: listen tcp 127.0.0.1:{here}: {error}")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: leave("Terminate signal received, exiting."))
    signal.signal(signal.SIGINT, lambda *_: leave("Terminate signal received, exiting."))
    print(f"Port {door.getsockname()[1]} opened for sessionId {id}.\nWaiting for connections...", flush=True)
    threading.Thread(target=serve, args=(door, far, token, id), daemon=True).start()
    held.recv(1)  # until the session is over
    leave(f"\nSessionId: {id} : Your session has been terminated.")
    return 0


def leave(said: str) -> None:
    os.write(1, f"{said}\n".encode())
    os._exit(0)


def serve(door: socket.socket, far: tuple[str, int], token: str, id: str) -> None:
    first = True
    while True:
        near, _ = door.accept()
        if first:
            print(f"\nConnection accepted for session [{id}]", flush=True)
        first = False
        threading.Thread(target=through, args=(near, far, token), daemon=True).start()


def through(near: socket.socket, far: tuple[str, int], token: str) -> None:
    with near:
        line = opened(far, token, "data")
        if line is None:
            print("Connection to destination port failed, check SSM Agent logs.", flush=True)
            return
        with line:
            back = threading.Thread(target=copy, args=(line, near), daemon=True)
            back.start()
            copy(near, line)
            back.join()


def opened(far: tuple[str, int], token: str, what: str) -> socket.socket | None:
    """A connection of the session; None: it was refused."""
    with contextlib.suppress(OSError):
        line = socket.create_connection(far, 60)
        line.sendall(f"{token} {what}\n".encode())
        if line.recv(1) == b"+":
            line.settimeout(None)
            return line
        line.close()
    return None


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
