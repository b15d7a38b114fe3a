"""`matrix:` of a job: one task for each combination of its values; `{name}` in its strings is one of them. Pure."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from elsewhere.config.faults import article, nearest
from elsewhere.config.kinds import Kind
from elsewhere.errors import UsageError

LIMIT = 1000
"""More tasks than so many are not made of a few lines without a word of their author."""
TEXTS = frozenset({"script", "command", "env", "inputs", "outputs"})
"""Keys of a job whose strings may hold names as they are."""
TERMS = frozenset({"timeout", "retries", "cpus", "memory", "gpus", "gpu_type", "disk"})
"""Keys whose values are read only once they are filled in."""
_FREE = frozenset({"matrix", "about"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{|\}")
_BRACES = "; {{ and }} are braces"
Matrix = Mapping[str, tuple[str, ...]]


class Varying(str):
    """A value that differs from task to task: it is read when it is filled in."""

    __slots__ = ()


def _read(value: Any) -> Matrix:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a mapping of names to lists of values, not {article(value)}")
    return {name: _values(name, given) for name, given in value.items()}


def _values(name: str, given: Any) -> tuple[str, ...]:
    if not _NAME.fullmatch(name):
        raise ValueError(f"holds {name!r}, which is no name: letters, digits, '_' and '-'")
    if not isinstance(given, list) or not given:
        raise ValueError(f"must have a list of values for {name}, not {article(given)}")
    found = []
    for one in given:
        if not isinstance(one, str | int | float):
            raise ValueError(f"must have numbers and strings for {name}, not {article(one)}")
        text = str(one).lower() if isinstance(one, bool) else str(one)
        if text in found or "\0" in text:
            raise ValueError(f"has {text!r} twice for {name}" if text in found else f"has a NUL for {name}")
        found.append(text)
    return tuple(found)


_LIST = {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}}
KIND = Kind("a mapping of names to lists", _read, {"type": "object", "additionalProperties": _LIST})


def size(matrix: Matrix) -> int:
    return math.prod(map(len, matrix.values()))


def combinations(matrix: Matrix) -> Iterator[dict[str, str]]:
    """The last name varies first."""
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def wrong(key: str, value: Any, matrix: Matrix) -> str:
    """What is wrong with the names in a key's strings; empty: nothing."""
    if key in _FREE:
        return ""
    for text in [value] if isinstance(value, str) else value if isinstance(value, list) else ():
        for match in _FIELD.finditer(text) if isinstance(text, str) else ():
            if match[0] in ("{{", "}}"):
                continue
            if match[1] is None:
                return f"has a lone {match[0]} in {text!r}{_BRACES}"
            if match[1] not in matrix:
                return f"has {match[0]}, for which the matrix has no value{nearest(match[1], matrix)}{_BRACES}"
            if key not in TEXTS and key not in TERMS:
                return f"has {match[0]}, and cannot differ from task to task"
    return ""


def varies(value: Any) -> bool:
    """Whether it holds a name, or a brace that is written twice."""
    return isinstance(value, str) and _FIELD.search(value) is not None


def fill(text: str, values: Mapping[str, str]) -> str:
    """With the values of one task. UsageError: one of a name that has none."""

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in values:
            raise UsageError(f"{match[0]} in {text!r} has no value in the matrix{nearest(match[1], values)}",
                             hint="{{ and }} are braces.")  # fmt: skip
        return values[match[1]]

    return _FIELD.sub(one, text)


def typed(text: str) -> Any:
    """What YAML would make of a value that was filled in."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
