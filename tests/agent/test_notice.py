"""The notice of a preemption, and calls: asked of the machine's own metadata service, never told by mistake."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from elsewhere.agent.notice import Ec2, Watch, asker
from elsewhere.errors import UsageError


class Metadata:
    """Version 2 of the service: nothing without a token."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (404, b"")
        self.ring: tuple[int, bytes] = (404, b"")
        self.asked = 0
        service = self

        class Door(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.reply(200, b"token-1")

            def do_GET(self) -> None:
                service.asked += 1
                if self.headers.get("X-aws-ec2-metadata-token") != "token-1":
                    return self.reply(401, b"")
                if self.path == "/latest/meta-data/tags/instance/elsewhere:ring":
                    return self.reply(*service.ring)
                assert self.path == "/latest/meta-data/spot/instance-action"
                return self.reply(*service.answer)

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    service = Metadata()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{service.server.server_port}")
    yield service
    service.close()


def test_there_is_no_notice_until_there_is_one(metadata: Metadata) -> None:
    ask = Ec2()
    assert ask() is None
    for odd in ((500, b"x"), (200, b"not json"), (200, b"{}"), (200, b'{"action": "terminate", "time": "soon"}')):
        metadata.answer = odd
        assert ask() is None
    metadata.answer = 200, b'{"action": "terminate", "time": "2026-01-02T03:04:05Z"}'
    assert ask() == ("spot terminate", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_it_is_told_once_with_the_time_that_is_left(metadata: Metadata) -> None:
    told, heard = [], threading.Event()

    def hear(why: str, left: timedelta) -> None:
        told.append((why, left))
        heard.set()

    until = datetime.now(UTC) + timedelta(hours=1)
    metadata.answer = 200, json.dumps({"action": "stop", "time": until.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
    watch = Watch(Ec2(), hear, every=0.01)
    watch.start()
    assert heard.wait(20)
    watch._thread.join(20)
    assert not watch._thread.is_alive()
    [(why, left)] = told
    assert why == "spot stop"
    assert timedelta(minutes=50) < left <= timedelta(hours=1)


def test_each_new_word_of_the_tag_is_a_call_and_there_is_none_without(metadata: Metadata) -> None:
    called: queue.Queue[bool] = queue.Queue()
    watch = Watch(Ec2(), lambda why, left: None, lambda: called.put(True), every=0.01)
    watch.start()
    try:
        before = metadata.asked
        for word in (b"one", b"two"):
            metadata.ring = 200, word
            called.get(timeout=20)
        until = time.monotonic() + 20
        while metadata.asked < before + 20 and time.monotonic() < until:
            time.sleep(0.01)  # until the same word was read a few times more
        assert called.empty()
    finally:
        watch.close()


def test_a_service_that_is_not_there_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    assert Ec2()() is None and Ec2().ring() == ""


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="no way"):
        asker("nonsense")
