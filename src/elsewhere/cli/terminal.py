"""What reaches the user's eyes: lines on stdout, complaints on stderr, colour only where it is wanted.

No command's logic may enter; nothing heavy may be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO

TYPED = ("chmod", "elsewhere", "keyring", "pip")  # a hint that begins with one is to be typed as it stands
COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}


def agreed(question: str) -> bool:
    """A yes or no of the person at the terminal."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def is_terminal(stream: IO[str] | None) -> bool:
    """True if a person is looking at `stream` through something that can draw."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def coloured(stream: IO[str] | None = None) -> bool:
    """Whether colour is wanted there (https://no-color.org)."""
    return is_terminal(stream or sys.stdout) and not os.environ.get("NO_COLOR")


def paint(text: str, colour: str, on: bool) -> str:
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if on and text else text


def width(stream: IO[str] | None = None, default: int = 80) -> int:
    """Columns of the terminal behind `stream`."""
    try:
        return os.get_terminal_size((stream or sys.stdout).fileno()).columns or default
    except (OSError, ValueError, AttributeError):
        return int(os.environ.get("COLUMNS") or 0) or default


def say(*lines: str) -> None:
    """Lines on standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def tell(*lines: str) -> None:
    """Lines for the person, on standard error: what goes on, and what to type next. Where both streams go to one place,
    behind what was said before."""
    sys.stdout.flush()
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


def complain(message: str, faults: Iterable[str] = (), hint: str = "") -> None:
    """One plain sentence, every fault of it, and what to do next; on standard error."""
    on = coloured(sys.stderr)
    lines = [
        paint("elsewhere:", "red", on) + " " + message,
        *(f"  {fault}" for fault in faults if fault not in message),
    ]
    if hint:
        typed = hint.partition(" ")[0] in TYPED
        lines.append(paint(hint if typed else hint[:1].upper() + hint[1:], "dim", on))
    tell(*lines)


def say_json(value: object) -> None:
    """One JSON value on one line of standard output; what JSON does not know is written as text."""
    import json

    say(json.dumps(value, default=str, ensure_ascii=False))
