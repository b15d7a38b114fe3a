"""`--each-line`: a file of lines and a command with braces become one command task for each line. No shell anywhere.

`{}` or `{line}` is the line, `{.}` the line without its suffix; `{number}` counts from 1; `{name}`, `{stem}`,
`{suffix}` and `{parent}` are parts of the line as a path; `{{` and `}}` are literal braces.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from elsewhere.cli.grammar import nearest
from elsewhere.errors import InvalidTask, UsageError
from elsewhere.model.task import NewTask

FIELDS: dict[str, Callable[[str, int], str]] = {
    "": lambda line, number: line,
    "line": lambda line, number: line,
    "number": lambda line, number: str(number),
    "name": lambda line, number: os.path.basename(line),  # noqa: PTH119 a million lines
    "stem": lambda line, number: os.path.splitext(os.path.basename(line))[0],  # noqa: PTH119, PTH122
    "suffix": lambda line, number: os.path.splitext(line)[1],  # noqa: PTH122
    "parent": lambda line, number: os.path.dirname(line) or ".",  # noqa: PTH120
    ".": lambda line, number: os.path.splitext(line)[0],  # noqa: PTH122
}
# The other short forms that users of GNU parallel know.
FIELDS |= {"/": FIELDS["name"], "//": FIELDS["parent"], "/.": FIELDS["stem"]}
_BRACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{|\}")
LONGEST = 128 * 1024
"""Bytes of one argument of a command: what Linux takes (MAX_ARG_STRLEN)."""


class Template:
    """A command with places for the line. UsageError names what is wrong with it, before any line is read."""

    def __init__(self, words: Sequence[str]) -> None:
        self.faults: list[str] = []
        self._words = [self._cut(word) for word in words]
        if self.faults:
            raise UsageError(
                self.faults[0] if len(self.faults) == 1 else "; ".join(self.faults),
                hint="Known: {} or {line}, {.}, {number}, {name}, {stem}, {suffix}, {parent}; {{ and }} are braces.",
            )
        if not any(isinstance(piece, tuple) for word in self._words for piece in word):
            raise UsageError(
                "the command has no {}, so every line would run the same", hint="Write {} where the line goes."
            )

    def _cut(self, word: str) -> list[str | tuple[str]]:
        """Plain pieces as strings, fields as 1-tuples."""
        pieces: list[str | tuple[str]] = []
        last = 0
        for match in _BRACE.finditer(word):
            pieces.append(word[last : match.start()])
            last = match.end()
            if match[0] in ("{{", "}}"):
                pieces.append(match[0][0])
            elif match[1] is None:
                self.faults.append(f"a lone {match[0]} in {word!r}")
            elif match[1] not in FIELDS:
                near = nearest(match[1], [field for field in FIELDS if field.isalpha()])
                self.faults.append(f"{match[0]} in {word!r} is unknown{near}")
            else:
                pieces.append((match[1],))
        pieces.append(word[last:])
        return [piece for piece in pieces if piece != ""]

    def fill(self, line: str, number: int) -> list[str]:
        """The command of one line."""
        return [
            "".join(piece if isinstance(piece, str) else FIELDS[piece[0]](line, number) for piece in word)
            for word in self._words
        ]


def tasks(template: Template, lines: Iterable[bytes], name: str) -> Iterator[NewTask]:
    """One task for each line that is not empty; its id is `line-N`. Lines may be any bytes but NUL: file names are."""
    number = made = 0
    for raw in lines:
        number += 1
        text = os.fsdecode(raw.rstrip(b"\r\n"))
        if not text:
            continue
        if "\0" in text:
            raise InvalidTask(f"{name}:{number}: a NUL byte cannot stand in a command", hint="Nothing was started.")
        command = template.fill(text, number)
        if max(map(len, command)) > LONGEST:
            raise InvalidTask(f"{name}:{number}: the line is too long for a command", hint="Nothing was started.")
        made += 1
        yield NewTask(f"line-{number}", b"null", json.dumps({"command": command}).encode())
    if not made:
        raise InvalidTask(f"{name}: there is no line in it", hint="Nothing was started.")
