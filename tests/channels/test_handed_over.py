"""A machine's door: whoever comes in by the bridge hands its own streams over, and no byte passes through it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import chdir, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.channels.away import Away
from elsewhere.channels.base import Claim, Room
from elsewhere.channels.door import BRIDGE, Door
from elsewhere.channels.pipe import Pipe
from elsewhere.model.task import Delivery

LEASE = timedelta(seconds=60)
BOUND = 30.0


@pytest.fixture(params=["", "in 'a' very long directory " * 6], ids=["near", "far down"])
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Also one that is longer than the path of a socket may be."""
    folder: Path = tmp_path / request.param.strip()
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Away]:
    made = Away("a", Door(tmp_path), tmp_path / "journal", lease=LEASE)
    yield made
    made.close()


def come_in(folder: Path, home: Pipe) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([folder / BRIDGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    home.attach(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))
    process.stdin.close()
    process.stdout.close()
    return process


def claimed(away: Away, home: Pipe, number: int) -> list[Claim]:
    home.send([Delivery(number, 1, f"t{number}", b"{}")])
    claims: list[Claim] = []
    end = time.monotonic() + BOUND
    while not claims and time.monotonic() < end:
        claims += away.claim("a", Room(1), LEASE)
        home.collect(0)
    return claims


def leaves(process: subprocess.Popen[bytes], away: Away) -> bool:
    """Does it, once the agent has looked at its streams?"""
    end = time.monotonic() + BOUND
    while process.poll() is None and time.monotonic() < end:
        away.told()
    return process.returncode == 0


def test_the_agent_reads_what_the_bridge_was_given_and_the_bridge_itself_moves_no_byte(
    away: Away, tmp_path: Path
) -> None:
    home = Pipe(charter=b"words")
    process = come_in(tmp_path, home)
    assert [claim.delivery.n for claim in claimed(away, home, 1)] == [1]
    before = Path(f"/proc/{process.pid}/io").read_bytes().splitlines()[:2]
    assert [claim.delivery.n for claim in claimed(away, home, 2)] == [2]
    assert Path(f"/proc/{process.pid}/io").read_bytes().splitlines()[:2] == before
    home.destroy()
    assert leaves(process, away), "the stream has ended, and is let go of"


def test_the_bridge_goes_with_the_agent_and_with_its_stream(away: Away, tmp_path: Path) -> None:
    home = Pipe(charter=b"words")
    first = come_in(tmp_path, home)
    assert claimed(away, home, 1)
    second = come_in(tmp_path, home)
    assert leaves(first, away), "it was given up"
    assert claimed(away, home, 2)
    assert second.poll() is None
    away.close()
    assert second.wait(BOUND) == 0
    home.destroy()


def test_who_hands_nothing_over_is_shown_out_and_keeps_nobody_out(
    away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elsewhere.channels.door._HANDING", 0.05)
    with socket.socket(socket.AF_UNIX) as stranger, socket.socket(socket.AF_UNIX) as mute:
        with chdir(tmp_path):
            for one in (stranger, mute):
                one.connect("door")
        stranger.send(b"GET / HTTP/1.1\r\n\r\n")
        home = Pipe(charter=b"words")
        process = come_in(tmp_path, home)
        assert claimed(away, home, 1)
        for one in (stranger, mute):
            one.settimeout(BOUND)
            with suppress(ConnectionResetError):  # what it said was not read
                assert one.recv(1) == b""
    away.close()
    assert process.wait(BOUND) == 0
    home.destroy()
