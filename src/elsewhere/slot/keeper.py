"""Stands between an agent and a container: starts it, lets the slot within have our pipes, carries signals and its end.

Whatever ends the keeper ends the container: by its own hand, or because the slot within sees its door close.
"""

from __future__ import annotations

import json
import os
import signal
import struct
from typing import TYPE_CHECKING

from elsewhere.slot import children, kernel, wire

if TYPE_CHECKING:
    import socket
    import subprocess
    from typing import Any, NoReturn

MARK = "ELSEWHERE_SLOT_OF"
"""The variable by which whoever started this finds what is left of it."""
GONE = 30.0
"""Seconds in which a runtime puts its container away after that has ended; a busy machine takes most of them."""
_TRIES = 5
_TERM_BIT = 1 << (signal.SIGTERM - 1)
_PLAIN = ("USER", "LANG", "TERM")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command(plan: dict[str, Any], inside: list[str], name: str = "") -> list[str]:
    """The words that run `inside` in the container of a plan (ship/containers.py), in this process's directory."""
    words = [*plan["words"], plan["enter"], os.getcwd()]
    if name and plan["name"]:
        words += [plan["name"], name, *(word.format(os.environ.get(MARK, "")) for word in plan["label"])]
    if plan["flag"]:
        for variable in plan["names"]:
            words += [plan["flag"], variable]
    if plan.get("memory") and plan["limit"]:
        words += [plan["limit"], str(plan["memory"])]
    return [*words, *plan["image"], *inside]


def environment(plan: dict[str, Any]) -> dict[str, str]:
    """Of the runtime: a variable's value stands nowhere else, least of all in a command line."""
    if plan["flag"]:
        return dict(os.environ)
    own = {name: os.environ[name] for name in plan["names"] if name in os.environ}
    if plan["prefix"]:
        return {**os.environ, **{plan["prefix"] + name: value for name, value in own.items()}}
    kept = {name: os.environ[name] for name in _PLAIN if name in os.environ}
    return {"PATH": _PATH, "HOME": "/tmp", "USER": "root", **kept, **plan["env"], **own}


def keep(order: str, down: int, wake: int) -> NoReturn:
    """Until the container has ended; then as it did. `down`, `wake`: the slot's descriptors; -1: a command is kept."""
    for fd in (down, wake):
        if fd >= 0:
            os.set_inheritable(fd, False)
    keeper = Keeper(json.loads(order))
    keeper.start()
    keeper.leave(keeper.watch(down, wake))


