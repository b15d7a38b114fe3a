"""Sizes, durations and counts as people write them: `16GiB`, `90s`, `1h30m`, `5%`.

G and GB are 10^9, GiB is 2^30. Memory is bytes, durations are timedelta, money is Decimal.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([kKmMgGtTpP]?)(i?)[bB]?\s*")
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|s|m|h|d|w)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]?\d)(?::([0-5]?\d))?")


def size(text: str | int | float) -> int:
    """Bytes. A bare number is bytes. ValueError says what a size looks like."""
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is not a size; write for example 512MiB, 16GiB or 2G")
    if isinstance(text, int | float):
        if text < 0 or text != int(text):
            raise ValueError(f"{text!r} is not a whole number of bytes")
        return int(text)
    match = _SIZE.fullmatch(text)
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is not a size; write for example 512MiB, 16GiB or 2G")
    base = 1024 if match[3] else 1000
    return int(Decimal(match[1]) * base ** _POWER[match[2].lower()])


def duration(text: str | int | float | timedelta) -> timedelta:
    """A length of time. A bare number is seconds; `90s`, `1h30m`, `2d`, `02:00:00` and `1-12:00:00` are understood."""
    if isinstance(text, timedelta):
        return text
    wrong = ValueError(f"{text!r} is not a duration; write for example 30s, 10m, 1h30m or 2d")
    if isinstance(text, bool):
        raise wrong
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        seconds = _seconds(text.strip(), wrong)
    if not 0 <= seconds < 1e10:
        raise wrong
    return timedelta(seconds=seconds)


def _seconds(text: str, wrong: ValueError) -> float:
    if clock := _CLOCK.fullmatch(text):
        days, a, b, c = (int(x) if x else 0 for x in clock.groups())
        hours, minutes, seconds = (a, b, c) if clock[4] is not None or clock[1] else (0, a, b)
        return days * 86400.0 + hours * 3600 + minutes * 60 + seconds
    parts = _PART.findall(text)
    if parts and re.fullmatch(rf"(?:{_PART.pattern}\s*)+", text):
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError:
        raise wrong from None


def share(text: str | int) -> int | Decimal:
    """A count (int), or a share of the whole (Decimal, 0 to 1) when written with `%`."""
    try:
        if isinstance(text, str) and text.strip().endswith("%"):
            value = Decimal(text.strip()[:-1]) / 100
            if 0 <= value <= 1:
                return value
        elif not isinstance(text, bool) and int(text) >= 0:
            return int(text)
    except (InvalidOperation, ValueError):
        pass
    raise ValueError(f"{text!r} is neither a count nor a percentage; write for example 10 or 5%")


def show_size(number: int) -> str:
    """`16GiB`, `1.5GiB`, `900B`: for people; `size` reads it back to within a tenth."""
    value, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if value == int(value) else f"{value:.1f}{unit}"


def show_duration(length: timedelta | float) -> str:
    """`0.25s`, `42s`, `3m10s`, `2h05m`, `3d4h`: for people."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    if seconds < 10:
        return f"{seconds:.3g}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"
