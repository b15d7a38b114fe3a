"""Stands between the meter and a command: runs it, reaps all that comes of it, tells the kernel's accounts of it.

Small, so that its own size does not count as the command's (a child's peak includes what its parent was at the fork).
"""

import os
import sys
from time import monotonic


def adopt():
    """Orphans of the command become ours, so that their CPU is counted."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def tree(root):
    """Resident bytes of all processes below `root`."""
    parents, sizes = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/" + name + "/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue
        parents[int(name)], sizes[int(name)] = int(fields[1]), int(fields[21])
    total, wanted = 0, [root]
    while wanted:
        one = wanted.pop()
        for pid, parent in parents.items():
            if parent == one:
                wanted.append(pid)
                total += sizes[pid]
    return total * os.sysconf("SC_PAGE_SIZE")


def run(command):
    """The command's process; 127: it cannot be started."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, str(error).encode())
            os._exit(127)
    return pid


def reap(pid, memory):
    """Wait for it; (its exit status, when it ended, the most that it and its children held together)."""
    most = 0
    pause = 0.002
    while True:
        done, how = os.waitpid(pid, os.WNOHANG if memory else 0)
        if done:
            return os.waitstatus_to_exitcode(how), monotonic(), most
        if pause >= 0.05:
            most = max(most, tree(os.getpid()))
        pause = min(pause * 2, 0.1)
        wait_for(pid, pause)


def wait_for(pid, seconds):
    """Until it ends, at most so long."""
    import select

    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        select.select([], [], [], seconds)
        return
    try:
        select.select([fd], [], [], seconds)
    finally:
        os.close(fd)


def main():
    news, memory, command = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3:]
    os.set_inheritable(news, False)
    adopt()
    began = monotonic()
    status, ended, most = reap(run(command), memory)
    while True:  # what the command left behind
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    import json
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {
        "cpu": used.ru_utime + used.ru_stime,
        "wall": ended - began,
        "largest": used.ru_maxrss * 1024,
        "together": max(most, used.ru_maxrss * 1024),
        "status": status,
    }
    os.write(news, json.dumps(told).encode())


if __name__ == "__main__":
    main()
