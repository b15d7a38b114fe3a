"""Channels of conda that ask for a login: it comes by reference, is used from here, and is written down nowhere."""

from __future__ import annotations

import json
import os
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from elsewhere.errors import ConfigError
from elsewhere.model.job import Environment
from elsewhere.ship import conda, logins, resolve
from elsewhere.ship.runtime import own
from ship import channel

pytest.importorskip("rattler")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> channel.Channel:
    return channel.usual(tmp_path_factory.mktemp("shop") / "channel")


class Guarded(SimpleHTTPRequestHandler):
    """A channel that lets in who has the right word, and notes what was asked without."""

    word, refused = "", list[str]()

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == self.word:
            return super().do_GET()
        self.refused.append(self.path)
        self.send_error(401)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded(shop: channel.Channel) -> Iterator[tuple[str, type[Guarded]]]:
    """(its address, what answers there)."""
    kind = type("Asks", (Guarded,), {"refused": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(shop.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", kind
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("secret", "word"),
    [("ada:open:sesame", "Basic " + b64encode(b"ada:open:sesame").decode()), ("t0ken", "Bearer t0ken")],
)
def test_a_channel_that_asks_for_a_login_gets_it_by_reference(
    guarded: tuple[str, type[Guarded]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, word: str
) -> None:
    url, server = guarded
    server.word = word
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OURS", secret)
    asked = Environment(conda=("tool",), channels=(url,), logins={url.removeprefix("http://"): "env:OURS"})
    found = resolve.resolve(asked, own(), tmp_path, sys.executable)
    assert found.conda and all(line.startswith(url) and secret not in line for line in found.conda)
    server.word = "nobody is let in any more"
    assert all(path.is_file() for path in conda.fetch(found.conda).values()), "they are here already"
    assert not any(secret.encode() in path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert os.environ.get(logins.FILE) is None
    with pytest.raises(ConfigError, match="OURS is not set"):
        monkeypatch.delenv("OURS")
        resolve.resolve(asked, own(), tmp_path, sys.executable)


def test_logins_that_rattler_keeps_in_a_file_hold_too(
    guarded: tuple[str, type[Guarded]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = guarded
    server.word = "Bearer kept"
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    with pytest.raises(ConfigError):
        resolve.resolve(Environment(conda=("tool",), channels=(url,)), own(), tmp_path, sys.executable)
    (tmp_path / "kept.json").write_text(json.dumps({"127.0.0.1": {"BearerToken": "kept"}}))
    monkeypatch.setenv(logins.FILE, str(tmp_path / "kept.json"))
    found = resolve.resolve(Environment(conda=("tool",), channels=(url,)), own(), tmp_path, sys.executable)
    assert all(path.is_file() for path in conda.fetch(found.conda).values())


@pytest.mark.parametrize(
    ("host", "url", "asked"),
    [
        ("anaconda.org", "https://conda.anaconda.org/c/x.conda", "https://conda.anaconda.org/t/T/c/x.conda"),
        ("*.corp.com", "https://a.corp.com/x.conda", None),
        ("other.com", "https://a.corp.com/x.conda", None),
    ],
)
def test_a_login_is_of_its_host_alone(host: str, url: str, asked: str | None) -> None:
    known = {"*.anaconda.org" if host == "anaconda.org" else host: logins._login(host, "T")}
    found = logins.request(url, known)
    if host == "other.com":
        assert found is None
    elif asked:
        assert found == (asked, {})
    else:
        assert found == (url, {"Authorization": "Bearer T"})
