"""One controller per job: a lock on a file that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from elsewhere.errors import JobHeld, UnknownJob


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a job: `alive` is known only on the same host; elsewhere it is what the file says."""

    host: str
    pid: int
    alive: bool


_TRIES, _PAUSE = 10, 0.01
_held: set[int] = set()


def _let_go_in_child() -> None:
    """A fork of the user's process is not the controller: the lock must be free when that one dies."""
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


class Lock:
    """Held from `take` to `release`, or to the end of the process. `patience`: seconds for which one that has it is
    waited for."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        self.path, self.patience = path, patience
        self._fd = -1

    def take(self) -> Lock:
        """JobHeld if another controller has it. UnknownJob: the job was removed, perhaps just now."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise _removed() from None
        held = _grab(fd, self.patience)
        if not _is_there(fd, self.path):
            os.close(fd)
            raise _removed()
        if not held:
            os.close(fd)
            holder = read(self.path)
            where = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise JobHeld(
                f"the job is run by {where}",
                hint="watch it with `elsewhere watch`, or stop that controller first",
                host=holder.host if holder else "",
                pid=holder.pid if holder else 0,
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        self._fd = fd
        _held.add(fd)
        return self

    def release(self) -> None:
        """Twice: harmless."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            _held.discard(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self.take()

    def __exit__(self, *_: object) -> None:
        self.release()


def _grab(fd: int, patience: float) -> bool:
    """Whether it is ours now. One that only looks (`read`) has it for a moment: that is waited for."""
    for _ in range(max(_TRIES, int(patience / _PAUSE))):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _is_there(fd: int, path: Path) -> bool:
    """Is this file still the one of that name? Whoever removes a job has its lock, and takes it along."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _removed() -> UnknownJob:
    return UnknownJob("the job was removed", hint="`elsewhere jobs` lists those that are there")


def read(path: Path) -> Holder | None:
    """Who holds the lock; None: nobody on this host does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.pread(fd, 4096, 0)
        story = json.loads(text) if text else {}
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look do not see each other
        except OSError:
            return Holder(str(story.get("host", socket.gethostname())), int(story.get("pid", 0)), True)
        if story and story.get("host") != socket.gethostname():
            return Holder(str(story["host"]), int(story["pid"]), False)
        return None
    except ValueError:
        return None
    finally:
        os.close(fd)
