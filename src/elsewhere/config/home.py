"""Where Elsewhere keeps its own files: one directory per user, mode 0700.

It finds and makes that directory, and says what is wrong with it. What lies inside belongs to the rooms that put it
there; nothing of it is read here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from pathlib import Path

from elsewhere.errors import StateError

_OURS = ("jobs", "key", "cache", "names", "environments")

# fmt: off
_NETWORK = frozenset((
    "nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "auristorfs", "ncpfs", "coda", "9p",
    "lustre", "gpfs", "mmfs", "beegfs", "fhgfs", "panfs", "wekafs", "ceph", "pvfs2", "orangefs", "ocfs2", "gfs", "gfs2",
    "glusterfs", "moosefs", "quobyte", "davfs", "webdav", "vboxsf", "prl_fs", "vmhgfs",
))
# fmt: on
_LOCAL_FUSE = frozenset(("fuse", "fuseblk", "fuse.fuse-overlayfs", "fuse.overlayfs", "fuse.squashfuse", "fuse.lxcfs"))

_OTHER = "Change its owner or mode, or set ELSEWHERE_HOME to another directory."
_REASONS = {
    errno.EROFS: ("is on a read-only file system", "Set ELSEWHERE_HOME to a directory that can be written."),
    errno.EACCES: ("may not be written by you", _OTHER),
    errno.EPERM: ("may not be written by you", _OTHER),
    errno.ENOSPC: ("is on a full disk", "Make room (`elsewhere clean` removes old jobs) and try again."),
    errno.EDQUOT: ("is over your disk quota", "Make room (`elsewhere clean` removes old jobs) and try again."),
    errno.ENOTDIR: ("is not a directory", "Move that file away, or set ELSEWHERE_HOME to another directory."),
    errno.EEXIST: ("is not a directory", "Move that file away, or set ELSEWHERE_HOME to another directory."),
    errno.ENAMETOOLONG: ("has too long a name", "Set ELSEWHERE_HOME to a shorter path."),
}


def home(*, write: bool = False) -> Path:
    """The state directory: $ELSEWHERE_HOME, or the platform's place for a user's state. Made (0700) if absent.

    May be called as often as you like; it asks the environment each time. With `write`, a few bytes are written there
    and removed, so that a read-only or full disk is found before work begins. StateError says in one sentence
    why the directory cannot be used.
    """
    path = location()
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_private(path)
        if write:
            _probe(path)
    except OSError as error:
        raise unusable(path, error) from error
    return path


def location() -> Path:
    """The path that `home` would give; nothing is made or looked at."""
    named = os.environ.get("ELSEWHERE_HOME", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return platformdirs.user_state_path("elsewhere", appauthor=False)


def unusable(path: Path, error: OSError) -> StateError:
    """The StateError for an OSError met while reading or writing our files under `path`."""
    said, hint = _REASONS.get(error.errno or 0, (f"cannot be used: {error.strerror or error}", ""))
    return StateError(f"the state directory {path} {said}", hint=hint)


def _keep_private(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise StateError(
            f"the state directory {path} belongs to another user (uid {found.st_uid})",
            hint="Set ELSEWHERE_HOME to a directory of your own.",
        )
    # A directory that holds other people's things (ELSEWHERE_HOME=$HOME) keeps the mode that its owner gave it.
    if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid() and _is_ours(path):
        path.chmod(0o700)


def _is_ours(path: Path) -> bool:
    names = [entry.name for entry in path.iterdir()]
    return not names or any(name in _OURS for name in names)


def _probe(path: Path) -> None:
    from tempfile import TemporaryFile

    with TemporaryFile(dir=path) as file:
        file.write(b"\0" * 4096)
        file.flush()


def is_network(path: Path) -> bool:
    """Whether `path` (or the nearest directory above that exists) lies on a network or cluster file system.

    There, SQLite's write-ahead log is unsafe and locks are slow or pretended. Unknown file systems count as local.
    """
    return is_network_type(filesystem(path))


def is_network_type(kind: str) -> bool:
    """Whether a file system type, as /proc/mounts names it, is a network or cluster one. FUSE mounts are, mostly."""
    kind = kind.lower()
    if kind.startswith("fuse.") or kind in ("macfuse", "osxfuse"):
        return kind not in _LOCAL_FUSE
    return kind in _NETWORK


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path` (`ext4`, `nfs4`, `fuse.sshfs`), or "" when it cannot be told."""
    path = Path(path).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    place = os.path.realpath(path)
    best, kind = "", ""
    for point, mounted in _mounts():
        # The last of several mounts on one point is the one that is seen, hence >=.
        if len(point) >= len(best) and (place == point or place.startswith(point.rstrip("/") + "/")):
            best, kind = point, mounted
    return kind


def _mounts() -> list[tuple[str, str]]:
    if sys.platform != "linux":
        import psutil

        return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    try:
        text = Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except OSError:
        return []
    return parse_mounts(text)


def parse_mounts(text: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line of /proc/mounts; pure."""
    rows = (line.split(" ") for line in text.splitlines())
    return [(_unescape(row[1]), row[2]) for row in rows if len(row) > 2]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
