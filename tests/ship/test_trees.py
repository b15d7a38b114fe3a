"""Directories by the digests of what is in them: what is read again, what is offered as a beginning."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from elsewhere.errors import Refused, UsageError
from elsewhere.ship import trees
from elsewhere.ship.trees import tree


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


def settle(data: Path) -> None:
    """Until a change would show in the times."""
    newest = max(path.stat().st_ctime for path in data.rglob("*"))
    while time.time() - newest < 0.15:
        time.sleep(0.01)


def test_what_has_not_changed_is_not_read_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(data)
    first = tree(data)
    assert sorted(first.files) == ["data/a", "data/b", "data/sub/c"] and first.bases == ()
    read = list[str]()
    take = trees._Heap.take

    def taking(heap: trees._Heap, path: Path) -> tuple[os.stat_result, trees.Part]:
        read.append(path.name)
        return take(heap, path)

    monkeypatch.setattr(trees._Heap, "take", taking)
    assert tree(data).digest == first.digest and read == []
    (data / "b").write_text("other")
    second = tree(data)
    assert read == ["b"] and second.digest != first.digest and second.bases == (first.digest,)


def test_a_file_is_read_again_as_long_as_it_may_change_within_the_same_instant(data: Path) -> None:
    first = tree(data)
    about = (data / "b").stat()
    (data / "b").write_text("c")  # as long as before
    os.utime(data / "b", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert tree(data).digest != first.digest


def test_nothing_is_made_of_a_state_with_directories_that_are_no_more(data: Path) -> None:
    tree(data)
    (data / "sub" / "c").unlink()
    assert tree(data).bases == ()


def test_nothing_is_made_of_a_state_of_which_little_is_left(data: Path) -> None:
    tree(data)
    for name in ("a", "b"):
        (data / name).write_text("another")
    assert tree(data).bases == ()


def test_a_file_that_changes_while_it_is_read_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_PIECE", 1)
    real, seen = os.fstat, list[int]()

    def fstat(fd: int) -> os.stat_result:
        seen.append(fd)
        if len(seen) == 2:
            with (data / "a").open("a") as file:
                file.write("more")
        return real(fd)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(UsageError, match="a was changed while it was read"):
        tree(data)


def test_what_was_swept_meanwhile_is_said_and_read_again_by_the_next(data: Path, tmp_path: Path) -> None:
    settle(data)
    sent = tree(data)
    for path in (tmp_path / "home" / "cache" / "heaps").iterdir():
        path.unlink()
    with (tmp_path / "out").open("wb") as out, pytest.raises(Refused, match="is gone"):
        sent.write("", out)
    with (tmp_path / "out").open("wb") as out:
        tree(data).write("", out)
