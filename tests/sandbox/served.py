"""A service of the sandbox on a socket of its own, for tests that need no more of a server, and clients for it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from elsewhere.sandbox.http import Caller, Request, Service


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Its address, while it is served. Each connection is a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path, _, query = self.path.partition("?")
            response = service.answer(Request("POST", path, query, headers, body, caller_of(headers)))
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            service.close()
            server.shutdown()
            thread.join()


def caller_of(headers: dict[str, str]) -> Caller:
    scope = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
    return Caller(scope[0], region=scope[2], service=scope[3]) if len(scope) == 5 else Caller()


def client(service: str, url: str, region: str = "us-east-1") -> Any:
    """An SDK client that asks nobody else."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"max_attempts": 1}, read_timeout=30, connect_timeout=5)
    session = boto3.Session("AKIATEST", "secret", region_name=region)
    return session.client(service, endpoint_url=url, config=config)


def account_of(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Credentials and an endpoint in the environment, as a user would set them, and nothing of this machine's own."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    words = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }
    for name, value in words.items():
        monkeypatch.setenv(name, value)


def direct(service: Service, region: str = "us-east-1") -> Any:
    """The SDK's client of SQS whose requests reach the service without a socket: its own words, and quick."""
    from botocore.awsrequest import AWSResponse

    sqs = client("sqs", "http://127.0.0.1:1", region)

    def answer(request: Any, **_: Any) -> AWSResponse:
        headers = {name.lower(): value.decode() if isinstance(value, bytes) else str(value)
                   for name, value in request.headers.items()}  # fmt: skip
        body = request.body.encode() if isinstance(request.body, str) else bytes(request.body or b"")
        found = service.answer(Request("POST", "/", "", headers | {"host": "q"}, body, caller_of(headers)))
        return AWSResponse(request.url, found.status, dict(found.headers), Raw(found.body))

    sqs.meta.events.register("before-send.sqs", answer)
    return sqs


class Raw(io.BytesIO):
    """A body as the SDK reads it."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()
