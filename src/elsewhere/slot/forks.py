"""Attempts in a fork of the slot, in which the entry is loaded already: what `isolate` asks for.

As little as can be is done in the fork: each page of memory that is touched there is copied.
"""

from __future__ import annotations

import os
import signal
from time import monotonic
from typing import TYPE_CHECKING

from elsewhere.slot import wire
from elsewhere.slot.attempts import Attempts

if TYPE_CHECKING:
    from typing import Any

_PRACTICE = 64


class Forks(Attempts):
    """What a slot does besides, where each task has a fresh process."""

    def attempt_in_fork(self, delivery: Any, data: Any, started: float) -> float:
        """Run it in a fork of this process, in which the entry is loaded already."""
        if self.has_command(delivery):
            return self.attempt_command(delivery, data, started)
        before = os.lseek(self.outcomes, 0, os.SEEK_END)
        self.output.flush()
        pid = os.fork()
        if pid == 0:
            self.in_fork(delivery, data, started)
        self.child = pid
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        if self.stopping:
            self.signal_child(signal.SIGTERM)
        status = os.waitpid(pid, 0)[1]
        self.child = 0
        self.end_children()
        output = self.output
        if self.is_recorded(before, status):
            output.out, output.err = output.ends()
            return monotonic()
        if trouble := wire.TROUBLE.unpack_from(self.page, wire.TROUBLE_AT)[0]:
            self.give_up(trouble)
        return self.finish(delivery, self.died(status), started)

    def is_recorded(self, before: int, status: int) -> bool:
        """Whether a fork has left its record. Half a record is cut off: it would hide all that come after it."""
        size = os.lseek(self.outcomes, 0, os.SEEK_END) - before
        if size <= 0 or status == 0:
            return size > 0
        if size >= 4 and size == 4 + wire.LENGTH.unpack(os.pread(self.outcomes, 4, before))[0]:
            return True
        os.ftruncate(self.outcomes, before)
        return False

    def in_fork(self, delivery: Any, data: Any, started: float) -> None:
        # As little as can be: each page of memory that is touched here is copied, and that is most of the cost. That
        # this process ends with its slot is the slot's care (on_orphaned), and the agent's.
        try:
            slot, self.pid = self.pid, os.getpid()
            if os.getppid() == slot:
                self.attempt_here(delivery, data, started)
        finally:
            os._exit(0)

    def practise(self) -> None:
        """What each fork will do around the user's function, until the interpreter has settled and everything is bound.

        It writes into its own code while it learns, and each page that a fork writes to is copied for it.
        """
        outcomes, invoke = self.outcomes, self.invoke
        self.outcomes, self.invoke = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), lambda _delivery, _data: None
        try:
            for _ in range(_PRACTICE):
                self.attempt_here((0, 0, "", b"null", None), None, monotonic())
        finally:
            os.close(self.outcomes)
            self.outcomes, self.invoke = outcomes, invoke
