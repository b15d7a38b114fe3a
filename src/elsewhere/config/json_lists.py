"""Task lists as JSON: one task a line, or one array of any layout, decoded in batches.

An array is cut where an object seems to end and another to begin. A wrong cut, inside a string or a nested value,
leaves a quote or a bracket open and so cannot decode: then elements are found one by one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from elsewhere.config import json_rows
from elsewhere.config.batch import Batch
from elsewhere.config.faults import Faults
from elsewhere.config.json_rows import RowReader, Wrong, explain
from elsewhere.model.task import NewTask

CHUNK = 256 * 1024
BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\r\n]*")
_SEAM = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")
_FIRST_KEY = re.compile(rb'\{[ \t\r\n]*("(?:[^"\\]|\\.){1,40}")')
_TAIL = 8 * 1024
_TOKEN = 16
_TRIES = 4
"""So many seams, from the end, are tried before elements are found one by one."""


def lines(stream: BinaryIO, faults: Faults) -> Iterator[Batch]:
    """One task a line; lines of white space count for nothing. What a pipe gives is answered as it comes."""
    reader, number = RowReader(), 1
    for text in _whole_lines(stream):
        try:
            batch = _all_good(text, number, reader)
        except Wrong:
            batch = _one_by_one(text, number, faults)
        yield batch
        number += text.count(b"\n")


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    take = getattr(stream, "read1", stream.read)
    held: list[bytes] = [b""]
    first = True
    while chunk := take(CHUNK):
        if first:
            chunk, first = chunk.removeprefix(BOM), False
        end = chunk.rfind(b"\n") + 1
        if not end:
            held.append(chunk)
            continue
        yield b"".join(held) + chunk[:end]
        held = [chunk[end:]]
    if last := b"".join(held):
        yield last


def _all_good(text: bytes, number: int, reader: RowReader) -> Batch:
    """The lines joined to an array. Two half lines could join to a whole task: the count shows it."""
    bare = text.rstrip()
    tasks = reader.tasks(b"[%b]" % bare.replace(b"\n", b",")) if bare else []
    if bare and len(tasks) != bare.count(b"\n") + 1:
        raise Wrong
    return Batch(tasks, lambda: range(number, number + len(tasks)))


def _one_by_one(text: bytes, number: int, faults: Faults) -> Batch:
    tasks: list[NewTask] = []
    numbers: list[int] = []
    for at, line in enumerate(text.split(b"\n"), number):
        if not (line := line.strip()):
            continue
        problems: list[str] = []
        if (task := json_rows.one(line, problems)) is not None:
            tasks.append(task)
            numbers.append(at)
        elif line[:1] == b"[" and at == 1:
            problems = ["one task a line is expected, not a list; a JSON array belongs into a .json file"]
        for problem in problems:
            faults.add(at, problem)
        if faults.stop:
            break
    return Batch(tasks, numbers.copy)


def array(stream: BinaryIO, faults: Faults) -> Iterator[Batch]:
    """One array of tasks, of any layout."""
    return _Array(stream, faults).batches()


class _Array:
    """A window on the text of an array. It begins with an element, or the space before it, on line `number`."""

    def __init__(self, stream: BinaryIO, faults: Faults) -> None:
        self.stream, self.faults, self.reader = stream, faults, RowReader()
        self.text, self.number, self.over = b"", 1, False
        self.comma = self.closed = False
        self.seam = _SEAM

    def batches(self) -> Iterator[Batch]:
        if not self._open():
            return
        while not (self.over or self.closed):
            self._more()
            yield from self._rest() if self.over else self._batch()
        if self.closed and self._trails():
            self.faults.add(self.number, "broken JSON: something follows the closing ]")

    def _open(self) -> bool:
        self._more()
        self.text = self.text.removeprefix(BOM)
        while not self.over and not self.text.strip():
            self._more()
        self._drop(_space_end(self.text, 0))
        if not self.text:
            return False
        if self.text[:1] != b"[":
            other = "; one task a line belongs into a .jsonl file" if self.text[:1] == b"{" else ""
            self.faults.add(self.number, f"a .json task list is one array of tasks, [ {{...}}, {{...}} ]{other}")
            return False
        self._drop(1)
        if key := _FIRST_KEY.match(self.text, _space_end(self.text, 0)):
            # Tasks mostly begin with the same key, values nested in them mostly do not.
            self.seam = re.compile(_SEAM.pattern[:-3] + rb"\{[ \t\r\n]*" + re.escape(key[1]) + rb"[ \t\r\n]*:)")
        return True

    def _batch(self) -> Iterator[Batch]:
        """What can be had of a window that does not reach to the end of the file; the window then begins after it."""
        for seam in self._seams():
            end = seam.start() + 1
            try:
                tasks = self.reader.tasks(b"[%b]" % self.text[:end])
            except Wrong as wrong:
                if wrong.cut:
                    continue
                break
            yield Batch(tasks, _LinesOf(self.text[:end], self.number))
            self._drop(seam.end())
            self.comma = True
            return
        yield self._elements()

    def _seams(self) -> Sequence[re.Match[bytes]]:
        for size in (_TAIL, len(self.text)):
            found = deque(self.seam.finditer(self.text, max(0, len(self.text) - size)), _TRIES)
            if found:
                return list(reversed(found))
        return ()

    def _rest(self) -> Iterator[Batch]:
        try:
            tasks = self.reader.tasks(b"[%b" % self.text)
        except Wrong:
            tasks = []
        yield Batch(tasks, _LinesOf(self.text, self.number)) if tasks else self._elements()

    def _elements(self) -> Batch:
        """Elements one by one, each fault named. What is incomplete stays in the window, unless the file is over."""
        tasks: list[NewTask] = []
        numbers: list[int] = []
        walk = _Walk(self.text, self.number, self.over, self.comma)
        for element in walk:
            problems: list[str] = []
            task = json_rows.one(self.text[element.start : element.end].rstrip(), problems)
            if task is not None:
                tasks.append(task)
                numbers.append(element.line)
            for problem in problems:
                self.faults.add(element.line, problem)
        if walk.broken:
            self.faults.add(walk.line, walk.broken)
            self.over = True  # what follows cannot be told apart: nothing more is read
        self._drop(walk.at)
        self.comma, self.closed = walk.comma, walk.closed
        return Batch(tasks, numbers.copy)

    def _trails(self) -> bool:
        while not self.over and not self.text.strip():
            self._drop(len(self.text))
            self._more()
        self._drop(_space_end(self.text, 0))
        return bool(self.text)

    def _more(self) -> None:
        # A window that holds no whole element is at least doubled, or a large one would be read in quadratic time.
        chunk = self.stream.read(max(CHUNK, len(self.text)))
        self.over = not chunk
        self.text += chunk

    def _drop(self, size: int) -> None:
        self.number += self.text.count(b"\n", 0, size)
        self.text = self.text[size:]


class _Element(NamedTuple):
    start: int
    end: int
    line: int


class _Walk:
    """The elements of an array's text, one by one, and why the walk ended.

    `at`: where what was not walked begins. `closed`: just after the closing bracket. `comma`: just after a comma.
    `broken`: what is wrong on `line`; "" when the text just ends (unless it is `over`: then it may not).
    """

    def __init__(self, text: bytes, line: int, over: bool, comma: bool = False) -> None:
        self.text, self.line, self.over, self.comma = text, line, over, comma
        self.at, self.broken, self.closed = 0, "", False
        self._view = memoryview(text)

    def __iter__(self) -> Iterator[_Element]:
        while not self.broken and not self.closed:
            start = self._to(_space_end(self.text, self.at))
            if self._ends(start):
                return
            end = self._end_of(start)
            if end is None:
                return
            yield _Element(start, end, self.line)
            self._to(end)
            self.comma = self.text[end : end + 1] == b","
            if self.comma:
                self._to(end + 1)
            elif self.text[end : end + 1] not in (b"]", b""):
                self.broken = "broken JSON: a comma is missing between two tasks"

    def _ends(self, start: int) -> bool:
        found = self.text[start : start + 1]
        if found == b"]" and self.comma:
            self.broken = "broken JSON: a comma stands before the closing ]; remove it"
        elif found == b"]":
            self.closed = True
            self._to(start + 1)
        elif not found and self.over:
            self.broken = "broken JSON: the closing ] is missing"
        return found in (b"]", b"")

    def _end_of(self, start: int) -> int | None:
        """Where what follows the element at `start` begins; None: it does not end, and `broken` may say why."""
        try:
            end = json_rows.value_end(self._view[start:])
        except (msgspec.DecodeError, RecursionError) as error:
            if self.over or not self._may_go_on(start, error):
                self._break(start, error)
            return None
        if end is not None:
            return start + end
        return len(self.text) if self.over else None

    def _may_go_on(self, start: int, error: Exception) -> bool:
        """Half a number or escape at the end of a window is called malformed, but may be whole in the file."""
        at, _ = explain(self.text[start:], error)
        return not isinstance(error, RecursionError) and start + at > len(self.text) - _TOKEN

    def _break(self, start: int, error: Exception) -> None:
        at, reason = explain(self.text[start:], error)
        if json_rows.TRUNCATED not in str(error):
            self._to(start + at)
        self.broken = f"broken JSON{reason}"

    def _to(self, at: int) -> int:
        self.line += self.text.count(b"\n", self.at, at)
        self.at = at
        return at


class _LinesOf:
    """The lines on which the elements of a good piece of an array begin."""

    def __init__(self, text: bytes, line: int) -> None:
        self._text, self._line = text, line

    def __call__(self) -> list[int]:
        return [element.line for element in _Walk(self._text, self._line, True)]


def _space_end(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
