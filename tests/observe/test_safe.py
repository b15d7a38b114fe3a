"""Bytes of unknown origin on a terminal."""

from __future__ import annotations

import random

import pytest

from elsewhere.observe.safe import Safely, one_line, safe


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain text", "plain text"),
        ("grüße 漢字 🙂".encode(), "grüße 漢字 🙂"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        (b"a\0b", "a\\x00b"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"10%\r20%\r\ndone\n", "10%\n20%\ndone\n"),
        ("\u202eevil\u2066".encode(), "\\u202eevil\\u2066"),
        (b"tab\there", "tab\there"),
        (b"\xc2\x9b31m", "\\x9b31m"),
    ],
)
def test_nothing_can_move_the_cursor_or_hide(raw: bytes, shown: str) -> None:
    assert safe(raw) == shown


def test_a_stream_cut_anywhere_shows_the_same_as_the_whole() -> None:
    chance = random.Random(7)
    whole = "grüße \x1b[1;32mok\x1b[0m\r\n漢字\r50%\r\nend\x00\x1b[2K".encode() * 5
    for _ in range(200):
        stream, shown, at = Safely(), "", 0
        while at < len(whole):
            size = chance.randint(1, 9)
            shown += stream.feed(whole[at : at + size])
            at += size
        assert shown + stream.feed(b"", final=True) == safe(whole)


def test_one_line_is_one_line_of_bounded_length() -> None:
    assert one_line("a\n\n  b\tc") == "a b c"
    assert one_line("x" * 1000, 10) == "x" * 9 + "…"
