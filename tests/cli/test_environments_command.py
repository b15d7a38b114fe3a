"""`elsewhere environments` here, and what `clean` does with what nothing uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cli.command import Shell

YAML = """
environments:
  marked: {setup: 'echo made > "$VIRTUAL_ENV/mark"'}
  broken: {setup: 'echo no compiler; exit 3'}
"""


@pytest.fixture
def home(shell: Shell) -> Path:
    shell.write("elsewhere.yaml", YAML)
    return shell.home


def test_an_environment_is_built_listed_and_removed_here(shell: Shell, home: Path) -> None:
    assert shell("environments").out == "Nothing is kept here.\n"
    assert shell("environments", "build", "marked").err == "marked is built here\n"
    [row] = shell("environments", "--json").json()
    assert (row["name"], row["machine"], row["busy"]) == ("marked", "here", False)
    assert (home / "environments" / row["mark"] / "mark").read_text() == "made\n"
    assert "marked" in shell("environments").out
    gone = shell("environments", "rm", row["mark"][:6], "--json").json()
    assert [one["name"] for one in gone["removed"]] == ["marked"] and gone["kept"] == 0
    assert list((home / "environments").iterdir()) == []


def test_a_build_that_fails_says_the_last_lines_and_keeps_nothing(shell: Shell, home: Path) -> None:
    failed = shell("environments", "build", "broken")
    assert failed.status == 2 and "no compiler" in failed.err
    assert shell("environments", "--json").json() == []


def test_one_that_a_job_may_be_using_stays(shell: Shell, home: Path) -> None:
    assert shell("run", "--environment", "marked", "--detach", "--name", "busy", "--", "sleep", "600").status == 0
    try:
        [row] = shell("environments", "--json").json()
        assert row["busy"]
        assert "1 stay, of which 1 in use" in shell("environments", "rm").out
    finally:
        shell("cancel", "busy")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bild"], "environments cannot be 'bild'; did you mean build?"),
        (["build"], "which environment is to be built?"),
        (["build", "markd"], "there is no environment 'markd'"),
        (["rm", "marked"], "there is no environment 'marked' there"),
        (["--on", "aws"], "machines of aws do not stay"),
        (["--on", "nowhere"], "there is no place 'nowhere'"),
    ],
)
def test_wrong_words_are_answered(shell: Shell, home: Path, words: list[str], said: str) -> None:
    refused = shell("environments", *words)
    assert refused.status == 2 and said in refused.err, refused


def test_clean_removes_what_nothing_has_used_for_long(shell: Shell, home: Path) -> None:
    shell("environments", "build", "marked")
    [row] = shell("environments", "--json").json()
    folder, archive = home / "environments" / row["mark"], home / "cache" / "bundles" / "old.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.touch()
    old = time.time() - 31 * 86400
    for path in (folder, archive):
        os.utime(path, (old, old))
    assert "Would remove 1 environment" in shell("clean", "--dry-run").out and folder.exists()
    assert shell("clean", "--json").json()["environments"] == [row["mark"]]
    assert not folder.exists() and not archive.exists()
