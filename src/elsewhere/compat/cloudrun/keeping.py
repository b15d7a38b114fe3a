"""`dev`: the machine of the last run is kept for a while, and given the jobs of the next, with their files as they are.

What a machine has of the project is what it booted with; what has changed since travels with the job itself.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from elsewhere import session
from elsewhere.model.task import NewTask

LINGER = timedelta(minutes=30)
"""How long a machine stays after its last job."""
LARGEST = 90_000
"""Bytes of one word of a command that every Linux takes, and some room."""
_UNPACK = """\
import base64, io, os, sys, tarfile
with tarfile.open(fileobj=io.BytesIO(base64.b64decode(sys.argv[1])), mode="r:xz") as archive:
    for one in archive:
        if os.path.lexists(one.name):
            os.unlink(one.name)
        archive.extract(one)
words = [sys.argv[2] or sys.executable, *sys.argv[3:]]
os.execvp(words[0], words)
"""


def takes_more(files: session.JobFiles) -> bool:
    """Whether it is still there: begun, and not closed."""
    with closing(files.open()) as ledger:
        return not ledger.count().complete


def packed(files: Mapping[str, Path]) -> str:
    """As one word; empty: it would be too large."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:xz") as archive:
        for name, path in sorted(files.items()):
            archive.add(path, name)
    word = base64.b64encode(made.getvalue()).decode()
    return word if len(word) <= LARGEST else ""


def with_files(task: NewTask, word: str) -> NewTask:
    """The same, unpacking its files before it begins."""
    own = json.loads(task.options or b"{}")
    own["command"] = ["", "-c", _UNPACK, word, *own["command"]]
    return task._replace(options=json.dumps(own).encode())


def hand(files: session.JobFiles, tasks: Sequence[NewTask], given: Mapping[str, Mapping[str, Path]]) -> bool:
    """Those that it does not have yet, each with the files `given` for its id. False: some are too large for that."""
    with closing(files.open()) as ledger:
        new = [task for task in tasks if ledger.task(task.id) is None]
    words = [packed(given[task.id]) for task in new]
    if not all(words):
        return False
    if new:
        session.hand(files, [with_files(task, word) for task, word in zip(new, words, strict=True)])
    return True


def files_of(words: Iterable[str], uploads: Mapping[str, str], cwd: Path) -> dict[str, Path]:
    """The files that a job names: what of its command is one, and what is uploaded."""
    found = {word: cwd / word for word in words if word and (cwd / word).is_file()}
    return {**found, **{name: Path(path) for name, path in uploads.items()}}
