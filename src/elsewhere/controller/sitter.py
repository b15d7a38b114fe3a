"""What a machine runs on which a controller sits and nobody can call: it introduces itself, does what it is asked in
the corner of its place's deposit (post.py), and ends when the job does, or its term: then the job is put there.

`python -m elsewhere.controller.sitter ADDRESS DIRECTORY MACHINE TERM`, by its boot text. One thread, and one for each
ask. Who asks gets what `elsewhere` prints here (cli/there.py); no verb is known here.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

from elsewhere.agent import arrival
from elsewhere.agent.meeting import JobKey
from elsewhere.backends.registry import HIRED
from elsewhere.backends.seats import OVER
from elsewhere.channels.frames import Verifies
from elsewhere.controller import control, homecoming
from elsewhere.controller.files import JobFiles
from elsewhere.controller.post import ENDED, Post
from elsewhere.errors import ElsewhereError, PlaceError
from elsewhere.hosts import private_directory, write_new, write_whole
from elsewhere.ledger.views import SEAT
from elsewhere.ship import letters, seat
from elsewhere.ship.script import SWITCH
from elsewhere.stores import Store
from elsewhere.stores.objects import open_store

LOOK = (0.5, 5.0)
"""Seconds between two looks for an ask: when one has just come, and when none has come for long; each is billed, unless
the address says how seldom it may be."""
FIRST = 900.0
"""Seconds in which the first ask must come."""
CLOSING = 300.0
"""Seconds before the end of its term at which it stops what goes on; at most a fifth of the term."""
TERM = "the term of the machine on which its controller sits is nearly over"
TOLD = "the machine on which its controller sits was told to end"
STEP = 1200.0
"""Seconds by which the dead man's switch is moved ahead."""
PIECE = 4 << 20
"""Bytes of an answer that travel together at most."""
TOGETHER = 0.25
"""Seconds for which output is gathered."""
HEED = (2.0, 20.0)
"""Seconds between two looks whether an answer is still wanted: whether it was said so, and whether nobody signed."""
LAST = 20.0
"""Seconds that controllers here have when their machine is told to end."""
ABSENT = 90.0
"""Seconds without a sign after which whoever asked is gone."""


@dataclass(frozen=True, slots=True)
class Corner:
    """The seat's own corner of the deposit, as one meets there (agent/arrival.py)."""

    store: Store
    words: Mapping[str, str]
    verifier: Verifies | None


class Sitter:
    """Asked, answers; `run` says why it ended."""

    def __init__(
        self, post: Post, base: Path, python: Path, term: float, linger: float,
        switch: Callable[[float], None] = lambda left: None, clock: Callable[[], float] = time.monotonic,
        seldom: float = LOOK[1],
    ) -> None:  # fmt: skip
        """`linger`: seconds for which it stays when nothing goes on here. `seldom`: between two looks, at most."""
        self.post, self.base, self.python, self.linger, self.clock = post, base, python, linger, clock
        self._born, self._term, self._switch, self._seldom = clock(), term, switch, seldom
        self._next, self._wait, self._active = 1, LOOK[0], clock()
        self._answers: list[threading.Thread] = []

    def run(self) -> str:
        while True:
            self._switch(min(STEP, self.left))
            if self._take():
                continue
            if why := self._ends():
                return why
            time.sleep(self._wait)
            self._wait = min(self._wait * 1.2, self._seldom)

    @property
    def left(self) -> float:
        """Seconds of the term."""
        return self._term - (self.clock() - self._born)

    def jobs(self) -> list[JobFiles]:
        folder = self.base / "home" / "jobs"
        return [JobFiles(one.name, one) for one in sorted(folder.glob("job-*"))] if folder.is_dir() else []

    def _take(self) -> bool:
        """Is there an ask? It is begun."""
        try:
            request = self.post.asked(self._next)
        except ElsewhereError:  # it is looked for again
            return False
        if request is None:
            return False
        one = Answer(self.post, self._next, request, self.base, self.python)
        thread = threading.Thread(target=one.run, name=f"answer {self._next}", daemon=True)
        thread.start()
        self._answers.append(thread)
        self._next, self._wait = self._next + 1, LOOK[0]
        return True

    def _ends(self) -> str:
        if self.left <= min(CLOSING, self._term / 5):
            self.stop(self.left / 2, TERM)
            return "its term is over"
        self._answers = [one for one in self._answers if one.is_alive()]
        if self._answers or any((held := one.holder()) is not None and held.alive for one in self.jobs()):
            self._active = self.clock()
        patience = self.linger if self._next > 1 else FIRST
        return "nothing goes on here" if self.clock() - self._active > patience else ""

    def stop(self, patience: float, why: str) -> None:
        """The controllers here end within so many seconds, and their machines with them; what has not ended is kept."""
        for files in self.jobs():
            with contextlib.suppress(ElsewhereError):
                control.ask(files.control, {"do": "stop", "now": True, "why": why})
        end = self.clock() + max(0.0, patience)
        while self.clock() < end and any(one.holder() is not None for one in self.jobs()):
            time.sleep(0.5)

    @property
    def over(self) -> bool:
        """Is there nothing to be done of any job here?"""
        for files in self.jobs():
            with contextlib.closing(files.open()) as ledger:
                if not ledger.count().over:
                    return False
        return True

    def put_away(self) -> None:
        """What came of the job goes into the corner; tried until the term is over."""
        while self.left > 0:
            self._switch(min(STEP, self.left))
            try:
                return homecoming.put(self.post.closed, self.jobs(), time.time())
            except PlaceError as error:
                print(f"elsewhere seat: {error.message}", file=sys.stderr)  # noqa: T201
                time.sleep(LOOK[1])


