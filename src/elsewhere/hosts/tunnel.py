"""A port of this machine, on loopback alone, whose connections come out on another host's network.

Each connection is a process of its own, so that one which a cut has ended is simply made again.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence


class Tunnel:
    """`begin`: the words of a command whose standard streams are one connection to the far end. Open from the start;
    whoever has it closes it."""

    def __init__(self, begin: Callable[[], Sequence[str]]) -> None:
        self._begin = begin
        self._processes: list[subprocess.Popen[bytes]] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="elsewhere tunnel", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                caller, _ = self._door.accept()
                with caller:
                    self._connect(caller)

    def _connect(self, caller: socket.socket) -> None:
        self._processes = [one for one in self._processes if one.poll() is None]
        with contextlib.suppress(OSError):  # the caller sees its connection end
            self._processes.append(subprocess.Popen(
                list(self._begin()), stdin=caller.fileno(), stdout=caller.fileno(), stderr=subprocess.DEVNULL,
                start_new_session=True,
            ))  # fmt: skip

    def close(self) -> None:
        """Its connections end. Twice: harmless."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join(5)
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()
        self._processes = []
