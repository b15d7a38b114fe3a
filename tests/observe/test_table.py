"""Plain tables."""

from __future__ import annotations

from elsewhere.observe.table import table


def test_columns_stand_in_line_and_numbers_to_the_right() -> None:
    assert table(("name", "done"), [("fit", 12), ("train-long", 1234)]) == [
        "NAME         DONE",
        "fit            12",
        "train-long  1,234",
    ]


def test_nothing_is_a_dash_and_a_newline_a_blank() -> None:
    assert table(("a", "b"), [(None, "x\ny")])[1] == "-  x y"


def test_a_narrow_terminal_cuts_the_end() -> None:
    assert table(("a", "b"), [("x", "y" * 100)], width=10)[1] == "x  yyyyyy…"


def test_no_rows_leave_the_heads() -> None:
    assert table(("a", "bee"), []) == ["A  BEE"]
