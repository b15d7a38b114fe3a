"""What a host is sent of a directory that it has an earlier state of, by the texts that run there, on this machine."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest

from elsewhere.backends.ssh.laying import lay
from elsewhere.errors import Refused
from elsewhere.hosts import Here, Ran
from elsewhere.ship.trees import Tree, tree


class There:
    """This machine, as a host. `came`: what was sent, file by file, one list for each time."""

    name = "there"

    def __init__(self, most: int | None = None) -> None:
        """`most`: the connection is cut after so many bytes."""
        self.came: list[list[str]] = []
        self.most = most

    def run(
        self, argv: Sequence[str], input: bytes = b"", timeout: timedelta | None = None, env: Mapping[str, str] = {}
    ) -> Ran:
        return Here().run(argv, input, timeout, env)

    def pour(self, argv: Sequence[str], write: Callable[[IO[bytes]], None]) -> Ran:
        sent = io.BytesIO()
        write(sent)
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(sent.getvalue()))) as tar:
            self.came.append([name.removeprefix("new/") for name in tar.getnames() if name.startswith("new/")])
        done = subprocess.run(argv, input=sent.getvalue()[: self.most], capture_output=True, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    return tmp_path / "ca che"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of two levels, with names that no shell may read."""
    folder = tmp_path / "data"
    (folder / "sub dir").mkdir(parents=True)
    for k in range(40):
        (folder / f"{k}.dat").write_bytes(os.urandom(200))
    for name in (b"-rf", b"$(touch x)", b"a\nb", b"back\\slash", b"\xff\xfe", b"n" * 180):
        (folder / "sub dir" / os.fsdecode(name)).write_bytes(name)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def there(cache: Path, sent: Tree) -> dict[str, bytes]:
    root = cache / "unpacked" / sent.digest
    assert (root / ".whole").exists()
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: content for name, content in found.items() if name not in (".whole", ".sums")}


def here(data: Path) -> dict[str, bytes]:
    return {str(p.relative_to(data.parent)): p.read_bytes() for p in data.rglob("*") if p.is_file()}


def test_of_a_directory_that_changed_in_part_that_part_is_sent(cache: Path, data: Path) -> None:
    host, first = There(), tree(data)
    lay(host, str(cache), first)  # type: ignore[arg-type]
    assert there(cache, first) == here(data) and len(host.came[0]) == 47
    (data / "3.dat").write_bytes(b"changed")
    (data / "more.dat").write_bytes(b"more")
    (data / "4.dat").unlink()
    (data / "run.sh").chmod(0o644)
    old, second = there(cache, first), tree(data)
    lay(host, str(cache), second)  # type: ignore[arg-type]
    assert sorted(host.came[1]) == ["data/3.dat", "data/more.dat", "data/run.sh"]
    assert there(cache, second) == here(data) and there(cache, first) == old
    modes = {p.name: p.stat().st_mode & 0o333 for p in (cache / "unpacked" / second.digest / "data").glob("*.*")}
    assert modes["run.sh"] == 0 and (cache / "unpacked" / first.digest / "data/run.sh").stat().st_mode & 0o111
    assert tree(data).digest == second.digest
    assert {p.name for p in (cache / "unpacked").iterdir()} == {first.digest, second.digest}


def test_what_was_damaged_there_is_not_built_upon(cache: Path, data: Path) -> None:
    host, first = There(), tree(data)
    lay(host, str(cache), first)  # type: ignore[arg-type]
    (cache / "unpacked" / first.digest / "data/7.dat").chmod(0o600)
    (cache / "unpacked" / first.digest / "data/7.dat").write_bytes(b"damaged")
    (data / "3.dat").write_bytes(b"changed")
    second = tree(data)
    lay(host, str(cache), second)  # type: ignore[arg-type]
    assert [len(names) for names in host.came] == [47, 1, 47]
    assert there(cache, second) == here(data)
    assert not (cache / "unpacked" / first.digest).exists(), "nobody shall find it"


def test_what_a_cut_leaves_is_nothing_that_others_find(cache: Path, data: Path) -> None:
    with pytest.raises(Refused, match="inputs cannot be brought to there"):
        lay(There(most=900), str(cache), tree(data))  # type: ignore[arg-type]
    assert list((cache / "unpacked").iterdir()) == []
    lay(There(), str(cache), tree(data))  # type: ignore[arg-type]
    assert there(cache, tree(data)) == here(data)


def test_two_that_bring_it_at_the_same_moment_leave_it_whole(cache: Path, data: Path) -> None:
    sent = tree(data)
    both = [threading.Thread(target=lay, args=(There(), str(cache), sent)) for _ in range(4)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert there(cache, sent) == here(data)
    assert [path.name for path in (cache / "unpacked").iterdir()] == [sent.digest]


def test_one_file_and_none_travel_too(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"of one")
    (tmp_path / "none").mkdir()
    for path in (tmp_path / "new", tmp_path / "none"):
        sent = tree(path)
        lay(There(), str(cache), sent)  # type: ignore[arg-type]
        assert there(cache, sent) == ({"new": b"of one"} if path.is_file() else {})
