"""What tasks leave under the names of their outputs, on its way home: one archive for each task, beside its report.

It is in the job's store before the report that speaks of it, and here before that report is recorded.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from elsewhere.errors import NotFound, Refused
from elsewhere.hosts import private_directory
from elsewhere.model.reports import Ended, Report
from elsewhere.model.states import Outcome
from elsewhere.stores import Store, get_file, put_file

FILES = "files/"
_KEY = re.compile(r"files/(\d+\.\d+)\.tar")


class Outputs:
    """Of one end. `directory` holds a folder `<task number>.<attempt>` for each."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store, self.directory = store, directory

    def send(self, reports: Iterable[Report]) -> None:
        """Put into the store what these have left, and let go of it here. Twice: harmless."""
        for name in _names(reports):
            folder = self.directory / name
            if not folder.is_dir():
                continue  # it went before, and only the report is said again
            with self._archive(name) as archive:
                with tarfile.open(archive, "w", dereference=True) as tar:
                    for path in sorted(folder.rglob("*")):
                        if path.is_file():
                            tar.add(path, str(path.relative_to(folder)), recursive=False)
                put_file(self.store, f"{FILES}{name}.tar", archive)
            shutil.rmtree(folder, ignore_errors=True)

    def bring(self, reports: Iterable[Report]) -> None:
        """Fetch what these have left, unless it is here. What nobody has put is none."""
        for name in _names(reports):
            self._fetch(name)

    def bring_all(self) -> None:
        """Fetch all that is there and not here: reports may have been recorded by a controller somewhere else."""
        for key in self.store.list(FILES):
            if (found := _KEY.fullmatch(key)) is not None:
                self._fetch(found[1])

    def _fetch(self, name: str) -> None:
        target = self.directory / name
        if target.exists():
            return
        draft = self.directory / f".{name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        with self._archive(name) as archive:
            try:
                get_file(self.store, f"{FILES}{name}.tar", archive)
            except NotFound:
                return
            with tarfile.open(archive) as tar:
                unpack(tar, draft)
        draft.rename(target)

    @contextmanager
    def _archive(self, name: str) -> Iterator[Path]:
        """A file for an archive, so that none is whole in memory; it goes."""
        private_directory(self.directory)
        path = self.directory / f".{name}.{os.getpid()}.tar"
        path.unlink(missing_ok=True)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Its files: nothing outside, no links, no devices, whoever packed it. (Python's own filters came with its later
    patch releases.) Refused: something in it is none of these."""
    folder.mkdir(mode=0o700)
    for member in tar:
        parts = Path(member.name).parts
        data = tar.extractfile(member) if member.isreg() else None
        if data is None or not parts or parts[0] == "/" or ".." in parts:
            raise Refused(f"{member.name!r} is nothing that a task leaves")
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with data, target.open("xb") as file:
            shutil.copyfileobj(data, file)
        target.chmod(member.mode & 0o755 | 0o600)
        os.utime(target, (member.mtime, member.mtime))


def _names(reports: Iterable[Report]) -> list[str]:
    return [
        f"{report.n}.{report.attempt}"
        for report in reports
        if isinstance(report, Ended) and report.outcome is Outcome.SUCCEEDED
    ]
