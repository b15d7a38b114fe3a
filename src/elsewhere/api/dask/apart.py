"""A scheduler that is a launch of its own at the place, such as a job of Slurm; and the words by which we ask it.

There it is the same scheduler as here (`python -m elsewhere.api.dask.apart`), with more handlers: what it knows, whom
to send home. It leaves when its owner has not asked for a while, or at the end of its term; its workers then follow.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from shlex import join, quote
from typing import Any
from urllib.parse import urlsplit

from distributed.core import rpc

from elsewhere.api.dask import records
from elsewhere.api.dask.records import Record
from elsewhere.api.dask.relay import relay
from elsewhere.api.dask.scheduling import Facts, Scheduling, security
from elsewhere.errors import Refused
from elsewhere.hosts import write_whole
from elsewhere.model.resources import Resources
from elsewhere.pool.hold import Hold, Member, Text
from elsewhere.ship import codec
from elsewhere.ship.certificates import Papers
from elsewhere.ship.dask_worker import log_of

KIND = "_scheduler"
"""As a kind of launch; no tag begins so."""
SHAPE = Resources(cpus=1, memory=1 << 30)
QUIET = 60.0
"""Seconds without a word from its owner, after which it leaves."""
_PATIENCE, _CONNECT = 15.0, 5.0
_TOLD = 30.0
_LOOK = 0.1
_STANDS = b"elsewhere: the scheduler stands "


@dataclass(frozen=True, slots=True)
class Where:
    """`network`: where it listens, as Dask takes it. `stays`: until the end of its term, whoever asks. `file`: where it
    says its address; it sees our files."""

    record: Record
    papers: Papers
    network: Mapping[str, str]
    umask: int
    stays: bool
    file: str


def told(
    network: Mapping[str, str], papers: Papers, quiet: float, file: str = "", inward: bool = False
) -> dict[str, Any]:  # fmt: skip
    """What it is told. `network`: empty: it is told an address besides, as `host`. `quiet`: seconds without a word from
    its owner, after which it leaves; 0: it stays. `file`: where it says its address; empty: in a line of its output.
    `inward`: it is also reached at its machine's loopback, by the same ports: what leads there comes out there."""
    return {"network": dict(network), "papers": asdict(papers), "file": file, "quiet": quiet, "inward": inward}


def render(where: Where, number: int, start_by: datetime) -> str:
    """The boot text; it holds no secret."""
    word = json.dumps(told(where.network, where.papers, 0.0 if where.stays else QUIET, where.file))
    lines = [
        "#!/bin/sh",
        f"# The scheduler of the Dask cluster {where.record.name}, booted by Elsewhere.",
        f"umask {where.umask:04o}",
        f"exec >>{quote(str(log_of(where.record.directory, KIND, number)))} 2>&1",
        f'[ "$(date +%s)" -lt {int(start_by.timestamp())} ] || {{ echo "it came too late to be of use"; exit 0; }}',
        f"cd {quote(str(Path.cwd()))} || exit 73",
        f"export PYTHONPATH={quote(':'.join(codec.import_path()))}",
        f"exec {join([sys.executable, '-m', 'elsewhere.api.dask.apart', word])}",
    ]
    return "\n".join(lines) + "\n"


def text(where: Where, term: timedelta) -> Text:
    """What its launch carries."""
    return Text(lambda number, by, _: render(where, number, by), SHAPE, term)


def read(file: Path) -> Mapping[str, Any] | None:
    """What it has said of itself in this file; None: nothing yet."""
    return json.loads(file.read_bytes()) if file.exists() else None


def heard(output: bytes) -> Mapping[str, Any] | None:
    """The same, of its output."""
    lines = [line for line in output.splitlines() if line.startswith(_STANDS)]
    return json.loads(lines[-1].removeprefix(_STANDS)) if lines else None


def post(
    hold: Hold, cluster: str, text: Text, said: Callable[[Member], Mapping[str, Any] | None], papers: Papers,
    came: Callable[[str, Mapping[str, Any]], None], went: Callable[[], None], way: Callable[[str], str] = str,
) -> Apart:  # fmt: skip
    """Launch it, and wait until it is there. PlaceError: the place refuses it, or it ended at once, with its words.

    `said`: what it has said of itself; None: nothing yet. `way`: the address here by which HOST:PORT there is reached.
    """
    hold.declare(KIND, text)
    hold.want(KIND, 1)
    began, warned = time.monotonic(), False
    while True:
        now = time.monotonic()
        hold.step(now, raising=True)
        [*there] = hold.staying(KIND)
        if there and there[0].native and (answer := said(there[0])):
            break
        if trouble := hold.trouble(KIND):
            raise Refused(f"the Dask scheduler cannot start: {trouble}",
                          hint=f"`elsewhere logs {cluster}/{KIND}/1` shows what it has said.")  # fmt: skip
        if not warned and now - began > _TOLD:
            warned = True
            why = next((member.reason for member in hold.members if member.reason), "") or hold.note(KIND)
            records.say(f"the scheduler of {cluster} has not started yet" + (f" ({why})" if why else ""))
        time.sleep(_LOOK)
    hold.arrive(there[0].name)
    hold.spoil(KIND, "it is not started again: whatever it knew would be gone")
    return Apart(answer, papers, hold, there[0], came, went, way)


