"""Inputs and outputs as people write them, and inputs fetched by their URLs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest

from elsewhere.errors import UsageError
from elsewhere.model.job import Input
from elsewhere.ship import inputs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    for name in ("input.dat", "lib/a.txt"):
        (folder / name).write_text(name)
    (tmp_path / "beside.csv").write_text("beside")
    return folder


def test_names_are_those_within_the_project_or_the_last_of_a_path(project: Path) -> None:
    found = inputs.read(["lib/", "./input.dat", "../beside.csv", "s3://bucket/a%20b/c.bin"], project)
    assert found == (
        Input("lib", str(project / "lib")), Input("input.dat", str(project / "input.dat")),
        Input("beside.csv", str(project.parent / "beside.csv")), Input("c.bin", "s3://bucket/a%20b/c.bin"),
    )  # fmt: skip


def test_a_url_of_a_file_here_is_its_path(project: Path) -> None:
    (project.parent / "a b.txt").touch()
    url = (project.parent / "a b.txt").as_uri()
    assert inputs.read([url], project) == (Input("a b.txt", str(project.parent / "a b.txt")),)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["inptu.dat"], "there is no input inptu.dat; did you mean input.dat?"),
        (["ftp://host/x"], "the input ftp://host/x is of no kind that can be fetched"),
        (["https://host/"], "the input https://host/ names no file"),
        (["."], "the input . holds the working directory itself"),
        ([".."], "the input .. holds the working directory itself"),
        (["input.dat", "s3://b/input.dat"], "would both be called input.dat"),
        (["lib", "lib/a.txt"], "would lie within another"),
    ],
)
def test_what_is_wrong_is_said(project: Path, sources: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        inputs.read(sources, project)
    assert said in caught.value.message


@pytest.mark.parametrize("pattern", ["/etc/x", "../x", "a/../../x", "", "~/x"])
def test_an_output_that_leads_out_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="leads out"):
        inputs.globs([pattern])
    assert inputs.globs(["plots/*.png", "./a", "out/"]) == ("plots/*.png", "a", "out")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "data.bin").write_bytes(b"first")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_url_is_fetched_into_a_cache_by_its_digest_and_may_not_be_written_to(site: str, tmp_path: Path) -> None:
    asked = (Input("data.bin", f"{site}/data.bin"),)
    [first] = inputs.fetched(asked, tmp_path / "cache")
    assert (Path(first.source).read_bytes(), Path(first.source).stat().st_mode & 0o777) == (b"first", 0o400)
    (tmp_path / "site" / "data.bin").write_bytes(b"second")
    [second] = inputs.fetched(asked, tmp_path / "cache")
    assert Path(second.source).read_bytes() == b"second" and second.source != first.source
    assert Path(first.source).read_bytes() == b"first"


def test_one_that_is_not_there_is_said(site: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/none.bin cannot be fetched: (HTTP Error 404: )?(File not found|Not Found)"):
        inputs.fetched((Input("none.bin", f"{site}/none.bin"),), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


class Bucket(BaseHTTPRequestHandler):
    """What Google's storage answers to who reads: one object that all may read, one that nobody may."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.asked.append((path, self.headers.get("Authorization", "")))
        status = {"/open/a b/data.bin": 200, "/closed/data.bin": 403}.get(path, 404)
        body = b"of google" if status == 200 else b"<Error><Code>AccessDenied</Code></Error>" if status == 403 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Every request: (path, what it said of who asks)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("GOOGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GOOGLE_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    Bucket.asked.clear()
    yield Bucket.asked
    server.shutdown()
    server.server_close()


def test_an_object_of_googles_is_fetched_as_anybody_may_and_cached_by_its_digest(
    google: list[tuple[str, str]], tmp_path: Path
) -> None:
    asked = inputs.read(["gs://open/a%20b/data.bin"], tmp_path)
    [one] = inputs.fetched(asked, tmp_path / "cache")
    path = Path(one.source)
    assert path.read_bytes() == b"of google"
    assert (path.parent.name, path.name) == (hashlib.sha256(b"of google").hexdigest(), "data.bin")
    assert google == [("/open/a b/data.bin", "")]


def test_who_has_credentials_of_googles_reads_with_them(
    google: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "known")
    inputs.fetched((Input("data.bin", "gs://open/a%20b/data.bin"),), tmp_path / "cache")
    assert google == [("/open/a b/data.bin", "Bearer known")]


@pytest.mark.parametrize(
    ("url", "said"),
    [("gs://closed/data.bin", "may not be read"), ("gs://open/none.bin", "there is no object none.bin")],
)
def test_what_google_does_not_give_is_said(google: list[tuple[str, str]], tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inputs.fetched((Input(url.rpartition("/")[2], url),), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
