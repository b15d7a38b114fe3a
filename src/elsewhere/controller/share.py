"""How several jobs share the slots of one machine: each holds a note of what it wants; each takes its fair part.

A note is a file that its holder keeps locked, so that the note of a dead controller counts for nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path


def divide(capacity: int, wants: Sequence[tuple[int, float]]) -> list[int]:
    """How many slots each gets, of (wanted, weight): by weight, none more than it wants, none less than 1.

    What one does not want goes to the others. The sum is at most max(capacity, number of jobs).
    """
    given = [min(1, want) for want, _ in wants]
    left = capacity - sum(given)
    while left > 0:
        hungry = [k for k, (want, _) in enumerate(wants) if given[k] < want]
        if not hungry:
            break
        least = min(hungry, key=lambda k: (given[k] / wants[k][1], k))
        given[least] += 1
        left -= 1
    return given


class Share:
    """One job's note in `directory`. The part it gets is looked up at most once a second."""

    def __init__(self, directory: Path, name: str, want: int, priority: int, capacity: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory, self.want, self.capacity = directory, want, capacity
        self.weight = 2.0 ** max(-16, min(16, priority))
        self.path = directory / name
        self._fd = _own(self.path)
        self._write(want)
        self._part, self._looked, self._idle, self._seen = want, 0.0, 0, 0

    def _write(self, want: int) -> None:
        note = json.dumps({"want": want, "weight": self.weight, "capacity": self.capacity}).encode()
        os.pwrite(self._fd, note.ljust(128), 0)

    def part(self, want: int) -> int:
        """How many slots this job may keep just now; `want`: how many deliveries it has in hand."""
        now = time.monotonic()
        self._seen = max(self._seen, want)  # since the last look: between two tasks there is a moment with none in hand
        if now - self._looked < 1.0:
            return self._part
        self._looked = now
        self._idle, self._seen = 0 if self._seen else self._idle + 1, 0
        self._write(self.want if self._idle < 2 else 0)
        others = self._others()
        capacity = max([self.capacity, self.want, *(c for _, _, c in others)])
        wants = [(self.want, self.weight)] + [(w, g) for w, g, _ in others if w > 0]
        self._part = divide(capacity, wants)[0]
        return self._part

    def _others(self) -> list[tuple[int, float, int]]:
        found = []
        for path in sorted(self.directory.iterdir()):
            if path == self.path:
                continue
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)  # nobody holds it: its controller is gone
            except OSError:
                found.append(_note(os.pread(fd, 128, 0)))
            finally:
                os.close(fd)
        return [note for note in found if note is not None]

    def close(self) -> None:
        """Twice: harmless."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def _own(path: Path) -> int:
    """Our note, locked; made again if somebody cleared it away between its making and its locking."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


def _note(text: bytes) -> tuple[int, float, int] | None:
    try:
        note = json.loads(text)
        return int(note["want"]), float(note["weight"]), int(note["capacity"])
    except (ValueError, KeyError, TypeError):
        return None
