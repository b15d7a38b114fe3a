"""Where a job keeps its things: one directory, 0700, under the state directory."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from elsewhere.ledger.questions import Questions


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The paths of one job. Nothing is looked at until it is asked for."""

    id: str
    directory: Path

    @property
    def ledger(self) -> Path:
        return self.directory / "ledger.db"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def control(self) -> Path:
        return self.directory / "control"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def slots(self) -> Path:
        return self.directory / "slots"

    @property
    def store(self) -> Path:
        return self.directory / "store"

    def open(self) -> Questions:
        """The ledger, to look at."""
        return Questions.read(self.ledger)

    def seal_key(self) -> bytes:
        """The job's own secret, under which its pickles are sealed; made at first use, never written elsewhere."""
        path = self.directory / "seal"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return path.read_bytes()
        key = secrets.token_bytes(32)
        with os.fdopen(fd, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        return key
