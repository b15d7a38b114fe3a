"""A port of this machine, on loopback alone, that an SSM session leads to a port of a machine.

The session is a process of the user's own AWS command line; it ends with us, also when we are killed: a shell that
began it waits for the end of a pipe that only we hold. SSM ends a session that is idle or has grown old; it is begun
anew then, at the same port.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

from elsewhere.backends.aws.errors import translate
from elsewhere.errors import PlaceError, Unreachable

OPENS, _LONGEST = 60.0, 30.0
"""Seconds within which a session opens; the longest pause before it is begun anew."""
_LEASH = '"$@" </dev/null & exec >/dev/null 2>&1; read -r _; kill 0'
_OPEN = re.compile(r"Port (\d+) opened for sessionId ")
_REFUSED = re.compile(r"An error occurred \((\w+)\) when calling the \w+ operation[^:]*: (.*)")


class Forward:
    """`words`: of the command, by the port here; 0: one that is free. Open once it is made, until it is closed.

    As `words` raises; Unreachable: it did not open; AccessDenied, NotFound and their like: SSM refused.
    """

    def __init__(self, words: Callable[[int], Sequence[str]], region: str, profile: str) -> None:
        self.port = 0
        words(self.port)  # what cannot be is said before anything starts
        self._words, self._about = words, {"region": region, "profile": profile}
        self._said: list[str] = []
        self._lock, self._settled, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep, name="elsewhere forward", daemon=True)
        self._thread.start()
        self._settled.wait(OPENS)
        if not self.port:
            self.close()
            raise self._why()

    def close(self) -> None:
        """Its connections end, and its process. Twice: harmless."""
        self._closed.set()
        with self._lock:
            self._let_go()
        self._thread.join(5)
        if self._thread.is_alive() and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._thread.join()

    def _keep(self) -> None:
        pause = 1.0
        while True:
            opened = self._run()
            self._settled.set()
            pause = 1.0 if opened else min(pause * 2, _LONGEST)
            if not self.port or self._closed.wait(pause):
                return

    def _run(self) -> bool:
        """One session, to its end; whether it opened."""
        opened = False
        with self._lock:
            if self._closed.is_set():
                return False
            self._process = process = subprocess.Popen(
                ["sh", "-c", _LEASH, "sh", *self._words(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._said = [*self._said[-9:], line.strip()]
                if found := _OPEN.match(line):
                    self.port, opened = int(found[1]), True
                    self._settled.set()
        with self._lock:
            self._let_go()
        process.wait()
        return opened

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _why(self) -> PlaceError:
        import botocore.exceptions as boto

        said = " ".join(filter(None, self._said))
        if found := _REFUSED.search(said):
            error = boto.ClientError({"Error": {"Code": found[1], "Message": found[2]}}, "StartSession")
            ours = translate(error, "ssm:StartSession", **self._about)
            if isinstance(ours, PlaceError):
                return ours
        return Unreachable(f"no SSM session was opened: {said or f'no answer for {OPENS:.0f} s'}",
                           hint="The same command by hand: " + " ".join(self._words(self.port)))  # fmt: skip
