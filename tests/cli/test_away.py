"""Words for jobs that are away: what is asked there, and what is left of what was typed here."""

from __future__ import annotations

import pytest

from elsewhere.cli import away

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
