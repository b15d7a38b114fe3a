"""Trees of processes: who descends from whom, what they hold, and how to end all of them.

Linux tells through /proc; elsewhere psutil is asked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LINUX = sys.platform.startswith("linux")


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`, parents before children; zombies are not alive."""
    if not _LINUX:
        return _descendants_elsewhere(pid)
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and (stat := _stat(name)):
            state, parent = stat
            if state not in ("Z", "X"):
                below.setdefault(parent, []).append(int(name))
    found, layer = [], [pid]
    while layer:
        layer = [child for parent in layer for child in below.get(parent, ())]
        found += layer
    return found


def _stat(pid: str) -> tuple[str, int] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  (once for each process, each time)
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return words[0].decode(), int(words[1])


def _descendants_elsewhere(pid: int) -> list[int]:
    import psutil

    try:
        return [p.pid for p in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def resident(pid: int) -> int:
    """Bytes that `pid` and all below it hold in memory."""
    total = 0
    for one in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            if _LINUX:
                with open(f"/proc/{one}/statm", "rb") as file:  # noqa: PTH123
                    total += int(file.read().split()[1]) * _PAGE
            else:
                total += _resident_elsewhere(one)
    return total


def _resident_elsewhere(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def kill_tree(pid: int) -> None:
    """SIGKILL to `pid` and everything below it, also what called setsid or forked twice: `pid` adopts its orphans.

    It is stopped first, so that it starts nothing more, and killed last, so that nothing escapes to another parent.
    """
    send(pid, signal.SIGSTOP)
    for _ in range(1000):
        below = descendants(pid)
        if not below:
            break
        for one in below:
            send(one, signal.SIGKILL)
        time.sleep(0.001)  # the kernel needs a moment to take them away; a bomb forks on until all are gone
    send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> bool:
    """A signal; False: there is no such process."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def marked(mark: str) -> list[int]:
    """All our processes whose environment holds `mark` (a `NAME=value`), this one excepted."""
    wanted, found = b"\0" + mark.encode() + b"\0", []
    if not _LINUX:
        return _marked_elsewhere(mark)
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                environ = file.read()
        except OSError:
            continue
        if wanted in b"\0" + environ and (stat := _stat(name)) and stat[0] not in ("Z", "X"):
            found.append(int(name))
    return found


def _marked_elsewhere(mark: str) -> list[int]:
    import psutil

    key, _, value = mark.partition("=")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(key) == value:
                found.append(process.pid)
    return found


def kill_marked(mark: str) -> int:
    """SIGKILL to all of them until none is left; how many there were. Twice: harmless."""
    count = 0
    for _ in range(1000):
        left = marked(mark)
        if not left:
            break
        count += len(left)
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(0.002)
    return count
