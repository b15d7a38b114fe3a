"""A port on loopback whose connections are a process each."""

from __future__ import annotations

import socket

import psutil
import pytest

from elsewhere.hosts.tunnel import Tunnel


def test_each_connection_is_a_process_of_its_own_and_ends_with_it_and_with_the_tunnel() -> None:
    tunnel = Tunnel(lambda: ["cat"])
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as one:
        one.settimeout(10)
        one.sendall(b"there and back")
        assert one.recv(100) == b"there and back"
        with socket.create_connection(("127.0.0.1", tunnel.port), 10) as other:
            other.settimeout(10)
            other.sendall(b"again")
            assert other.recv(100) == b"again"
            other.shutdown(socket.SHUT_WR)
            assert other.recv(100) == b""
        tunnel.close()
        assert one.recv(100) == b""
    tunnel.close()
    assert not [child for child in psutil.Process().children() if child.name() == "cat"]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", tunnel.port), 1)


def test_a_far_end_that_is_not_there_ends_the_connection() -> None:
    tunnel = Tunnel(lambda: ["false"])
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as one:
        one.settimeout(10)
        assert one.recv(100) == b""
    tunnel.close()
