"""What an entry of `jobs:` runs: scripts by their suffix, commands, lines for a shell, and a matrix of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elsewhere.api import entries
from elsewhere.config import load
from elsewhere.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    for name in ("run.py", "run.jl", "run.R", "src/go.sh", "-odd.py", "fit_a.py", "a b.py"):
        (folder / name).write_text("")
    (folder / "bash.sh").write_text("#!/usr/bin/env bash\n")
    monkeypatch.chdir(folder)
    return folder


def work(project: Path, **entry: Any) -> entries.Work:
    (project / "elsewhere.yaml").write_text(json.dumps({"jobs": {"job": entry}}))
    return entries.of(load.current(project).job("job"))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("run.py 1 10", ("", "run.py", "1", "10")),
        ("run.jl 'a b'", ("julia", "run.jl", "a b")),
        ("run.R", ("Rscript", "run.R")),
        ("src/go.sh x", ("sh", "src/go.sh", "x")),
        ("bash.sh", ("/usr/bin/env", "bash", "bash.sh")),
        ("-odd.py", ("", "./-odd.py")),
        ("'a b.py' '$(x)'", ("", "a b.py", "$(x)")),
        ("echo x > y", ("sh", "-ec", "echo x > y")),
        ("run.py 1\nrun.py 2", ("sh", "-ec", "run.py 1\nrun.py 2")),
        ("echo it's", ("sh", "-ec", "echo it's")),
    ],
)
def test_a_script_runs_by_its_suffix_and_other_lines_go_to_a_shell(
    project: Path, script: str, words: tuple[str, ...]
) -> None:
    assert work(project, script=script).words == words


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"script": "rnu.py"}, "there is no script rnu.py"),
        ({"script": "/etc/x.py"}, "lies outside of"),
        ({"script": "../x.py"}, "lies outside of"),
        ({"script": "run.py | tee x"}, "'|' is for a shell, and a script's words go through none"),
        ({"script": "fit_{kind}.py", "matrix": {"kind": ["a", "b"]}}, "there is no script fit_b.py"),
        ({}, "says not what to run"),
        ({"script": "run.py", "command": ["x"]}, "has command and script"),
        ({"tasks": "t.json", "entry": "a:b", "matrix": {"a": [1]}}, "has matrix and tasks"),
        ({"command": ["x", "{}"], "each_line": "f", "matrix": {"a": [1]}}, "{}, for which the matrix has no value"),
        ({"command": ["x"], "each_line": "f", "matrix": {"a": [1]}}, "has matrix and each-line"),
        ({"script": "run.py", "needs": "x"}, "has needs, which this version cannot do yet"),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_made(project: Path, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        work(project, **entry)
    assert said in raised.value.message


def test_each_combination_is_a_task_with_terms_of_its_own(project: Path) -> None:
    made = work(
        project, script="run.py {n} '{w}'", matrix={"n": [1, 2], "w": ["x y", "$(z)"]}, timeout="{n}s",
        resources={"cpus": "{n}", "memory": "{n}GiB"}, env={"W": "{w}", "K": "k"}, outputs=["{n}.dat", "log"],
        inputs=["in-{n}"], retries="{n}",
    )  # fmt: skip
    tasks = list(made.tasks())
    assert [task.id for task in tasks] == ["1", "2", "3", "4"] and made.count == 4
    assert json.loads(tasks[3].options or b"") == {
        "command": ["", "run.py", "2", "$(z)"], "timeout": 2.0, "retries": 2, "cpus": 2.0, "memory": 2 << 30,
        "env": {"W": "$(z)"}, "outputs": ["2.dat", "log"],
    }  # fmt: skip
    assert made.files("inputs") == ("in-1", "in-2") and made.files("outputs") == ("1.dat", "log", "2.dat")


def test_what_a_call_says_wins(project: Path) -> None:
    made = work(project, command=["x"], matrix={"n": [1]}, timeout="{n}s", env={"N": "{n}"}, outputs=["{n}"])
    [task] = made.tasks({"timeout", "outputs"}, {"N"})
    assert json.loads(task.options or b"") == {"command": ["x"]}


def test_a_value_that_is_none_is_said_with_its_combination(project: Path) -> None:
    made = work(project, command=["x"], matrix={"n": [1, "soon"]}, timeout="{n}")
    with pytest.raises(UsageError, match=r"job 'job' with n = soon: timeout: 'soon' is not a duration"):
        list(made.tasks())
    made = work(project, command=["x"], matrix={"n": [".."]}, outputs=["{n}/x"])
    with pytest.raises(UsageError, match="leads out of"):
        list(made.tasks())


def test_no_value_reaches_a_shell_but_the_plainest(project: Path) -> None:
    made = work(project, script="echo {a} {b}", matrix={"a": [1.5], "b": ["x"]})
    assert [json.loads(task.options or b"")["command"][2] for task in made.tasks()] == ["echo 1.5 x"]
    with pytest.raises(UsageError, match="cannot stand in lines for a shell"):
        work(project, script="echo {a}", matrix={"a": ["x; y"]})
    assert work(project, script="echo", matrix={"a": ["x; y"]}).count == 1, "it is not in them"
