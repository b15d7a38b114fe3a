"""The slot's loop: deliveries in, one task at a time, one record out for each before the next begins.

The cost of a task that does nothing is spent here: what few tasks need is done elsewhere, later, or never.
"""

from __future__ import annotations

import atexit
import functools
import marshal
import mmap
import os
import signal
import sys
from _signal import pthread_sigmask  # type: ignore[import-not-found]  # without the enums: it runs in each fork
from time import monotonic, time
from typing import TYPE_CHECKING

from elsewhere.slot import entry, kernel, task, wire
from elsewhere.slot.forks import Forks
from elsewhere.slot.output import Files
from elsewhere.slot.wire import BOOTING, IDLE, ORDER, ORDER_AT, PAGE, RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_WAKE, _SLOW_WAKE = 0.002, 0.008
"""Seconds between two words to the agent while there is more in hand; slow: where each task is a process of its own."""
_STOP = wire.STOP.to_bytes(4, "little")


def serve(down: int, wake: int) -> None:
    """Until the pipe ends, the agent says stop, or it is time to make room for a fresh process."""
    os.set_inheritable(down, False)
    os.set_inheritable(wake, False)
    os.set_blocking(wake, False)
    slot = Slot(wake)
    frames = slot.frames(down)
    slot.boot(next(frames)["boot"])
    try:
        for frame in frames:
            if type(frame) is tuple:
                slot.batch(*frame)
            else:
                slot.open_outcomes(frame["outcomes"])
    finally:
        # A thread that a task has left behind would keep this process, and the slot's place, for ever.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(slot.words["grace"], 0.1))


