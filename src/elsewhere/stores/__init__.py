"""Bytes by key: a directory, memory, a directory on another host; buckets join from outside (obstore).

A key is words of letters, digits and `._=-`, joined by `/`; none is a folder of another.
No exception of an SDK or of the system leaves this room.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import quote

from elsewhere.errors import AccessDenied, ElsewhereError, NotFound, Refused, StateError, Unreachable
from elsewhere.hosts import Host, private_directory, sync_directory, write_new

_KEY = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(?:/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]*/)*(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]*)?")


class Store(Protocol):
    """Bytes by key. Every verb may be called from several threads and processes at once."""

    def get(self, key: str) -> bytes:
        """The whole object, never a part of it. NotFound if there is none. Twice: harmless. Waits for the bytes."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write, or replace at once: readers see the old bytes or the new ones. Durable when it returns.

        Twice, or already so: the same. Lost reply (Unreachable): put again. Of two writers the later one wins.
        """
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write if there is none of that key: true if this call made it, false if one was there (left as it is).

        Of many callers at once exactly one gets true. Twice: false. Durable when it returns true.
        Lost reply (Unreachable): it may have been made; `get` tells, if the bytes name their writer.
        """
        ...

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """The keys that begin with `prefix` and sort after `after`, sorted by code point, read as they are asked for.

        An object made or deleted meanwhile may or may not be shown. Never an error for want of objects.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these. Already gone: success. Twice, or after a lost reply: harmless. Waits until it is done."""
        ...

    def url(self, key: str) -> str:
        """How people and other programs would name the object. No call is made; it need not exist."""
        ...


@runtime_checkable
class Files(Protocol):
    """What a store may have besides: objects from files and into files, never whole in memory."""

    def put_file(self, key: str, path: Path) -> None:
        """As `put`."""
        ...

    def get_file(self, key: str, to: Path) -> None:
        """As `get`, into a new file. On an error it may hold a part, and is the caller's to remove."""
        ...


def put_file(store: Store, key: str, path: Path) -> None:
    """As `put`; bounded in memory where the store can do so."""
    if isinstance(store, Files):
        store.put_file(key, path)
    else:
        store.put(key, path.read_bytes())


def get_file(store: Store, key: str, to: Path) -> None:
    """As `get`, into a new file; bounded in memory where the store can do so."""
    if isinstance(store, Files):
        store.get_file(key, to)
    else:
        to.write_bytes(store.get(key))


def checked(key: str) -> str:
    """The key itself; Refused if it is not one."""
    if not _KEY.fullmatch(key):
        raise Refused(f"{key!r} is not a key: words of letters, digits and ._=- joined by /, none beginning with a dot")
    return key


def checked_prefix(prefix: str) -> str:
    """The prefix itself; Refused if no key can begin so."""
    if not _PREFIX.fullmatch(prefix):
        raise Refused(f"{prefix!r} begins no key")
    return prefix


