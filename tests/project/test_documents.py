"""Every example of README and docs is executed, as documents.py beside this file describes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from project.documents import Block, Differs, Reader, blocks, session

TOP = Path(__file__).parents[2]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md")), TOP / "CONTRIBUTING.md"]
NOT_READ = {"_build", "reference", "performance.md"}  # drawn from the code; commands that take hours
DOCUMENTS = [path for path in DOCUMENTS if not NOT_READ & {*path.parts}]


def reader(directory: Path) -> Reader:
    """With a home, a state directory and this interpreter's commands; nothing of the user's own settings."""
    (directory / "work").mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # The state directory's path is short, since a Unix socket's may have no more than 107 bytes.
    own = {"HOME": str(directory), "ELSEWHERE_HOME": str(directory / "s"), "NO_COLOR": "1", "COLUMNS": "120"}
    return Reader(directory / "work", {"PATH": path, **own})


def examples() -> list[Path]:
    run = ("console", "python")
    return [path for path in DOCUMENTS if path.exists() and any(block.language in run for block in blocks(path))]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", examples(), ids=lambda path: str(path.relative_to(TOP)))
def test_the_examples_do_what_the_document_says(document: Path, tmp_path: Path) -> None:
    person = reader(tmp_path)
    for block in blocks(document):
        person.follow(block)


def test_few_examples_are_left_out_and_each_says_why() -> None:
    left_out = [block for path in DOCUMENTS if path.exists() for block in blocks(path) if block.left_out]
    assert all(len(block.note) > len("not run: ") + 5 for block in left_out)
    assert len(left_out) <= 14, [block.where for block in left_out]


def test_a_block_whose_output_differs_is_noticed(tmp_path: Path) -> None:
    person = reader(tmp_path)
    person.follow(Block("here", "console", "", "$ echo one two\none ...\n"))
    with pytest.raises(Differs, match="the document says"):
        person.follow(Block("here", "console", "", "$ echo one\ntwo\n"))
    with pytest.raises(Differs, match="exit status 3"):
        person.follow(Block("here", "console", "", "$ exit 3\n"))
    person.follow(Block("here", "console", "", "$ exit 3  # exit 3\n"))


def test_a_console_block_is_a_row_of_commands_and_what_they_print() -> None:
    assert session("$ a \\\n> b\nout\n$ c\n") == [("a b", "out\n"), ("c", "")]


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    words = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "docs", str(tmp_path)]
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
