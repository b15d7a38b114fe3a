"""SHIP code: files as archives that are named by what is in them, so that each travels once.

The same files give the same bytes, whoever packs them, when and where.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import elsewhere
from elsewhere.config.home import home
from elsewhere.errors import UsageError
from elsewhere.hosts import private_directory

MOST = 512 << 20
"""Bytes of code that travel without a word: more is a data set that was taken for code."""
COARSE, FINE = 2.5, 0.1
"""Seconds within which a file may change twice and bear the same time, where times are whole seconds, and elsewhere."""
BLOCK, _PIECE = 512, 1 << 20
_NEVER = frozenset({"venv", "node_modules", "__pycache__"})
"""Folders that are no code, whatever is in them; hidden ones are none either."""
_IGNORE = ".elsewhereignore"
_OURSELVES = Path(elsewhere.__file__).parent


@dataclass(frozen=True, slots=True)
class Bundle:
    """An archive on this machine. `digest`: SHA-256 of its bytes, in hexadecimal digits."""

    digest: str
    path: Path

    @property
    def key(self) -> str:
        """Its name in a deposit."""
        return f"bundles/{self.digest}.tar.gz"


def pack(files: Mapping[str, Path]) -> Bundle:
    """An archive of these: name in it -> file. Kept in the cache, where it is found the next time."""
    folder = home() / "cache" / "bundles"
    private_directory(folder)
    part = folder / f".{os.getpid()}.{os.urandom(4).hex()}"
    try:
        with part.open("xb") as raw:
            part.chmod(0o600)
            with gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
                _write(packed, files)
        digest = _digest(part)
        bundle = Bundle(digest, folder / f"{digest}.tar.gz")
        part.replace(bundle.path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return bundle


def given(path: Path) -> Bundle:
    """The archive of a file, or of a directory with all that is in it, under its own name.

    What has not changed, by size and times, is not read again.
    """
    return _as_it_is("given", tree(path, f"{path.name}/") if path.is_dir() else {path.name: path})


def _as_it_is(sort: str, files: Mapping[str, Path]) -> Bundle:
    about = {name: file.stat() for name, file in files.items()}
    facts = [
        f"{n} {s.st_size} {s.st_mode} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}" for n, s in sorted(about.items())
    ]
    newest = max((s.st_ctime_ns for s in about.values()), default=0)
    coarse = newest % 1_000_000_000 == 0
    if time.time_ns() - newest < (COARSE if coarse else FINE) * 1e9:
        return pack(files)  # it may be written once more with the same times
    return kept(sort, hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest(),
                lambda: pack(files))  # fmt: skip


def kept(sort: str, mark: str, make: Callable[[], Bundle]) -> Bundle:
    """That which was made under this mark before, if it is still there; else it is made."""
    sheet = home() / "cache" / sort / mark
    if sheet.exists():
        found = Bundle(sheet.read_text(), home() / "cache" / "bundles" / f"{sheet.read_text()}.tar.gz")
        if found.path.exists():
            os.utime(found.path)  # its age is counted from its last use
            os.utime(sheet)
            return found
    bundle = make()
    sheet.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sheet.write_text(bundle.digest)
    return bundle


def code(roots: Mapping[str, Path], also: Mapping[str, Path] = {}) -> Bundle:
    """What is the project's own below these directories: what git tracks or would, less `.elsewhereignore`; and `also`.

    Each lies in the archive under its name. What has not changed is not read again. UsageError: more than MOST, with
    the largest named.
    """
    found = {f"{name}/{path.relative_to(root)}": path for name, root in roots.items() for path in project_files(root)}
    found.update(also)
    sizes = {path: path.stat().st_size for path in found.values()}
    if sum(sizes.values()) > MOST:
        large = max(sizes, key=lambda path: sizes[path])
        raise UsageError(
            f"the code here is {sum(sizes.values()) >> 20} MiB, of which {large} alone is {sizes[large] >> 20}",
            hint=f"name what shall stay here in {_IGNORE}, as in .gitignore; data belongs into inputs",
        )
    return _as_it_is("code", found)


def project_files(root: Path) -> Iterator[Path]:
    """The files of a project, in a fixed order. In a git checkout: git's notion; elsewhere all but what is hidden.

    Never those of a virtual or conda environment, under whatever name, of a cache that says it is one (CACHEDIR.TAG),
    nor of our own state directory, nor of this package itself, which every agent has.
    """
    listed = _by_git(root)
    files = _by_walk(root) if listed is None else listed
    strange = {
        folder for folder in (home(), _OURSELVES, *map(_environment, files)) if folder and root in folder.parents
    }
    files = [path for path in files if strange.isdisjoint(path.parents)]
    left_out = _ignored(root, files) if (root / _IGNORE).is_file() else frozenset()
    for path in sorted(files):
        if path not in left_out and path.is_file() and not path.name.endswith(".pyc"):
            yield path


def _environment(path: Path) -> Path | None:
    """The environment, or the cache (https://bford.info/cachedir/), that such a file is the mark of."""
    if path.name in ("pyvenv.cfg", "CACHEDIR.TAG"):
        return path.parent
    return path.parent.parent if path.name == "history" and path.parent.name == "conda-meta" else None


def _by_git(root: Path) -> list[Path] | None:
    names = _git(root, ["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return None if names is None else [root / os.fsdecode(name) for name in names.split(b"\0") if name]


def _ignored(root: Path, files: Sequence[Path]) -> frozenset[Path]:
    """Those that `.elsewhereignore` names, as git reads its patterns; by plain globs where there is no git."""
    names = b"".join(os.fsencode(path.relative_to(root)) + b"\0" for path in files)
    asked = ["-c", f"core.excludesFile={root / _IGNORE}", "check-ignore", "--no-index", "-z", "--stdin"]
    told = _git(root, asked, names)
    if told is not None:
        return frozenset(root / os.fsdecode(name) for name in told.split(b"\0") if name)
    patterns = [line.strip() for line in (root / _IGNORE).read_text().splitlines() if line.strip()[:1] not in ("", "#")]
    return frozenset(
        path for path in files if any(part.match(p.rstrip("/")) for p in patterns for part in (path, *path.parents))
    )


def _git(root: Path, words: Sequence[str], given: bytes = b"") -> bytes | None:
    """What git says; None: it is not there, or knows nothing of this directory."""
    if "GIT_DIR" not in os.environ and not any((above / ".git").exists() for above in (root, *root.parents)):
        return None
    try:
        done = subprocess.run(["git", *words], cwd=root, input=given, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in (0, 1) and not done.stderr else None


def _by_walk(root: Path) -> list[Path]:
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _NEVER and not name.startswith(".")]
        found += [Path(folder) / name for name in files if not name.startswith(".")]
    return found


def _write(to: gzip.GzipFile, files: Mapping[str, Path]) -> None:
    for name, path in sorted(files.items()):
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            to.write(head(name, before.st_size, 0o755 if os.access(path, os.X_OK) else 0o644))
            left = before.st_size
            while left and (piece := file.read(min(left, _PIECE))):
                to.write(piece)
                left -= len(piece)
            to.write(bytes(-before.st_size % BLOCK))
            after = os.fstat(file.fileno())
        if left or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise changed(path)
    to.write(bytes(2 * BLOCK))


def head(name: str, size: int, mode: int) -> bytes:
    """Of a file in a tar archive: POSIX ustar, and GNU's way for what is too long or too large for it. What follows
    fills whole blocks. By hand: the standard library takes longer for it than to read a small file."""
    raw = os.fsencode(name)
    if len(raw) > 100 or size >= 8 << 30:
        about = tarfile.TarInfo(name)
        about.size, about.mode = size, mode
        return about.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, 0)
    block = (raw.ljust(100, b"\0") + numbers + b"        0".ljust(109, b"\0") + b"ustar\x0000").ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def changed(path: Path) -> UsageError:
    """The error for a file that is written to while it is packed."""
    return UsageError(f"{path} was changed while it was read, to be sent",
                      hint="Run it again once nobody writes there; nothing was started.")  # fmt: skip


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder: Path, under: str = "", skip: Iterable[str] = ()) -> dict[str, Path]:
    """All files of a directory, as `pack` wants them; without compiled ones and those whose path begins with `skip`."""
    return {f"{under}{name}": Path(entry.path) for name, entry in sorted(_entries(str(folder), "", tuple(skip)))}


def stamps(folder: Path, skip: Iterable[str] = ()) -> list[str]:
    """Name, size and time of each of these, which is much quicker than to read them."""
    found = sorted((name, entry.stat()) for name, entry in _entries(str(folder), "", tuple(skip)))
    return [f"{name} {about.st_size} {about.st_mtime_ns}" for name, about in found]


def _entries(folder: str, under: str, skip: tuple[str, ...]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = under + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__" and not (skip and f"{name}/".startswith(skip)):
                    yield from _entries(entry.path, f"{name}/", skip)
            elif entry.is_file() and not (skip and name.startswith(skip)):
                yield name, entry
