"""YAML as a stream of events, built into plain values one item of the outermost list at a time.

YAML 1.2's core schema (`no`, `yes`, `on` and dates are text); no key twice; anchors, aliases and `<<` as usual; no
other tags. What JSON cannot hold is refused. libyaml parses where PyYAML has it, else PyYAML's own parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
          "false": False, "False": False, "FALSE": False}  # fmt: skip
_TAG = "tag:yaml.org,2002:"
_TAGS = {
    "scalar": (None, "!", _TAG + "str", _TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"),
    "list": (None, "!", _TAG + "seq"),
    "mapping": (None, "!", _TAG + "map"),
}
DEEPEST = 200
LARGEST = 2_000_000
"""So many values may stand in one item once its aliases are written out: ten lines of YAML can mean a billion."""


class Unfit(Exception):
    """What stands on `line` (from 0) is YAML, but not what a task may hold."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(line, what)
        self.line, self.what = line, what


def parser(stream: Any) -> Any:
    """Something with get_event(). It reads the stream as it goes."""
    if yaml.__with_libyaml__:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]

        return CParser(stream)

    class Parser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
        def __init__(self) -> None:
            yaml.reader.Reader.__init__(self, stream)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)

    return Parser()


class Builder:
    """Values of a document whose events come from `next_event`."""

    def __init__(
        self,
        next_event: Callable[[], Any],
        anchors: dict[str, tuple[Any, int]],
        lines: dict[int, dict[str, int]] | None = None,
    ) -> None:
        """`lines`, when given, is told the line (from 1) of each key of each mapping, by the mapping's id."""
        self._next, self._anchors, self._lines = next_event, anchors, lines
        self._size = 0
        self._kept: list[Any] = []
        """Mappings whose ids stand in `lines`: an id is given anew once its owner is gone."""

    def document(self) -> Any:
        """The value of the one document; None when it is empty. Unfit, YAMLError as `items`."""
        event: Any = self._next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._item(event)
        if isinstance(value, Unfit):
            raise value
        while isinstance(event := self._next(), yaml.DocumentEndEvent):
            pass
        if not isinstance(event, yaml.StreamEndEvent):
            raise Unfit(_line(event), "a second document begins here; one is all there may be")
        return value

    def items(self) -> Iterator[tuple[int, Any]]:
        """(line from 0, value or Unfit) of each item of the outermost list. YAMLError: the text is broken."""
        event: Any = self._next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self._next()
        if isinstance(event, yaml.StreamEndEvent) or _is_empty(event):
            return
        if not isinstance(event, yaml.SequenceStartEvent):
            raise Unfit(event.start_mark.line, "a YAML task list is a list; begin each task with `- `")
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._size = 0
            yield event.start_mark.line, self._item(event)
        while isinstance(event, yaml.SequenceEndEvent | yaml.DocumentEndEvent):
            event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise Unfit(_line(event), "a second document begins here; a task list is one list")

    def _item(self, event: Any) -> Any:
        """The value, or the first Unfit of it; its events are used up in either case."""
        depth, events = 0, [event]
        while True:
            kind = type(event)
            if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                depth += 1
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                depth -= 1
            if not depth:
                break
            event = self._next()
            events.append(event)
        feed = iter(events)
        try:
            return self._value(next(feed), feed, 0)
        except Unfit as unfit:
            return unfit

    def _value(self, event: Any, feed: Iterator[Any], depth: int) -> Any:
        kind, anchor = type(event), event.anchor
        before = self._size
        self._size += 1
        if kind is yaml.ScalarEvent:
            value: Any = _scalar(event)
        elif kind is yaml.AliasEvent:
            return self._alias(event)
        elif depth >= DEEPEST:
            raise Unfit(event.start_mark.line, f"it is nested more than {DEEPEST} deep")
        elif kind is yaml.SequenceStartEvent:
            _check_tag(event, "list")
            value = []
            while type(event := next(feed)) is not yaml.SequenceEndEvent:
                value.append(self._value(event, feed, depth + 1))
        else:
            value = self._mapping(event, feed, depth)
        if anchor:
            self._anchors[anchor] = value, self._size - before
        return value

    def _mapping(self, event: Any, feed: Iterator[Any], depth: int) -> dict[str, Any]:
        _check_tag(event, "mapping")
        found: dict[str, Any] = {}
        marks: dict[str, int] = {}
        merged: list[Any] = []
        while type(key := next(feed)) is not yaml.MappingEndEvent:
            if type(key) is not yaml.ScalarEvent:
                raise Unfit(_line(key), "a key must be text")
            name = key.value
            value = self._value(next(feed), feed, depth + 1)
            if name == "<<" and key.implicit[0]:
                merged += self._merge(key, value)
            elif name in found:
                raise Unfit(_line(key), f"the key {name!r} is there twice")
            else:
                found[name] = value
                if self._lines is not None:
                    marks[name] = _line(key) + 1
        for other in merged:
            found = {**other, **found}
        if self._lines is not None:
            own = {name: line for other in merged for name, line in self._lines.get(id(other), {}).items()}
            self._lines[id(found)] = {**own, **marks}
            self._kept.append(found)
        return found

    @staticmethod
    def _merge(key: Any, value: Any) -> list[Any]:
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(one, dict) for one in several):
            raise Unfit(_line(key), "<< takes a mapping, or a list of mappings")
        return several

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise Unfit(event.start_mark.line, f"the anchor &{event.anchor} is not known here")
        value, size = self._anchors[event.anchor]
        self._size += size
        if self._size > LARGEST:
            raise Unfit(event.start_mark.line, f"its aliases stand for more than {LARGEST:,} values")
        return value


def _line(event: Any) -> int:
    return int(event.start_mark.line)


def _is_empty(event: Any) -> bool:
    """An empty document is a scalar of no length."""
    return isinstance(event, yaml.ScalarEvent) and event.value == "" and event.implicit[0]


def _check_tag(event: Any, what: str) -> None:
    if event.tag not in _TAGS[what]:
        raise Unfit(event.start_mark.line, f"the tag {event.tag} is not understood here; write plain values")


def _scalar(event: Any) -> Any:
    if event.tag is not None:
        _check_tag(event, "scalar")
        return _tagged(event)
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text[:1] not in "tTfFnN~+-.0123456789":  # most words; the empty one is "in"
        return text
    return plain(text, event.start_mark.line)


def _tagged(event: Any) -> Any:
    if event.tag in ("!", _TAG + "str"):
        return event.value
    value = plain(event.value, event.start_mark.line)
    if event.tag == _TAG + "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    right = {"int": int, "float": float, "bool": bool, "null": type(None)}[event.tag.removeprefix(_TAG)]
    if type(value) is not right:
        raise Unfit(event.start_mark.line, f"{event.value!r} is not what its tag says")
    return value


def plain(text: str, line: int = 0) -> Any:
    """What an unquoted word means in YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text) if len(text) < 400 else text
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and abs(value := float(text)) != float("inf"):
        return value
    if _NOT_JSON.fullmatch(text):
        raise Unfit(line, f"{text} is a value that JSON has not; write null or a string")
    return text
