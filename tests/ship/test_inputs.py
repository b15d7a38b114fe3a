"""Inputs and outputs as people write them, and inputs fetched by their URLs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
