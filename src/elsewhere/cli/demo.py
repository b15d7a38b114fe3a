"""`elsewhere demo`: a small job of its own in a temporary directory, run and shown as a user's would be."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from elsewhere.cli import drive, live, which
from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.read import positive
from elsewhere.cli.terminal import coloured, paint, say, tell

if TYPE_CHECKING:
    from elsewhere.session import JobFiles

COMMAND = Command(
    "demo",
    about="Runs a small job in a temporary directory: how often each letter stands in the files of this Python's own\n"
    "library. One task fails on purpose. Nothing is left behind but the job itself, with --keep.",
    options=[
        Option("--slots", "-s", value="N", parse=positive, help="How many tasks run at a time."),
        Option("--keep", help="Keep the job, so that status, logs and explain can be tried on it."),
        Option("--quiet", "-q", help="Only the result."),
    ],
)

WORKER = '''\
def letters(path):
    """How often the commonest letter stands in a file."""
    with open(path, encoding="utf-8") as file:
        text = file.read().lower()
    count, letter = max((text.count(letter), letter) for letter in "abcdefghijklmnopqrstuvwxyz")
    print(path, "is read")
    return {"letter": letter, "count": count, "size": len(text)}
'''
MOST = 300


def main(asked: SimpleNamespace) -> int:
    from elsewhere import session
    from elsewhere.cli.run import opening
    from elsewhere.cli.surroundings import own_spec
    from elsewhere.model.task import NewTask

    directory = Path(tempfile.mkdtemp(prefix="elsewhere-demo-"))
    try:
        (directory / "demo_worker.py").write_text(WORKER)
        spec = own_spec("demo", "demo_worker.py:letters", directory, asked.slots)
        files = session.create(spec, [NewTask(name, _data(path)) for name, path in _inputs(directory)])
        if not asked.quiet:
            tell(opening(files))
        status = drive.drive(files, show=live.choose(quiet=asked.quiet), quiet=True)
        _show(files, asked.quiet)
        if status not in (0, 1):
            return status
        if asked.keep:
            tell("", "The job is kept: try `elsewhere status`, `elsewhere explain demo/missing`, `elsewhere rm demo`.")
        else:
            session.remove(files)
            tell(
                "",
                "That was all; nothing of it is left. Next: `elsewhere init my-project`, or `elsewhere demo --keep`.",
            )
        return 0
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _inputs(directory: Path) -> list[tuple[str, str]]:
    """(task id, path) of real files, and of one that is not there."""
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    names = sorted(name for name in os.listdir(library) if name.endswith(".py"))[:MOST]  # noqa: PTH208
    return [(name[:-3], os.path.join(library, name)) for name in names] + [("missing", str(directory / "missing.txt"))]  # noqa: PTH118


def _data(path: str) -> bytes:
    import json

    return json.dumps({"path": path}).encode()


def _show(files: JobFiles, quiet: bool) -> None:
    import json

    from elsewhere.cli.status import first_failures
    from elsewhere.observe.results import ended
    from elsewhere.observe.table import table

    with which.opened(files) as ledger:
        found = [(task.id, json.loads(task.value)) for task in ended(ledger) if task.state.name == "SUCCEEDED"]
        failed = first_failures(ledger, 3)
    found.sort(key=lambda pair: -pair[1]["size"])
    if not quiet:
        sys.stderr.flush()
        say(paint(f"{len(found)} files read; the largest, and their commonest letters:", "bold", coloured()))
    say(*table(("module", "size", "letter", "times"), [(n, r["size"], r["letter"], r["count"]) for n, r in found[:5]]))
    say(*(f"failed, on purpose: {task}: {why}" for task, why in failed))
