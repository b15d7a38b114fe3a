"""What a setting's value may be: how it is read, how it is said, and its JSON schema. Pure.

A kind's `read` returns the value as the rest of Elsewhere uses it (timedelta, bytes, tuple), or raises ValueError.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from elsewhere.config.faults import article
from elsewhere.config.secret import Secret, is_reference
from elsewhere.model import units
from elsewhere.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of value. `mapping`: merged key by key when several files set it."""

    name: str
    read: Callable[[Any], Any]
    schema: Mapping[str, Any]
    mapping: bool = False
    one: Kind | None = None
    """Of a span: what each of its ends is."""


def whole(least: int | None = None) -> Kind:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {article(value)}")
        if least is not None and value < least:
            raise ValueError(f"must be {least} or more, not {value}")
        return value

    return Kind("a whole number", read, {"type": "integer"} | ({} if least is None else {"minimum": least}))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {article(value)}")
    return value


def _above_zero(value: Any) -> float:
    if (number := _number(value)) <= 0:
        raise ValueError(f"must be more than 0, not {value!r}")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        quoted = f'; write "{value}"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise ValueError(f"must be text, not {article(value)}{quoted}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        hint = "; write true or false" if isinstance(value, str) else ""
        raise ValueError(f"must be true or false, not {article(value)}{hint}")
    return value


def _size(value: Any) -> int:
    if not isinstance(value, str | int | float):
        raise ValueError(f"must be a size such as 16GiB, not {article(value)}")
    return units.size(value)


def _duration(value: Any) -> timedelta:
    if not isinstance(value, str | int | float):
        raise ValueError(f"must be a duration such as 30s or 1h30m, not {article(value)}")
    return units.duration(value)


def _positive_duration(value: Any) -> timedelta:
    length = _duration(value)
    if not length:
        raise ValueError("must be longer than 0; leave it out for no limit")
    return length


def _share(value: Any) -> int | Decimal:
    if not isinstance(value, str | int):
        raise ValueError(f"must be a count or a percentage such as 5%, not {article(value)}")
    return units.share(value)


