"""The files that tasks left under the names of their outputs, as they lie here, and copies of them for people."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.model.states import TaskState
from elsewhere.observe import results
from elsewhere.slot.directories import safe

if TYPE_CHECKING:
    from elsewhere.ledger.questions import Questions


def outputs(ledger: Questions, directory: Path) -> Iterator[tuple[str, str, Path]]:
    """(a name for a folder, the task's id, where its files lie), for each task that has left some, in their order."""
    for task in results.ended(ledger):
        folder = directory / f"{task.n}.{task.attempt}"
        if task.state is TaskState.SUCCEEDED and folder.is_dir():
            yield safe(task.id), task.id, folder


def copy(folder: Path, target: Path) -> int:
    """All files below, into `target`, which is made; how many. Twice: the same."""
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            to = target / path.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            count += 1
    return count
