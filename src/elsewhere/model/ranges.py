"""Sets of whole numbers as sorted half-open ranges: a million finished tasks are a line, not a list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Ranges = tuple[tuple[int, int], ...]


def ranges(numbers: Iterable[int]) -> Ranges:
    """The numbers as `((start, stop), ...)`, sorted, none touching another. Any order, doubles allowed."""
    found: list[tuple[int, int]] = []
    start = stop = 0
    for number in sorted(numbers):
        if number > stop or start == stop:
            if start != stop:
                found.append((start, stop))
            start = number
        stop = number + 1
    if start != stop:
        found.append((start, stop))
    return tuple(found)


def holds(parts: Ranges, number: int) -> bool:
    """Is the number in one of these sorted ranges?"""
    if not parts or number >= parts[-1][1]:
        return False
    at = bisect_right(parts, (number, float("inf"))) - 1
    return at >= 0 and parts[at][0] <= number < parts[at][1]


def numbers(parts: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Every number in these ranges."""
    for start, stop in parts:
        yield from range(start, stop)


def merged(rows: Iterator[tuple[int, int]], floor: int) -> Iterator[tuple[int, int]]:
    """`1..floor`, then what follows; ranges that touch become one."""
    start, stop = 1, floor + 1
    for first, last in rows:
        if first == stop:
            stop = last
        else:
            if stop > start:
                yield start, stop
            start, stop = first, last
    if stop > start:
        yield start, stop