class Apart:
    """As Scheduling, of one that runs elsewhere. Its methods may be called from any thread but its own."""

    def __init__(
        self, told: Mapping[str, Any], papers: Papers, hold: Hold, member: Member,
        came: Callable[[str, Mapping[str, Any]], None], went: Callable[[], None], way: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self._way = way
        self.door = f"tls://{way(str(told['address']).rpartition('//')[2])}"
        self.address, self._papers, self._hold, self._member = str(told["address"]), papers, hold, member
        self._came, self._went = came, went
        self._known: Facts | None = None
        self._seen = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="elsewhere asks", daemon=True)
        self._thread.start()
        self._line = self._begun(self._connected()).result(_PATIENCE)
        self.dashboard = self._begun(self._shown(told["dashboard"])).result(_PATIENCE) if told["dashboard"] else ""

    async def _connected(self) -> Any:
        trust = security(self._papers).get_connection_args("client")
        return rpc(self.door, connection_args=trust, timeout=_CONNECT)

    async def _shown(self, door: tuple[str, int]) -> str:
        """The dashboard there, as a link for a browser here."""
        trust = security(self._papers).get_connection_args("client")["ssl_context"]
        host, _, port = self._way(f"{door[0]}:{door[1]}").rpartition(":")
        self._relay, shown = await relay("127.0.0.1", (host, int(port)), connects=trust)
        return f"http://127.0.0.1:{shown}/status"

    @property
    def over(self) -> str:
        """Why it is not there any more; empty: it is."""
        if self._member in self._hold.members and self._member.leaves is None:
            return ""
        why = f" ({self._member.reason})" if self._member.reason else ""
        return f"the scheduler has ended{why}, and with it what was submitted; begin with a new cluster"

    def facts(self) -> Facts:
        """As of Scheduling; what was known last, while it does not answer."""
        if self.over:
            return Facts()
        try:
            told = self._begun(self._line.elsewhere_look(seen=self._seen)).result(_PATIENCE)
        except Exception:
            self._hold.stir()  # its launch may have ended
            return self._known or Facts()
        for name, versions in told["came"]:
            self._came(name, versions)
        self._seen = told["seen"]
        self._known = Facts(told["busy"], told["waiting"], told["tasks"], told["paused"])
        return self._known

    def retire(self, names: Sequence[str]) -> None:
        self._begun(self._line.retire_workers(names=list(names), close_workers=True, remove=True))

    def turn_away(self, name: str) -> None:
        self._begun(self._line.elsewhere_turn_away(worker=name))

    def close(self) -> None:
        """Its workers are told to leave. Twice: harmless."""
        if not self._thread.is_alive():
            return
        try:
            self._begun(self._ended()).result(_PATIENCE)
        except Exception:  # it is gone, or does not answer: its launch is ended besides
            pass
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)

    async def _ended(self) -> None:
        if not self.over:
            await self._line.elsewhere_close()
        await self._line.close_rpc()

    def _begun(self, what: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(what, self._loop)


# --- there ----------------------------------------------------------------------------------------------------------


class Office:
    """What the scheduler there answers."""

    def __init__(self, network: Mapping[str, str], papers: Papers) -> None:
        self.heard = time.monotonic()
        self._arrivals: list[tuple[str, Any]] = []
        self.over = threading.Event()
        self.scheduling = Scheduling(network, papers, self._came, lambda: None)
        self.scheduling.handle("elsewhere_look", self._look)
        self.scheduling.handle("elsewhere_turn_away", self._turn_away)
        self.scheduling.handle("elsewhere_close", self._close)
        self.door = self.scheduling.run(self._opened(papers)) if self.scheduling.dashboard else None
        self._relays: list[asyncio.Server] = []

    async def _opened(self, papers: Papers) -> tuple[str, int]:
        """Where the dashboard is passed on to whoever has the cluster's certificate."""
        host = str(urlsplit(self.scheduling.address).hostname)
        trust = security(papers).get_listen_args("scheduler")["ssl_context"]
        self._relay, port = await relay(host, ("127.0.0.1", int(urlsplit(self.scheduling.dashboard).port or 0)), trust)
        return host, port

    def open_inward(self) -> None:
        """What listens is reached at loopback, too."""
        address = urlsplit(self.scheduling.address)
        doors = [(str(address.hostname), int(address.port or 0)), *([self.door] if self.door else [])]
        self._relays += [self.scheduling.run(relay("127.0.0.1", one, port=one[1]))[0] for one in doors]

    def _came(self, name: str, told: Mapping[str, Any]) -> None:
        self._arrivals.append((name, dict(told)))

    async def _look(self, seen: int) -> dict[str, Any]:
        self.heard = time.monotonic()
        facts = await self.scheduling.look()
        return {"busy": dict(facts.busy), "waiting": dict(facts.waiting), "tasks": dict(facts.tasks),
                "paused": list(facts.paused), "came": self._arrivals[seen:], "seen": len(self._arrivals)}  # fmt: skip

    async def _turn_away(self, worker: str) -> None:
        self.scheduling.turn_away(worker)

    async def _close(self) -> None:
        self.over.set()


def main(argv: list[str]) -> int:
    """Up until it is told to end, or nobody has asked for a while; then 0."""
    told = json.loads(argv[0] if argv else sys.stdin.read())
    office, quiet = Office(told["network"], Papers(**told["papers"])), told["quiet"]
    if told["inward"]:
        office.open_inward()
    answer = {"address": office.scheduling.address, "dashboard": office.door}
    if told["file"]:
        write_whole(Path(told["file"]), json.dumps(answer).encode())
    else:
        sys.stdout.write(f"{_STANDS.decode()}{json.dumps(answer)}\n")
        sys.stdout.flush()
    while not office.over.wait(1.0) and office.scheduling.alive:
        if quiet and time.monotonic() - office.heard > quiet:
            sys.stdout.write(f"nobody has asked for {quiet:g} s: its owner is gone\n")
            break
    office.scheduling.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
