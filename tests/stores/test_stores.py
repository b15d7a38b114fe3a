"""The stores of this project pass the suite; and what a directory must do beyond it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from elsewhere.errors import AccessDenied, StateError, Unreachable
from elsewhere.hosts import Here
from elsewhere.stores import DirectoryStore, HostStore, MemoryStore
from elsewhere.stores.gathering import GatheringStore
from elsewhere.testing.conformance import StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestDirectoryStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> DirectoryStore:
        return DirectoryStore(tmp_path / "not" / "yet")


class TestGatheringStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> GatheringStore:
        return GatheringStore(Here(), str(tmp_path / "it's here"))


def test_a_list_brings_what_is_read_next(tmp_path: Path) -> None:
    host = Here()
    store, plain = GatheringStore(host, str(tmp_path)), HostStore(host, str(tmp_path))
    for k in range(3):
        plain.put(f"a/{k}", b"%d" % k)
    assert list(store.list("a/")) == ["a/0", "a/1", "a/2"]
    plain.put("a/1", b"new")
    assert store.get("a/1") == b"1"
    assert store.get("a/1") == b"new"
    plain.delete(["a/2"])
    assert list(store.list("a/", after="a/0")) == ["a/1"]


class TestHostStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> HostStore:
        return HostStore(Here(), str(tmp_path / "it's here"))


def test_a_folder_that_goes_while_something_is_made_in_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "mktemp"  # twice somebody deletes the last object of the folder just then
    shim.write_text(f"""#!/bin/sh
echo >>"{tmp_path}/asked"; [ "$(wc -l <"{tmp_path}/asked")" -gt 2 ] || rmdir "${{1%/*}}"
exec {shutil.which("mktemp")} "$@"
""")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    store = HostStore(Here(), str(tmp_path / "s"))
    assert store.create("a/b", b"x")
    assert store.get("a/b") == b"x"
    assert len((tmp_path / "asked").read_text().splitlines()) == 3


def test_what_a_directory_holds_is_its_owners(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "s")
    store.create("a/b", b"x")
    store.put("a/c", b"x")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "s", tmp_path / "s/a"]}
    assert modes == {0o700}
    assert {stat.S_IMODE((tmp_path / "s/a" / name).stat().st_mode) for name in "bc"} == {0o600}


def test_nothing_is_left_aside(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.create("a/b", b"x")
    store.create("a/b", b"y")
    store.put("a/b", b"z")
    assert [path.name for path in (tmp_path / ".new").iterdir()] == []


def test_a_folder_goes_with_its_last_object(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.create("a/b/c", b"x")
    store.delete(["a/b/c"])
    assert not (tmp_path / "a").exists()
    assert store.create("a/b/c", b"x")


def test_a_link_whose_reply_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "the server did it, its reply was lost, and it was asked again")

    monkeypatch.setattr(os, "link", link)
    assert DirectoryStore(tmp_path).create("k", b"ours") is True
    assert DirectoryStore(tmp_path).get("k") == b"ours"


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)
    seen: list[str] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        seen.extend(DirectoryStore(tmp_path).list())
        return real(fd, data[:3])

    monkeypatch.setattr(os, "write", write)
    assert store.create("k", b"some bytes more")
    assert seen == []
    assert store.get("k") == b"some bytes more"


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StateError), (errno.EDQUOT, StateError), (errno.EROFS, AccessDenied), (errno.EIO, Unreachable)],
)
def test_trouble_is_named_by_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    store = DirectoryStore(tmp_path)
    store.put("kept", b"x")
    monkeypatch.setattr(os, "write", refuse)
    for write in (store.put, store.create):
        with pytest.raises(error):
            write("k", b"data")
    assert list(store.list()) == ["kept"]
