"""How a slot in a container gets its pipes, and how it learns that its keeper outside has gone (keeper.py)."""

from __future__ import annotations

import os
import signal
import socket

_held: list[socket.socket] = []


def come_in(path: str) -> tuple[int, int]:
    """The descriptors that the keeper has for us. OSError: it is gone, and nobody wants this slot any more."""
    from array import array
    from fcntl import F_GETFL, F_SETFL, F_SETOWN, fcntl

    _step_down()
    try:
        os.setpgid(0, 0)  # what is meant for the task's group is not for the runtime
    except OSError:
        pass
    folder, name = os.path.split(path)
    os.chdir(folder)  # the name of a socket may not be long
    door = socket.socket(socket.AF_UNIX)
    door.connect(name)
    fds = array("i")
    _, extra, _, _ = door.recvmsg(1, socket.CMSG_LEN(2 * fds.itemsize))
    fds.frombytes(extra[0][2])
    # When its other end closes, the kernel tells us as it would tell of an agent's death: pids do not cross.
    fcntl(door, F_SETOWN, os.getpid())
    fcntl(door, 10, signal.SIGHUP)  # F_SETSIG, which not every Python names
    fcntl(door, F_SETFL, fcntl(door, F_GETFL) | os.O_NONBLOCK | getattr(os, "O_ASYNC", 0o20000))
    _held.append(door)
    return fds[0], fds[1]


def _step_down() -> None:
    """The first process of a container is spared most signals, also those of its own crashes: a child is the slot."""
    if os.getpid() != 1:
        return
    child = os.fork()
    while child:
        ended, status = os.wait()
        if ended == child:  # with this process all others of the container end
            os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
