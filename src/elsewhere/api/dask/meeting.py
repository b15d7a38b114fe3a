"""Do the hosts of a cluster reach each other, and by which addresses? Seen before anything of it stays there.

On each host a short program (`python -m elsewhere.api.dask.meeting`) listens where a worker might, says where, is
told of the others, and says what it does not reach. It ends when its input does. What listens says one word to whoever
comes: which of the hosts it is. Of a host's addresses the first is used that all others reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from elsewhere.errors import Refused, Unreachable, UsageError
from elsewhere.hosts import Ran

if TYPE_CHECKING:
    from elsewhere.hosts.openssh import OpenSsh

LIMIT = timedelta(seconds=30)
_CONNECT = 5.0
_WORD = "meets"
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Comer:
    """A host. `words`: those that start this module there."""

    host: OpenSsh
    words: Sequence[str]


def meet(comers: Sequence[Comer], interface: str) -> Mapping[str, str]:
    """By which address each is reached by the others, by its name. `interface`: over which; empty: as it is named here.

    UsageError: there is no such interface. Refused: one does not reach another, and which. Unreachable: by us.
    """
    mark = os.urandom(8).hex()
    lines = [_Line(one, {"interface": interface, "mark": f"{mark}-{k}"}) for k, one in enumerate(comers)]
    try:
        _each(lambda line: line.open(), lines)
        _each(lambda line: line.hear(), lines)
        _each(lambda line: line.ask([[one.name, *door, one.mark] for one in lines for door in one.doors]), lines)
    finally:
        for line in lines:
            line.close()
    return {line.name: _chosen(line, lines) for line in lines}


def _chosen(host: _Line, lines: Sequence[_Line]) -> str:
    """The first of its addresses that nobody lacks."""
    lacks = [(where, one.name, why) for one in lines for name, where, why in one.lacks if name == host.name]
    for where, _ in host.doors:
        if all(where != other for other, _, _ in lacks):
            return where
    where, who, why = lacks[0]
    raise Refused(
        f"{who} does not reach {host.name} at {where} ({why}), and what runs on them must talk",
        hint="Open the network between these hosts, or name one that they share: interface='eth1' of the cluster. "
        "Nothing was left there.",
    )


class _Line:
    """To the program on one host."""

    def __init__(self, comer: Comer, told: Mapping[str, str]) -> None:
        self.comer, self.name, self.told, self.mark = comer, comer.host.name, told, told["mark"]
        self.doors: Sequence[tuple[str, int]] = ()
        self.lacks: Sequence[tuple[str, str, str]] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        known = self.comer.host.address()
        begun = self.comer.host.begin(self.comer.words, _WORD, LIMIT)
        if isinstance(begun, Ran):
            last = (begun.err.decode("utf-8", "replace").strip().splitlines() or [f"status {begun.status}"])[-1]
            raise Refused(f"{self.name}: {last}")
        self._process = begun
        self._tell({**self.told, "name": known})

    def hear(self) -> None:
        told = self._heard()
        if "error" in told:
            raise UsageError(f"{self.name}: {told['error']}", hint=told["hint"])
        self.doors = [(where, port) for where, port in told["doors"]]
        if not self.doors:
            raise Refused(f"{self.name} has no network address at which others could reach it")

    def ask(self, others: Sequence[Sequence[Any]]) -> None:
        self._tell([one for one in others if one[0] != self.name])
        self.lacks = self._heard()["lacks"]

    def _tell(self, word: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(word).encode() + b"\n")
            self._process.stdin.flush()

    def _heard(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return json.loads(self._process.stdout.readline())
        except ValueError:
            raise Unreachable(f"the connection to {self.name} was lost") from None

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def _each(call: Callable[[T], R], them: Sequence[T]) -> list[R]:
    with ThreadPoolExecutor(min(16, len(them)), "meeting") as pool:
        return list(pool.map(call, them))


# --- there ----------------------------------------------------------------------------------------------------------


def addresses(interface: str, name: str) -> list[str]:
    """Of this host, the best first: of that interface; else the one that it is known by, that of its way out, and
    what its name means to itself alone. LookupError: there is no such interface."""
    import psutil

    if interface:
        known = psutil.net_if_addrs()
        if interface not in known:
            raise LookupError(f"there is no network interface {interface!r}; there are {', '.join(sorted(known))}")
        found = [one.address for one in known[interface] if one.family == socket.AF_INET]
        if not found:
            raise LookupError(f"the network interface {interface} has no address")
        return found
    named: list[str] = []
    with contextlib.suppress(OSError):
        named = sorted({str(one[4][0]) for one in socket.getaddrinfo(name, None, socket.AF_INET)})
    outward = [one for one in named if one == name or not one.startswith("127.")]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))  # for documentation alone (RFC 5737); nothing is sent
        outward.append(str(way.getsockname()[0]))
    return list(dict.fromkeys([*outward, *named]))


def lacking(others: Sequence[tuple[str, str, int, str]]) -> list[tuple[str, str, str]]:
    """Which of these doors, each of a host at an address and with its mark, we do not reach, and why."""

    def tried(other: tuple[str, str, int, str]) -> tuple[str, str, str]:
        name, where, port, mark = other
        try:
            with socket.create_connection((where, port), _CONNECT) as line:
                line.settimeout(_CONNECT)
                said = line.makefile("rb").readline().strip().decode("ascii", "replace")
        except OSError as error:
            return name, where, str(error.strerror or error or "no answer")
        return name, where, "" if said == mark else "another host answers there"

    return [found for found in (_each(tried, others) if others else []) if found[2]]


def _opened(where: Sequence[str]) -> list[socket.socket]:
    """Those of them that are ours to listen at."""
    doors = []
    for one in where:
        with contextlib.suppress(OSError):
            doors.append(socket.create_server((one, 0)))
    return doors


def _serve(door: socket.socket, mark: str) -> None:
    with contextlib.suppress(OSError):  # it is closed
        while True:
            line, _ = door.accept()
            with contextlib.suppress(OSError), line:
                line.sendall(mark.encode() + b"\n")


def main() -> int:
    _say(_WORD)
    told = json.loads(sys.stdin.readline())
    try:
        doors = _opened(addresses(told["interface"], told["name"]))
    except LookupError as error:
        _say(json.dumps({"error": str(error), "hint": "Name one that all hosts of the place have: interface=."}))
        return 1
    for door in doors:
        threading.Thread(target=_serve, args=(door, told["mark"]), daemon=True).start()
    _say(json.dumps({"doors": [door.getsockname() for door in doors]}))
    others = json.loads(sys.stdin.readline() or "[]")
    _say(json.dumps({"lacks": lacking([tuple(one) for one in others])}))
    sys.stdin.read()  # the others may still be trying
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
