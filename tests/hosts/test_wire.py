"""The wire that tests cut: it goes wrong when it is told to, and is there again afterwards."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from hosts.relay import Relay


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of somebody who sends back what comes, until the test has ended."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(door.accept()[0],), daemon=True).start()

    def answer(caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            while data := caller.recv(1 << 16):
                caller.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield door.getsockname()[1]
    door.shutdown(socket.SHUT_RDWR)
    door.close()


@pytest.mark.slow
def test_each_cut_resets_what_there_is_and_what_comes_after_it_gets_through(echo: int) -> None:
    wire = Relay(echo)
    try:
        for count in range(1, 120):
            with contextlib.ExitStack() as open_ones:
                connect = partial(socket.create_connection, ("127.0.0.1", wire.port), 30)
                callers = [open_ones.enter_context(connect()) for _ in range(8)]
                for caller in callers:
                    caller.sendall(b"there")
                assert all(caller.recv(5) == b"there" for caller in callers)
                for caller in callers:
                    caller.sendall(b"x" * 20_000)
                wire.cut()
                for caller in callers:
                    with pytest.raises(ConnectionResetError):
                        while caller.recv(1 << 16):
                            pass
            assert wire.cuts == count
    finally:
        wire.close()
