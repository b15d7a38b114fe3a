"""Frames over two file descriptors that never block: what cannot be written yet waits here.

It knows lengths and kinds, and nothing of what they carry.
"""

from __future__ import annotations

import os
import selectors
import struct
from collections.abc import Sequence

from elsewhere.errors import Refused

_HEAD = struct.Struct("<IB")
_CHUNK = 1 << 18
MOST = 1 << 30
"""No frame is longer; a stream that announces one is not ours."""
GREETING = 1 << 26
"""Nor is the first, by which a stranger shows that it is one of us."""


class Stream:
    """One connection. `closed` once the far end is gone; it is never opened again."""

    def __init__(
        self, reader: int, writer: int, watch: selectors.BaseSelector, skip: bytes = b"", beside: Sequence[int] = ()
    ) -> None:
        """Takes the descriptors over: they are made non-blocking, watched by `watch`, and closed by `close`.

        `skip`: what comes before these bytes, and they themselves, are somebody else's noise. `beside`: closed with
        the others, and nothing else.
        """
        self._skip, self._beside = skip, tuple(beside)
        self.reader, self.writer, self.closed, self.most = reader, writer, False, GREETING
        self._watch, self._in, self._out = watch, bytearray(), bytearray()
        self.heard = self.told = 0
        """Bytes that have come, and that were taken."""
        self._writing = False
        for fd in {reader, writer}:
            os.set_blocking(fd, False)
        watch.register(reader, selectors.EVENT_READ, self)

    def write(self, kind: int, body: bytes = b"") -> None:
        """Queue a frame and write what the far end takes now. Lost without a word if the stream is closed."""
        self.queue(kind, body)
        self.flush()

    def queue(self, kind: int, body: bytes = b"") -> None:
        """It goes with the next that is written, or when it is flushed: each write wakes all who are on the way."""
        if not self.closed:
            self._out += _HEAD.pack(len(body), kind) + body

    def flush(self) -> bool:
        """Write what can be written now; true if nothing is left."""
        while self._out and not self.closed:
            try:
                taken = os.write(self.writer, memoryview(self._out)[:_CHUNK].tobytes())
                del self._out[:taken]
                self.told += taken
            except BlockingIOError:
                break
            except OSError:
                self.close()
        self._attend(bool(self._out) and not self.closed)
        return not self._out

    def read(self) -> list[tuple[int, bytes]]:
        """The whole frames that have come. Refused, and closed, if these are no frames."""
        while not self.closed:
            try:
                data = os.read(self.reader, _CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.close()
            self._in += data
            self.heard += len(data)
        return self._frames()

    def close(self) -> None:
        """Twice: harmless."""
        if self.closed:
            return
        self.closed = True
        for fd in {self.reader, self.writer}:
            try:
                self._watch.unregister(fd)
            except (KeyError, ValueError):
                pass
            os.close(fd)
        for fd in self._beside:
            os.close(fd)

    def _frames(self) -> list[tuple[int, bytes]]:
        if self._skip:
            noise, begun, rest = self._in.partition(self._skip)
            self._in = rest if begun else noise[-len(self._skip) :]
            if not begun:
                return []
            self._skip = b""
        found, start, data = [], 0, self._in
        while start + _HEAD.size <= len(data):
            length, kind = _HEAD.unpack_from(data, start)
            if length > self.most:
                self.close()
                raise Refused("what comes down this pipe is not ours")
            end = start + _HEAD.size + length
            if end > len(data):
                break
            found.append((kind, bytes(data[start + _HEAD.size : end])))
            start = end
        del data[:start]
        return found

    def _attend(self, writing: bool) -> None:
        if writing == self._writing or self.closed:
            return
        self._writing = writing
        if self.reader == self.writer:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._watch.modify(self.reader, both if writing else selectors.EVENT_READ, self)
        elif writing:
            self._watch.register(self.writer, selectors.EVENT_WRITE, self)
        else:
            self._watch.unregister(self.writer)
