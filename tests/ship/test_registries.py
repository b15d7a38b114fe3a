"""Whether an image is to be had is asked of its registry: a real one, and a small one where it must misbehave."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from elsewhere.api import furnishing
from elsewhere.errors import UsageError
from elsewhere.model.job import Environment
from elsewhere.model.place import Place
from elsewhere.ship import registries
from elsewhere.ship.registries import Answer, Name

CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory and logins of its own; what is on this machine is asked like any other."""
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registries, "_LOCAL", re.compile("localhost"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one with box:3.11 for amd64, box:3.12 for both, box:arm for arm64."""
    program, folder = shutil.which("docker-registry"), tmp_path_factory.mktemp("registry")
    if program is None:
        pytest.skip("needs docker-registry, which is not installed here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.02)
        amd, arm = (_push(port, kind) for kind in ("amd64", "arm64"))
        _put(port, "3.11", MANIFEST, amd)
        _put(port, "arm", MANIFEST, arm)
        _put(port, "3.12", INDEX, _index(amd64=amd, arm64=arm))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def _sent(port: int, verb: str, path: str, data: bytes, kind: str = "application/octet-stream") -> str:
    """Where it is now."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as line:
        line.request(verb, path, data, {"Content-Type": kind})
        answer = line.getresponse()
        assert answer.status in (201, 202), answer.read()
        return str(answer.headers["Location"]).partition(f":{port}")[2]


def _push(port: int, architecture: str) -> bytes:
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers"}}).encode()
    where = _sent(port, "POST", "/v2/box/blobs/uploads/", b"")
    _sent(port, "PUT", f"{where}&digest={_digest(config)}", config)
    about = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _digest(config), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": about, "layers": []}).encode()


def _index(**manifests: bytes) -> bytes:
    listed = [{"mediaType": MANIFEST, "digest": _digest(data), "size": len(data),
               "platform": {"os": "linux", "architecture": kind}} for kind, data in manifests.items()]  # fmt: skip
    strange = {**listed[0], "platform": {"os": "unknown", "architecture": "unknown"}}  # as builders add for provenance
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*listed, strange]}).encode()


def _put(port: int, tag: str, kind: str, data: bytes) -> None:
    for name in (_digest(data), tag):
        _sent(port, "PUT", f"/v2/box/manifests/{name}", data, kind)


class Small(BaseHTTPRequestHandler):
    """Answers manifests with `said`; lets in who has a token, which it gives to who has the login."""

    said: tuple[int, bytes] = (404, b"<html>no such page</html>")
    login = ""
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind, _, word = (self.headers["Authorization"] or "").partition(" ")
        if self.path.startswith("/token"):
            good = not self.login or (kind, word) == ("Basic", b64encode(self.login.encode()).decode())
            self._answer(*(200, b'{"token": "t0ken"}') if good else (401, b"{}"))
        elif self.login and (kind, word) != ("Bearer", "t0ken"):
            self._answer(401, b"{}")
        else:
            self._answer(*self.said)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            realm = f"http://{self.headers['Host']}/token"
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="s",scope="repository:box:pull"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def small() -> Iterator[tuple[str, type[Small]]]:
    kind = type("Own", (Small,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", kind
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("docker.io/python", Name("docker.io", "library/python", "latest")),
        ("docker://docker.io/library/python:3.12", Name("docker.io", "library/python", "3.12")),
        ("ghcr.io/a/b:1@sha256:00", Name("ghcr.io", "a/b", "sha256:00")),
        ("host:5000/a", Name("host:5000", "a", "latest")),
        ("python:3.12", None),
        ("me/python:3.12", None),
        ("oras://ghcr.io/a/b:1", None),
        ("localhost/own", None),
    ],
)
def test_only_a_name_that_says_its_registry_is_asked_for(image: str, name: Name | None) -> None:
    assert registries.name_of(image) == name


def test_a_real_registry_says_what_it_has_and_what_is_like_what_it_has_not(real: str) -> None:
    assert registries.ask(f"{real}/box:3.11") == Answer(True, frozenset(["x86_64"]))
    assert registries.ask(f"{real}/box:3.12") == Answer(True, frozenset(["x86_64", "arm64"]))
    assert registries.ask(f"{real}/box:3.21") == Answer(False, nearest=("3.12", "3.11"))
    assert registries.ask(f"{real}/nothing:1") == Answer(False)


def test_before_anything_starts_it_is_said_what_is_not_there_and_what_is_for_others(real: str, tmp_path: Path) -> None:
    cloud = Place("cloud", "aws", {"region": "us-east-1"})

    def furnish(tag: str, architecture: str = "") -> object:
        image = Environment(image=f"{real}/box:{tag}")
        return furnishing.furnish(image, cloud, tmp_path, "python", "", architecture).fields["box"].image

    assert furnish("3.11") == f"{real}/box:3.11" and furnish("arm", "arm64") == f"{real}/box:arm"
    with pytest.raises(UsageError, match=r"there is no image .*/box:3.13, as its registry says") as caught:
        furnish("3.13")
    assert "3.12" in caught.value.hint
    with pytest.raises(UsageError, match="is for arm64, and tasks would run on x86_64") as caught:
        furnish("arm")
    assert "--architecture arm64" in caught.value.hint


def test_an_answer_is_remembered_and_a_refusal_is_not(small: tuple[str, type[Small]]) -> None:
    address, server = small
    server.said = (404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
    assert registries.ask(f"{address}/box:1") == Answer(False)
    server.said = (200, _index(amd64=b""))
    assert registries.ask(f"{address}/box:1") == Answer(True, frozenset(["x86_64"]))
    server.asked.clear()
    assert registries.ask(f"{address}/box:1") == Answer(True, frozenset(["x86_64"])) and server.asked == []


@pytest.mark.parametrize("said", [(404, b"<html>no such page</html>"), (403, b"{}"), (429, b"{}"), (200, b"no JSON")])
def test_what_is_no_clear_answer_says_nothing_and_is_not_asked_for_again_at_once(
    small: tuple[str, type[Small]], said: tuple[int, bytes]
) -> None:
    address, server = small
    server.said = said
    assert registries.ask(f"{address}/box:1") is None and server.asked
    server.asked.clear()
    assert registries.ask(f"{address}/box:1") is None and server.asked == []
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert registries.ask(f"127.0.0.1:{nobody.getsockname()[1]}/box:1") is None


def _docker(told: Mapping[str, object], folder: Path) -> None:
    (folder / ".docker").mkdir()
    (folder / ".docker" / "config.json").write_text(json.dumps(told))


@pytest.mark.parametrize("helper", [False, True])
def test_a_login_of_docker_is_used(
    small: tuple[str, type[Small]], tmp_path: Path, helper: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, server = small
    server.login, server.said = "me:s3cret", (200, _index(arm64=b""))
    assert registries.ask(f"{address}/box:1") is None, "it is not known what is there"
    if helper:
        program = tmp_path / "docker-credential-safe"
        program.write_text(
            f'#!/bin/sh\nread -r name; [ "$name" = {address} ] && echo \'{{"Username": "me", "Secret": "s3cret"}}\'\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        _docker({"credsStore": "safe"}, tmp_path)
    else:
        _docker({"auths": {address: {"auth": b64encode(b"me:s3cret").decode()}}}, tmp_path)
    assert registries.ask(f"{address}/box:2") == Answer(True, frozenset(["arm64"]))
    assert not any(b"s3cret" in path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
