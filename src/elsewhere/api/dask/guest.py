"""What a machine runs that was started for a cluster: it proves who it is, and becomes what its letter says.

`python -m elsewhere.api.dask.guest ADDRESS DIRECTORY MACHINE TERM`, by its boot text. One program of ours is started
(post.py, apart.py), in the project; when that ends, or the term, the machine does. What is printed goes home.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from elsewhere.agent import arrival, seated
from elsewhere.agent.meeting import JobKey
from elsewhere.agent.notice import Watch, asker
from elsewhere.api.dask import letterbox, meeting
from elsewhere.channels.frames import Verifies
from elsewhere.errors import ElsewhereError, PlaceError
from elsewhere.hosts import private_directory, write_new
from elsewhere.ship import letters, seat, visit
from elsewhere.ship.certificates import papers
from elsewhere.ship.script import LOG
from elsewhere.stores import Store
from elsewhere.stores.objects import open_store

TOLD = "told"
"""In the letter, as JSON; besides it the certificates, by the names of their files."""
STANDS = "stands.json"
"""In the machine's directory: what the program says of itself, which is passed on under our signature."""
LOOK = 0.2
SENDS = 5.0
"""Seconds between two looks whether something was printed that is to go home."""
MOST = 1 << 20
"""Bytes of it, the last."""
ENDS = "elsewhere: it ends"
_LAST, _GRACE, _ASKING = 3.0, 10.0, 20.0


class Sending:
    """What is printed on this machine goes home under `key`."""

    def __init__(self, file: Path, store: Store, key: str) -> None:
        self._file, self._store, self._key = file, store, key
        self._sent, self._due = 0, 0.0

    def turn(self, now: float) -> None:
        if now >= self._due:
            self._due = now + SENDS
            self.send()

    def send(self) -> None:
        """Of a place that does not answer: later."""
        with contextlib.suppress(OSError, PlaceError):
            size = self._file.stat().st_size
            if size != self._sent:
                with self._file.open("rb") as file:
                    file.seek(max(0, size - MOST))
                    self._store.put(self._key, file.read())
                self._sent = size

    def last(self) -> None:
        """All of it: what copies our output is waited for."""
        print(ENDS, flush=True)  # noqa: T201
        end = time.monotonic() + _LAST
        while time.monotonic() < end and ENDS.encode() not in _tail(self._file):
            time.sleep(0.05)
        self.send()


def _tail(file: Path) -> bytes:
    with contextlib.suppress(OSError), file.open("rb") as data:
        data.seek(max(0, file.stat().st_size - 200))
        return data.read()
    return b""


class Program:
    """The one that this machine is for."""

    def __init__(self, python: Path, directory: Path, told: Mapping[str, Any]) -> None:
        self.told, self._directory = told, directory
        self._process = subprocess.Popen(
            [str(python), "-m", told["module"]], cwd=directory / visit.CODE / visit.PROJECT, stdin=subprocess.PIPE
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as words:
            words.write(json.dumps(told).encode())

    def poll(self) -> int | None:
        return self._process.poll()

    def stands(self) -> Mapping[str, Any] | None:
        """What it says of itself; None: nothing new."""
        path = self._directory / STANDS
        return json.loads(path.read_bytes()) if path.exists() else None

    def heard(self) -> None:
        """That was passed on."""
        (self._directory / STANDS).unlink()

    def leave(self, why: str, left: timedelta) -> None:
        """The place takes the machine back: a worker hands on what it keeps."""
        print(f"elsewhere: {why} in {left.total_seconds():.0f} s", flush=True)  # noqa: T201
        if "scheduler" in self.told:
            with contextlib.suppress(Exception):  # it ends all the same
                asyncio.run(asyncio.wait_for(self._retired(), _ASKING))

    async def _retired(self) -> None:
        from distributed.core import rpc

        from elsewhere.api.dask.scheduling import security

        trust = security(papers(self._directory / visit.PAPERS)).get_connection_args("client")
        async with rpc(self.told["scheduler"], connection_args=trust) as line:
            await line.retire_workers(names=[f"{self.told['kind']}/{self.told['number']}"], close_workers=True,
                                      remove=True)  # fmt: skip

    def end(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._process.kill()
        self._process.wait()


def main(argv: list[str]) -> int:
    """0, or 1 if nobody answered, as the boot text takes it: then it sends what was printed."""
    words, directory, machine, term = dict(parse_qsl(argv[0])), Path(argv[1]), argv[2], float(argv[3])
    born, switch = time.monotonic(), seated.switch(directory)
    os.environ.setdefault("HOME", str(directory.parent))
    try:
        store, keys = open_store(words["store"], words.get("region", "")), letters.Keys()
        corner = seated.Corner(store, words, cast(Verifies, JobKey(bytes.fromhex(words["key"]))))
        letter = arrival.met(corner, keys, words["cluster"], machine)
        python = seated.environment(directory / seat.HERE, words["we"])
        program = Program(python, directory, _moved_in(directory, letter))
    except ElsewhereError as error:
        print(f"elsewhere: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: program.end())
    if "notice" in words:
        Watch(asker(words["notice"]), program.leave).start()
    sending = Sending(directory / LOG, store, f"{letterbox.LOGS}{program.told['kind']}-{program.told['number']}")
    while program.poll() is None:
        switch(min(seated.STEP, term - (time.monotonic() - born)))
        with contextlib.suppress(PlaceError):  # it is said later
            if (said := program.stands()) is not None:
                letterbox.say(store, keys, words["cluster"], machine, said)
                program.heard()
        sending.turn(time.monotonic())
        time.sleep(LOOK)
    sending.last()
    return 0


def _moved_in(directory: Path, letter: letters.Contents) -> dict[str, Any]:
    """What it is told, with its address; the certificates lie where it looks for them, for us alone."""
    told: dict[str, Any] = json.loads(letter.secrets[TOLD])
    for folder in (visit.PAPERS, visit.SCRATCH):
        private_directory(directory / folder)
    for name, text in letter.secrets.items():
        if name != TOLD:
            write_new(directory / visit.PAPERS / name, text.encode())
    where = meeting.own_address(told["interface"])
    return {**told, "host": where, "network": {"host": where}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
