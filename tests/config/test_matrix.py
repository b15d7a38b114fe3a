"""`matrix:` of a job: its combinations, the names in strings, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.config import load, matrix
from elsewhere.errors import ConfigError, UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def faults(project: Path, text: str) -> list[str]:
    (project / "elsewhere.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load.current(project)
    return [raised.value.message] if len(raised.value.faults) < 2 else list(raised.value.faults)


def test_the_last_name_varies_first_and_values_read_as_they_are_written() -> None:
    made = matrix.KIND.read({"a": [1, 0.01], "b": [True, "x y"]})
    assert list(matrix.combinations(made)) == [
        {"a": "1", "b": "true"}, {"a": "1", "b": "x y"}, {"a": "0.01", "b": "true"}, {"a": "0.01", "b": "x y"},
    ]  # fmt: skip
    assert matrix.size(made) == 4


def test_names_are_replaced_and_braces_written_twice_are_braces() -> None:
    assert matrix.fill("{a}-{{a}}-{b}", {"a": "{b}", "b": "2"}) == "{b}-{a}-2", "a value is not looked into"
    with pytest.raises(UsageError, match="did you mean 'seed'"):
        matrix.fill("{sed}", {"seed": "1"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[1, 2]", "must be a mapping of names to lists of values, not a list"),
        ("{}", "must be a mapping of names to lists"),
        ("{seed: 3}", "must have a list of values for seed, not the number 3"),
        ("{seed: []}", "must have a list of values for seed, not a list"),
        ("{seed: [[1]]}", "must have numbers and strings for seed, not a list"),
        ("{seed: [1, '1']}", "has '1' twice for seed"),
        ("{'a b': [1]}", "holds 'a b', which is no name"),
    ],
)
def test_a_matrix_that_is_none_is_said_with_its_line(project: Path, given: str, said: str) -> None:
    [fault] = faults(project, f"jobs:\n  a:\n    command: [x]\n    matrix: {given}\n")
    assert fault.startswith("elsewhere.yaml:4: jobs.a.matrix ") and said in fault


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("command: [x, '{sed}']", "command has {sed}, for which the matrix has no value; did you mean 'seed'?"),
        ("script: run.py {sed}", "script has {sed}, for which the matrix has no value; did you mean 'seed'?"),
        ("outputs: ['{x}.dat']", "outputs has {x}, for which the matrix has no value; known: seed"),
        ("upload: '{x}.dat'", "upload has {x}, for which"),
        ("timeout: '{sed}s'", "timeout has {sed}, for which"),
        ("script: echo ${HOME}", "{HOME}, for which the matrix has no value; known: seed; {{ and }} are braces"),
        ("script: 'run.py {'", "script has a lone { in 'run.py {'"),
        ("on: '{seed}'", "on has {seed}, and cannot differ from task to task"),
    ],
)
def test_a_name_without_a_value_is_said_with_file_line_and_the_nearest(project: Path, line: str, said: str) -> None:
    [fault] = faults(project, f"jobs:\n  a:\n    matrix: {{seed: [1]}}\n    {line}\n")
    assert fault.startswith("elsewhere.yaml:4: jobs.a.") and said in fault, fault


def test_names_in_variables_and_resources_are_looked_at_too(project: Path) -> None:
    text = "jobs:\n  a:\n    command: [x]\n    matrix: {seed: [1]}\n    env:\n      A: '{sed}'\n"
    text += "    resources:\n      cpus: '{n}'\n"
    assert [fault.partition(" has ")[0] for fault in faults(project, text)] == [
        "elsewhere.yaml:6: jobs.a.env.A", "elsewhere.yaml:8: jobs.a.resources.cpus",
    ]  # fmt: skip


def test_without_a_matrix_braces_are_braces(project: Path) -> None:
    (project / "elsewhere.yaml").write_text("jobs: {a: {command: [x, '{y}'], env: {Z: '{z}'}}}")
    assert load.current(project).job("a").what["command"] == ("x", "{y}")


def test_two_jobs_of_one_name_are_refused(project: Path) -> None:
    text = "jobs:\n  fit:\n    command: [x]\n  other:\n    command: [x]\n    name: fit\n"
    assert faults(project, text) == ["elsewhere.yaml:6: the jobs fit and other have one name, 'fit'"]
    [again] = faults(project, "jobs:\n  fit: {command: [x]}\n  fit: {command: [y]}\n")
    assert "elsewhere.yaml:3" in again


def test_what_differs_from_task_to_task_is_not_of_the_whole_job(project: Path) -> None:
    (project / "elsewhere.yaml").write_text(
        "profiles: {p: {outputs: [z]}}\njobs: {a: {command: [x], matrix: {n: [1, 2]}, timeout: '{n}s', cpus: '{n}', "
        "retries: '{n}', outputs: ['{n}'], slots: 3}}"
    )
    found = load.current(project)
    assert found.spec(job="a")["slots"] == 3
    assert "timeout" not in found.spec(job="a") and found.spec(job="a")["resources"].cpus == 1
    assert found.job("a").own["timeout"] == "{n}s" and found.job("a").own["outputs"] == ("{n}",)
    assert "outputs" not in found.job("a", "p").own, "the profile is stronger"


def test_upload_is_another_name_for_inputs(project: Path) -> None:
    (project / "elsewhere.yaml").write_text("jobs: {a: {command: [x], upload: [y, z]}, b: {command: [x], upload: y}}")
    found = load.current(project)
    assert (found.value("inputs", job="a"), found.value("inputs", job="b")) == (("y", "z"), ("y",))
