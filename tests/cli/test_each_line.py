"""One command for each line: braces, empty lines, odd bytes."""

from __future__ import annotations

import json
import os

import pytest

from elsewhere.cli.each_line import Template, tasks
from elsewhere.errors import InvalidTask, UsageError


def commands(words: list[str], lines: list[bytes]) -> dict[str, list[str]]:
    return {task.id: json.loads(task.options or b"")["command"] for task in tasks(Template(words), lines, "f")}


def test_braces_are_the_line_and_doubled_braces_are_braces() -> None:
    made = commands(["convert", "{}", "{}.png", "{{x}}"], [b"a b.jpg\n"])

    assert made == {"line-1": ["convert", "a b.jpg", "a b.jpg.png", "{x}"]}


def test_parts_of_a_path_have_names() -> None:
    made = commands(["x", "{parent}/{stem}.png", "{name}", "{suffix}", "{number}"], [b"", b"in/cat.jpg\n"])

    assert made == {"line-2": ["x", "in/cat.png", "cat.jpg", ".jpg", "2"]}


def test_the_short_forms_of_gnu_parallel_are_known() -> None:
    made = commands(["convert", "{}", "{.}.png", "{/}", "{//}", "{/.}"], [b"in/a b.jpg\n"])

    assert made == {"line-1": ["convert", "in/a b.jpg", "in/a b.png", "a b.jpg", "in", "a b"]}


def test_empty_lines_are_left_out_and_ids_keep_the_number_of_the_line() -> None:
    assert list(commands(["x", "{}"], [b"\n", b"a\r\n", b"\n", b"b"])) == ["line-2", "line-4"]


def test_a_line_is_never_read_by_a_shell_nor_read_twice_for_braces() -> None:
    assert commands(["echo", "{}"], [b"$(rm -rf /); {stem}\n"])["line-1"] == ["echo", "$(rm -rf /); {stem}"]


def test_bytes_that_are_not_utf8_come_through_whole() -> None:
    command = commands(["x", "{}"], [b"\xff\xfe\n"])["line-1"]

    assert os.fsencode(command[1]) == b"\xff\xfe"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "{stm}"], "{stm} in '{stm}' is unknown; did you mean stem?"),
        (["x", "{}", "a}"], "a lone } in 'a}'"),
        (["x", "{}", "{a{b}"], "a lone { in"),
        (["x", "y"], "the command has no {}"),
    ],
)
def test_a_wrong_template_is_refused_before_a_line_is_read(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(words)
    assert said in caught.value.message


def test_nothing_to_do_is_an_error_and_so_is_a_nul() -> None:
    with pytest.raises(InvalidTask, match="no line"):
        commands(["x", "{}"], [b"\n"])
    with pytest.raises(InvalidTask, match="f:2: a NUL byte"):
        commands(["x", "{}"], [b"a\n", b"b\0c\n"])
