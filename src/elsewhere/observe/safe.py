"""Bytes of unknown origin as text that a terminal may be shown. Pure.

Colour codes are left out; every other control byte is written as an escape, so that nothing moves the cursor, sets a
title, rings a bell or hides a line. What is not UTF-8 is shown as \\xNN.
"""

from __future__ import annotations

import codecs
import re

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
# C0 without tab and newline, DEL and C1; what hides or reorders text: zero width, bidirectional, line separators, BOM
_DANGER = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_OPEN_COLOUR = re.compile(r"\x1b(?:\[[0-9;:]{0,16})?\Z")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def safe(text: str | bytes) -> str:
    """All of `text`, harmless. A carriage return becomes a newline: progress bars show one state a line."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if text.isascii() and text.isprintable():
        return text
    text = _COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _DANGER.sub(_escape, text)


def one_line(text: str | bytes, limit: int = 200) -> str:
    """`safe`, in one line of at most `limit` characters."""
    flat = " ".join(safe(text[: limit * 8]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


class Safely:
    """`safe` for a stream that comes in pieces: characters and colour codes may be cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._kept = ""

    def feed(self, data: bytes, final: bool = False) -> str:
        text = self._kept + self._decoder.decode(data, final)
        self._kept = ""
        if not final:
            cut = _OPEN_COLOUR.search(text)
            if cut is None and text.endswith("\r"):
                text, self._kept = text[:-1], "\r"
            elif cut is not None:
                text, self._kept = text[: cut.start()], text[cut.start() :]
        return safe(text)
