"""Plain tables: columns in line, numbers to the right. Text in, text out.

No terminal, no colour, no ledger may enter.
"""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> list[str]:
    """The lines of a table, without trailing blanks; a column of numbers stands to the right.

    `width`: the last column is cut, with an ellipsis, to keep lines within it. No rows: just the heads.
    """
    texts = [[cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[k], int | float) for row in rows) for k in range(len(heads))]
    sizes = [max(len(head), *(len(row[k]) for row in texts)) if texts else len(head) for k, head in enumerate(heads)]
    return [_line(row, sizes, right, width) for row in ([head.upper() for head in heads], *texts)]


def cell(value: object) -> str:
    """`1,234` for counts, `-` for nothing, one line for text."""
    if value is None or value == "":
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).split())


def _line(row: Sequence[str], sizes: Sequence[int], right: Sequence[bool], width: int | None) -> str:
    parts = [
        text.rjust(size) if to_right else text.ljust(size)
        for text, size, to_right in zip(row, sizes, right, strict=True)
    ]
    return cut("  ".join(parts).rstrip(), width)


def cut(line: str, width: int | None) -> str:
    """`line`, no longer than `width`."""
    if width is None or len(line) <= width or width < 2:
        return line
    return line[: width - 1].rstrip() + "…"
