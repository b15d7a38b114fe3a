"""The state directory: found, made private, and refused with a sentence."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from elsewhere.config import home as homes
from elsewhere.errors import StateError


def test_the_directory_named_in_the_environment_is_made_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "a" / "b"))
    path = homes.home()
    assert path == tmp_path / "a" / "b"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert homes.home(write=True) == path
    assert list(path.iterdir()) == []


def test_without_the_variable_it_is_the_platforms_place_for_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ELSEWHERE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if sys.platform == "linux":
        assert homes.location() == tmp_path / "state" / "elsewhere"
    assert "elsewhere" in homes.location().name


def test_an_open_directory_of_ours_is_closed_and_one_of_other_things_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, holds, mode in (("ours", "jobs", 0o700), ("theirs", "photos", 0o755)):
        path = tmp_path / name
        (path / holds).mkdir(parents=True)
        path.chmod(0o755)
        monkeypatch.setenv("ELSEWHERE_HOME", str(path))
        homes.home()
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_in_its_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("ELSEWHERE_HOME", str(path))
        with pytest.raises(StateError, match="is not a directory") as caught:
            homes.home()
        assert "ELSEWHERE_HOME" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_refused_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o500)
    monkeypatch.setenv("ELSEWHERE_HOME", str(path))
    assert homes.home() == path
    with pytest.raises(StateError, match="may not be written by you"):
        homes.home(write=True)


def test_a_full_device_is_said_to_be_full(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    assert "full disk" in str(homes.unusable(tmp_path, error))
    assert "clean" in homes.unusable(tmp_path, error).hint


MOUNTS = """\
overlay / overlay rw 0 0
server:/export /home nfs4 rw 0 0
tmpfs /home/with\\040space tmpfs rw 0 0
auto /net autofs rw 0 0
server:/x /net fuse.sshfs rw 0 0
"""


def test_the_longest_and_last_mount_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "_mounts", lambda: homes.parse_mounts(MOUNTS))
    monkeypatch.setattr(Path, "exists", lambda self: True)
    kinds = {
        "/home/me": "nfs4",
        "/homes": "overlay",
        "/home/with space/x": "tmpfs",
        "/net/y": "fuse.sshfs",
        "/": "overlay",
    }
    assert {path: homes.filesystem(Path(path)) for path in kinds} == kinds
    assert homes.is_network(Path("/home/me/state"))
    assert not homes.is_network(Path("/var"))


def test_types_of_clusters_and_fuse_are_network_types() -> None:
    for kind in ("nfs", "lustre", "gpfs", "cifs", "beegfs", "fuse.sshfs", "fuse.gcsfuse", "9p", "NFS4"):
        assert homes.is_network_type(kind), kind
    for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "apfs", "fuseblk", "", "fuse.fuse-overlayfs"):
        assert not homes.is_network_type(kind), kind


def test_this_machines_temporary_directory_has_a_known_type(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mounts")
    if mounts.exists() and " / " in mounts.read_text():  # behind chroot it is not said what / lies on
        assert homes.filesystem(tmp_path / "not" / "yet") != ""
