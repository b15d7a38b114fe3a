"""The cutter of JSON arrays, against arrays that are made to mislead it; and the memory of every reader."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.config import json_lists, tasks
from elsewhere.config.faults import Faults
from elsewhere.model.task import NewTask

NASTY = st.sampled_from(
    [
        "},{",
        "}, {",
        '"},{"task_id":"x","data":{',
        "[",
        "]",
        "}]",
        "\\",
        '\\"',
        "\n",
        "é",
        "\U0001f600",
        "\u2028",
        ",",
        " ",
    ]
)
TEXT = st.lists(NASTY | st.text(max_size=3), max_size=4).map("".join)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3)
    | st.lists(st.fixed_dictionaries({"task_id": TEXT, "data": inner}), max_size=3),
    max_leaves=8,
)  # fmt: skip
ROW: Any = st.fixed_dictionaries(
    {"task_id": st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8),
     "data": st.dictionaries(TEXT, VALUE, max_size=3)},
    optional={"retries": st.integers(0, 3), "env": st.dictionaries(st.sampled_from("AB"), st.just("},{"))},
)  # fmt: skip
LAYOUT = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"indent": 0, "ensure_ascii": False}])


def plain(found: list[NewTask]) -> list[tuple[str, Any]]:
    return [(task.id, json.loads(task.body)) for task in found]


def in_windows(size: int, text: bytes) -> tuple[list[NewTask], list[int], Faults]:
    """What the reader makes of an array when it sees so many bytes of it at a time."""
    faults = Faults("t.json")
    found: list[NewTask] = []
    lines: list[int] = []
    with patch.object(json_lists, "CHUNK", size), patch.object(json_lists, "_TAIL", max(1, size // 8)):
        for batch in json_lists.array(io.BytesIO(text), faults):
            lines += batch.lines()
            found += batch.tasks
    return found, lines, faults


@settings(max_examples=120, deadline=None)
@given(st.lists(ROW, max_size=8), LAYOUT, st.integers(1, 400))
def test_an_array_is_read_whole_wherever_its_windows_end(rows: list[Any], layout: dict[str, Any], size: int) -> None:
    text = json.dumps(rows, **layout)
    found, lines, faults = in_windows(size, text.encode())
    assert faults.count == 0
    assert plain(found) == [(row["task_id"], row["data"]) for row in rows]
    assert lines == lines_by_hand(text)


def lines_by_hand(text: str) -> list[int]:
    """Where the elements of an array begin, by the standard library's decoder."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    lines: list[int] = []
    while True:
        while text[at] in " \t\r\n,":
            at += 1
        if text[at] == "]":
            return lines
        lines.append(text.count("\n", 0, at) + 1)
        _, at = decoder.raw_decode(text, at)


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8), LAYOUT, st.integers(1, 400), st.data())
def test_one_faulty_task_is_named_with_its_line_and_the_others_are_read(
    rows: list[Any], layout: dict[str, Any], size: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, len(rows) - 1))
    rows[bad] = {**rows[bad], "task_id": 7}
    text = json.dumps(rows, **layout)
    found, lines, faults = in_windows(size, text.encode())
    by_hand = lines_by_hand(text)
    assert plain(found) == [(row["task_id"], row["data"]) for at, row in enumerate(rows) if at != bad]
    assert lines == [line for at, line in enumerate(by_hand) if at != bad]
    assert [fault.split(": ")[0] for fault in faults.error().faults] == [f"t.json:{by_hand[bad]}"]


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=6), LAYOUT, st.integers(1, 300), st.data())
def test_a_text_that_is_cut_off_anywhere_is_never_taken_for_whole(
    rows: list[Any], layout: dict[str, Any], size: int, data: st.DataObject
) -> None:
    text = json.dumps(rows, **layout).encode()
    end = data.draw(st.integers(1, len(text) - 1))
    found, _, faults = in_windows(size, text[:end])
    assert faults.count == 1
    wanted = [(row["task_id"], row["data"]) for row in rows]
    assert plain(found) == wanted[: len(found)]


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, max_size=8), st.integers(1, 300))
def test_lines_are_read_whole_wherever_their_windows_end(rows: list[Any], size: int) -> None:
    text = "".join(json.dumps(row) + "\n" * (1 + at % 2) for at, row in enumerate(rows)).encode()
    faults = Faults("t.jsonl")
    with patch.object(json_lists, "CHUNK", size):
        batches = [(batch.tasks, list(batch.lines())) for batch in json_lists.lines(io.BytesIO(text), faults)]
    assert faults.count == 0
    assert plain([task for some, _ in batches for task in some]) == [(row["task_id"], row["data"]) for row in rows]
    assert [n for _, some in batches for n in some] == [1 + at + at // 2 for at in range(len(rows))]


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=6))
def test_yaml_and_json_say_the_same(rows: list[Any]) -> None:
    text = json.dumps(rows, indent=1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "t.yaml"
        path.write_text("\n".join(f"- {as_yaml(row)}" for row in rows))
        assert plain(list(tasks.read(path))) == plain(list(in_windows(1000, text.encode())[0]))


def as_yaml(row: Any) -> str:
    """JSON is YAML, but for how characters beyond 16 bits are escaped, and that YAML wants all controls escaped."""
    text = json.dumps(row, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)


def test_a_task_larger_than_any_window_is_read(tmp_path: Path) -> None:
    rows = [
        {"task_id": "a", "data": {}},
        {"task_id": "b", "data": {"xs": [{"task_id": "no", "data": {"y": "},{" * 10}}] * 20_000}},
        {"task_id": "c", "data": {}},
    ]
    for name, text in (("t.json", json.dumps(rows)), ("t.jsonl", "\n".join(map(json.dumps, rows)))):
        (tmp_path / name).write_text(text)
        assert plain(list(tasks.read(tmp_path / name))) == [(row["task_id"], row["data"]) for row in rows]


MEASURE = """
import sys
from pathlib import Path
from elsewhere.config import tasks
def peak():  # ru_maxrss would begin with what the parent had when it forked
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
count = sum(1 for _ in tasks.read(Path(sys.argv[1])))
print(count, before, peak())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks /proc for the peak")
@pytest.mark.parametrize(
    ("name", "count"), [("t.json", 300_000), ("t.jsonl", 300_000), ("t.yaml", 30_000), ("t.csv", 100_000)]
)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str, count: int) -> None:
    """A list of the tasks alone would take 100 MB."""
    path = tmp_path / name
    with path.open("w") as file:
        file.write({"t.json": "[", "t.csv": "task_id,x,s\n"}.get(name, ""))
        for n in range(count):
            row = f'"task_id": "task-{n:07}", "data": {{"x": {n}, "s": "{n:040}"}}'
            file.write({
                "t.json": f"{',' if n else ''}\n{{{row}}}", "t.jsonl": f"{{{row}}}\n", "t.yaml": f"- {{{row}}}\n",
                "t.csv": f"task-{n},{n},{n:040}\n",
            }[name])  # fmt: skip
        file.write("]" if name == "t.json" else "")
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    found, before, after = map(int, done.stdout.split())
    assert found == count
    assert after - before < 16 * 1024, f"{(after - before) / 1024:.0f} MB more"
    assert after < 64 * 1024
