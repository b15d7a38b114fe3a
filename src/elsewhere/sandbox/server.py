"""The HTTP end: requests read from loopback sockets, one thread to a connection, kept alive; answers written back.

What a request means is the cloud's. None for an answer closes the connection: the caller never learns what happened.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
from collections.abc import Callable

from elsewhere.sandbox.http import Request, Response

Answer = Callable[[Request], Response | None]
_LARGEST = 1 << 30
_CHUNK_LINE = 1024


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512
    # Threads are not waited for at the end: a long poll must not keep the sandbox alive.
    block_on_close = False

    def __init__(self, answer: Answer, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        """Bound to a free port of 127.0.0.1, or to `address`; `start` begins to answer."""
        self.answer = answer
        super().__init__(address, _Connection)
        self.port: int = self.server_address[1]

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.1,), name="server", daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is nothing to write down; what `answer` raises it has answered itself."""


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Server

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(Request(self.command, path, query, headers, body, peer=self.client_address[0]))
        if answer is None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _serve

    def _body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= _LARGEST:
            self.send_error(413)
            return None
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _chunks(self) -> bytes | None:
        pieces, total = list[bytes](), 0
        while True:
            try:
                size = int(self.rfile.readline(_CHUNK_LINE).split(b";", 1)[0], 16)
            except ValueError:
                return None
            total += size
            if total > _LARGEST:
                return None
            if size == 0:
                while self.rfile.readline(_CHUNK_LINE).strip():
                    pass
                return b"".join(pieces)
            pieces.append(self.rfile.read(size))
            self.rfile.readline(_CHUNK_LINE)

    def _write(self, answer: Response) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        # A HEAD's length is that of what a GET would have sent; moto says it.
        said = answer.headers.get("content-length") if self.command == "HEAD" else None
        if answer.status not in (204, 304):
            self.send_header("Content-Length", said or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing is logged: a request may hold secrets."""