class MemoryStore:
    """A store that forgets everything when it is dropped: for tests and for trying things out."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        try:
            return self._objects[checked(key)]
        except KeyError:
            raise NotFound(f"there is no object {key}") from None

    def put(self, key: str, data: bytes) -> None:
        with self._lock:
            self._objects[checked(key)] = bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            fresh = checked(key) not in self._objects
            if fresh:
                self._objects[key] = bytes(data)
            return fresh

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        checked_prefix(prefix)
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)
        return iter(keys)

    def delete(self, keys: Iterable[str]) -> None:
        gone = [checked(key) for key in keys]
        with self._lock:
            for key in gone:
                self._objects.pop(key, None)

    def url(self, key: str) -> str:
        return f"memory:{checked(key)}"


class DirectoryStore:
    """A store in a directory, local or on a network file system: no locks, no appending, no comparing of times.

    Objects are written aside, under `.new/`, and given their name by `link`, which the server of a network file system
    answers once and for all; the count of links tells the truth when its reply was lost (open(2), NOTES). Only `put`
    renames, and may be repeated.
    """

    def __init__(self, root: str | Path, sync: bool = True) -> None:
        """`sync` false: objects survive the death of processes, not of the machine."""
        self.root = Path(root)
        self._sync = sync
        self._aside = self.root / ".new"
        self._serial = itertools.count()
        self._mark = f"{os.uname().nodename[:40].replace('/', '_')}.{os.getpid()}.{os.urandom(4).hex()}"

    def get(self, key: str) -> bytes:
        path = self.root / checked(key)
        for _ in range(3):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(f"there is no object {key} in {self.root}") from None
            except OSError as error:
                if error.errno != errno.ESTALE:  # replaced on the server since its name was looked up: look again
                    raise self._trouble(error) from error
        raise Unreachable(f"{path} is being replaced faster than it can be read")

    def put(self, key: str, data: bytes) -> None:
        self._put(key, partial(write_new, data=data, sync=self._sync))

    def put_file(self, key: str, path: Path) -> None:
        self._put(key, partial(_copy, path, sync=self._sync))

    def get_file(self, key: str, to: Path) -> None:
        import shutil

        try:
            shutil.copyfile(self.root / checked(key), to)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no object {key} in {self.root}") from None
        except OSError as error:
            raise self._trouble(error) from error

    def _put(self, key: str, write: Callable[[Path], object]) -> None:
        path, aside = self.root / checked(key), None
        try:
            for _ in range(3):
                aside = self._write_aside(write)
                try:
                    self._with_directory(path, partial(aside.replace, path))
                    return self._settle(path)
                except FileNotFoundError:
                    continue  # the rename was made and its reply lost, or somebody swept: again
        except OSError as error:
            raise self._trouble(error) from error
        finally:
            if aside is not None:
                aside.unlink(missing_ok=True)
        raise Unreachable(f"{path} could not be written")

    def create(self, key: str, data: bytes) -> bool:
        path, aside = self.root / checked(key), None
        try:
            if path.exists():
                return False
            aside = self._write_aside(partial(write_new, data=data, sync=self._sync))
            try:
                self._with_directory(path, partial(os.link, aside, path))
            except FileExistsError:
                if aside.stat().st_nlink != 2:
                    return False
            self._settle(path)
            return True
        except OSError as error:
            raise self._trouble(error) from error
        finally:
            if aside is not None:
                aside.unlink(missing_ok=True)

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        head, _, _ = checked_prefix(prefix).rpartition("/")
        return self._walk(head + "/" if head else "", prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.root / checked(key)
            try:
                path.unlink(missing_ok=True)
                for parent in path.parents:
                    if parent == self.root:
                        break
                    parent.rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY):
                    raise self._trouble(error) from error

    def url(self, key: str) -> str:
        return f"file://{quote(str(self.root.absolute()))}/{checked(key)}"

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                # a directory sorts where its keys do: as its name with the slash
                names = [e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._trouble(error) from error
        for name in sorted(names):
            key = folder + name
            if name.startswith(".") or not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if not key.endswith("/"):
                if key > after:
                    yield key
            elif key > after or after.startswith(key):
                yield from self._walk(key, prefix, after)

    def _write_aside(self, write: Callable[[Path], object]) -> Path:
        path = self._aside / f"{self._mark}.{next(self._serial)}"
        self._with_directory(path, partial(write, path))
        return path

    def _with_directory(self, path: Path, act: Callable[[], object]) -> None:
        for left in range(19, -1, -1):  # deleting the last object of a folder removes it: it may go at any moment
            try:
                act()
                return
            except FileNotFoundError:
                if not left:
                    raise
            with suppress(FileNotFoundError):
                private_directory(path.parent)

    def _settle(self, path: Path) -> None:
        if self._sync:
            try:
                sync_directory(path.parent)
            except FileNotFoundError:
                pass  # deleted again by somebody else already

    def _trouble(self, error: OSError) -> ElsewhereError:
        where, why = self.root, error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StateError(f"{where} is full: {why}", hint="make room there; the work goes on by itself")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return AccessDenied(f"{where} may not be written or read: {why}")
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
            return StateError(f"{where} is on a file system without hard links: {why}", hint="choose another directory")
        if error.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
            return Refused(f"{error.filename}: {why}")
        return Unreachable(f"{where} gives no answer: {why}")


def _copy(source: Path, path: Path, *, sync: bool) -> None:
    """As `write_new`, from a file."""
    import shutil

    with source.open("rb") as given, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        shutil.copyfileobj(given, new, 1 << 20)
        if sync:
            new.flush()
            os.fsync(new.fileno())


# Deleting the last object of a folder removes it: until there is something of ours in it, it may go at any moment.
_CREATE = """umask 077; [ -e "$1" ] && exit 17
dir=$(dirname "$1") k=0
until mkdir -p "$dir" && f=$(mktemp "$dir/.new.XXXXXX"); do k=$((k + 1)); [ $k -lt 20 ] || exit 1; done
cat >"$f" && sync "$f" || exit 1
if ln "$f" "$1" 2>/dev/null; then rm -f "$f"; else rm -f "$f"; [ -e "$1" ] && exit 17; exit 1; fi"""
_LIST = """cd "$1" 2>/dev/null || exit 0
folder=$(cat); [ ! -d "./$folder" ] || find "./$folder" -type f ! -name ".*" -print"""
_DELETE = """cd "$1" 2>/dev/null || exit 0
while IFS= read -r key; do rm -f "./$key"; rmdir -p "$(dirname "./$key")" 2>/dev/null; done; :"""


class HostStore:
    """A store in a directory of another host, by nothing but its shell's own programs. One command per call."""

    def __init__(self, host: Host, root: str) -> None:
        self.host, self.root = host, root.rstrip("/")

    def get(self, key: str) -> bytes:
        return self.host.get(f"{self.root}/{checked(key)}")

    def put(self, key: str, data: bytes) -> None:
        self.host.put(f"{self.root}/{checked(key)}", data)

    def create(self, key: str, data: bytes) -> bool:
        return self._run(_CREATE, f"{self.root}/{checked(key)}", data, also=17)[0] == 0

    def list(self, prefix: str = "", after: str = "") -> Iterator[str]:
        folder = checked_prefix(prefix).rpartition("/")[0]
        names = self._run(_LIST, self.root, folder.encode())[1].decode().splitlines()
        keys = sorted(name.removeprefix("./").lstrip("/") for name in names)
        return (key for key in keys if key.startswith(prefix) and key > after)

    def delete(self, keys: Iterable[str]) -> None:
        text = "".join(checked(key) + "\n" for key in keys)
        if text:
            self._run(_DELETE, self.root, text.encode())

    def url(self, key: str) -> str:
        return f"ssh://{self.host.name}{quote(self.root)}/{checked(key)}"

    def _run(self, script: str, argument: str, data: bytes = b"", also: int = 0) -> tuple[int, bytes]:
        """Its status and what it printed; Refused for another status than 0 or `also`."""
        ran = self.host.run(["sh", "-c", script, "sh", argument], data)
        if ran.status not in (0, also):
            last = ran.err.decode(errors="replace").strip().splitlines()[-1:] or ["refused"]
            raise Refused(f"{self.host.name}:{argument}: {last[0]}")
        return ran.status, ran.out