class Answer:
    """One ask: the command runs, what it prints goes into the corner as it comes, then its status."""

    def __init__(self, post: Post, number: int, request: bytes, base: Path, python: Path) -> None:
        self.post, self.number, self.request, self.base, self.python = post, number, request, base, python
        self._piece = 0
        self._signed: bytes | None = None
        self._looked = self._heard = time.monotonic()

    def run(self) -> None:
        process = subprocess.Popen(
            [str(self.python), "-m", "elsewhere.cli.there"], cwd=self.base, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(self.request + b"\n")
            process.stdin.flush()
        try:
            self._follow(process)
        except PlaceError:
            pass  # whoever asked hears nothing more, and asks again
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        status = process.wait()
        assert process.stdout and process.stderr
        process.stdout.close()
        process.stderr.close()
        with contextlib.suppress(PlaceError):
            self._tell([(ENDED, str(status if status >= 0 else 128 - status).encode())])

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Until it prints nothing more. Whoever asked and is gone ends its standard input, which interrupts it."""
        assert process.stdin and process.stdout and process.stderr
        gathered: list[tuple[int, bytes]] = []
        since, size = 0.0, 0
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, 1)
            selector.register(process.stderr, selectors.EVENT_READ, 2)
            while selector.get_map():
                for key, _ in selector.select(TOGETHER):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                        continue
                    since = since or time.monotonic()
                    gathered.append((int(key.data), data))
                    size += len(data)
                if gathered and (size >= PIECE or time.monotonic() - since >= TOGETHER):
                    self._tell(gathered)
                    gathered, since, size = [], 0.0, 0
                if not process.stdin.closed and self._is_left():
                    process.stdin.close()
        if gathered:
            self._tell(gathered)

    def _tell(self, words: list[tuple[int, bytes]]) -> None:
        self._piece += 1
        self.post.tell(self.number, self._piece, words)

    def _is_left(self) -> bool:
        now = time.monotonic()
        if now - self._looked < HEED[0]:
            return False
        self._looked = now
        if self.post.is_left(self.number):
            return True
        if now - self._heard < HEED[1]:
            return False
        signed = self.post.signed(self.number)
        if signed != self._signed:
            self._signed, self._heard = signed, now
        return now - self._heard > ABSENT


def main(argv: list[str]) -> int:
    """0 when all is put away, 1 if nobody answered, as the boot text takes it."""
    address, directory, machine, term = argv[0], Path(argv[1]), argv[2], float(argv[3])
    words = dict(parse_qsl(address))
    os.environ.setdefault("HOME", str(directory.parent))
    os.environ[HIRED] = "1"
    store, serial = open_store(words["store"], words.get("region", "")), [0]

    def switch(left: float) -> None:
        serial[0] += 1
        with contextlib.suppress(OSError):
            write_whole(directory / SWITCH, f"{max(0, int(left))} {serial[0]}\n".encode())

    try:
        meets = Corner(store, words, cast(Verifies, JobKey(bytes.fromhex(words["key"]))))
        letter = arrival.met(meets, letters.Keys(), words["seat"], machine)
        base = directory / seat.HERE
        python = _furnish(base, words, letter)
        post, seldom = Post(store, letter.key, words["seat"]), float(words.get("seldom") or LOOK[1])
        sitter = Sitter(post, base, python, term, float(words["linger"]), switch, seldom=seldom)
        signal.signal(signal.SIGTERM, _ends)
        try:
            why = sitter.run()
            sitter.put_away()
            over = sitter.over
        except SystemExit:
            why, over = "it was told to end", not sitter.jobs()
            if not over:
                sitter.stop(LAST, TOLD)
                raise
        if over:
            write_new(directory / OVER, b"")
    except ElsewhereError as error:
        print(f"elsewhere seat: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"elsewhere seat {machine}: {why}", file=sys.stderr)  # noqa: T201
    return 0


def _ends(number: int, frame: object) -> None:
    """Told to end by its place: what is there stays, unless its job was removed."""
    sys.exit(128 + number)


def _furnish(base: Path, words: Mapping[str, str], letter: letters.Contents) -> Path:
    """Our environment there, and the state directory, with the key that whoever hired the seat made for it."""
    home = base / "home"
    for folder in (base, base / "work", base / "work" / words["work"], home):
        private_directory(folder)
    write_new(home / "key", letter.secrets["key"].encode())
    write_new(home / SEAT, words["facts"].encode())
    text = seat.furnishing(words["we"], words.get("uv", ""))
    env = {**os.environ, "HERE": str(base), "python": sys.executable}
    subprocess.run(["sh", "-c", text], cwd=base, env=env, check=True)
    os.environ.pop("PYTHONPATH", None)
    return base / f"{words['we']}.env" / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