def _money(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise ValueError(f"must be an amount of dollars such as 5 or 2.50, not {article(value)}")
    return amount


def _words(value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(word, str) for word in found):
        raise ValueError(f"must be a list of strings, not {article(value)}")
    return tuple(found)


def _requirements(value: Any) -> str | tuple[str, ...]:
    """A list of them, or the name of a file."""
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("must be a list of requirements, or a file of them, not an empty text")
        return value
    return _words(value)


def _lines(value: Any) -> tuple[str, ...]:
    return tuple(value.splitlines()) if isinstance(value, str) else _words(value)


def _recycle(value: Any) -> tuple[str, int]:
    """A bare number is a count of tasks, with a unit it is a size, as `--recycle` has it."""
    if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
        return "recycle_tasks", whole(1).read(int(value) if isinstance(value, str) else value)
    return "recycle_memory", _size(value)


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(f'must be a list such as {value.split()!r}, or ["sh", "-c", ...] for a shell, not a string')
    if not value:
        raise ValueError("must be a list of one or more strings")
    return _words(value)


def _statuses(value: Any) -> tuple[int, ...]:
    found = [value] if isinstance(value, int) else value
    if not isinstance(found, list | tuple) or not all(type(code) is int and 0 <= code < 256 for code in found):
        raise ValueError(f"must be a list of exit statuses, 0 to 255, not {article(value)}")
    return tuple(found)


def _gpus(value: Any) -> str | int:
    try:
        Resources(gpus=value)
    except (ValueError, TypeError):
        raise ValueError(
            f"must be a count such as 1, or a type and a count such as a100:1, not {article(value)}"
        ) from None
    return typing.cast("str | int", value)


def _variable(value: Any) -> str | Secret:
    if isinstance(value, bool) or not isinstance(value, str):
        return _text(value)
    if "\0" in value:
        raise ValueError("holds a NUL, which a variable cannot")
    return Secret(value) if is_reference(value) else value


def _secret(value: Any) -> Secret:
    if not isinstance(value, str) or not is_reference(value):
        raise ValueError("must be a reference to a secret: env:NAME, file:PATH or keyring:service/name, not the secret")
    return Secret(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping, not {article(value)}")
    return value


_STRING: Mapping[str, Any] = {"type": "string"}
_MEASURE: Mapping[str, Any] = {"type": ["string", "number"]}
COUNT, POSITIVE, INTEGER = whole(0), whole(1), whole()
NUMBER = Kind("a number", _number, {"type": "number"})
ABOVE_ZERO = Kind("a number above 0", _above_zero, {"type": "number", "exclusiveMinimum": 0})
TEXT = Kind("text", _text, _STRING)
FLAG = Kind("true or false", _flag, {"type": "boolean"})
SIZE = Kind("a size", _size, _MEASURE)
DURATION = Kind("a duration", _duration, _MEASURE)
LIMIT = Kind("a duration", _positive_duration, _MEASURE)
SHARE = Kind("a count or a percentage", _share, {"type": ["string", "integer"]})
MONEY = Kind("dollars", _money, _MEASURE)
WORDS = Kind("a list of strings", _words, {"type": ["array", "string"], "items": _STRING})
REQUIREMENTS = Kind("a list of requirements, or a file", _requirements, {"type": ["array", "string"], "items": _STRING})
LINES = Kind("lines", _lines, {"type": ["array", "string"], "items": _STRING})
COMMAND = Kind("a list of strings", _command, {"type": "array", "items": _STRING, "minItems": 1})
STATUSES = Kind("a list of exit statuses", _statuses, {"type": ["array", "integer"], "items": {"type": "integer"}})
RECYCLE = Kind("a count of tasks, or a size", _recycle, {"type": ["string", "integer"]})
GPUS = Kind("a count, or TYPE:N", _gpus, {"type": ["string", "integer"]})
VARIABLE = Kind("text, or a reference to a secret", _variable, _STRING)
SECRET = Kind("a reference to a secret", _secret, _STRING)
ANYTHING = Kind("anything", lambda value: value, {})
VARIABLES = Kind(
    "a mapping of names to text", _mapping, {"type": "object", "additionalProperties": _STRING}, mapping=True
)
SECRETS = Kind(
    "a mapping of names to references",
    _mapping,
    {"type": "object", "additionalProperties": SECRET.schema},
    mapping=True,
)
MAPPING = Kind("a mapping", _mapping, {"type": "object"}, mapping=True)


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise ValueError(f'must be a mapping of text to text such as data: "/data:ro", not {article(value)}')
    return value


MOUNTS = Kind("a mapping of paths to paths", _texts, {"type": "object", "additionalProperties": _STRING})


def choice(*words: Any) -> Kind:
    def read(value: Any) -> Any:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(map(str, words))}, not {article(value)}")
        return value

    return Kind("one of " + ", ".join(map(str, words)), read, {"enum": list(words)})


RUNTIME = choice("podman", "docker", "apptainer", "singularity", "charliecloud")


_OF_TYPES: Mapping[Any, Kind] = {
    int: INTEGER, float: NUMBER, str: TEXT, bool: FLAG, timedelta: DURATION, Decimal: MONEY, Secret: SECRET,
}  # fmt: skip


def of_type(hint: Any) -> Kind:
    """The kind for a field of a backend's settings, from its type. What it does not know may be anything."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        some = [part for part in typing.get_args(hint) if part is not type(None)]
        return of_type(some[0]) if len(some) == 1 else ANYTHING
    if typing.get_origin(hint) is typing.Literal:
        return choice(*typing.get_args(hint))
    if typing.get_origin(hint) in (tuple, list) and typing.get_args(hint)[:1] == (str,):
        return WORDS
    if typing.get_origin(hint) in (dict, Mapping):
        return MAPPING
    return _OF_TYPES.get(hint, ANYTHING)


def of_fields(schema: type) -> dict[str, Kind]:
    """The kinds of a dataclass's fields: as `metadata["kind"]` has it, else by the type."""
    hints = typing.get_type_hints(schema)
    return {
        found.name: found.metadata.get("kind") or of_type(hints[found.name])
        for found in dataclasses.fields(schema)
        if found.init
    }
