"""A span: from a least to a most, both included, either of which may be missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """From `least` to `most`, both included; None: no bound."""

    least: Any = None
    most: Any = None

    def __bool__(self) -> bool:
        return self.least is not None or self.most is not None

    def holds(self, value: Any) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @classmethod
    def read(cls, text: str, one: Callable[[str], Any]) -> Span:
        """`4..16`, `4..`, `..16`; `4` alone is just that. ValueError says what a span looks like."""
        low, dots, high = text.partition("..")
        if not dots:
            return cls(one(text), one(text))
        if not low.strip() and not high.strip():
            raise ValueError(f"{text!r} is not a span; write MIN..MAX, MIN.. or ..MAX")
        return cls(one(low) if low.strip() else None, one(high) if high.strip() else None)


NO_BOUND = Span()
