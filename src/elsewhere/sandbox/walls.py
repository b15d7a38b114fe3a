"""Network namespaces for the sandbox's machines: each has an address and a wire of its own, which can be cut for real.

A hub namespace is the router between them, and holds the API's port and 169.254.169.254; nothing of this computer's own
network is touched. What passes from one to another is as nft's rules there say (doors.py). Needs root, iproute2 and
nftables. Every namespace bears the sandbox's mark, and none without it is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from elsewhere.errors import UsageError
from elsewhere.sandbox.server import Answer, Server

HUB, METADATA = "172.31.0.1", "169.254.169.254"
_NAMED = Path("/run/netns")
_FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")
"""Of the namespace of the thread that looks."""
_CLONE_NEWNET = 0x40000000
_ANSWERS = 10.0
_ELSE = "Leave out --isolation netns: machines are plain processes then."
T = TypeVar("T")


def lacking() -> str:
    """Why there can be no such namespaces here; empty: there can."""
    if os.geteuid() != 0:
        return "network namespaces are made by root"
    packages = {"ip": "iproute2", "nsenter": "util-linux", "nft": "nftables"}
    missing = {name: package for name, package in packages.items() if shutil.which(name) is None}
    said = f"{' and '.join(missing)} is not installed (apt install {' '.join(missing.values())})"
    return said if missing else ""


class Walls:
    """The network of one sandbox. `open` makes it, `close` removes all of it; both may be called again."""

    def __init__(self, mark: str) -> None:
        self.prefix = f"elsewhere-{mark}-"
        self._servers: list[Server] = []

    def open(self, port: int, answer: Answer, metadata: Answer, doors: str) -> None:
        """The hub: there the API answers on `port`, and `doors` hold.

        UsageError: this kernel, or its owner, does not let us.
        """
        if why := lacking():
            raise UsageError(why, hint=_ELSE)
        hub = self.prefix + "hub"
        try:
            _ip("netns", "add", hub)
            _ip("-n", hub, "-b", "-", text="link set lo up\n"
                f"addr add {HUB}/32 dev lo\naddr add {METADATA}/32 dev lo\n")  # fmt: skip
            inside(hub, lambda: _FORWARDS.write_text("1"))
            self.hold(doors)
            made = [(HUB, port, answer), (METADATA, 80, metadata)]
            self._servers = [inside(hub, lambda one=one: Server(one[2], one[:2])) for one in made]  # type: ignore[misc]
        except OSError as error:
            self.close()
            raise UsageError(f"no network namespace can be made here: {error}", hint=_ELSE) from error
        for server in self._servers:
            server.start()

    def hold(self, doors: str) -> None:
        """What nft is told holds from now on, in one move. OSError: it does not."""
        words = ["nsenter", f"--net={_NAMED / (self.prefix + 'hub')}", "--", "nft", "-f", "-"]
        done = subprocess.run(words, input=doors, text=True, capture_output=True, check=False)
        if done.returncode:
            raise OSError(f"nft: {done.stderr.strip()}")

    def wall(self, id: str, address: str, port: int) -> Wall:
        return Wall(self.prefix, id, address, port)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []
        sweep(self.prefix)


class Wall:
    """The namespace of one machine. `up` before its first process, `down` after its last."""

    def __init__(self, prefix: str, id: str, address: str, port: int) -> None:
        self.name, self.address, self._port = prefix + id, address, port
        self._hub, self._wire = prefix + "hub", "v" + "-".join(address.split(".")[2:])
        self._gate: Gate | None = None
        self._switch: Server | None = None

    @property
    def entered(self) -> Sequence[str]:
        """What a command is begun with, so that it runs there."""
        return ("nsenter", f"--net={_NAMED / self.name}", "--")

    def up(self, power: Answer) -> int:
        """OSError: it could not be made. The port of its loopback where `power` answers, also when it is cut off."""
        _ip("netns", "add", self.name)
        _ip("-n", self._hub, "-b", "-", text=f"link add name {self._wire} type veth peer name eth0 netns {self.name}\n"
            f"link set {self._wire} up\nroute add {self.address}/32 dev {self._wire}\n")  # fmt: skip
        _ip("-n", self.name, "-b", "-", text=f"link set lo up\naddr add {self.address}/32 dev eth0\n"
            f"link set eth0 up\nroute add {HUB}/32 dev eth0\nroute add default via {HUB}\n")  # fmt: skip
        self._gate = Gate(self.name, self._port)
        self._switch = inside(self.name, lambda: Server(power))
        self._switch.start()
        return self._switch.port

    def reach(self, port: int) -> socket.socket:
        """A connection to that port of the machine's own loopback. OSError: nothing listens, or it is gone."""
        return inside(self.name, lambda: socket.create_connection(("127.0.0.1", port), _ANSWERS))

    def down(self) -> None:
        """Again, or never up: harmless."""
        if self._gate is not None:
            self._gate.close()
        if self._switch is not None:
            self._switch.close()
        self._gate = self._switch = None
        _remove(self.name)


class Gate:
    """What a machine takes for its own loopback: a port there that leads to the hub's, over the machine's own wire.

    For SDKs send what may not be read on its way to loopback alone.
    """

    def __init__(self, namespace: str, port: int) -> None:
        self._namespace, self._port = namespace, port
        self._door = inside(namespace, lambda: socket.create_server(("127.0.0.1", port), backlog=64))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._serve, name=f"gate of {namespace}", daemon=True).start()

    def close(self) -> None:
        for one in (self._door, *list(self._open)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._through, args=(near,), daemon=True).start()

    def _through(self, near: socket.socket) -> None:
        try:
            enter(self._namespace)
            far = socket.create_connection((HUB, self._port), 60)
            far.settimeout(None)
        except OSError:
            near.close()
            return
        self._open |= {near, far}
        join(near, far)
        self._open -= {near, far}
        near.close()
        far.close()


def join(near: socket.socket, far: socket.socket) -> None:
    """What comes of either goes to the other, until both have ended."""
    back = threading.Thread(target=_copy, args=(far, near), daemon=True)
    back.start()
    _copy(near, far)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def enter(namespace: str) -> None:
    """This thread's sockets stand there from now on."""
    handle = os.open(_NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)


def inside(namespace: str, make: Callable[[], T]) -> T:
    """What `make` returns, called by a thread of that namespace: sockets that it makes stay there."""
    made: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            enter(namespace)
            made.append(make())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name=f"into {namespace}")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def sweep(prefix: str) -> None:
    """Remove every namespace whose name begins so."""
    if _NAMED.is_dir():
        for path in _NAMED.iterdir():
            if path.name.startswith(prefix):
                _remove(path.name)


def _remove(name: str) -> None:
    if (_NAMED / name).exists():
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str, text: str = "") -> None:
    done = subprocess.run(["ip", *words], input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
