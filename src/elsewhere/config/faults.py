"""Faults of a file, collected so that all of them can be shown at once, each with its line and the nearest right thing.

Pure: no file is read here, and nothing but errors is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from elsewhere.errors import InvalidTask

SHOWN = 20
NOTHING = "Nothing was started."


class Faults:
    """The faults met so far in the file `name`. The first 20 are kept, the rest are counted.

    `at_once`: the source may never end (standard input, a generator), so the reader stops at the first faulty task.
    """

    def __init__(self, name: str, *, at_once: bool = False) -> None:
        self.name, self.at_once, self.count = name, at_once, 0
        self._found: list[tuple[int, str]] = []

    def add(self, line: int | None, what: str) -> None:
        """`line` counts from 1; None: the fault is of the whole file."""
        self.count += 1
        if len(self._found) < SHOWN:
            text = f"{self.name}:{line}: {what}" if line is not None else f"{self.name}: {what}"
            self._found.append((0 if line is None else line, text))

    @property
    def stop(self) -> bool:
        """Whether nothing more should be read."""
        return self.at_once and self.count > 0

    def error(self) -> InvalidTask:
        """Everything said so far, as one error. The message is the fault itself, or how many there are."""
        kept = tuple(text for _, text in sorted(self._found, key=lambda found: found[0]))
        if self.count == 1:
            return InvalidTask(kept[0], hint=NOTHING, faults=kept)
        some = f"; the first {SHOWN} are" if self.count > SHOWN else ""
        return InvalidTask(f"{self.name}: {self.count:,} faults{some}", hint=NOTHING, faults=kept)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name most like `name`, else `; known: a, b, c`."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, 1, 0.6)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(names)}"


def article(value: object) -> str:
    """What a value of a file is, as people say it: `a list`, `the number 3`, `true`, `nothing`."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the string {value!r}" if len(value) <= 40 else f"the string {value[:37]!r}..."
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def wide_encoding(start: bytes) -> str:
    """UTF-32 or UTF-16, if text that begins with these bytes seems to be that; else ""."""
    if start[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "UTF-32"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    zeros = "".join(".0"[byte == 0] for byte in start[:4])
    return {".0.0": "UTF-16LE", "0.0.": "UTF-16BE", ".000": "UTF-32LE", "000.": "UTF-32BE"}.get(zeros, "")


def wrong_encoding(wide: str, name: str) -> str:
    """What to say of a text that is not UTF-8."""
    file = "FILE" if " " in name else name
    return (
        f"has the wrong encoding: it seems to be {wide}, not UTF-8; convert it: iconv -f {wide} -t UTF-8 {file} > NEW"
    )
