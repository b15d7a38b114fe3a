"""`Project.load("elsewhere.yaml").run()`, and the same jobs by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import Shell
from elsewhere import Project
from elsewhere.errors import ConfigError, UnknownJob, UsageError

FILE = """\
jobs:
  fit:
    script: run_remote.py {seed} {rate}
    inputs: [lib/, input.dat]
    outputs: ["out-{seed}.dat"]
    env: {RATE: "{rate}"}
    matrix: {seed: [1, 2], rate: [0.1, 0.01]}
  list: {tasks: tasks.jsonl, entry: "work.py:double"}
  none: {script: quiet.sh, outputs: [never.dat]}
"""
RUN = """\
import os, sys
print("seed", sys.argv[1], open("lib/part").read(), end="")
with open(f"out-{sys.argv[1]}.dat", "w") as file:
    file.write(os.environ["RATE"] + open("input.dat").read())
"""
FILES = {
    "elsewhere.yaml": FILE, "run_remote.py": RUN, "input.dat": " of input", "lib/part": "part\n", "quiet.sh": "true\n",
    "work.py": "def double(x):\n    return 2 * x\n", "tasks.jsonl": '{"task_id": "a", "data": {"x": 4}}\n',
}  # fmt: skip


@pytest.fixture
def project(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name, text in FILES.items():
        (shell.directory / name).parent.mkdir(exist_ok=True)
        shell.write(name, text)
    monkeypatch.setenv("ELSEWHERE_HOME", str(shell.home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shell.directory.parent / "config"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_job_of_the_file_runs_and_each_task_leaves_its_files(project: Shell) -> None:
    ran = project("run", "fit", "--quiet")
    assert ran.status == 0, ran.err
    assert project("logs", "-f", "fit/3").out == "seed 2 part\n"
    assert "runs `python run_remote.py 2 0.1`" in project("explain", "fit/3").out
    assert project("results", "fit", "--files", "-o", "results/").status == 0
    found = {str(p.relative_to(project.directory)): p.read_text() for p in project.directory.glob("results/*/*/*")}
    assert found == {
        "results/fit/1/out-1.dat": "0.1 of input", "results/fit/2/out-1.dat": "0.01 of input",
        "results/fit/3/out-2.dat": "0.1 of input", "results/fit/4/out-2.dat": "0.01 of input",
    }  # fmt: skip
    assert project("plan", "fit").out.startswith("4 tasks, ")


def test_an_output_that_is_not_there_fails_the_task_and_is_named(project: Shell) -> None:
    ran = project("run", "none")
    assert ran.status not in (0, 2) and "it left no never.dat" in ran.err
    ran = project("run", "none", "--output", "../x")
    assert ran.status in (2, 125) and "'../x' leads out of the task's directory" in ran.err


def test_what_is_typed_wins_over_the_combinations(project: Shell) -> None:
    ran = project("run", "fit", "--quiet", "--env", "RATE=typed", "--output", "*.dat")
    assert ran.status == 0, ran.err
    assert project("results", "fit", "--files", "-o", "r").status == 0
    assert (project.directory / "r/fit/4/out-2.dat").read_text() == "typed of input"


def test_a_large_matrix_wants_a_word(project: Shell) -> None:
    values = list(range(40))
    job = {"command": ["true"], "matrix": {"a": values, "b": values}}
    project.write("elsewhere.yaml", json.dumps({"jobs": {"large": job}}))
    ran = project("run", "large")
    assert (ran.status, "the matrix makes 1,600 tasks" in ran.err, "--yes" in ran.err) == (2, True, True)
    assert project("plan", "large").out.startswith("1600 tasks") or "1,600 tasks" in project("plan", "large").out
    with pytest.raises(UsageError, match="1,600 tasks"):
        Project.load(project.directory).run("large")


def test_a_project_runs_its_jobs_from_python(project: Shell) -> None:
    found = Project.load(project.directory / "elsewhere.yaml")
    assert found.jobs == ["fit", "list", "none"]
    done = found.run("fit", "list")
    assert list(done) == ["fit", "list"] and all(job.ok for job in done.values())
    assert [result.value for result in done["list"].results()] == [8]
    assert "seed 2 part" in done["fit"].logs("3")
    assert done["fit"].counts.total == 4
    submitted = found.submit("none")["none"].wait(60)
    assert submitted.exit_code == 1 and "never.dat" in str(submitted.error())


def test_what_is_wrong_with_a_project_is_said_before_anything_runs(project: Shell) -> None:
    with pytest.raises(UnknownJob, match="did you mean 'fit'"):
        Project.load(project.directory).run("fti")
    with pytest.raises(UsageError, match=r"there is no elsewhere.yaml"):
        Project.load(project.directory / "lib")
    (project.directory / "run_remote.py").unlink()
    with pytest.raises(UsageError, match=r"there is no script run_remote.py"):
        Project.load(project.directory).run()
    project.write("elsewhere.yaml", "jobs: {fit: {script: run.py, matrix: 3}}")
    with pytest.raises(ConfigError, match="matrix must be a mapping"):
        Project.load(project.directory)
    assert not list((project.home / "jobs").glob("job-*")) if (project.home / "jobs").exists() else True
