"""Trees of processes: who descends from whom, how much memory they hold, and how to end all of them.

Linux by /proc; elsewhere by psutil, loaded only there. Ends nothing but descendants and what bears our mark.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from elsewhere.slot.keeper import MARK as MARK

LINUX = sys.platform.startswith("linux")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> tuple[int, int, str] | None:
    """(parent, group, state letter); None when it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(words[1]), int(words[2]), words[0].decode()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def descendants(root: int) -> dict[int, int]:
    """{pid: process group} of all that descend from `root`, without itself and without zombies."""
    if not LINUX:
        return _descendants_by_psutil(root)
    table = {pid: seen for pid in _pids() if (seen := _stat(pid)) is not None}
    families: dict[int, list[int]] = {}
    for pid, seen in table.items():
        families.setdefault(seen[0], []).append(pid)
    found, ahead = {}, families.get(root, [])[:]
    while ahead:
        pid = ahead.pop()
        ahead += families.get(pid, ())
        if table[pid][2] not in "ZX":
            found[pid] = table[pid][1]
    return found


def _descendants_by_psutil(root: int) -> dict[int, int]:
    import psutil

    found = {}
    try:
        for process in psutil.Process(root).children(recursive=True):
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = os.getpgid(process.pid)
            except (psutil.Error, ProcessLookupError):
                continue
    except psutil.Error:
        pass
    return found


def tell(pid: int, number: int) -> None:
    """Send a signal; to nobody is fine too."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _tell_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def end_tree(root: int, bound: float = 10.0) -> bool:
    """SIGKILL `root`, a child of ours that leads a session and adopts orphans, and all its descendants.

    The root is stopped first and killed last: while it stands, whatever loses its parent falls to it.
    Groups are killed whole, since a group cannot fork its way out of that. False: some were left after `bound` seconds.
    """
    tell(root, signal.SIGSTOP)
    end, rounds = time.monotonic() + bound, 0
    while found := descendants(root):
        rounds += 1
        for group in {group for group in found.values() if group not in (root, os.getpgrp())}:
            _tell_group(group, signal.SIGKILL)
        for pid in found:
            tell(pid, signal.SIGKILL)
        if time.monotonic() > end:
            break
        if rounds > 3:
            time.sleep(0.001)
    tell(root, signal.SIGKILL)
    _tell_group(root, signal.SIGKILL)
    return not found


def marked(mark: str) -> list[int]:
    """Living processes that were started, at whatever remove, with ELSEWHERE_SLOT_OF=`mark` in their environment.

    The mark of an agent's directory is that of all its slots, too: theirs have a dot and a number behind it.
    """
    if not LINUX:
        return _marked_by_psutil(mark)
    words = f"{MARK}={mark}".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if words in environment and _bears(environment, words):
            found += alive([pid])
    return found


def _bears(environment: bytes, words: bytes) -> bool:
    return any(one == words or one.startswith(words + b".") for one in environment.split(b"\0"))


def _marked_by_psutil(mark: str) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            own = process.environ().get(MARK, "")
            if own == mark or own.startswith(mark + "."):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def end_marked(mark: str, bound: float = 10.0) -> bool:
    """SIGKILL all that bear the mark, until none is left. False: some were left after `bound` seconds."""
    end, quiet = time.monotonic() + bound, 0
    # Twice nobody: a process has no environment to look at in the moment of its exec.
    while quiet < 2:
        found = [pid for pid in marked(mark) if pid != os.getpid()]
        for pid in found:
            tell(pid, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        if time.monotonic() > end:
            return not found
        time.sleep(0.002)
    return True


def resident(root: int) -> int:
    """Bytes of memory that a tree holds now; pages that several share are counted for each."""
    return sum(_resident(pid) for pid in (root, *_family(root)))


def proportional(root: int) -> int:
    """As `resident`, with each shared page divided among those who share it. Slower; 0 where it cannot be known."""
    total = 0
    for pid in (root, *_family(root)):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
                if line.startswith(b"Pss:"):
                    total += int(line.split()[1]) * 1024
        except (OSError, IndexError):
            total += _resident(pid)
    return total


def _family(root: int) -> Iterable[int]:
    if not LINUX:
        return descendants(root)
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                ahead += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
        except OSError:
            continue
        found.append(pid)
    return found[1:]


def _resident(pid: int) -> int:
    if not LINUX:
        import psutil

        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def kernel_kills() -> int:
    """How often the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        for line in Path("/proc/vmstat").read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class Kills:
    """Of the kernel, for want of memory: have there been more since this was last asked?"""

    def __init__(self) -> None:
        self._seen = kernel_kills()

    def more(self) -> bool:
        before, self._seen = self._seen, kernel_kills()
        return self._seen > before


def alive(pids: Collection[int]) -> list[int]:
    """Those of `pids` that still run."""
    return [pid for pid in pids if (seen := _stat(pid)) is not None and seen[2] not in "ZX"]
