"""Task lists: what is read, what is refused, and on which line."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere.config import tasks
from elsewhere.errors import InvalidTask
from elsewhere.model.task import NewTask


def read(path: Path, text: str | bytes) -> list[NewTask]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(tasks.read(path))


def faults(path: Path, text: str | bytes) -> list[str]:
    """The faults of a file, without its path: `3: what`."""
    with pytest.raises(InvalidTask) as caught:
        read(path, text)
    assert caught.value.exit_status == 2
    return [fault.removeprefix(f"{path}:").strip() for fault in caught.value.faults]


SAME = {
    "t.json": '[{"task_id": "a", "data": {"x": 1, "s": "é"}}, {"task_id": "b", "data": {}}]',
    "t.jsonl": '{"task_id": "a", "data": {"x": 1, "s": "é"}}\n{"task_id": "b", "data": {}}\n',
    "t.ndjson": '\n{"task_id": "a", "data": {"x": 1, "s": "é"}}\r\n\r\n{"task_id": "b", "data": {}}',
    "t.yaml": "- task_id: a\n  data: {x: 1, s: é}\n- task_id: b\n  data: {}\n",
    "t.yml": '[{task_id: a, data: {x: 1, s: "é"}},\n{"task_id": "b", "data": {}}]\n',
    "t.csv": "task_id,x,s\na,1,é\nb,,\n",
    "T.TSV": 'x\ttask_id\ts\r\n1\ta\té\r\n\r\n""\tb\t\r\n',
}


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", SAME)
def test_every_format_packed_or_not_gives_the_same_tasks(tmp_path: Path, name: str, packed: str) -> None:
    data = SAME[name].encode()
    if packed == ".gz":
        data = gzip.compress(data)
    elif packed:
        data = zstd().compress(data)
    found = read(tmp_path / (name + packed), data)
    assert [(task.id, json.loads(task.body), task.options) for task in found] == [
        ("a", {"x": 1, "s": "é"}, None), ("b", {}, None),
    ]  # fmt: skip


def zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return module


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.yaml", "t.csv"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, name: str) -> None:
    assert len(read(tmp_path / name, b"\xef\xbb\xbf" + SAME[name].encode())) == 2


def test_what_a_task_sets_for_itself_is_kept_in_seconds_and_bytes(tmp_path: Path) -> None:
    row = {
        "task_id": "a", "command": ["echo", "x"], "timeout": "1m30s", "retries": 2, "env": {"A": "b"}, "priority": 5,
        "resources": {"cpus": 2, "memory": "1GiB", "gpus": "a100:2", "disk": "2G"},
    }  # fmt: skip
    for name, text in (("t.jsonl", json.dumps(row)), ("t.json", json.dumps([row], indent=2))):
        [task] = read(tmp_path / name, text)
        assert (task.id, task.body, task.priority) == ("a", b"null", 5)
        assert json.loads(task.options or b"") == {
            "timeout": 90.0, "retries": 2, "cpus": 2, "memory": 1 << 30, "gpus": 2, "gpu_type": "a100",
            "disk": 2 * 10**9, "env": {"A": "b"}, "command": ["echo", "x"],
        }  # fmt: skip


def test_data_stays_the_text_of_the_file_without_its_layout(tmp_path: Path) -> None:
    text = '[\n {\n  "task_id": "a",\n  "data": {\n   "x": 1.500e3,\n   "s": "\\u00e9\\n"\n  }\n }\n]\n'
    assert read(tmp_path / "t.json", text)[0].body == b'{"x":1.500e3,"s":"\\u00e9\\n"}'
    assert read(tmp_path / "t.jsonl", '{"task_id":"a","data":{"x": 0.10}}')[0].body == b'{"x": 0.10}'


def test_cells_that_are_json_numbers_or_words_become_them_and_others_stay_text(tmp_path: Path) -> None:
    text = 'task_id,a,b,c,d,e,f,g,h,i\n7,007,+1,1e3,TRUE,null,2024-01-01,,-0.10,"x,\ny"""\n8,1,1,1,1,1,1,1,1,1\n'
    found = read(tmp_path / "t.csv", text)
    assert json.loads(found[0].body) == {
        "a": "007", "b": "+1", "c": 1000.0, "d": True, "e": None, "f": "2024-01-01", "h": -0.1, "i": 'x,\ny"',
    }  # fmt: skip
    assert tasks.lines_of(tmp_path / "t.csv", ["8"]) == {"8": [4]}


