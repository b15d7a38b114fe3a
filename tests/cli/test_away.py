"""Words for jobs that are away: what is asked there, and what is left of what was typed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.cli import away
from elsewhere.cli.dispatch import dispatch
from elsewhere.controller import away as known
from elsewhere.model import ids

JOB = "job-1"


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (["--controller", "lab", "t.json"], ["t.json"]),
        (["t.json", "--controller=lab", "-s", "2"], ["t.json", "-s", "2"]),
        (["--", "echo", "--controller", "lab"], ["--", "echo", "--controller", "lab"]),
        (["--controller", "lab", "--", "--controller=x"], ["--", "--controller=x"]),
    ],
)
def test_the_option_goes_and_a_command_stays_as_it_is(typed: list[str], left: list[str]) -> None:
    assert away.without(typed, "--controller") == left


@pytest.mark.parametrize(
    ("typed", "reference", "asked"),
    [
        ([], "@last", [JOB]),
        (["-f"], "@last", ["-f", JOB]),
        (["fit"], "fit", [JOB]),
        (["-f", "fit/3"], "fit", ["-f", f"{JOB}/3"]),
        (["@last/3"], "@last", [f"{JOB}/3"]),
        (["fit", "fit"], "fit", [JOB, "fit"]),
    ],
)
def test_a_job_is_called_by_its_id_there(typed: list[str], reference: str, asked: list[str]) -> None:
    assert away._renamed(typed, reference, JOB) == asked


@pytest.mark.needs("ssh")
def test_what_is_on_a_host_that_is_gone_is_forgotten_when_that_is_insisted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path))
    host = "nowhere.invalid"
    kept = known.Away(host, "lab", "ssh", {"hosts": [host]}, ".elsewhere", "we-1", "work-1")
    known.keep(kept, ids.new("job"), "fit", 1.0)
    assert dispatch(["status", "fit"]) == 3 and len(known.records()) == 1
    assert "`elsewhere shell lab nowhere.invalid` opens" in _said(capsys, ["shell", "fit"], 2)
    assert f"there is no host {host}" in _said(capsys, ["rm", "fit"], 3) and len(known.records()) == 1
    assert "fit is forgotten here" in _said(capsys, ["rm", "--force", "fit"], 0) and known.records() == []


def _said(capsys: pytest.CaptureFixture[str], words: list[str], status: int) -> str:
    capsys.readouterr()
    assert dispatch(words) == status
    return capsys.readouterr().err
