"""Task lists as JSON: one array, or one task a line. Cut into batches as text, decoded a batch at a time.

An array is cut where an object seems to end and another to begin; a wrong cut cannot decode, and another is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from elsewhere.config import json_rows
from elsewhere.config.faults import Faults
from elsewhere.config.json_rows import RowReader, Wrong, explain
from elsewhere.model.task import NewTask

CHUNK = 128 * 1024
_BOM = b"\xef\xbb\xbf"
_SEAM = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")
_SPACE = re.compile(rb"[ \t\r\n]*")
_SEAMS = 8
"""So many seams from the end are tried before the elements are found one by one."""


def lines(stream: BinaryIO, faults: Faults) -> Iterator[tuple[int, list[NewTask]]]:
    """One task a line; empty lines count for nothing."""
    reader, number, held = RowReader(), 1, b""
    # A person, or a pipe that trickles, is answered line by line.
    take = getattr(stream, "read1", stream.read)
    first = True
    while chunk := take(CHUNK):
        text = held + chunk
        if first:
            text, first = text.removeprefix(_BOM), False
        end = text.rfind(b"\n") + 1
        held = text[end:]
        if end:
            yield number, _lines(text[:end], number, reader, faults)
            number += text.count(b"\n", 0, end)
        if faults.stop:
            return
    if held.strip():
        yield number, _lines(held, number, reader, faults)


def _lines(text: bytes, number: int, reader: RowReader, faults: Faults) -> list[NewTask]:
    try:
        return reader.tasks(b"[%b]" % b",".join([line for line in text.split(b"\n") if line and not line.isspace()]))
    except Wrong:
        pass
    tasks = []
    for offset, line in enumerate(text.split(b"\n")):
        if not line.strip():
            continue
        problems: list[str] = []
        task = json_rows.one(line.strip(), problems)
        for problem in problems:
            faults.add(number + offset, problem)
        if task is not None:
            tasks.append(task)
        if faults.stop:
            break
    return tasks


def array(stream: BinaryIO, faults: Faults) -> Iterator[tuple[int, list[NewTask]]]:
    """One array of tasks, of any layout."""
    return _Array(stream, faults).batches()


class _Array:
    """A window on the text of an array; `number` is the line on which the window begins."""

    def __init__(self, stream: BinaryIO, faults: Faults) -> None:
        self.stream, self.faults, self.reader = stream, faults, RowReader()
        self.text, self.number, self.over = b"", 1, False

    def batches(self) -> Iterator[tuple[int, list[NewTask]]]:
        self._more()
        self.text = self.text.removeprefix(_BOM)
        self._skip_space()
        if not self.text:
            return
        if self.text[:1] != b"[":
            what = "one array of tasks: [ {...}, {...} ]"
            hint = "; one task a line belongs into a .jsonl file" if self.text[:1] == b"{" else ""
            self.faults.add(self.number, f"a .json task list is {what}{hint}")
            return
        self._drop(1)
        yield from self._elements()

    def _elements(self) -> Iterator[tuple[int, list[NewTask]]]:
        while True:
            self._skip_space()
            if self.text[:1] == b"]":
                self._end()
                return
            if not self.over and len(self.text) < CHUNK:
                self._more()
                continue
            found = self._batch()
            if found is not None:
                yield self.number, found
                continue
            found = self._one()
            if found is None:
                return
            yield self.number, found

    def _batch(self) -> list[NewTask] | None:
        """Many elements at once; None: it must be done one by one."""
        seams = [match for match in _SEAM.finditer(self.text, max(0, len(self.text) - CHUNK))][-_SEAMS:]
        for seam in reversed(seams):
            try:
                found = self.reader.tasks(b"[%b]" % self.text[: seam.start() + 1])
            except Wrong as wrong:
                if wrong.cut:
                    continue
                return None
            self._drop(seam.end())
            return found
        return None

    def _one(self) -> list[NewTask] | None:
        """The next element, whatever it is; None: there is none, and why is among the faults."""
        while True:
            try:
                end = json_rows.value_end(memoryview(self.text))
            except (msgspec.DecodeError, RecursionError) as error:
                if not self.over and json_rows.TRUNCATED in str(error):
                    self._more()
                    continue
                self._broken(error)
                return None
            if end is None:
                if not self.over:
                    self._more()
                    continue
                end = len(self.text)
            return self._take(end)

    def _take(self, end: int) -> list[NewTask] | None:
        problems: list[str] = []
        element = self.text[:end].rstrip()
        task = json_rows.one(element, problems)
        for problem in problems:
            self.faults.add(self.number, problem)
        self._drop(end)
        self._skip_space()
        if self.text[:1] == b",":
            self._drop(1)
            self._skip_space()
            if self.text[:1] == b"]":
                self.faults.add(self.number, "broken JSON: a comma before the closing ]; remove it")
                return None
        elif self.text[:1] != b"]":
            what = "the closing ] is missing" if not self.text else "a comma is missing between two tasks"
            self.faults.add(self.number, f"broken JSON: {what}")
            return [task] if task is not None and not self.text else None
        return [task] if task is not None else []

    def _broken(self, error: Exception) -> None:
        at, reason = explain(self.text, error)
        if not self.text.strip():
            self.faults.add(self.number, "broken JSON: the closing ] is missing")
        else:
            self.faults.add(self.number + self.text.count(b"\n", 0, at), f"broken JSON{reason}")

    def _end(self) -> None:
        self._drop(1)
        self._skip_space()
        if self.text:
            self.faults.add(self.number, "broken JSON: something follows the closing ]")

    def _more(self) -> None:
        chunk = self.stream.read(CHUNK)
        self.over = not chunk
        self.text += chunk

    def _skip_space(self) -> None:
        while True:
            match = _SPACE.match(self.text)
            self._drop(match.end() if match else 0)
            if self.text or self.over:
                return
            self._more()

    def _drop(self, size: int) -> None:
        if size:
            self.number += self.text.count(b"\n", 0, size)
            self.text = self.text[size:]
