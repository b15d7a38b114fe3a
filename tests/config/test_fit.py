"""Tasks that are well written and cannot run all the same: told with their lines, before anything is made."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from elsewhere import machine
from elsewhere.config import tasks
from elsewhere.config.fit import Fit, Parameters
from elsewhere.errors import InvalidTask
from elsewhere.model.resources import Resources
from elsewhere.slot import check

GIB = 1 << 30


def fit(function: Any) -> Fit:
    return Fit(Parameters.of("f", check.parameters(function)))


def faults(source: Any, judge: Fit) -> list[str]:
    with pytest.raises(InvalidTask) as caught:
        list(tasks.read(source, judge))
    return [fault.rpartition("/")[2] for fault in caught.value.faults]


def area(width: int, height: int = 1, *, unit: str = "m") -> None: ...
def anything(first: int, **more: Any) -> None: ...
def wrapped(*args: Any, **more: Any) -> None: ...


wrapped.__wrapped__ = area  # type: ignore[attr-defined]

LINES = b"""{"task_id": "a", "data": {"width": 1, "unit": "cm"}}
{"task_id": "b", "data": {"width": 1, "hight": 2}}
{"task_id": "c", "data": {"height": 2}}
{"task_id": "d", "dta": {}}
{"task_id": "e", "data": {}, "command": ["true"]}
{"task_id": "f", "command": ["true"]}
"""


def test_missing_and_unknown_parameters_are_told_with_their_lines_beside_all_other_faults(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(LINES)
    assert faults(tmp_path / "t.jsonl", fit(area)) == [
        "t.jsonl:2: data: f() has no parameter 'hight'; did you mean 'height'?",
        "t.jsonl:3: data: f() needs 'width', which is missing",
        "t.jsonl:4: unknown key 'dta'; did you mean 'data'?",
        't.jsonl:4: data is missing; write "data": {} for a task without any',
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.json", '[{"task_id": "a", "data": {"width": 1}},\n\n{"task_id": "b", "data": {"w": 1, "width": 2}}]', 3),
        ("t.yaml", "- task_id: a\n  data: {width: 1}\n- task_id: b\n  data: {w: 1, width: 3}\n", 3),
        ("t.csv", "task_id,width,w\na,1,2\n", 2),
    ],
)
def test_lists_of_every_format_are_held_against_the_function(tmp_path: Path, name: str, text: str, said: int) -> None:
    (tmp_path / name).write_text(text)
    (fault,) = faults(tmp_path / name, fit(area))
    assert fault.startswith(f"{name}:{said}: data: f() has no parameter 'w'")


def test_of_a_function_that_takes_anything_only_what_it_needs_is_asked_for() -> None:
    rows = [{"data": {"first": 1, "other": 2}}, {"data": {"other": 2}}]
    assert faults(rows, fit(anything)) == ["the task source:2: data: f() needs 'first', which is missing"]


@pytest.mark.parametrize("function", [wrapped, dict, lambda *a, **k: None])
def test_what_a_decorator_or_a_built_in_takes_is_not_guessed(function: Any) -> None:
    assert len(list(tasks.read(io.BytesIO(b'{"task_id": "a", "data": {"zzz": 1}}\n'), fit(function)))) == 1


def test_a_stream_ends_before_the_task_concerned() -> None:
    stream = io.BytesIO(LINES)
    assert faults(stream, fit(area))[0].startswith("standard input:2: data: f() has no parameter 'hight'")


def test_a_need_larger_than_this_machine_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cpus", lambda: 4)
    monkeypatch.setattr(machine, "usable_memory", lambda: 8 * GIB)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    own = ['{"cpus": 4, "memory": "8GiB"}', '{"cpus": 5}', '{"memory": "9GiB"}', '{"gpus": "a100:2"}']
    lines = [f'{{"task_id": "t{k}", "data": {{}}, "resources": {text}}}\n' for k, text in enumerate(own)]
    (tmp_path / "t.jsonl").write_text("".join(lines))
    assert faults(tmp_path / "t.jsonl", Fit(None, (Resources(), 2))) == [
        "t.jsonl:2: it needs 5 CPUs, and this machine gives 4",
        "t.jsonl:3: it needs 9GiB of memory, and this machine has 8GiB",
        "t.jsonl:4: it needs 2 GPUs of type a100, and this machine has none",
    ]
    assert len(list(tasks.read(tmp_path / "t.jsonl", Fit()))) == 4, "what does not run here is not held against here"


def test_a_need_larger_than_any_machine_of_the_job_is_told_with_its_line(tmp_path: Path) -> None:
    fit = Fit()
    fit.on(Resources(), [Resources(2, 4 << 30), Resources(4, 1 << 30, 1, "a100")])
    needs = [{"cpus": 4, "gpus": "a100:1"}, {"cpus": 2, "memory": "4GiB"}, {"cpus": 5}, {"cpus": 3, "memory": "2GiB"},
             {"gpus": "h100:1"}]  # fmt: skip
    path = tmp_path / "list.jsonl"
    path.write_text("".join(json.dumps({"task_id": f"t{n}", "data": {}, "resources": need}) + "\n"
                            for n, need in enumerate(needs)))  # fmt: skip
    with pytest.raises(InvalidTask) as caught:
        list(tasks.read(path, fit))
    said = caught.value.faults
    assert [one.partition(": ")[0].rpartition(":")[2] for one in said] == ["3", "4", "5"]
    assert "needs 5 CPUs, and a machine of this job has 2" in said[0] and "GPUs of type h100" in said[2]
    assert "2GiB of memory" in said[1] or "needs 3 CPUs" in said[1]
