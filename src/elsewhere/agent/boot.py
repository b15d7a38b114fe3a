"""What a slot must know before its first task, drawn from the job's description."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from elsewhere.model.job import JobSpec

_PACKAGE = Path(__file__).resolve().parent.parent


def _directory_of(package: str) -> str:
    """Where a package of ours lies, without loading it."""
    spec = importlib.util.find_spec(package)
    return str(Path(spec.origin).parent) if spec and spec.origin else ""


@dataclass(frozen=True)
class Boot:
    """The same for all slots of a job on this machine. `key` seals what they pickle; it goes down their pipe only."""

    python: str
    kind: str
    target: str = ""
    command: tuple[str, ...] = ()
    cwd: str = ""
    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=5)
    memory: int = 0
    isolate: bool = False
    exact: bool = False
    seed_door: bool = False
    worker: Mapping[str, object] = field(default_factory=dict)
    store: str = ""
    key: bytes = b""
    recycle_tasks: int = 100_000
    recycle_memory: int = 1 << 30
    scratch: str = ""
    checkpoints: str = ""

    @classmethod
    def of(cls, spec: JobSpec, directory: Path, key: bytes) -> Boot:
        """For a job whose files lie in `directory`."""
        entry = spec.entry
        return cls(
            python=spec.python or sys.executable,
            kind=entry.kind,
            target=entry.target,
            command=entry.command,
            cwd=spec.cwd,
            path=spec.path,
            env=spec.env,
            timeout=spec.timeout,
            grace=spec.grace,
            memory=spec.resources.memory or 0,
            isolate=spec.isolate,
            exact=spec.exact,
            seed_door=spec.seed_door,
            worker=spec.worker,
            store=str(directory / "store"),
            key=key,
            recycle_tasks=spec.recycle_tasks,
            recycle_memory=spec.recycle_memory,
            scratch=str(directory / "scratch"),
            checkpoints=str(directory / "checkpoints"),
        )

    def words(self, directory: Path, slot: int, roll: int, outcomes: str) -> dict[str, Any]:
        """As the slot gets them: plain values only."""
        packages = {"elsewhere": str(_PACKAGE), "cloudpickle": _directory_of("cloudpickle")}
        return {
            "kind": self.kind, "target": self.target, "command": list(self.command), "cwd": self.cwd,
            "path": list(self.path), "timeout": self.timeout.total_seconds() if self.timeout else 0.0,
            "memory": self.memory, "isolate": self.isolate, "exact": self.exact, "seed_door": self.seed_door,
            "worker": dict(self.worker), "store": self.store, "key": self.key, "recycle_tasks": self.recycle_tasks,
            "recycle_memory": self.recycle_memory, "scratch": self.scratch, "checkpoints": self.checkpoints,
            "packages": packages, "parent": os.getpid(), "directory": str(directory), "slot": slot, "roll": roll,
            "outcomes": outcomes, "page": str(directory / f"{slot}.page"),
        }  # fmt: skip