class Keeper:
    """Of one container."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.name = f"elsewhere-{os.urandom(8).hex()}"
        self.pid = 0
        self.body = 0
        """The slot's process, as it is called out here; 0: not there yet, or no more."""
        self.door: socket.socket | None = None

    def start(self) -> None:
        plan = self.plan
        if plan["ask"]:
            import subprocess  # noqa: F401  # not first in a handler, which another signal may interrupt
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGHUP, self._on_orphaned)
        parent = os.getppid()
        kernel.die_with_parent(signal.SIGHUP)
        if os.getppid() != parent:
            os._exit(1)
        kernel.adopt_orphans()
        if "socket" in plan:
            folder, name = os.path.split(plan["socket"])
            os.chdir(folder)  # the name of a socket may not be long
            try:
                os.unlink(name)
            except FileNotFoundError:
                pass
            import socket  # an agent knows this file, and opens none

            self.door = socket.socket(socket.AF_UNIX)
            self.door.bind(name)
            os.chmod(name, 0o600)
            self.door.listen(1)
        words = command(plan, plan["inside"], self.name)
        tool = plan["words"][0]
        # Whoever is told to end in between would not know yet what.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP))
        try:
            self.pid = os.posix_spawn(tool, words, environment(plan), setpgroup=0, setsigmask=before,
                                      setsigdef=(signal.SIGPIPE, signal.SIGXFSZ))  # fmt: skip
        except OSError as error:
            os.write(2, f"{tool} cannot be started: {error.strerror}\n".encode())
            os._exit(126)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def watch(self, down: int, wake: int) -> int:
        """The wait status of the runtime's process."""
        if self.door is not None and self._met(down, wake):
            self._until_gone(self.body)
            if self.plan["ask"] and not self._ends_within(GONE):
                self._remove()
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        self._until_tidy()
        self._show(wire.AWAY if "socket" in self.plan else 0)
        return status

    def _met(self, down: int, wake: int) -> bool:
        """Whether the slot came for its descriptors, before its container ended."""
        import select

        ended = os.pidfd_open(self.pid)
        door = self.door
        assert door is not None
        ready = select.select([door.fileno(), ended], [], [])[0]
        os.close(ended)
        if door.fileno() not in ready:
            return False
        peer, _ = door.accept()
        import socket

        self.body = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self._show(self.body)
        socket.send_fds(peer, [b"."], [down, wake])
        self.door = peer  # held open: that it closes tells the slot that we are gone
        os.close(down)
        os.close(wake)
        return True

    def _until_gone(self, pid: int) -> None:
        import select

        try:
            process = os.pidfd_open(pid)
        except OSError:
            process = -1
        if process >= 0:
            select.select([process], [], [])
            os.close(process)
        self.body = 0
        self._show(wire.TIDYING if self.plan["ask"] else 0)

    def _until_tidy(self) -> None:
        """What a runtime has left at work here puts its container away: ended, it would leave half of one behind."""
        from time import monotonic, sleep

        end = monotonic() + (GONE if self.plan["ask"] else 0)
        while monotonic() < end and any(map(self._is_tidying, kernel.children())):
            sleep(0.01)

    def _is_tidying(self, pid: int) -> bool:
        """A monitor bears the name of its container; what it starts at the end says what it is for."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")  # none, of one that has ended
        except OSError:
            return False
        return self.name.encode() in words or b"cleanup" in words

    def _show(self, pid: int) -> None:
        """To the agent, which looks how large it is, and gives what is tidied the time that this takes."""
        if "page" not in self.plan:
            return
        with open(self.plan["page"], "r+b") as page:
            page.seek(wire.BODY_AT)
            page.write(wire.BODY.pack(pid))

    def leave(self, status: int) -> NoReturn:
        """As the slot within did: a runtime tells a signal as 128 and its number."""
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        number = code - 128 if code > 128 and "socket" in self.plan else 0
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
        if 0 < number < signal.NSIG:
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                pass
            os.kill(os.getpid(), number)
        os._exit(code)

    # -- signals

    def _on_term(self, _signal: int, _frame: object) -> None:
        if "socket" in self.plan:
            if self.body:
                _tell(self.body, signal.SIGTERM)
            else:
                self._end()
        elif not self.plan["ask"]:
            children.tell(self.pid, signal.SIGTERM)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._put_down()

    def _put_down(self) -> None:
        """What runs in a container of its own is told to end. To find it, and to put it away, takes a runtime seconds,
        which are none of the grace."""
        self._show(wire.TIDYING)
        body = self._begun()
        if _heeds(body):  # a container's first process is spared what it does not ask for: outside, SIGTERM ends it
            _tell(body, signal.SIGTERM)
            self._show(0)
            self._until_gone(body)
        _tell(body, signal.SIGKILL)
        if not self._ends_within(GONE):
            self._remove()

    def _on_orphaned(self, _signal: int, _frame: object) -> None:
        for number in (signal.SIGHUP, signal.SIGTERM):  # it comes more than once
            signal.signal(number, signal.SIG_IGN)
        self._end()
        children.end_all()
        os._exit(1)

    def _end(self) -> None:
        """At once, all of it; what the runtime remembers of it too."""
        if not self.pid:
            return
        if not self.plan["ask"]:
            children.tell(self.pid, signal.SIGKILL)
            return
        _tell(self.body or self._begun(), signal.SIGKILL)
        self._ends_within(GONE)
        self._remove()

    def _ends_within(self, seconds: float) -> bool:
        from time import monotonic, sleep

        end = monotonic() + seconds
        try:
            while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if monotonic() > end:
                    return False
                sleep(0.01)
        except ChildProcessError:
            pass  # a signal came just when its end was seen
        return True

    def _remove(self) -> None:
        """The runtime is ended, if it has not; what it remembers of the container goes."""
        from time import sleep

        children.tell(self.pid, signal.SIGKILL)
        for _ in range(_TRIES):  # while another has it in hand, a runtime may say no
            if self._asked("remove").returncode == 0 or self._asked("ask").returncode != 0:
                return
            sleep(0.2)

    def _begun(self) -> int:
        """The first process in the container, as soon as there is one; 0: it has ended, or none comes."""
        from time import monotonic

        end = monotonic() + GONE
        while not (body := self._first()) and not self._ends_within(0.1) and monotonic() < end:
            pass
        return body

    def _first(self) -> int:
        """The first process in the container, as it is called out here; 0: there is none."""
        said = self._asked("ask").stdout
        return int(said) if said.strip().isdigit() else 0

    def _asked(self, what: str) -> subprocess.CompletedProcess[bytes]:
        import subprocess

        words = [*self.plan[what], self.name]
        try:
            return subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=GONE)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 1, b"", b"")


def _tell(pid: int, number: int) -> None:
    if pid > 0:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def _heeds(pid: int) -> bool:
    """Whether a process has a mind of its own about SIGTERM: it catches it, or ignores it on purpose."""
    try:
        with open(f"/proc/{pid}/status") as file:
            said = dict(line.split(":", 1) for line in file)
    except OSError:
        return False
    return bool((int(said["SigCgt"], 16) | int(said["SigIgn"], 16)) & _TERM_BIT)
