"""Where a job keeps its things: one directory, 0700, under the state directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elsewhere.controller.lock import Holder
from elsewhere.controller.lock import read as read_lock
from elsewhere.controller.readers import Readers
from elsewhere.errors import JobHeld, StateError
from elsewhere.hosts import write_whole
from elsewhere.ledger.questions import Questions


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The paths of one job. Nothing is looked at until it is asked for."""

    id: str
    directory: Path

    @property
    def ledger(self) -> Path:
        """The live file; on another host than its own, the copy that was made last."""
        return self.copy if self.is_away else self._live / "ledger.db"

    @property
    def is_away(self) -> bool:
        """Does the live ledger lie on another host?"""
        where = self.elsewhere()
        return where is not None and where[0] != socket.gethostname()

    @property
    def _live(self) -> Path:
        """For what lives as long as a controller: a network file system may have neither locks nor sockets."""
        where = self.elsewhere()
        return self.directory if where is None or self.is_away else where[1]

    @property
    def copy(self) -> Path:
        return self.directory / "ledger.copy.db"

    def elsewhere(self) -> tuple[str, Path] | None:
        """(host, directory) of the live ledger, when the state directory lies on a network; None: it is here."""
        where = self._where()
        return (str(where["host"]), Path(where["path"])) if where else None

    def _where(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.directory / "where").read_text()))
        except FileNotFoundError:
            return {}

    def point(self, path: Path, epoch: int = 0, pid: int = 0) -> None:
        """Write down that the live ledger lies in this directory of this host, and who has it (0: nobody)."""
        said = {"host": socket.gethostname(), "path": str(path), "pid": pid, "epoch": epoch}
        write_whole(self.directory / "where", json.dumps(said).encode())

    def holder(self) -> Holder | None:
        """Who runs the job now, or did when the pointer to another host's ledger was written last; None: nobody."""
        where = self._where()
        if not where or where["host"] == socket.gethostname():
            return read_lock(self.lock)
        return Holder(str(where["host"]), int(where["pid"]), False) if where.get("pid") else None

    def require_here(self) -> None:
        """JobHeld: the live ledger lies on another host, so only that host may change the job."""
        where = self.elsewhere()
        if where is not None and self.is_away:
            raise JobHeld(
                f"the ledger of {self.id} lies on {where[0]}, in {where[1]}; what is shown here is a copy",
                hint=f"log in to {where[0]} to change it or to go on",
                host=where[0],
            )

    def link(self, name: str, target: Path) -> None:
        """Have a part of the job's directory lie at `target`; what is there of it goes along. Twice: the same."""
        path = self.directory / name
        if path.is_symlink():
            return
        if path.is_dir():
            for one in path.iterdir():
                shutil.move(one, target / one.name)
            path.rmdir()
        path.symlink_to(target)

    @property
    def lock(self) -> Path:
        return self._live / "lock"

    @property
    def control(self) -> Path:
        return self._live / "control"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def slots(self) -> Path:
        return self.directory / "slots"

    @property
    def boots(self) -> Path:
        """What the boots of machines have said: a file for each, by the place's name for it."""
        return self.directory / "boots"

    @property
    def readers(self) -> Readers:
        """Who reads along, so that output from far away comes soon."""
        return Readers(self.directory / "readers")

    @property
    def outputs(self) -> Path:
        """What tasks left under the names of their outputs: `<task number>.<attempt>/` each."""
        return self.directory / "outputs"

    @property
    def store(self) -> Path:
        return self.directory / "store"

    def open(self) -> Questions:
        """The ledger, to look at."""
        return Questions.read(self.ledger)

    @property
    def brought(self) -> Path:
        """Says where the log lies by which the job was brought here from another machine; not there: it began here."""
        return self.directory / "brought"

    def seal_key(self) -> bytes:
        """The job's own secret, under which its pickles are sealed; made at first use, never written elsewhere in the
        clear."""
        return self._secret("seal")

    def log_key(self) -> bytes:
        """That under which its log is closed, which no machine of it gets to know; made at first use, as the other."""
        return self._secret("logkey")

    def _secret(self, name: str) -> bytes:
        path = self.directory / name
        if path.exists():
            return path.read_bytes()
        draft = self.directory / f".{name}-{os.urandom(8).hex()}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # whole, or not there: of two that make it at once, the first wins
            path.hardlink_to(draft)
        draft.unlink()
        return path.read_bytes()


def local_directory(job: str) -> Path:
    """A directory of this host's own disk for the live ledger of a job, 0700. StateError: as `local_disk`."""
    path = local_disk() / job
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def local_disk() -> Path:
    """This host's own disk, for live ledgers of state directories on a network: 0700, and its owner is checked.

    StateError: somebody else has taken its name.
    """
    base = Path("/var/tmp") / f"elsewhere-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    facts = base.lstat()
    if facts.st_uid != os.getuid() or not base.is_dir() or base.is_symlink():
        raise StateError(f"{base} belongs to somebody else", hint="set ELSEWHERE_HOME to a directory on a local disk")
    base.chmod(0o700)
    return base
