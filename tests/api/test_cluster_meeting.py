"""Hosts of a cluster that must reach each other: real programs, one of which may be behind a wall."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from elsewhere.api.dask import meeting
from elsewhere.api.dask.meeting import Comer, addresses, lacking, meet
from elsewhere.errors import Refused, UsageError

WALLED = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Words that run something in a network of its own."""


class Neighbour:
    """A host that is this machine, or a network of its own on it."""

    def __init__(self, name: str, *before: str) -> None:
        self.name, self._before = name, before

    def address(self) -> str:
        return "127.0.0.1"

    def begin(self, argv: list[str], word: str, timeout: timedelta) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*self._before, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == word.encode() + b"\n"
        return process

    @property
    def comer(self) -> Comer:
        return Comer(cast("Any", self), [sys.executable, "-m", meeting.__name__])


def test_hosts_that_reach_each_other_are_known_by_their_addresses() -> None:
    found = meet([Neighbour("node1").comer, Neighbour("node2").comer], "")
    assert found == {"node1": "127.0.0.1", "node2": "127.0.0.1"}


def test_an_interface_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"node1: there is no network interface 'ib9'; there are .*lo"):
        meet([Neighbour("node1").comer], "ib9")
    assert meet([Neighbour("node1").comer], "lo") == {"node1": "127.0.0.1"}


@pytest.mark.needs("unshare", "ip")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may have a network of its own")
def test_a_host_behind_a_wall_is_named_with_whom_it_does_not_reach() -> None:
    with pytest.raises(Refused, match=r"node[12] does not reach node[12] at [0-9.]+ \(.+\), and what runs") as caught:
        meet([Neighbour("node1").comer, Neighbour("node2", *WALLED).comer], "")
    assert "Open the network between these hosts" in str(caught.value.hint)


def test_who_answers_in_the_place_of_another_is_not_taken_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=meeting._serve, args=(door, "mine"), daemon=True).start()
        port = door.getsockname()[1]
        assert lacking([("a", "127.0.0.1", port, "mine")]) == []
        assert lacking([("a", "127.0.0.1", port, "other")]) == [("a", "127.0.0.1", "another host answers there")]


def test_the_name_by_which_a_host_is_known_comes_first_and_what_it_means_to_itself_last() -> None:
    assert addresses("", "127.0.0.1")[0] == "127.0.0.1"
    assert addresses("", "192.0.2.7")[0] == "192.0.2.7", "it is not ours, so nobody listens there"
    assert addresses("", "localhost")[-1] == "127.0.0.1"
