"""The write-ahead log's file is kept longer than what stands in it, and is folded into the ledger when it is long.

A sync of bytes that only overwrite others need not wait for the file system's own journal; that of a file that grows
must. No row is read or written here.
"""

from __future__ import annotations

import contextlib
import os

import apsw

CHECKPOINT = 2000
"""Pages in the log at which it is folded in."""
_AHEAD = 256 << 10
_FRAME, _HEAD = 24, 32
_SMALL = 32


class Room:
    """Of the one writer's connection. A log that ends in zeros is what SQLite leaves itself: they bear no valid sum."""

    def __init__(self, db: apsw.Connection) -> None:
        self._path = db.filename_wal
        self._pages = self._last = self._length = 0
        if self._path:
            self._frame = _FRAME + int(str(db.execute("PRAGMA page_size").fetchall()[0][0]))
            db.set_wal_hook(self._committed)

    def _committed(self, db: apsw.Connection, _name: str, pages: int) -> int:
        self._last, self._pages = pages - self._pages, pages
        if pages >= CHECKPOINT:
            with contextlib.suppress(apsw.Error):  # later, then: as SQLite's own hook has it
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return 0

    def make(self) -> None:
        """Before a commit: lengthen the file if small commits are about to reach its end. A full disk: nothing."""
        need = _HEAD + (self._pages + _SMALL) * self._frame if 0 < self._last < _SMALL else 0
        if need <= self._length or self._pages >= CHECKPOINT:
            return
        # Appended, so that it can never lie over what somebody else has written meanwhile.
        with contextlib.suppress(OSError):
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                self._length = os.fstat(fd).st_size
                if need > self._length:
                    self._length += os.write(fd, bytes(_AHEAD))
            finally:
                os.close(fd)
