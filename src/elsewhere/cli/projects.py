"""What the settings add to what was typed: defaults, a profile, and the jobs that `elsewhere run NAME` runs.

Files are found and read by config/load.py; nothing is made or run here.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import wanting
from elsewhere.cli.grammar import nearest
from elsewhere.errors import UsageError

if TYPE_CHECKING:
    from elsewhere.config.load import Settings

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


def no_such_job(word: str, names: list[str], files: tuple[str, ...]) -> UsageError:
    """The error for a word that is neither; it shows the three ways to write it."""
    where = f" of {' or '.join(files)}" if files else ": there is no elsewhere.yaml upward from here"
    return UsageError(
        f"{word!r} is neither a task list nor a job{where}{nearest(word, names)}",
        hint=f"A task list ends in .json, .jsonl, .yaml or .csv; a command comes after --: elsewhere run -- {word}",
    )


def filled(asked: SimpleNamespace, job: str = "") -> SimpleNamespace:
    """`asked` with what the settings say wherever nothing was typed. ConfigError: all faults of all files."""
    from elsewhere.config import load

    return _filled(asked, load.current(), job)


def _filled(asked: SimpleNamespace, found: Settings, job: str) -> SimpleNamespace:
    profile = asked.profile or ""
    asked.defaults = found.spec(profile, job)
    asked.places = found.places()
    asked.on = asked.on or found.value("on", profile, job) or "local"
    asked.python = asked.python or found.value("python", profile, job)
    name = getattr(asked, "environment", None) or found.value("environment", profile, job)
    asked.software = found.environment(name) if name else None
    if image := getattr(asked, "image", None) or found.value("image", profile, job):
        from elsewhere.api.furnishing import with_image

        asked.software = with_image(asked.software, image)
    for typed, key in (("input", "inputs"), ("output", "outputs")):
        if not getattr(asked, typed, True):
            setattr(asked, typed, list(found.value(key, profile, job) or ()))
    place = asked.places.get(asked.on)
    wanting.settle(asked, {**(place.wants if place else {}), **found.wants(profile, job)})
    return asked


def job_of_file(asked: SimpleNamespace, word: str) -> SimpleNamespace:
    """`asked`, filled up with what the settings say of their job `word`; what was typed wins.

    A job of a project runs in the directory of its file: this process goes there.
    """
    from elsewhere.config import load

    found = load.current()
    if word not in found.names("jobs"):
        raise no_such_job(word, found.names("jobs"), found.files)
    from elsewhere.api import entries

    job = found.job(word, asked.profile or "")
    work = asked.work = entries.of(job)
    over = _typed(asked)
    asked = _filled(asked, found, word)
    _take_matrix(asked, over)
    what = job.what
    asked.tasks_name = what.get("tasks")
    asked.entry = asked.entry or what.get("entry")
    asked.name = asked.name or work.name
    asked.each_line = what.get("each_line")
    if not asked.entry:
        asked.startup_script = asked.startup_script or what.get("startup_script")
    if work.words:
        asked.rest = list(work.words)
    if Path.cwd().is_relative_to(job.directory):  # not so for one of your own file, which runs where you are
        if asked.results:
            asked.results = Path(asked.results).absolute()
        os.chdir(job.directory)
    return asked


def _typed(asked: SimpleNamespace) -> set[str]:
    """The keys of a job that were typed."""
    given = ("timeout", "retries", "cpus", "memory", "gpus", "disk")
    found = {name for name in given if getattr(asked, name, None) is not None}
    return found | {key for typed, key in (("input", "inputs"), ("output", "outputs")) if getattr(asked, typed, None)}


def _take_matrix(asked: SimpleNamespace, over: set[str]) -> None:
    """The files of all its tasks, and with what its own terms are to be read."""
    asked.over = over
    if not asked.work.matrix:
        return
    for typed, key in (("input", "inputs"), ("output", "outputs")):
        if key not in over and key in asked.work.own:
            setattr(asked, typed, list(asked.work.files(key)))
    varying = asked.work.varying
    asked.defaults["env"] = {name: text for name, text in asked.defaults.get("env", {}).items() if name not in varying}
