"""What an agent has said and nobody has confirmed, in one file that is only appended to: a cut pipe loses none of it.

One process writes it. A tail that a crash tore off is dropped; it was never acknowledged.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

from elsewhere.errors import StateError
from elsewhere.hosts import private_directory

_HEAD = struct.Struct("<IIQ")
"""Length of the body, CRC-32 of number and body, number. A body of no bytes confirms the number."""
_NUMBER = struct.Struct("<Q")
_KEEP = 1 << 20
_AHEAD = 64
"""Numbers that may have been said and not be on the disk: a call waits for no more syncs than it must."""


class Journal:
    """`id` names the file's life: numbers are never used twice within it, though the last ones may be lost with the
    machine after they were said."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the file. What it holds unconfirmed is in `pending`."""
        self.pending: dict[int, bytes] = {}
        private_directory(path.parent)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = b"".join(iter(lambda: os.read(self._fd, 1 << 20), b""))
        new = len(data) < 16
        if new:
            data = os.urandom(16)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, data, 0)
        self.id, self._next = data[:16].hex(), 1
        self._size = self._load(data)
        os.ftruncate(self._fd, self._size)
        if not new:  # the numbers that may have been said and lost are left out, whatever is lost from here on
            self._next += _AHEAD
            with suppress(OSError):
                self._append(self._next - 1, b"")
        os.fsync(self._fd)
        self._unsynced, self._synced = 0, self._next - 1

    @property
    def safe(self) -> bool:
        """Is all that is not confirmed on the disk?"""
        return not self.pending or next(reversed(self.pending)) <= self._synced

    def add(self, body: bytes) -> int:
        """Keep this until it is confirmed; on disk when `sync` returns. Its number."""
        number = self._next
        try:
            if self._unsynced >= _AHEAD:  # after a power cut no more of those are left out that were said
                self._sync()
            self._append(number, body)
        except OSError as error:
            raise _cannot(error) from error
        self._next, self._unsynced = number + 1, self._unsynced + 1
        self.pending[number] = body
        return number

    def sync(self) -> None:
        """StateError: it cannot be written down; asked again by the next one who adds."""
        try:
            self._sync()
        except OSError as error:
            raise _cannot(error) from error

    def _sync(self) -> None:
        if self._unsynced and self._fd >= 0:
            os.fsync(self._fd)
            self._unsynced, self._synced = 0, self._next - 1

    def confirm(self, number: int) -> None:
        """Forget it. Twice: harmless. Not synced, nor written where there is no room: what is confirmed and comes again
        does no harm."""
        if self.pending.pop(number, None) is None:
            return
        with suppress(OSError):
            self._append(number, b"")
            if not self.pending and self._size > _KEEP:
                # numbers go on from the last one, which the next life of the process must know too
                self._size = 16
                os.ftruncate(self._fd, 16)
                self._append(number, b"")
                self._unsynced = _AHEAD  # without it on the disk numbers would begin anew

    def close(self) -> None:
        """Twice: harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, number: int, body: bytes) -> None:
        record = _HEAD.pack(len(body), zlib.crc32(_NUMBER.pack(number) + body), number) + body
        if os.pwrite(self._fd, record, self._size) < len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(record)  # not reached when the disk is full: the next record goes over the torn one

    def _load(self, data: bytes) -> int:
        at = 16
        while at + _HEAD.size <= len(data):
            length, crc, number = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + length]
            if len(body) < length or zlib.crc32(_NUMBER.pack(number) + body) != crc:
                break
            if body:
                self.pending[number] = body
            else:
                self.pending.pop(number, None)
            self._next = max(self._next, number + 1)
            at += _HEAD.size + length
        return at


def _cannot(error: OSError) -> StateError:
    return StateError(f"what was done cannot be written down: {error.strerror or error}")
