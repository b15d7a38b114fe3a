"""A controller that dies where it is told to: `python dying.py FLOW JOB [NAME#N:before|after]`.

Every call to the cloud, every commit of the ledger and every step of its copies for the log, which are made all the
time here, is a point, before it is made and after. The points that were passed are printed, one a line, in their order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from elsewhere import session
from elsewhere.controller import compaction, distant
from elsewhere.ledger import bases, tables
from elsewhere.ledger.closed import Closed
from elsewhere.ledger.hand_out import HandOut


class Points:
    """`passed`: NAME#N:WHEN of each, in their order."""

    def __init__(self, last: str) -> None:
        self.last, self.passed = last, list[str]()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        with self._lock:
            self._counts[name] += 1
            number = self._counts[name]
        self._at(f"{name}#{number}:before")
        try:
            yield
        finally:
            self._at(f"{name}#{number}:after")

    def _at(self, point: str) -> None:
        self.passed.append(point)
        if point == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str, called: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def outer(*words: Any, **more: Any) -> Any:
            with self.around(called):
                return inner(*words, **more)

        setattr(owner, name, outer)


def watch(points: Points) -> None:
    """From here on, every call and every commit of this process passes its points."""
    import botocore.client
    import obstore

    from elsewhere.backends.aws import away

    call = botocore.client.BaseClient._make_api_call

    def outer(self: Any, operation: str, words: Any) -> Any:
        with points.around(f"{self.meta.service_model.service_name}.{operation}"):
            return call(self, operation, words)

    botocore.client.BaseClient._make_api_call = outer
    for name in ("put", "get", "list", "delete"):
        points.wrap(obstore, name, f"bucket.{name}")
    points.wrap(away, "identify", "sts.identify")
    points.wrap(tables, "copy", "copy.file")
    points.wrap(Closed, "put", "copy.part")
    create = Closed.create

    def head(self: Closed, key: str, closed: bytes) -> bool:
        if not key.startswith(bases.AT):
            return create(self, key, closed)
        with points.around("copy.head"):
            return create(self, key, closed)

    Closed.create = head  # type: ignore[method-assign]
    moving = HandOut.moving

    @contextmanager
    def commit(self: HandOut, sync: bool = True, logged: bool = True) -> Iterator[None]:
        with points.around("ledger.commit"), moving(self, sync, logged):
            yield
            with points.around("ledger.about-to-commit"):
                pass

    HandOut.moving = commit  # type: ignore[method-assign]


def main(flow: str, job: str, last: str) -> None:
    points = Points(last)
    watch(points)
    files, stop = session.find(job), session.Stop()
    bases.LEAST, bases.INLINE, bases.SEGMENT, compaction.LOOK = 2, 0, 1 << 20, 0.0
    if flow == "stop":
        distant.LEAVE = 0.0  # machines are stopped before they have left by themselves

    def heard(reports: Any) -> None:
        if flow == "drain":
            stop.soft()
        if flow == "stop":
            stop.hard()

    session.run_here(files, heard=heard, stop=stop)
    print("\n".join(points.passed))


if __name__ == "__main__":
    main(*sys.argv[1:4])
