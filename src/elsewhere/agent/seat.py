"""One slot as its agent sees it: the process, the pipe down, the wake pipe, the page, the outcome files, what was sent.

It reads, writes and signals; what to do is decided in runner.py.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from elsewhere.agent import processes
from elsewhere.agent.boot import Boot
from elsewhere.model.task import Delivery
from elsewhere.slot import wire

_SLOT = Path(wire.__file__).parent / "__main__.py"
CUT = 4 << 20
"""An outcome file is cut when it is larger than this."""


class Seen(NamedTuple):
    """The page: what the slot does, since when (CLOCK_MONOTONIC), and where its output stood when it began."""

    n: int
    attempt: int
    doing: int
    started: float
    out: int
    err: int
    roll: int


class Seat:
    """A slot's process from its start to its end."""

    def __init__(
        self, boot: Boot, number: int, directory: Path, env: Mapping[str, str], roll: int, generation: int
    ) -> None:
        self.number, self.directory = number, directory
        self.sent: deque[Delivery] = deque()
        self.doubt: Delivery | None = None
        self.target: tuple[int, int, int] | None = None
        """(n, attempt, outcome) of what it was told to end."""
        self.deadline = 0.0
        self.leaving = False
        self.booted = False
        self.epoch = 1
        self.pending = bytearray()
        self._generation = generation
        self._page = self._open_page()
        self.outcomes = deque([self._outcome_file()])
        self.offset = 0
        self._reader = os.open(self.outcomes[0], os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.spent: list[Path] = []
        self._start(boot, env)
        self._frame({"boot": boot.words(directory, number, roll, self.outcomes[0].name)})

    def _open_page(self) -> mmap.mmap:
        with (self.directory / f"{self.number}.page").open("w+b") as file:
            file.truncate(wire.PAGE_SIZE)
            page = mmap.mmap(file.fileno(), wire.PAGE_SIZE)
        wire.ORDER.pack_into(page, wire.ORDER_AT, self.epoch, 0, 0, 0)
        wire.PAGE.pack_into(page, 0, 0, 0, 0, wire.BOOTING, monotonic(), 0, 0, 0, 0)
        return page

    def _outcome_file(self) -> Path:
        self._generation += 1
        return self.directory / f"{self.number}.{self._generation}.outcomes"

    @property
    def generation(self) -> int:
        return self._generation

    def _start(self, boot: Boot, env: Mapping[str, str]) -> None:
        far_down, self.down = os.pipe()
        self.wake, far_wake = os.pipe()
        os.set_blocking(self.down, False)
        os.set_blocking(self.wake, False)
        try:
            with (self.directory / f"{self.number}.boot").open("ab") as log:
                self.process = subprocess.Popen(
                    [boot.python, str(_SLOT), str(far_down), str(far_wake)], stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, pass_fds=(far_down, far_wake), env=env, start_new_session=True, cwd="/",
                )  # fmt: skip
        finally:
            os.close(far_down)
            os.close(far_wake)

    # --- down -----------------------------------------------------------------------------------------------------

    def send(self, deliveries: Sequence[Delivery]) -> None:
        """Queue these behind what it has."""
        self.sent.extend(deliveries)
        self._frame((self.epoch, [delivery[:5] for delivery in deliveries]))

    def _frame(self, frame: Any) -> None:
        data = marshal.dumps(frame, 2)
        self.pending += wire.LENGTH.pack(len(data)) + data
        self.flush()

    def flush(self) -> bool:
        """Write what the pipe takes; True when nothing is left over."""
        while self.pending:
            try:
                written = os.write(self.down, self.pending)
            except BlockingIOError:
                return False
            except OSError:  # it is dead; the wake pipe tells
                self.pending.clear()
                return True
            del self.pending[:written]
        return True

    # --- up -------------------------------------------------------------------------------------------------------

    def woken(self) -> bool:
        """Empty the wake pipe; False: the other end is closed."""
        try:
            return bool(os.read(self.wake, 4096))
        except BlockingIOError:
            return True

    def read(self) -> list[tuple[Any, ...]]:
        """The whole records that came since last time; see wire.unpack."""
        records: list[tuple[Any, ...]] = []
        while True:
            data = os.pread(self._reader, 1 << 22, self.offset)
            found, end = wire.unpack(data)
            self.offset += end
            records += found
            if found and len(data) == 1 << 22:
                continue
            if found or len(self.outcomes) == 1 or not self.outcomes[1].exists():
                return records
            self._next_file()

    def _next_file(self) -> None:
        os.close(self._reader)
        self.spent.append(self.outcomes.popleft())
        self._reader, self.offset = os.open(self.outcomes[0], os.O_RDONLY | os.O_CLOEXEC), 0

    def cut(self) -> None:
        """All that was read is recorded: remove files that are done with, begin a new one when this is long."""
        for path in self.spent:
            path.unlink(missing_ok=True)
        self.spent.clear()
        if self.offset > CUT and len(self.outcomes) == 1:
            self.outcomes.append(self._outcome_file())
            self._frame({"outcomes": self.outcomes[1].name})

    def look(self) -> Seen:
        return Seen(*wire.look(self._page))

    def baseline(self) -> int:
        return int(wire.BASELINE.unpack_from(self._page, wire.BASELINE_AT)[0])

    def said_trouble(self) -> int:
        return int(wire.TROUBLE.unpack_from(self._page, wire.TROUBLE_AT)[0])

    # --- stop -----------------------------------------------------------------------------------------------------

    def recall(self, *, leave: bool = False) -> list[Delivery]:
        """Make void what it has not begun and take it back; `leave`: it ends when it is done with what it runs.

        First the epoch, then the page: what the page shows may still turn out not to have begun (`doubt`).
        """
        self.leaving = self.leaving or leave
        self.epoch += 1
        _, n, attempt, outcome = wire.ORDER.unpack_from(self._page, wire.ORDER_AT)
        wire.ORDER.pack_into(self._page, wire.ORDER_AT, wire.STOP if self.leaving else self.epoch, n, attempt, outcome)
        seen = self.look()
        back, kept = [], None
        for delivery in self.sent:
            if seen.doing == wire.RUNNING and (delivery.n, delivery.attempt) == (seen.n, seen.attempt):
                kept = delivery
            else:
                back.append(delivery)
        self.sent.clear()
        if kept is not None:
            self.sent.append(kept)
            self.doubt = kept
        return back

    def stop(self, n: int, attempt: int, outcome: int, grace: float) -> list[Delivery]:
        """End what it runs: SIGTERM now, SIGKILL to its whole tree after `grace` seconds; what it had not begun."""
        back = self.recall(leave=True)
        wire.ORDER.pack_into(self._page, wire.ORDER_AT, wire.STOP, n, attempt, outcome)
        self.target, self.deadline = (n, attempt, outcome), monotonic() + grace
        processes.send(self.process.pid, signal.SIGTERM)
        return back

    def notice(self) -> None:
        """The machine is about to go: tell the task."""
        self._page[wire.NOTICE_AT] = 1

    def kill(self) -> None:
        """SIGKILL to the slot and everything below it. Twice: harmless."""
        if self.process.poll() is None:
            processes.kill_tree(self.process.pid)

    def close(self) -> None:
        """Let go of its files; the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        for fd in (self.down, self.wake, self._reader):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._page.close()
