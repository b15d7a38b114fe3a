"""Loaded by a Dask worker (--preload): once the worker has closed, its process goes too, and all that it started.

Dask waits for functions that run; one that never returns, or a program that it started, would stay for ever.
What functions print is in the worker's log line by line: its process may end in ways that lose what is held back.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

GRACE = 5.0
"""Seconds that functions have to end, from the moment their worker closes."""
_LOOK = 0.5
_OVER = ("closing", "closed", "failed")


def dask_setup(worker: Any) -> None:
    """Called by Dask before the worker begins."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    atexit.register(end_all)
    threading.Thread(target=_watch, args=(worker,), name="leash", daemon=True).start()


def _watch(worker: Any) -> None:
    while worker.status.name not in _OVER:
        time.sleep(_LOOK)
    time.sleep(GRACE)
    end_all()
    os._exit(1)


def end_all() -> None:
    """Kill every process below ours. Where the system does not tell: none."""
    for pid in _below(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def _below(pid: int) -> list[int]:
    """The lowest first does not matter, the order of looking does: who is stopped starts no more."""
    found = []
    for child in _children(pid):
        try:
            os.kill(child, signal.SIGSTOP)
        except OSError:
            continue
        found += [child, *_below(child)]
    return found


def _children(pid: int) -> list[int]:
    found = []
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, thread)) as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found
