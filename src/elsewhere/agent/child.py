"""One slot as the agent sees it: its process, its pipe, its page, its outcome files, and what it was given.

Decides nothing: what to give, what to stop and what an end means is decided in runner.py.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elsewhere.agent import processes
from elsewhere.agent.boot import Boot
from elsewhere.model.task import Delivery
from elsewhere.slot import wire

Key = tuple[int, int]
_CUT = 4 << 20
_PIPE = 1 << 18


class Child:
    """A slot process and its successors in the same place: they share its number and its files."""

    def __init__(self, number: int, boot: Boot, directory: Path, mark: str, selector: selectors.BaseSelector) -> None:
        self.number, self.boot, self.directory, self.mark = number, boot, directory, f"{mark}.{number}"
        self._selector = selector
        self.pid = self._pidfd = self._down = self._wake = -1
        self.given: dict[Key, Delivery] = {}
        self.epoch = 0
        self.stopping: tuple[Key, int] | None = None
        self.deadline = 0.0
        """When it is ended by force; 0: never."""
        self.leaving = False
        self.doubt: Key | None = None
        """Shown as running when its epoch ended: it may have been dropped instead."""
        self._unsent = bytearray()
        self._watching_down = False
        self._generation = self._next_generation()
        self._file = -1
        self._offset = 0
        self._told = 0
        self._old: list[Path] = []
        self._switching = False
        path = directory / f"{number}.page"
        path.touch(mode=0o600)
        with path.open("r+b", buffering=0) as file:
            # Real bytes, not a hole: on a full disk the first store into a mapped hole would end this process (SIGBUS).
            if (size := file.seek(0, os.SEEK_END)) < wire.PAGE_SIZE:
                file.write(bytes(wire.PAGE_SIZE - size))
            self.page = mmap.mmap(file.fileno(), wire.PAGE_SIZE)
        self._roll = self._last_roll()

    # -- its process

    @property
    def alive(self) -> bool:
        return self.pid > 0

    @property
    def ready(self) -> bool:
        return self.pid > 0 and self.look()[2] != wire.BOOTING

    def start(self, on_wake: Callable[[], None], on_exit: Callable[[], None]) -> None:
        """Start the process. OSError when that cannot be; then it is not alive, and may be started again."""
        self._roll = max(self._roll, self.look()[6])
        self.epoch = self.epoch % (wire.STOP - 1) + 1
        self.stopping = self.doubt = None
        self.leaving, self.deadline, self._switching = False, 0.0, False
        self.page[: wire.PAGE_SIZE] = bytes(wire.PAGE_SIZE)
        wire.PAGE.pack_into(self.page, 0, 0, 0, 0, wire.BOOTING, time.monotonic(), 0, 0, self._roll, 0)
        self.order(self.epoch)
        down, self._down = os.pipe()
        self._wake, wake = os.pipe()
        try:
            self._spawn(down, wake)
        except OSError:
            self.forget()
            raise
        finally:
            os.close(down)
            os.close(wake)
        os.set_blocking(self._down, False)
        os.set_blocking(self._wake, False)
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self._down, fcntl.F_SETPIPE_SZ, _PIPE)
        self._selector.register(self._wake, selectors.EVENT_READ, on_wake)
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            self._selector.register(self._pidfd, selectors.EVENT_READ, on_exit)
        self._send({"boot": self.boot.words() | {
            "slot": self.number, "directory": str(self.directory), "page": str(self.directory / f"{self.number}.page"),
            "outcomes": self._path().name, "roll": self._roll,
        }})  # fmt: skip

    def _spawn(self, down: int, wake: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.output("out")), flags, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(self.output("err")), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, down, down),
            (os.POSIX_SPAWN_DUP2, wake, wake),
        ]
        argv = self.boot.argv(down, wake, self.directory, self.number)
        env = {**os.environ, **self.boot.env, processes.MARK: self.mark}
        self.pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsid=True)

    def output(self, kind: str, roll: int | None = None) -> Path:
        return self.directory / f"{self.number}.{self._roll if roll is None else roll}.{kind}"

    def _last_roll(self) -> int:
        """The newest of the output files that stand here already."""
        rolls = [path.name.split(".")[1] for path in self.directory.glob(f"{self.number}.*.out")]
        return max((int(roll) for roll in rolls if roll.isdecimal()), default=0)

    def reap(self) -> int | None:
        """Its wait status if it has ended; None while it lives. A status that somebody else took counts as SIGKILL."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 9
        return status if pid else None

    def forget(self) -> None:
        """The process is gone: let go of its descriptors. What it was given, and its files, stay."""
        for fd in (self._wake, self._pidfd):
            if fd >= 0:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(fd)
                os.close(fd)
        self._wake = self._pidfd = self.pid = -1
        self.hang_up()

    def hang_up(self) -> None:
        """No more deliveries: an idle slot leaves."""
        self._watch_down(False)
        if self._down >= 0:
            os.close(self._down)
        self._down = -1
        self._unsent.clear()

    def dispose(self) -> None:
        """Nothing more is to be read from its files, nor waited for."""
        if self.alive:  # the keeper of a container whose runtime hangs
            processes.end_tree(self.pid)
            self._sweep()
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    @property
    def body(self) -> int:
        """The process that runs tasks: in a container it is another than the one that we have started."""
        found: int = wire.BODY.unpack_from(self.page, wire.BODY_AT)[0]
        return self.pid if found in (0, wire.AWAY, wire.TIDYING) or self.pid < 0 else found

    @property
    def tidying(self) -> bool:
        """Is a container found, or put away, by its runtime? Its keeper sees to it that this ends."""
        return bool(wire.BODY.unpack_from(self.page, wire.BODY_AT)[0] == wire.TIDYING)

    def end(self) -> None:
        """SIGKILL to all of it. The keeper of a container ends by itself once the runtime has put that away: ended
        before, it would leave half of it behind."""
        if not self.tidying:
            processes.end_tree(self.body)

    def clear(self) -> None:
        """After a death: what bears our mark goes too, and so does what a runtime still keeps of its containers."""
        processes.end_marked(self.mark)
        if wire.BODY.unpack_from(self.page, wire.BODY_AT)[0] != wire.AWAY:
            self._sweep()

    def _sweep(self) -> None:
        if self.boot.box is not None:
            from elsewhere.ship import containers

            containers.sweep(self.boot.box, self.mark)

    # -- down

    def give(self, deliveries: list[Delivery]) -> None:
        """One batch, to be run in this order after what it has."""
        given = self.given
        for delivery in deliveries:
            given[delivery[:2]] = delivery
        self._send((self.epoch, [delivery[:5] for delivery in deliveries]))

    def _send(self, frame: Any) -> None:
        data = marshal.dumps(frame, 2)
        self._unsent += wire.LENGTH.pack(len(data)) + data
        self.flush()

    def flush(self) -> None:
        """As much as the pipe takes; the rest when it has room again."""
        try:
            while self._unsent and self._down >= 0:
                with memoryview(self._unsent) as view:
                    sent = os.write(self._down, view[:_PIPE])
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # it is dead, and its end will be seen
        self._watch_down(bool(self._unsent))

    def _watch_down(self, wanted: bool) -> None:
        if wanted is self._watching_down:
            return
        self._watching_down = wanted
        if wanted:
            self._selector.register(self._down, selectors.EVENT_WRITE, self.flush)
        else:
            self._selector.unregister(self._down)

    def order(self, epoch: int, target: Key = (0, 0), outcome: int = 0) -> None:
        # The target before the epoch: whoever sees the epoch must see whom it is about.
        before = wire.ORDER.unpack_from(self.page, wire.ORDER_AT)[0]
        wire.ORDER.pack_into(self.page, wire.ORDER_AT, before, *target, outcome)
        wire.LENGTH.pack_into(self.page, wire.ORDER_AT, epoch)

    def notice(self) -> None:
        """The machine is about to go: current_task().stopping says so."""
        self.page[wire.NOTICE_AT] = 1

    # -- up

    def look(self) -> tuple[Any, ...]:
        """(n, attempt, doing, started, out_from, err_from, roll)."""
        return wire.look(self.page)

    def at_work(self) -> tuple[Key, float] | None:
        """What it shows as running, and since when (monotonic)."""
        n, attempt, doing, started, *_ = self.look()
        return ((n, attempt), started) if doing == wire.RUNNING else None

    @property
    def trouble(self) -> int:
        """The error number with which it gave up, when its files could not be written; else 0."""
        return int(wire.TROUBLE.unpack_from(self.page, wire.TROUBLE_AT)[0])

    def read_wake(self) -> None:
        if self._wake >= 0:  # its end may have been seen in the same turn, before its last word
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)

    def records(self) -> list[tuple[Any, ...]]:
        """The whole records that it has appended since this was last asked."""
        found: list[tuple[Any, ...]] = []
        while True:
            switched = self._switching and self._path(1).exists()
            if self._file < 0:
                try:
                    self._file = os.open(self._path(), os.O_RDWR)
                except FileNotFoundError:
                    return found
            while data := os.pread(self._file, 1 << 20, self._offset):
                records, end = wire.unpack(data)
                if not end and len(data) >= 4:
                    need = wire.LENGTH.unpack_from(data)[0] + 4
                    records, end = wire.unpack(os.pread(self._file, need, self._offset))
                if not end:
                    break
                found += records
                self._offset += end
                if end == len(data) < 1 << 20:
                    break
            if not switched:
                return found
            self._old.append(self._path())
            os.close(self._file)
            self._file, self._offset, self._told, self._switching = -1, 0, 0, False
            self._generation += 1

    def cut_tail(self) -> None:
        """After its death: half a record would hide all that its successor appends."""
        if self._file >= 0 and os.fstat(self._file).st_size > self._offset:
            os.ftruncate(self._file, self._offset)

    def settle(self) -> None:
        """All that `records` gave is safe elsewhere: files that were read to their end may go."""
        for path in self._old:
            path.unlink(missing_ok=True)
        self._old.clear()
        if not self.given and self._file >= 0 and self._offset > _CUT // 64 and not self._switching:
            if os.fstat(self._file).st_size == self._offset:
                os.ftruncate(self._file, 0)
                self._offset = 0
        elif self._offset > _CUT and self._down >= 0 and not self._switching:
            self._switching = True
            self._send({"outcomes": self._path(1).name})

    def _path(self, later: int = 0) -> Path:
        return self.directory / f"{self.number}.{self._generation + later}.outcomes"

    def _next_generation(self) -> int:
        names = [path.name.split(".")[1] for path in self.directory.glob(f"{self.number}.*.outcomes")]
        return max((int(name) for name in names if name.isdecimal()), default=-1) + 1

    def stderr(self, start: int, size: int = 4096) -> tuple[str, int]:
        """(the end of what stands in its newest stderr from byte `start`, where that file ends)."""
        try:
            with self.output("err", self.look()[6]).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(start, end - size))
                return file.read(size).decode("utf-8", "replace"), end
        except OSError:
            return "", start
