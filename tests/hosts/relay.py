"""A wire between ssh and sshd that can be told to go wrong: silent one way or both ways, or cut with a reset."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading

_CHUNK = 1 << 16


class Relay:
    """Listens on a free port of loopback and carries to `port` there. One thread; `close` it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._home: set[socket.socket] = set()
        """The ends that lead to ssh."""
        self._mute = frozenset[str]()
        self._cut_after: int | None = None
        self._over = False
        self._cutting = threading.Event()
        self._cut = threading.Event()
        self.cuts = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def mute(self, *ways: str) -> None:
        """Nothing comes through any more: `out` to the host, `home` from it. Nobody is told."""
        self._mute = frozenset(ways)

    def cut_after(self, count: int) -> None:
        """Once so many bytes more have gone through, all connections are reset, in the middle of whatever it is."""
        self._cut_after = count

    def cut(self) -> None:
        """Reset all connections. Done when it returns, by the thread that carries: nobody else may close what that
        listens to."""
        self._cut.clear()
        self._cutting.set()
        assert self._cut.wait(60), "the relay's thread has died"

    def close(self) -> None:
        """Twice: harmless."""
        if self._over:
            return
        self._over = True
        self._thread.join()
        self._reset()
        self._door.close()

    def _run(self) -> None:
        while not self._over:
            ends = [end for end in self._pairs if self._way(end) not in self._mute]
            readable, _, _ = select.select([self._door, *ends], [], [], 0.02)
            for end in readable:
                if end is self._door or end in self._pairs:  # what was read before it may have closed it
                    with contextlib.suppress(OSError):
                        self._accept() if end is self._door else self._carry(end)
            if self._cutting.is_set():
                self._cutting.clear()
                self._reset()
                self._cut.set()

    def _reset(self) -> None:
        for end in self._pairs:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        self._pairs, self._home = {}, set()
        self.cuts += 1

    def _way(self, end: socket.socket) -> str:
        return "out" if end in self._home else "home"

    def _accept(self) -> None:
        ours, _ = self._door.accept()
        theirs = socket.create_connection(("127.0.0.1", self._to), 5)
        self._pairs |= {ours: theirs, theirs: ours}
        self._home.add(ours)

    def _carry(self, end: socket.socket) -> None:
        other = self._pairs[end]
        data = end.recv(_CHUNK)
        if self._cut_after is not None and len(data) >= self._cut_after:
            data, self._cut_after = data[: self._cut_after], None
            other.sendall(data)
            return self._reset()
        if self._cut_after is not None:
            self._cut_after -= len(data)
        if data:
            return other.sendall(data)
        for one in (end, other):
            self._pairs.pop(one, None)
            self._home.discard(one)
            one.close()
        return None
