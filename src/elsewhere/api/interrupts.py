"""Ctrl-C, once: take nothing more and let what runs finish. Twice: now. For calls that run a job in this thread."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from elsewhere import session

SAID = "\nRunning tasks are left to finish; Ctrl-C again stops them now."


@contextlib.contextmanager
def interrupts(say: bool = True) -> Iterator[session.Stop]:
    """A Stop that an interrupt asks; KeyboardInterrupt is raised when the block is left, if there was one.

    Signals reach the main thread only: in any other, nothing is changed and nothing is heard.
    """
    stop = session.Stop()
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > 1:
            stop.hard()
            return
        stop.soft()
        if say:
            sys.stderr.write(SAID + "\n")

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, hear) if main else None
    try:
        yield stop
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
        stop.close()
    if heard:
        raise KeyboardInterrupt
