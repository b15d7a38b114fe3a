"""Tasks as JSON text: whole batches decoded at once when every task is plain, one at a time when something is wrong.

The value of `data` is kept as the text that stands in the file, never decoded and encoded again. Pure: bytes in.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Raw

from elsewhere.config.faults import article
from elsewhere.config.rows import LONGEST_ID, NULL, new_task, options, wrong_id
from elsewhere.model.task import NewTask

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
_ABSENT = Raw(b"")


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    task_id: _Id
    data: Raw


class _Full(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    task_id: _Id
    data: Raw = _ABSENT
    timeout: Raw = _ABSENT
    retries: Raw = _ABSENT
    resources: Raw = _ABSENT
    env: Raw = _ABSENT
    command: Raw = _ABSENT
    priority: Raw = _ABSENT


_OPTIONS = ("timeout", "retries", "resources", "env", "command", "priority")
_plain = msgspec.json.Decoder(list[_Plain])
_full = msgspec.json.Decoder(list[_Full])
_members = msgspec.json.Decoder(dict[str, Raw])
_raw = msgspec.json.Decoder(Raw)
_new = tuple.__new__
_BRACE = ord("{")

TRUNCATED = "truncated"
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Wrong(Exception):
    """This text does not decode as a list of good tasks. `cut`: its end is missing, so the cut may have been wrong."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__(cut)
        self.cut = cut


class RowReader:
    """Decodes batches; it remembers whether the file's tasks are plain, and options that it has seen before."""

    def __init__(self) -> None:
        self._plain = True
        self._seen: dict[tuple[bytes, ...], tuple[bytes | None, int]] = {}

    def tasks(self, array: bytes) -> list[NewTask]:
        """The tasks of a JSON array; Wrong when any of them is not good, without saying which."""
        if not is_utf8(array):
            raise Wrong
        if self._plain:
            try:
                rows = _plain.decode(array)
                if b"\n" in array:  # laid out over lines: white space is not kept, a ledger may hold a million of these
                    return _finish([(row.task_id, compact(bytes(row.data)), None, 0) for row in rows])
                return _finish([(row.task_id, bytes(row.data), None, 0) for row in rows])
            except msgspec.ValidationError:
                self._plain = False
            except _WRONG as error:
                raise Wrong(TRUNCATED in str(error)) from None
        try:
            return _finish([self._row(row) for row in _full.decode(array)])
        except _WRONG as error:
            raise Wrong(TRUNCATED in str(error)) from None

    def _row(self, row: _Full) -> tuple[str, bytes, bytes | None, int]:
        key = (bytes(row.timeout), bytes(row.retries), bytes(row.resources), bytes(row.env), bytes(row.command),
               bytes(row.priority))  # fmt: skip
        found = self._seen.get(key)
        if found is None:
            found = self._options(key)
        if row.data is _ABSENT:
            if not key[4]:
                raise Wrong
            return row.task_id, NULL, *found
        return row.task_id, compact(bytes(row.data)), *found

    def _options(self, key: tuple[bytes, ...]) -> tuple[bytes | None, int]:
        problems: list[str] = []
        values = {name: msgspec.json.decode(text) for name, text in zip(_OPTIONS, key, strict=True) if text}
        task = new_task({"task_id": "-", "data": {}, **values}, lambda _: NULL, problems)
        if task is None:
            raise Wrong
        if len(self._seen) > 4096:
            self._seen.clear()
        self._seen[key] = options(values, problems), task.priority
        return self._seen[key]


def _finish(rows: list[tuple[str, bytes, bytes | None, int]]) -> list[NewTask]:
    for row in rows:
        if row[1][0] != _BRACE and row[1] is not NULL:
            raise Wrong
    if not "".join([row[0] for row in rows]).isprintable() and any(wrong_id(row[0]) for row in rows):
        raise Wrong
    return [_new(NewTask, row) for row in rows]


def is_utf8(text: bytes) -> bool:
    """Whether `text` is UTF-8; msgspec does not look inside what it keeps raw."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def compact(text: bytes) -> bytes:
    """The same JSON without white space between its tokens."""
    return msgspec.json.format(text, indent=-1) if b"\n" in text else text


def one(text: bytes, problems: list[str]) -> NewTask | None:
    """The task that one JSON value describes, or None with what is wrong appended to `problems`."""
    if not is_utf8(text):
        problems.append("is not UTF-8; save the file as UTF-8")
        return None
    try:
        if not text.startswith(b"{"):
            problems.append(f"a task must be a mapping with task_id and data, not {article(msgspec.json.decode(text))}")
            return None
        found = _members.decode(text)
        values: dict[str, Any] = {
            key: value if key == "data" else msgspec.json.decode(value) for key, value in found.items()
        }
    except _WRONG as error:
        problems.append(f"broken JSON{explain(text, error)[1]}")
        return None
    return new_task(values, lambda raw: compact(bytes(raw)), problems)


_BYTE = re.compile(r"^(?:JSON is malformed: )?(.*?) \(byte (\d+)\)$")
_NOT_JSON = re.compile(rb"-?(NaN|Infinity|None|True|False|undefined)\b|'|//|/\*|#")
_INSTEAD = {b"None": "null", b"True": "true", b"False": "false", b"undefined": "null"}


def explain(text: bytes, error: Exception) -> tuple[int, str]:
    """(byte at which it breaks, ` (column 12): reason, what to write instead`) of a decoding error of `text`."""
    if isinstance(error, RecursionError):
        return 0, ": it is nested too deeply"
    match = _BYTE.match(str(error))
    if match is None:
        return len(text), ": it ends too early; a bracket or a quote is not closed"
    at = int(match[2])
    column = len(text[text.rfind(b"\n", 0, at) + 1 : at].decode(errors="replace")) + 1
    return at, f" (column {column}): {match[1]}{_instead(text, at)}"


def _instead(text: bytes, at: int) -> str:
    word = _NOT_JSON.match(text, at)
    if word is None and at and text[at - 1 : at] == b"-":
        word = _NOT_JSON.match(text, at - 1)
    if word is None:
        return ""
    if word[1] in (b"NaN", b"Infinity"):
        return f"; {word[0].decode()} is not JSON, write null or a string"
    if word[1]:
        return f"; write {_INSTEAD[word[1]]}"
    return '; strings stand in double quotes (")' if word[0] == b"'" else "; JSON has no comments"


def value_end(text: memoryview) -> int | None:
    """Where the text after the first JSON value of `text` begins; None: the value ends where `text` does.

    DecodeError when it is malformed, or (TRUNCATED in its message) goes on after `text` ends.
    """
    try:
        _raw.decode(text)
    except msgspec.DecodeError as error:
        found = str(error)
        if "trailing characters" not in found:
            raise
        return int(found[found.rindex("byte ") + 5 : -1]) - 1  # it has read one byte of what trails
    return None
