"""Code as archives: what goes in, and that the same files are the same bytes."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from elsewhere.errors import UsageError
from elsewhere.ship import bundle


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))


def project(folder: Path) -> Path:
    for name in ("work.py", "lib/deep.py", ".venv/bin/python", ".secret", "node_modules/x.js", "data.bin"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def names(packed: bundle.Bundle) -> list[str]:
    with tarfile.open(packed.path) as tar:
        return tar.getnames()


def test_without_git_all_but_what_is_hidden_travels(tmp_path: Path) -> None:
    packed = bundle.code({"0": project(tmp_path / "p")})
    assert names(packed) == ["0/data.bin", "0/lib/deep.py", "0/work.py"]


def test_git_says_what_is_in_the_project(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    (root / ".gitignore").write_text("data.bin\n.venv\nnode_modules\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    packed = bundle.code({"0": root})
    assert names(packed) == ["0/.gitignore", "0/.secret", "0/lib/deep.py", "0/work.py"]


@pytest.mark.parametrize("git", [True, False])
def test_environments_and_our_own_state_stay_whatever_they_are_called(
    tmp_path: Path, git: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path / "p")
    monkeypatch.setenv("ELSEWHERE_HOME", str(root / "state"))
    for name in ("v/pyvenv.cfg", "v/lib/a.py", "c/conda-meta/history", "c/b.py", "state/jobs/x/y.py", "lib/history",
                 "k/CACHEDIR.TAG", "k/image.tar"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if git:
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        (root / ".gitignore").write_text(".*\nnode_modules\n")
    assert names(bundle.code({"0": root})) == ["0/data.bin", "0/lib/deep.py", "0/lib/history", "0/work.py"]


@pytest.mark.parametrize("git", [True, False])
def test_an_ignore_file_of_ours_leaves_out_more(tmp_path: Path, git: bool) -> None:
    root = project(tmp_path / "p")
    (root / ".elsewhereignore").write_text("# large\n*.bin\n\nlib/\n")
    if git:
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        (root / ".gitignore").write_text(".*\nnode_modules\n")
    assert [name for name in names(bundle.code({"0": root})) if "elsewhereignore" not in name] == ["0/work.py"]


def test_the_same_files_are_the_same_archive_whenever_they_were_touched(tmp_path: Path) -> None:
    first = bundle.code({"0": project(tmp_path / "p")})
    (tmp_path / "p" / "work.py").touch()
    second = bundle.code({"0": project(tmp_path / "p")})
    (tmp_path / "p" / "work.py").write_text("changed")
    third = bundle.code({"0": tmp_path / "p"})
    assert first == second
    assert third.digest != first.digest


def test_what_is_too_large_for_code_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST", 10)
    root = project(tmp_path / "p")
    (root / "data.bin").write_bytes(bytes(2 << 20))
    with pytest.raises(UsageError, match=r"data\.bin alone is 2") as refused:
        bundle.code({"0": root})
    assert ".elsewhereignore" in (refused.value.hint or "")


@pytest.mark.parametrize("then", [b"", b"x" * 50, b"x" * 9_000_000])
def test_a_file_that_is_changed_while_it_is_read_is_named(
    then: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.bin"
    data.write_bytes(b"y" * 8_000_000)
    head = bundle.head

    def meanwhile(name: str, size: int, mode: int) -> bytes:
        data.write_bytes(then)
        return head(name, size, mode)

    monkeypatch.setattr(bundle, "head", meanwhile)
    with pytest.raises(UsageError, match="was changed while it was read") as refused:
        bundle.pack({"data.bin": data})
    assert str(data) in refused.value.message
    assert not list((tmp_path / "home" / "cache" / "bundles").iterdir())


def test_an_input_that_has_not_changed_is_not_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for k in range(3):
        (data / f"{k}.dat").write_text(f"{k}")
    packed: list[int] = []
    pack = bundle.pack

    def counted(files: dict[str, Path]) -> bundle.Bundle:
        packed.append(len(files))
        return pack(files)

    monkeypatch.setattr(bundle, "pack", counted)
    monkeypatch.setattr(bundle, "FINE", 1e6)
    fresh = [bundle.given(data), bundle.given(data)]
    assert packed == [3, 3], "it was written just now, and may be so again within the same tick of the clock"
    monkeypatch.setattr(bundle, "COARSE", 0.0)
    monkeypatch.setattr(bundle, "FINE", 0.0)
    later = [bundle.given(data), bundle.given(data)]
    assert packed == [3, 3, 3] and len({one.digest for one in fresh + later}) == 1
    (data / "1.dat").write_text("x")
    assert bundle.given(data) != later[0] and len(packed) == 4
    (data / "1.dat").write_text("1")
    later[0].path.unlink()
    assert bundle.given(data) == later[0] and later[0].path.exists()
