"""The processes below a slot: how they are told to end, and how none of them is left.

Everything a task leaves behind becomes the slot's own child, also after setsid or a double fork (kernel.py).
"""

from __future__ import annotations

import os
import signal

from elsewhere.slot import kernel


def tell(pid: int, number: int) -> None:
    """Send a signal to a child and its group; to the child alone while it has none."""
    for send in (os.killpg, os.kill):
        try:
            send(pid, number)
            return
        except ProcessLookupError:
            continue


def end_all() -> None:
    """Kill and reap all that there are, until there are none. Only who is their reaper may call it."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        for pid in kernel.children():
            for send in (os.kill, os.killpg):
                try:
                    send(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
