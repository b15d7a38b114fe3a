"""The results file of a job that runs: a line for each task as it ends. JSON lines only; other formats are whole files.

It is begun from the ledger, told of what the controller has recorded, and held against the ledger at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from elsewhere.cli.results import save
from elsewhere.observe import results

if TYPE_CHECKING:
    from elsewhere.model.reports import Ended
    from elsewhere.observe.results import TaskLike
    from elsewhere.session import JobFiles


def grows(target: Path | None) -> bool:
    """Whether lines can be added to it: a plain file, or one that is not there yet, that asks for JSON lines."""
    return target is not None and results.form_of(target) == "jsonl" and (target.is_file() or not target.exists())


@contextmanager
def growing(files: JobFiles, target: Path) -> Iterator[Growing]:
    """While inside, `target` may grow; when it has been left, however that is, it holds all that has ended."""
    made = Growing(files, target)
    try:
        yield made
    finally:
        made.close()


class Growing:
    """Touches nothing before `begin`: until the job is ours, another controller may be writing the same file."""

    def __init__(self, files: JobFiles, target: Path) -> None:
        self._files, self._target = files, target.resolve()
        self._out: BinaryIO | None = None
        self._begun = False
        self._written = bytearray()
        """A bit for each task by its number: a million tasks take 125 kB."""
        self._count = 0

    def begin(self) -> None:
        """Write anew what has ended so far: an older file may lack lines, or tell of failures that were retried."""
        self._ledger = self._files.open()
        self._begun = True
        self._rewrite()
        self._out = self._target.open("ab")

    def hear(self, reports: Sequence[Ended]) -> None:
        """These have ended their tasks, durably. A disk that is full holds up the lines, not the job."""
        if self._out is not None:
            self._append(self._ledger.ended([report.n for report in reports]))

    def close(self) -> None:
        """Add what was never reported: tasks that were cancelled. OSError: it cannot be written. Twice: harmless."""
        if not self._begun:
            return
        self._begun = False
        try:
            if self._out is not None and self._count != self._ledger.count().ended:
                self._append(task for task in results.ended(self._ledger) if not self._has(task.n))
            if self._out is None or not self._is_there():
                self._rewrite()
        finally:
            self._ledger.close()
            if self._out is not None:
                self._out.close()

    def _rewrite(self) -> None:
        self._written, self._count = bytearray(), 0
        save(self._target, results.as_jsonl(self._marked(results.ended(self._ledger)), self._files.store))

    def _append(self, tasks: Iterable[TaskLike]) -> None:
        """Whole lines, or, if the disk is full, none of these: then the file is made whole at the end."""
        out = self._out
        if out is None:
            return
        whole = out.tell()
        try:
            out.writelines(results.as_jsonl(self._marked(tasks), self._files.store))
            out.flush()
        except OSError:
            self._out = None
            with contextlib.suppress(OSError):  # closing writes what is left of the buffer
                out.close()
            with contextlib.suppress(OSError), self._target.open("r+b") as file:
                file.truncate(whole)

    def _marked(self, tasks: Iterable[TaskLike]) -> Iterator[TaskLike]:
        for task in tasks:
            place, bit = divmod(task.n, 8)
            if place >= len(self._written):
                self._written.extend(bytes(place + 1 - len(self._written)))
            self._written[place] |= 1 << bit
            self._count += 1
            yield task

    def _has(self, n: int) -> bool:
        place, bit = divmod(n, 8)
        return place < len(self._written) and bool(self._written[place] >> bit & 1)

    def _is_there(self) -> bool:
        """Whether what we write is still what bears the name: somebody may have moved it away."""
        import os

        try:
            return self._out is not None and os.path.samestat(os.fstat(self._out.fileno()), self._target.stat())
        except OSError:
            return False