class Slot(Forks):
    """One process, one task at a time."""

    def __init__(self, wake: int) -> None:
        super().__init__()
        self.wake_fd, self.woken, self.looked = wake, 0.0, 0.0
        self.pace = _WAKE
        self.serial = self.count = 0

    def frames(self, fd: int) -> Iterator[Any]:
        held = b""
        while True:
            while len(held) >= 4 and len(held) >= (end := 4 + wire.LENGTH.unpack_from(held)[0]):
                yield marshal.loads(memoryview(held)[4:end])
                held = held[end:]
            self.phase = self.WAITING
            chunk = os.read(fd, 1 << 20)
            self.phase = self.OWN
            if not chunk:
                return
            held += chunk

    def boot(self, words: dict[str, Any]) -> None:
        """Take the boot words, find the entry, say that we are ready. The user's own errors are kept for the tasks."""
        self.words, self.memory = words, words["memory"]
        with open(words["page"], "r+b") as file:
            self.page = mmap.mmap(file.fileno(), wire.PAGE_SIZE)
        self.agent = words["parent"] or os.getppid()
        gentle = words["kind"] == "command" or words["isolate"]
        signal.signal(signal.SIGHUP, self.on_orphaned)
        kernel.die_with_parent(signal.SIGHUP if gentle else signal.SIGKILL)
        if os.getppid() != self.agent:
            os._exit(1)
        kernel.adopt_orphans()
        kernel.unbuffer_c()
        self.output = Files(words["directory"], words["slot"], words["roll"])
        self.open_outcomes(words["outcomes"])
        signal.signal(signal.SIGTERM, self.on_term)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # While a process forks, CPython forgets what has come for the child: a signal waits until that is over.
        ours = (signal.SIGTERM, signal.SIGHUP)
        hold, let = (functools.partial(pthread_sigmask, how, ours) for how in (signal.SIG_BLOCK, signal.SIG_UNBLOCK))
        os.register_at_fork(before=hold, after_in_parent=let, after_in_child=let)
        task.asked.append(self.task)
        atexit.register(self.end_children)  # the first to be registered is the last to be called
        self.show(BOOTING, 0, 0, monotonic())
        self.load()
        self.output.flush()
        self.output.out, self.output.err = self.output.ends()
        self.rest()

    def open_outcomes(self, name: str) -> None:
        """From the next record on they go to this file."""
        if self.outcomes >= 0:
            os.close(self.outcomes)
        path = os.path.join(self.words["directory"], name)
        self.outcomes = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def show(self, doing: int, n: int, attempt: int, started: float) -> None:
        self.serial += 1
        out = self.output
        PAGE.pack_into(self.page, 0, self.serial, n, attempt, doing, started, out.out, out.err, out.roll, self.serial)

    def batch(self, epoch: int, deliveries: list[Any]) -> None:
        """Run them in order, as long as the agent holds to this epoch."""
        page, output, attempt, agent = self.page, self.output, self.attempt, self.agent
        getppid, show = os.getppid, PAGE.pack_into
        good = epoch.to_bytes(4, "little")
        started = monotonic()
        self.wall = time() - started
        if page[ORDER_AT : ORDER_AT + 4] != good:
            return self.rest()
        serial, last = self.serial, deliveries[-1]
        for delivery, data in zip(deliveries, self.decode(deliveries)):  # noqa: B905
            serial = self.serial = serial + 1
            # First the page, then the parent and the epoch: see wire.ORDER. A task must never begin after its agent's
            # death: nobody would know.
            n, number = delivery[:2]
            show(page, 0, serial, n, number, RUNNING, started, output.out, output.err, output.roll, serial)
            if getppid() != agent:
                os._exit(1)
            if page[ORDER_AT : ORDER_AT + 4] != good:
                break
            self.delivery = delivery
            started = attempt(delivery, data, started)
            self.count += 1
            if started - self.woken > self.pace and delivery is not last:
                self.wake(started)
        self.rest()

    def wake(self, now: float) -> None:
        self.woken = now
        try:
            os.write(self.wake_fd, b".")
        except BlockingIOError:
            pass
        except OSError:
            os._exit(1)

    def rest(self) -> None:
        """Between two batches: idle, the agent told; leave if we are asked to, or have grown old or large."""
        self.delivery = None
        now = monotonic()
        self.show(IDLE, 0, 0, now)
        self.wake(now)
        self.output.roll_over()
        words = self.words
        leave = self.page[ORDER_AT : ORDER_AT + 4] == _STOP or self.count >= words["recycle_tasks"]
        if not leave and now - self.looked > 0.05:
            self.looked = now
            leave = kernel.statm()[0] > words["recycle_memory"]
        if self.stopping:
            self.end_children()
            os._exit(wire.LEFT)
        if leave:
            sys.exit(wire.LEFT)

    def on_term(self, _signal: int, _frame: object) -> None:
        """The running task shall end, or all of us. A late signal, for a task that ended, is nothing."""
        if os.getpid() != self.pid:
            self.die_as_others(signal.SIGTERM)
        if self.stopping:
            return
        if self.phase == self.WAITING:
            sys.exit(wire.LEFT)
        _epoch, n, attempt, outcome = ORDER.unpack_from(self.page, ORDER_AT)
        meant = self.delivery is not None and self.delivery[:2] == (n, attempt)
        if outcome and not meant:
            return
        self.stopping = outcome if meant and outcome else wire.INTERRUPTED
        if self.child:
            self.signal_child(signal.SIGTERM)
        elif self.phase == self.INSIDE:
            os.killpg(os.getpgrp(), signal.SIGTERM)
            raise task.Stopped("this task was told to end")

    def on_orphaned(self, _signal: int, _frame: object) -> None:
        """The agent is gone: nothing of ours may stay behind."""
        if os.getpid() != self.pid:
            self.die_as_others(signal.SIGHUP)
        if self.child and self.words["box"]:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self.signal_child(signal.SIGHUP)  # a runtime that is killed leaves its container: its keeper ends both
            os.waitpid(self.child, 0)
        elif self.child:
            self.signal_child(signal.SIGKILL)
        self.end_children()
        os._exit(1)

    def die_as_others(self, number: int) -> None:
        """In a process that the user's code has forked: a signal does there what it does anywhere."""
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def load(self) -> None:
        """Find what tasks call. Whatever the user's code raises now becomes the answer to every task."""
        words = self.words
        self.environ = dict(os.environb)
        if words["hidden"]:
            from elsewhere.slot import masking

            self.hidden = masking.words(os.environ.get(name, "") for name in words["hidden"])
        entry.lend(words["packages"])
        entry.prepare(words["path"], words["cwd"], words["target"])
        try:
            if words["cwd"]:
                os.chdir(words["cwd"])
            self.bind()
        except BaseException as error:
            from elsewhere.slot import failures

            self.output.flush()
            self.broken = failures.of(error, self.output.tail(self.output.err), b"", boot=True)
            self.attempt = self.refuse

    def bind(self) -> None:
        words = self.words
        kind = words["kind"]
        if words["inputs"] or words["outputs"]:
            from elsewhere.slot.workplace import Workplace

            self.workplace = Workplace(words)
        if kind == "command" or words["isolate"]:
            self.pace = _SLOW_WAKE
        if kind == "command":
            from elsewhere.slot import commands

            self.attempt = commands.Commands(self).attempt
            return
        if kind == "call":
            self.invoke = self.call
            if words["isolate"] and words["target"]:
                self.open_function("")  # here, once, rather than in each fork
        else:
            self.function = entry.find(words["target"], words["cwd"])
            self.seed = entry.is_seed(self.function)
            self.invoke = self.call_seed if self.seed else self.call_data
        self.worker = task.WorkerData(words["worker"])
        if words["isolate"]:
            import gc

            self.practise()
            gc.freeze()
            self.attempt = self.attempt_in_fork
        else:
            self.attempt = self.attempt_here
