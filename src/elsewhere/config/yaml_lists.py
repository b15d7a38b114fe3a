"""Task lists as YAML: one list, read as a stream of events, item by item.

After broken text the reader looks for the next `- ` in the first column, to find further faults.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import yaml

from elsewhere.config.batch import Batch
from elsewhere.config.faults import Faults
from elsewhere.config.rows import new_task
from elsewhere.config.yaml_events import Builder, Unfit, parser
from elsewhere.model.task import NewTask

ITEMS = 256
_READ = 16 * 1024
_ITEM = re.compile(rb"^-(?=[ \t\r\n])", re.MULTILINE)
_encode = msgspec.json.Encoder().encode


def items(stream: BinaryIO, faults: Faults) -> Iterator[Batch]:
    """The items of the list, in batches."""
    source = _Source(stream)
    while True:
        try:
            yield from _until_broken(source, faults)
            return
        except NotUtf8 as error:
            faults.add(source.first + error.line, "is not UTF-8; save the file as UTF-8")
            return
        except yaml.MarkedYAMLError as error:
            mark: Any = error.problem_mark or error.context_mark
            line = mark.line
            faults.add(source.first + line, f"broken YAML (column {mark.column + 1}): {_reason(error)}")
        except yaml.reader.ReaderError as error:
            line = source.line_at(error.position)
            faults.add(source.first + line, f"broken YAML: {error.reason}")
        if not source.skip_to_item(line):
            return


def _until_broken(source: _Source, faults: Faults) -> Iterator[Batch]:
    tasks: list[NewTask] = []
    numbers: list[int] = []
    broken: yaml.YAMLError | NotUtf8 | None = None
    try:
        for line, value in Builder(parser(source).get_event, source.anchors).items():
            _take(value, source.first + line, tasks, numbers, faults, source.first)
            if len(tasks) >= ITEMS:
                yield Batch(tasks, numbers.copy)
                tasks, numbers = [], []
    except Unfit as wrong:
        faults.add(source.first + wrong.line, wrong.what)
    except (yaml.YAMLError, NotUtf8) as error:
        broken = error
    yield Batch(tasks, numbers.copy)
    if broken is not None:
        raise broken


def _take(value: Any, line: int, tasks: list[NewTask], numbers: list[int], faults: Faults, first: int) -> None:
    if isinstance(value, Unfit):
        faults.add(first + value.line, value.what)
        return
    problems: list[str] = []
    task = new_task(value, _encode, problems)
    for problem in problems:
        faults.add(line, problem)
    if task is not None:
        tasks.append(task)
        numbers.append(line)


def _reason(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or error.context or "it cannot be read"
    if "that cannot start any token" in said:
        said += "; quote the text, and indent with spaces"
    return f"{said} {error.context}" if error.context and error.problem and "while" not in error.context else said


class NotUtf8(Exception):
    """A byte on `line` (from 0) that is not UTF-8."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Source:
    """The file as the parser reads it, checked to be UTF-8; after a fault it goes on at the next item.

    `first` is the number of the line that the parser counts as 0.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._kept: deque[bytes] = deque(maxlen=4)
        """What was read last; the parser has not looked at more than two of these beyond a fault."""
        self._before = (0, 0)
        """Lines and bytes that were given to the parser before those."""
        self._waiting = b""
        self.first = 1
        self.anchors: dict[str, tuple[Any, int]] = {}

    def read(self, size: int) -> bytes:
        if self._waiting:
            data, self._waiting = self._waiting, b""
        else:
            data = self._stream.read(_READ)
            self._check(data)
        if len(self._kept) == self._kept.maxlen:
            lines, count = self._before
            self._before = lines + self._kept[0].count(b"\n"), count + len(self._kept[0])
        self._kept.append(data)
        return data

    def _check(self, data: bytes) -> None:
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            lines = self._before[0] + sum(piece.count(b"\n") for piece in self._kept)
            raise NotUtf8(lines + data.count(b"\n", 0, error.start)) from error

    def line_at(self, position: int) -> int:
        """The line, from 0, of a byte that was read a short while ago."""
        lines, count = self._before
        return lines + b"".join(self._kept).count(b"\n", 0, max(0, position - count))

    def skip_to_item(self, line: int) -> bool:
        """Whether an item begins below `line` (from 0) in the first column; the next read then begins there."""
        text = b"".join(self._kept)
        below = self._before[0]
        at = 0
        while below <= line:
            at, below = text.find(b"\n", at) + 1, below + 1
            if not at:
                return False
        rest = text[at:]
        while not (found := _ITEM.search(rest)):
            more = self._stream.read(_READ)
            if not more:
                return False
            below += rest.count(b"\n", 0, rest.rfind(b"\n") + 1)
            rest = rest[rest.rfind(b"\n") + 1 :] + more
        self.first += below + rest.count(b"\n", 0, found.start())
        self._waiting = rest[found.start() :]
        self._kept.clear()
        self._before = (0, 0)
        return True
