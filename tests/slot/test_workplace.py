"""A working directory for each attempt: inputs are found, outputs are kept, and the project is not harmed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from elsewhere.model.job import Entry
from elsewhere.model.reports import Ended
from elsewhere.model.states import Outcome
from slot.floor import Floor, floor

COMMAND = Entry("command")


def shell(work: Floor, script: str) -> Ended:
    [one] = work.run(b"null", options={"command": ["sh", "-ec", script]})
    return one


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    """A project with a file and a folder, data beside it, and where outputs go."""
    work = tmp_path / "work"
    (work / "plots").mkdir(parents=True)
    (work / "plots" / "old.png").write_text("old")
    (work / "output.dat").write_text("mine")
    (work / "read.me").write_text("read me")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part").write_text("of data")
    inputs = (("data", str(tmp_path / "data")), ("lib/given.txt", str(work / "read.me")))
    return {"inputs": inputs, "outputs": ("output.dat", "plots/*.png"), "collected": str(tmp_path / "outputs")}


def test_a_command_finds_its_project_and_its_inputs_and_leaves_its_outputs(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    with floor(tmp_path, entry=COMMAND, **place) as work:
        ended = shell(work, "cat read.me data/part lib/given.txt > output.dat; echo new > plots/new.png; echo x > left")
        assert ended.outcome is Outcome.SUCCEEDED, ended.value
    kept = tmp_path / "outputs" / f"{ended.n}.1"
    assert {str(p.relative_to(kept)): p.read_text() for p in kept.rglob("*") if p.is_file()} == {
        "output.dat": "read meof dataread me", "plots/new.png": "new\n",
    }  # fmt: skip
    project = tmp_path / "work"
    assert (project / "output.dat").read_text() == "mine", "an output never goes through a link into the project"
    assert sorted(p.name for p in (project / "plots").iterdir()) == ["old.png"]
    assert not (project / "left").exists()


def test_each_attempt_has_its_own(tmp_path: Path, place: dict[str, Any]) -> None:
    with floor(tmp_path, entry=COMMAND, count=2, **place | {"outputs": ("*.out",)}) as work:
        script = 'test ! -e mine; echo "$ELSEWHERE_TASK_ID" > mine; cp mine "$ELSEWHERE_TASK_ID.out"'
        ns = work.put(b"null", b"null", b"null", options={"command": ["sh", "-ec", script]})
        assert {one.outcome for one in work.finish(*ns)} == {Outcome.SUCCEEDED}
    names = sorted(p.name for p in (tmp_path / "outputs").rglob("*.out"))
    assert names == ["task-1.out", "task-2.out", "task-3.out"]


def test_an_output_that_is_missing_is_an_error_that_names_it(tmp_path: Path, place: dict[str, Any]) -> None:
    with floor(tmp_path, entry=COMMAND, **place) as work:
        ended = shell(work, "echo new > output.dat")
    assert ended.outcome is Outcome.ERRORED
    assert json.loads(ended.value)["message"] == "it left no plots/*.png, which its outputs name"
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").iterdir())


@pytest.mark.parametrize("more", [{}, {"isolate": True}], ids=["warm", "isolate"])
def test_a_function_too(tmp_path: Path, place: dict[str, Any], more: dict[str, Any]) -> None:
    code = """
        from pathlib import Path
        def f(x):
            Path("deep/er").mkdir(parents=True)
            Path("deep/er/one").write_text(Path("data/part").read_text() + str(x))
            return Path.cwd().name
        """
    with floor(tmp_path, code, **place | {"outputs": ("deep",)}, **more) as work:
        first, second = work.run({"x": 1}, {"x": 2})
        assert (first.outcome, second.outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED), first.value
    assert [(tmp_path / "outputs" / f"{n}.1" / "deep/er/one").read_text() for n in (1, 2)] == ["of data1", "of data2"]


def test_a_link_is_no_output_and_a_failed_task_keeps_none(tmp_path: Path, place: dict[str, Any]) -> None:
    with floor(tmp_path, entry=COMMAND, **place | {"outputs": ("*.dat",)}) as work:
        linked = shell(work, "ln -s /etc/hostname secret.dat")
        failed = shell(work, "echo x > output.dat; exit 3")
    assert (linked.outcome, failed.outcome) == (Outcome.ERRORED, Outcome.ERRORED)
    assert json.loads(failed.value)["exit_code"] == 3
    assert not list((tmp_path).glob("outputs/*"))


def test_a_task_may_have_outputs_of_its_own_among_those_of_the_job(tmp_path: Path, place: dict[str, Any]) -> None:
    with floor(tmp_path, entry=COMMAND, count=2, **place | {"outputs": ("a.out", "b.out")}) as work:
        script = ["sh", "-ec", "echo x > a.out"]
        [good] = work.run(b"null", options={"command": script, "outputs": ["a.out"]})
        [bad] = work.run(b"null", options={"command": script, "outputs": ["b.out"]})
    assert good.outcome is Outcome.SUCCEEDED and bad.outcome is Outcome.ERRORED
    assert b"it left no b.out" in bad.value
    assert [p.name for p in (tmp_path / "outputs" / f"{good.n}.1").iterdir()] == ["a.out"]


def test_an_empty_first_word_is_the_interpreter_of_the_slot(tmp_path: Path, place: dict[str, Any]) -> None:
    with floor(tmp_path, entry=COMMAND, **place | {"outputs": ("output.dat",)}) as work:
        code = "import sys; open('output.dat', 'w').write(sys.executable)"
        [ended] = work.run(b"null", options={"command": ["", "-c", code]})
        assert ended.outcome is Outcome.SUCCEEDED, ended.value
    assert (tmp_path / "outputs" / f"{ended.n}.1" / "output.dat").read_text() == sys.executable
