"""The values of what may be asked of machines: spans, patterns, whether spot; read as the command line does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elsewhere.config.faults import article
from elsewhere.config.kinds import COUNT, POSITIVE, SIZE, Kind, choice
from elsewhere.model.spans import Span

_MEASURE: Mapping[str, Any] = {"type": ["string", "number"]}
_LIST: Mapping[str, Any] = {"type": ["array", "string"], "items": {"type": "string"}}
_SPOT = {"true": "spot", "yes": "spot", "1": "spot", "false": "on-demand", "no": "on-demand", "0": "on-demand"}


def span(one: Kind, upto: bool = False) -> Kind:
    """MIN..MAX of such values. One alone is just that; with `upto` it is the most."""

    def read(value: Any) -> Span:
        if isinstance(value, str) and ".." in value:
            return Span.read(value, lambda text: one.read(_number(text.strip())))
        found = one.read(value)
        return Span(None if upto else found, found)

    return Kind(f"{one.name}{' at most' * upto}, or MIN..MAX", read, _MEASURE, one=one)


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def _patterns(value: Any) -> tuple[str, ...]:
    """Names or globs, with commas between them; a regular expression (`re:`) keeps its own."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ValueError(f"must be names or patterns, not {article(value)}")
    parts = [part.strip() for one in given for part in ([one] if one.startswith("re:") else one.split(","))]
    if not parts or not all(parts):
        raise ValueError("holds an empty name")
    return tuple(parts)


def _spot(value: Any) -> str:
    found = _SPOT.get(str(value).lower(), value)
    if found not in ("spot", "on-demand", "prefer"):
        raise ValueError(f"must be true, false or prefer, not {article(value)}")
    return str(found)


PATTERNS = Kind("names or patterns", _patterns, _LIST)
SPOT = Kind("true, false or prefer", _spot, {"enum": [True, False, "prefer", "spot", "on-demand"]})
ARCHITECTURE = choice("x86_64", "arm64", "any")
COUNTS, UPTO, SIZES, GPUS = span(POSITIVE), span(POSITIVE, upto=True), span(SIZE), span(COUNT)
