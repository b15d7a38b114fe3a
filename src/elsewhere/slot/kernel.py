"""What a slot asks of its kernel: to die with its agent, to adopt orphans, to hold a limit of memory.

All of it may be missing (another system, no ctypes): then the slot goes on without, and the agent watches instead.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_PDEATHSIG, _SUBREAPER = 1, 36
PAGE = os.sysconf("SC_PAGE_SIZE")


def _libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        from ctypes import CDLL

        return CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return None


def die_with_parent(signal: int) -> None:
    """Ask to be sent `signal` when the thread that started this process ends: the *thread*, not the process."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_PDEATHSIG, signal, 0, 0, 0)


def adopt_orphans() -> None:
    """From now on whatever our descendants leave behind becomes our child, also after setsid or a double fork."""
    libc = _libc()
    if libc is not None:
        libc.prctl(_SUBREAPER, 1, 0, 0, 0)


def unbuffer_c() -> None:
    """What C code prints goes out at once, so that it lies within its own task's bounds and survives a crash."""
    libc = _libc()
    if libc is not None:
        from ctypes import c_void_p

        for name in ("stdout", "stderr"):
            try:
                libc.setvbuf(c_void_p.in_dll(libc, name), None, 2, 0)
            except ValueError:
                return


def statm() -> tuple[int, int]:
    """(resident bytes, bytes that count against the limit of memory) of this process; zeros where unknown."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0, 0
    words = os.read(fd, 200).split()
    os.close(fd)
    return int(words[1]) * PAGE, int(words[5]) * PAGE


def children() -> list[int]:
    """The processes whose parent we are. On systems that do not tell: none."""
    found = []
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                found += [int(pid) for pid in file.read().split()]
    except OSError:
        pass
    return found


class Limit:
    """A soft limit on the memory this process may ask for. RLIMIT_DATA: what is only reserved does not count."""

    def __init__(self) -> None:
        from resource import RLIMIT_AS, RLIMIT_DATA, getrlimit

        self._which = RLIMIT_DATA if sys.platform.startswith("linux") else RLIMIT_AS
        self._before = getrlimit(self._which)

    def set(self, size: int) -> None:
        """`size` bytes more than we have now. Children inherit it."""
        self._soft(statm()[1] + size)

    def lift(self) -> None:
        from resource import setrlimit

        setrlimit(self._which, self._before)

    def _soft(self, size: int) -> None:
        from resource import RLIM_INFINITY, setrlimit

        hard = self._before[1]
        try:
            setrlimit(self._which, (size if hard == RLIM_INFINITY else min(size, hard), hard))
        except (ValueError, OSError):
            pass