def test_yaml_words_mean_what_yaml_1_2_says(tmp_path: Path) -> None:
    text = """\
# a comment first
--- # and a document
- task_id: no
  data: &shared
    words: [no, yes, on, off, n, y, 2024-01-01, 12:30, 1_000, 0x1F, 0o17, 012, -.5, true, ~, null, "1", '2', =]
    text: |
      - task_id: not an item
      "
    folded: >-
      a
      b
- task_id: b
  data: {<<: *shared, words: 1}
...
"""
    first, second = (json.loads(task.body) for task in read(tmp_path / "t.yaml", text))
    assert first == {
        "words": ["no", "yes", "on", "off", "n", "y", "2024-01-01", "12:30", "1_000", 31, 15, 12, -0.5, True, None,
                  None, "1", "2", "="],
        "text": '- task_id: not an item\n"\n', "folded": "a b",
    }  # fmt: skip
    assert second == {**first, "words": 1}


FAULTS: list[tuple[str, str | bytes, list[str]]] = [
    ("a.jsonl", '{"data": {}}', ["1: task_id is missing"]),
    ("b.jsonl", '{"task_id": "a"}', ["1: data is missing"]),
    ("c.jsonl", '{"task_id": 7, "data": {}}', ['1: task_id must be a string, not the number 7; write "7"']),
    ("d.jsonl", '\n{"task_id": "a", "data": [1]}', ["2: data must be a mapping, not a list"]),
    ("e.jsonl", '{"task_id": "a", "data": null}', ["1: data must be a mapping, not nothing"]),
    ("f.jsonl", '{"task_id": "a", "data": {}, "retires": 1}', ["1: unknown key 'retires'; did you mean 'retries'?"]),
    ("g.jsonl", '{"task_id": "a", "data": {"x": NaN}}', ["1: broken JSON (column 32): invalid character; NaN is not"]),
    ("h.jsonl", b'{"task_id": "a", "data": {}}\n{"task_id": "b", "data": {"x": "\xff"}}', ["2: is not UTF-8"]),
    ("i.jsonl", '{"task_id": "a",\n"data": {}}', ["1: broken JSON", "2: broken JSON"]),
    ("j.jsonl", '{"task_id": "a"\n"data": {}}', ["1: broken JSON", "2: broken JSON"]),
    ("k.jsonl", '[{"task_id": "a", "data": {}}]', ["1: one task a line is expected, not a list; a JSON array belongs"]),
    ("l.jsonl", "", ["holds no task"]),
    ("m.jsonl", "7\n\"x\"\n{}", ["1: a task must be a mapping", "2: a task must be", "3: task_id is", "3: data is"]),
    ("n.jsonl", '{"task_id": "", "data": {}}', ["1: task_id is empty"]),
    ("o.jsonl", '{"task_id": "a\\nb", "data": {}}', ["1: task_id 'a\\nb' holds the control character"]),
    ("p.jsonl", '{"task_id": "%s", "data": {}}' % ("x" * 501), ["1: task_id is 501 characters long"]),
    ("q.jsonl", '{"task_id": "a", "data": {}, "timeout": "soon"}', ["1: timeout: 'soon' is not a duration"]),
    ("r.jsonl", '{"task_id": "a", "data": {}, "retries": -1}', ["1: retries must be 0 or more, not -1"]),
    ("s.jsonl", '{"task_id": "a", "data": {}, "resources": {"memory": "lots"}}', ["1: memory: 'lots' is not a size"]),
    ("t.jsonl", '{"task_id": "a", "data": {}, "resources": {"cpu": 1}}', ["1: unknown resource 'cpu'; did you mean"]),
    ("u.jsonl", '{"task_id": "a", "data": {}, "env": {"A": 1}}', ['1: env: A must be a string, not the number 1; wr']),
    ("v.jsonl", '{"task_id": "a", "command": "ls -l"}', ["1: command must be a list of strings"]),
    ("w.jsonl", '{"task_id": "a", "data": {}, "priority": 1.5}', ["1: priority must be a whole number"]),
    ("x.jsonl", '{"task_id": "a", "data": ' + '{"x":' * 5000 + "1" + "}" * 5001, ["1: broken JSON: it is nested"]),
    ("y.jsonl", '{"task_id": "a", "data": {}, "timeout": 0}', ["1: timeout must be longer than 0"]),
    ("a.json", "[]", ["holds no task"]),
    ("b.json", ' \n {"task_id": "a"}', ["2: a .json task list is one array of tasks"]),
    ("c.json", '[\n{"task_id": "a", "data": {}},\n{"task_id": "b"\n, "data": 1}\n]', ["3: data must be a mapping"]),
    ("d.json", '[\n{"task_id": "a", "data": {}},\n]', ["3: broken JSON: a comma stands before the closing ]"]),
    ("e.json", '[\n{"task_id": "a", "data": {}}\n{"task_id": "b", "data": {}}]', ["3: broken JSON: a comma is"]),
    ("f.json", '[\n{"task_id": "a", "data": {}}\n', ["3: broken JSON: the closing ] is missing"]),
    ("g.json", '[\n{"task_id": "a", "data": {}}\n]\n\n{}', ["5: broken JSON: something follows"]),
    ("h.json", '[{"task_id": "a",\n"data": {"x": tru}}]', ["2: broken JSON (column 16): invalid character"]),
    ("i.json", '[{"task_id": "a", "data": {}},\n\n{"task_id": "b", "da', ["3: broken JSON: it ends too early"]),
    ("j.json", '[1, {"a": 1}]', ["1: a task must be a mapping", "1: unknown key 'a'", "1: task_id is", "1: data is"]),
    ("k.json", b'[{"task_id": "a", "data": {}},\n{"task_id": "\xe9", "data": {}}]', ["2: is not UTF-8"]),
    ("a.yaml", "- data: {}\n- task_id: b\n", ["1: task_id is missing", "2: data is missing"]),
    ("b.yaml", "task_id: a\n", ["1: a YAML task list is a list"]),
    ("c.yaml", "- task_id: a\n  data: {x: 1,\n    x: 2}\n", ["3: the key 'x' is there twice"]),
    ("d.yaml", "- task_id: a\n  data: {x: .inf}\n", ["2: .inf is a value that JSON has not"]),
    ("e.yaml", "- task_id: a\n  data: {x: !!python/name:os.system }\n", ["2: the tag tag:yaml.org,2002:python/name"]),
    ("f.yaml", "- task_id: a\n  data: *x\n", ["2: the anchor &x is not known"]),
    ("g.yaml", "- task_id: 7\n  data: {}\n", ['1: task_id must be a string, not the number 7; write "7"']),
    ("h.yaml", b"- task_id: a\n  data: {x: \xff}\n", ["2: is not UTF-8"]),
    ("i.yaml", "- task_id: a\n  data: {x: \"1}\n- task_id: b\n  data: {x: \"y\"}\n- x\n", ["4: broken", "5: a task"]),
    ("j.yaml", "- task_id: a\n\tdata: {}\n- task_id: b\n  data: @x\n", ["2: broken YAML", "4: broken YAML (column 9)"]),
    ("k.yaml", "# nothing\n", ["holds no task"]),
    ("l.yaml", "- task_id: a\n  data: {}\n---\n- b\n", ["3: a second document"]),
    ("m.yaml", "- {task_id: a, data: {x: \"\x07\"}}\n", ["1: broken YAML: control characters"]),
    ("a.csv", "id,x\n1,2\n", ["1: the column task_id is missing; name the column"]),
    ("b.csv", "task_id;x\n1;2\n", ["1: the column task_id is missing; cells seem to be separated by ';'"]),
    ("c.csv", "task_id,x\na\nb,1,2\n", ["2: this row has 1 cells, the heading has 2", "3: this row has 3 cells"]),
    ("d.csv", "task_id,x\na,\"1\nb,2\n", ["2: broken CSV: a quote is not closed"]),
    ("e.csv", "task_id,x\n,1\n", ["2: task_id is empty"]),
    ("f.csv", b"task_id,x\na,1\nb,\xff\n", ["3: is not UTF-8"]),
    ("g.csv", "task_id,x\n", ["holds no task"]),
    ("h.csv", "task_id,x,x,\n", ["1: the column 'x' is there twice", "1: column 4 has no name"]),
    ("i.csv", "task_id,x\na,\"1\" 2\nb,1\n", ["2: broken CSV"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_faults_are_named_with_their_line_and_the_nearest_right_thing(
    tmp_path: Path, name: str, text: str | bytes, expected: list[str]
) -> None:
    found = faults(tmp_path / name, text)
    assert len(found) == len(expected), found
    for said, begin in zip(found, expected, strict=True):
        assert said.startswith(begin), said


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.yaml", "t.csv"])
def test_good_tasks_come_before_all_faults_are_named_at_the_end(tmp_path: Path, name: str) -> None:
    rows = [{"task_id": f"t-{n}", "data": {"x": n}} for n in range(2000)]
    bad = {10, 1500, 1999}
    for n in bad:
        rows[n]["task_id"] = ""
    path = tmp_path / name
    path.write_text(written(name, rows))
    found = []
    with pytest.raises(InvalidTask) as caught:
        for task in tasks.read(path):
            found.append(task.id)
    assert found == [f"t-{n}" for n in range(2000) if n not in bad]
    first = {"t.jsonl": 1, "t.json": 2, "t.yaml": 1, "t.csv": 2}[name]
    per = 2 if name == "t.yaml" else 1
    assert [int(fault.split(":")[1]) for fault in caught.value.faults] == [first + per * n for n in sorted(bad)]


def written(name: str, rows: list[dict[str, Any]]) -> str:
    if name == "t.jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    if name == "t.json":
        return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"
    if name == "t.yaml":
        return "".join(f'- task_id: "{row["task_id"]}"\n  data: {json.dumps(row["data"])}\n' for row in rows)
    return "task_id,x\n" + "".join(f"{row['task_id']},{row['data']['x']}\n" for row in rows)


def test_twenty_faults_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("{}\n" * 1000)
    with pytest.raises(InvalidTask, match="2,000 faults") as caught:
        list(tasks.read(path))
    assert len(caught.value.faults) == 20
    assert str(path) + ":10: " in str(caught.value)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.yaml", "t.csv"])
def test_the_lines_of_ids_are_found_again(tmp_path: Path, name: str) -> None:
    rows = [{"task_id": f"t-{n}", "data": {"x": n}} for n in range(3000)]
    rows[2000]["task_id"] = rows[2999]["task_id"] = "t-7"
    path = tmp_path / name
    path.write_text(written(name, rows))
    first = {"t.jsonl": 1, "t.json": 2, "t.yaml": 1, "t.csv": 2}[name]
    per = 2 if name == "t.yaml" else 1
    expected = [first + per * n for n in (7, 2000, 2999)]
    assert tasks.lines_of(path, ["t-7", "t-8", "no"]) == {"t-7": expected, "t-8": [first + per * 8], "no": []}
    error = tasks.duplicated(path, ["t-7"])
    assert error.faults[0] == (f"{path}:{expected[1]}: task_id 't-7' is used twice; first on line {expected[0]}")


def test_a_file_that_is_not_there_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text("[]")
    with pytest.raises(InvalidTask, match="no such file") as caught:
        list(tasks.read(tmp_path / "task.json"))
    assert "tasks.json" in caught.value.hint
    for name, said in (("t.jsn", "did you mean '.json'"), ("t", "known: .csv"), ("t.txt.gz", ".txt is not a kind")):
        with pytest.raises(InvalidTask, match=said) as caught:
            list(tasks.read(tmp_path / name))
        assert ".yaml" in caught.value.hint
    (tmp_path / "d.json").mkdir()
    with pytest.raises(InvalidTask, match="is a directory"):
        list(tasks.read(tmp_path / "d.json"))


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_packed_file_that_is_cut_off_or_no_such_thing_is_refused(tmp_path: Path, packed: str) -> None:
    data = (SAME["t.jsonl"] * 5000).encode()
    whole = gzip.compress(data) if packed == ".gz" else zstd().compress(data)
    for text in (whole[:-20], b"not packed at all"):
        assert "damaged or cut off" in faults(tmp_path / f"t.jsonl{packed}", text)[0]


def test_standard_input_stops_before_the_faulty_task() -> None:
    good = b'{"task_id": "a", "data": {}}\n{"task_id": "b", "data": {}}\n'
    stream = tasks.read(io.BytesIO(good + b'{"task_id": "c"}\n{"task_id": "d", "data": {}}\n{}\n'))
    assert [next(stream).id, next(stream).id] == ["a", "b"]
    with pytest.raises(InvalidTask, match=r"^standard input:3: data is missing"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_a_pipe_that_trickles_is_answered_line_by_line() -> None:
    code = "import sys; from elsewhere.config import tasks\nfor task in tasks.read('-'): print(task.id, flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        for name in ("a", "b"):
            process.stdin.write(b'{"task_id": "%s", "data": {}}\n' % name.encode())
            process.stdin.flush()
            assert process.stdout.readline() == name.encode() + b"\n"
        process.stdin.close()


def test_mappings_are_taken_one_by_one_and_named_when_they_have_no_id() -> None:
    taken = []

    def rows() -> Iterator[dict[str, Any]]:
        for n in (1, 2, 3):
            taken.append(n)
            yield {"data": {"n": n, "t": (1, None)}}

    stream = tasks.read(rows)
    assert next(stream) == NewTask("1", b'{"n":1,"t":[1,null]}')
    assert taken == [1]
    assert [task.id for task in stream] == ["2", "3"]
    assert [task.id for task in tasks.read([{"task_id": "x", "data": {}}])] == ["x"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"a": [1, {"b": object}]}, r"data.a\[1\].b is a type, <class 'object'>, which JSON cannot hold"),
        ({"a": float("nan")}, "data.a is a float, nan"),
        ({"a": b"x"}, "data.a is a bytes"),
        ([1], "data must be a mapping, not a list"),
    ],
)
def test_a_mapping_that_json_cannot_hold_is_refused_before_its_task(data: object, said: str) -> None:
    stream = tasks.read([{"data": {}}, {"data": data}])
    assert next(stream).id == "1"
    with pytest.raises(InvalidTask, match=said):
        next(stream)


def test_ten_lines_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["- task_id: a", "  data:", "    a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "stand for more than" in faults(tmp_path / "t.yaml", "\n".join(lines))[0]


def test_yaml_is_read_alike_where_libyaml_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    text = "# é\n- task_id: a\n  data: &d {x: 1, s: é, t: [no, ~, 0x10]}\n- task_id: b\n  data: {<<: *d, x: 2}\n"
    broken = text + "- task_id: c\n  data: {x: [}\n- x\n"
    with_libyaml = (
        read(tmp_path / "t.yaml", text),
        [said.split(": ")[0] for said in faults(tmp_path / "t.yaml", broken)],
    )
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    without = read(tmp_path / "t.yaml", text), [said.split(": ")[0] for said in faults(tmp_path / "t.yaml", broken)]
    assert without == with_libyaml
    assert with_libyaml[1] == ["7", "8"]
