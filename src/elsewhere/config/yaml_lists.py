"""Task lists as YAML: a list, cut before some `- ` at the beginning of a line, and parsed a few hundred items at a time.

YAML 1.2's scalars (`no`, `yes` and `on` are text), nothing but plain values, no key twice. libyaml parses where PyYAML
was built with it; what a cut would break is parsed with more of the text, at last with all of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import yaml

from elsewhere.config.faults import Faults
from elsewhere.config.rows import new_task
from elsewhere.model.task import NewTask

ITEMS = 400
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = (".nan", ".NaN", ".NAN")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
          "false": False, "False": False, "FALSE": False}  # fmt: skip
_PREFIX = "tag:yaml.org,2002:"
_encode = msgspec.json.encode


class _Reading(Exception):
    def __init__(self, line: int, what: str) -> None:
        super().__init__(line, what)
        self.line, self.what = line, what


def items(stream: BinaryIO, faults: Faults) -> Iterator[tuple[int, list[NewTask]]]:
    """The items of the list, in batches."""
    held, number = b"", 1
    for piece in _pieces(stream):
        held += piece
        try:
            yield number, _parse(held, number, faults)
        except yaml.YAMLError:
            continue  # the cut may have been wrong: try again with more
        number += held.count(b"\n")
        held = b""
    if held:
        _say_why(held, number, faults)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """The text in pieces, each but the first beginning with `- ` in the first column."""
    piece: list[bytes] = []
    count = 0
    for line in stream:
        if line[:2] == b"- " or line in (b"-\n", b"-\r\n"):
            if count >= ITEMS:
                yield b"".join(piece)
                piece, count = [], 0
            count += 1
        piece.append(line)
    if piece:
        yield b"".join(piece)


def _parse(text: bytes, number: int, faults: Faults) -> list[NewTask]:
    if not _is_utf8(text, number, faults):
        return []
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        faults.add(number + node.start_mark.line, "a YAML task list is a list: each task begins with `- `")
        return []
    tasks = []
    for item in node.value:
        task = _task(item, number, faults)
        if task is not None:
            tasks.append(task)
    return tasks


def _task(item: Any, number: int, faults: Faults) -> NewTask | None:
    problems: list[str] = []
    try:
        task = new_task(_value(item, 0), _encode, problems)
    except _Reading as wrong:
        faults.add(number + wrong.line, wrong.what)
        return None
    for problem in problems:
        faults.add(number + item.start_mark.line, problem)
    return task


def _value(node: Any, depth: int) -> Any:
    if depth > 200:
        raise _Reading(node.start_mark.line, "it is nested too deeply, or holds itself")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, depth + 1) for child in node.value]
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _value(key_node, depth + 1)
        if not isinstance(key, str):
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Reading(key_node.start_mark.line, "a key must be text")
            key = key_node.value
        if key in found:
            raise _Reading(key_node.start_mark.line, f"the key {key!r} is there twice")
        found[key] = _value(value_node, depth + 1)
    return found


def _scalar(node: Any) -> Any:
    text: str = node.value
    tag = node.tag
    if node.style is not None and tag in (_PREFIX + "str", "!"):
        return text
    if not tag.startswith(_PREFIX):
        raise _Reading(node.start_mark.line, f"the tag {tag} is not understood; write plain values")
    if tag == _PREFIX + "binary":
        raise _Reading(node.start_mark.line, "binary values are not JSON; write them as text")
    return plain(text, node.start_mark.line)


def plain(text: str, line: int = 0) -> Any:
    """What an unquoted word means in YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    if _INFINITE.fullmatch(text) or text in _NAN:
        raise _Reading(line, f"{text} is not JSON; write null or a string")
    return text


def _is_utf8(text: bytes, number: int, faults: Faults) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        faults.add(number + text.count(b"\n", 0, error.start), "is not UTF-8; save the file as UTF-8")
        return False
    return True


def _say_why(text: bytes, number: int, faults: Faults) -> None:
    try:
        _parse(text, number, faults)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (column {mark.column + 1})" if mark else ""
        faults.add(number + (mark.line if mark else 0), f"broken YAML{where}: {error.problem}")
    except yaml.YAMLError as error:
        faults.add(number, f"broken YAML: {str(error).splitlines()[0]}")
