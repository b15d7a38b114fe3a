"""`elsewhere results`: what the tasks of a job returned, streamed in the order of the list."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import path
from elsewhere.cli.terminal import is_terminal, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from elsewhere.session import JobFiles


def checked(found: Path) -> Path:
    """UsageError: it is no file that results may be written to."""
    from elsewhere.errors import UsageError

    try:
        return target(str(found))
    except ValueError as error:
        raise UsageError(f"--output: {error}", hint="With --files it is a directory.") from None


def target(text: str) -> Path:
    """A file that results may be written to; looked at before anything runs."""
    import os

    found = path(text)
    if found.is_dir():
        raise ValueError(f"{text!r} is a directory; name a file in it")
    if not found.parent.is_dir():
        raise ValueError(f"there is no directory {str(found.parent)!r} to write it in")
    if not os.access(found.parent, os.W_OK) and not os.access(found, os.W_OK):
        raise ValueError(f"{text!r} may not be written by you")
    return found


def written_to(text: str) -> Path:
    """As `target`, and its suffix says how: a job that ran for a day should not end in a format nobody asked for."""
    found = target(text)
    if found.suffix.lower() not in ("", ".jsonl", ".ndjson", ".json", ".csv"):
        raise ValueError(f"{text!r}: results are written as .jsonl, .json or .csv, not {found.suffix}")
    return found


COMMAND = Command(
    "results",
    about="Writes one record for each task that has ended, in the order of the list: task_id, state, attempt, when it\n"
    "began, seconds, and its result or its error. The output is streamed: a million tasks need no memory.",
    arguments=[which.JOB],
    options=[
        Option("--failed", help="Only those that failed, with their reasons."),
        Option("--format", value="FORMAT", choices=("jsonl", "json", "csv"),
               help="How to write them: by default as the suffix of FILE says, else as JSON lines."),
        Option("--output", "-o", value="FILE", parse=path, help="Write to FILE; it appears whole or not at all."),
        Option("--json", help="The same as --format jsonl."),
        Option("--files", help="The files that tasks left as outputs, instead: into the directory of -o, in a folder "
               "of the job's name one for each task; without -o their paths are listed."),
    ],
    examples=[
        ("elsewhere results fit --files -o results/", "what tasks left as outputs"),
        ("elsewhere results fit --format csv -o fit.csv", "a table, with a column for each key"),
        ("elsewhere results --failed | jq .error.reason", "why tasks failed"),
    ],
)  # fmt: skip


def main(asked: SimpleNamespace) -> int:
    from elsewhere.observe import results

    files = which.job(asked.job)
    if asked.files:
        return _files(files, asked)
    if asked.output is not None:
        asked.output = checked(asked.output)
    form = asked.format or ("jsonl" if asked.output is None or asked.json else results.form_of(asked.output))
    with which.opened(files) as ledger:
        counts = ledger.count()
        pieces = results.write(ledger, files.store, form, asked.failed)
        if asked.output is not None:
            save(asked.output, pieces)
        else:
            _print(pieces)
    left = counts.total - counts.ended
    if left:
        tell(f"{left:,} of {counts.total:,} tasks have not ended, and are not among them.")
    return 0


def _files(files: JobFiles, asked: SimpleNamespace) -> int:
    """Each task's own folder, by its name, in one of the job's; what is there already is written anew."""
    from elsewhere.observe import kept

    with which.opened(files) as ledger:
        found = list(kept.outputs(ledger, files.outputs))
        target = None if asked.output is None else asked.output / ledger.spec.name
    if target is None:
        say_files(found, asked.json)
        return 0
    count = sum(kept.copy(folder, target / name) for name, _, folder in found)
    tell(f"{count:,} files of {len(found):,} tasks in {target}" if found else "No task has left files.")
    return 0


def say_files(found: list[tuple[str, str, Path]], json: bool) -> None:
    from elsewhere.cli.terminal import say, say_json
    from elsewhere.observe.safe import one_line

    rows = [(task, path) for _, task, folder in found for path in sorted(folder.rglob("*")) if path.is_file()]
    if json:
        say_json([{"task_id": task, "path": str(path)} for task, path in rows])
    else:
        say(*(f"{one_line(task)}  {path}" for task, path in rows))


def _print(pieces: Iterator[bytes]) -> None:
    """As they are into a pipe; harmless on a terminal."""
    from elsewhere.observe.safe import Safely

    out = sys.stdout.buffer
    safely = Safely() if is_terminal(sys.stdout) else None
    for piece in pieces:
        out.write(piece if safely is None else safely.feed(piece).encode("utf-8", "backslashreplace"))
    out.flush()


def save(target: Path, pieces: Iterator[bytes]) -> None:
    """Write `pieces` to `target` so that it appears whole or not at all; devices and pipes are written as they are."""
    import os
    import tempfile

    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            file.writelines(pieces)
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb", buffering=1 << 20) as file:
            file.writelines(pieces)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
        os.replace(name, target)  # noqa: PTH105 a string from mkstemp
    except BaseException as error:
        os.unlink(name)  # noqa: PTH108
        if isinstance(error, OSError) and error.filename is None:  # a full disk is met while writing, without a name
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
