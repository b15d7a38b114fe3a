"""What tasks leave comes home beside their reports, however often these are said."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from elsewhere.channels.outputs import FILES, Outputs
from elsewhere.errors import Refused
from elsewhere.model.reports import Ended, Form
from elsewhere.model.states import Outcome
from elsewhere.stores import DirectoryStore, MemoryStore


def ended(n: int, outcome: Outcome = Outcome.SUCCEEDED) -> Ended:
    return Ended(n, 1, outcome, 0.0, 0.0, Form.NOTHING, b"")


def test_files_come_home_once_for_each_task_that_succeeded(tmp_path: Path) -> None:
    store = MemoryStore()
    there, here = Outputs(store, tmp_path / "there"), Outputs(store, tmp_path / "here")
    (tmp_path / "there" / "1.1" / "deep").mkdir(parents=True)
    (tmp_path / "there" / "1.1" / "deep" / "x").write_text("of one")
    reports = [ended(1), ended(2), ended(3, Outcome.ERRORED)]
    there.send(reports)
    assert not (tmp_path / "there" / "1.1").exists()
    there.send(reports)
    assert list(store.list(FILES)) == [f"{FILES}1.1.tar"]
    for _ in range(2):
        here.bring(reports)
    assert (tmp_path / "here" / "1.1" / "deep" / "x").read_text() == "of one"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["1.1"]


def test_what_a_controller_somewhere_else_has_recorded_comes_too(tmp_path: Path) -> None:
    store = MemoryStore()
    there, here = Outputs(store, tmp_path / "there"), Outputs(store, tmp_path / "here")
    (tmp_path / "there" / "7.2").mkdir(parents=True)
    (tmp_path / "there" / "7.2" / "x").write_text("of seven")
    there.send([ended(7)._replace(attempt=2)])
    store.put(f"{FILES}other", b"not one of ours")
    for _ in range(2):
        here.bring_all()
    assert (tmp_path / "here" / "7.2" / "x").read_text() == "of seven"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["7.2"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../outside", tarfile.REGTYPE), ("/outside", tarfile.REGTYPE), ("a/../../outside", tarfile.REGTYPE),
     ("x", tarfile.SYMTYPE), ("x", tarfile.LNKTYPE), ("x", tarfile.FIFOTYPE), ("x", tarfile.CHRTYPE)],
)  # fmt: skip
def test_an_archive_of_anything_but_files_within_is_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        about = tarfile.TarInfo(name)
        about.type, about.linkname = kind, "/etc/passwd"
        about.size = 1 if kind == tarfile.REGTYPE else 0
        tar.addfile(about, io.BytesIO(b"x"))
    store = MemoryStore()
    store.put(f"{FILES}1.1.tar", data.getvalue())
    with pytest.raises(Refused):
        Outputs(store, tmp_path / "here").bring([ended(1)])
    assert not (tmp_path / "here" / "1.1").exists() and not (tmp_path / "outside").exists()


def test_a_link_that_a_task_leaves_comes_as_the_file_it_names(tmp_path: Path) -> None:
    store, left = MemoryStore(), tmp_path / "there" / "1.1"
    left.mkdir(parents=True)
    (left / "x").write_text("once")
    (left / "tool").symlink_to("x")
    os.link(left / "x", left / "y")
    (left / "x").chmod(0o755)
    Outputs(store, tmp_path / "there").send([ended(1)])
    Outputs(store, tmp_path / "here").bring([ended(1)])
    for name in ("x", "y", "tool"):
        path = tmp_path / "here" / "1.1" / name
        assert path.read_text() == "once" and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o755


def test_large_outputs_are_never_whole_in_memory(tmp_path: Path) -> None:
    store, size = DirectoryStore(tmp_path / "store", sync=False), 24 << 20
    (tmp_path / "there" / "1.1").mkdir(parents=True)
    with (tmp_path / "there" / "1.1" / "large").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        Outputs(store, tmp_path / "there").send([ended(1)])
        Outputs(store, tmp_path / "here").bring([ended(1)])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "here" / "1.1" / "large").stat().st_size == size
    assert most < size / 4
    assert [path.name for path in tmp_path.glob("*ere/.*")] == [], "what was made on the way is gone"
