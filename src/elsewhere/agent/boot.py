"""Everything a slot must know before its first task, and how its process is started.

Facts only; no process is started here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import elsewhere.slot
from elsewhere.config.secret import revealed
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.resources import Resources

SLOT = Path(elsewhere.slot.__file__).parent


def _lent() -> dict[str, str]:
    """Packages that slots may borrow from here when the user's interpreter has none of that name."""
    lent = {"elsewhere": str(SLOT.parent)}
    spec = find_spec("cloudpickle")
    if spec is not None and spec.origin:
        lent["cloudpickle"] = str(Path(spec.origin).parent)
    return lent


@dataclass(frozen=True)
class Boot:
    """What every slot of a job is told. `store`, `scratch` and `checkpoints` are directories; `key` seals pickles."""

    entry: Entry
    python: str = sys.executable
    cwd: str = ""
    """Empty: where the agent is."""
    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=5)
    resources: Resources = field(default_factory=Resources)
    isolate: bool = False
    exact: bool = False
    seed_door: bool = False
    worker: Mapping[str, object] = field(default_factory=dict)
    recycle_tasks: int = 100_000
    recycle_memory: int = 1 << 30
    inputs: tuple[tuple[str, str], ...] = ()
    """(name, path) of what each task finds in a working directory of its own."""
    outputs: tuple[str, ...] = ()
    collected: str = ""
    """The directory for what tasks leave: `<task number>.<attempt>/` each."""
    store: str = ""
    scratch: str = ""
    checkpoints: str = ""
    key: bytes = b""
    wrapper: tuple[str, ...] = ()
    """Words before the interpreter: `conda run -n x`, `docker exec ...`."""

    @classmethod
    def of(cls, spec: JobSpec, job_directory: Path, seal_key: bytes, wrapper: tuple[str, ...] = ()) -> Boot:
        """That of a job whose files lie in `job_directory`. ConfigError: a secret is not where the job says."""
        return cls(
            entry=spec.entry, python=spec.python or sys.executable, cwd=spec.cwd, path=spec.path,
            env={**spec.env, **revealed(spec.secrets)} if spec.secrets else spec.env,
            timeout=spec.timeout, grace=spec.grace, resources=spec.resources, isolate=spec.isolate, exact=spec.exact,
            seed_door=spec.seed_door, worker=spec.worker, recycle_tasks=spec.recycle_tasks,
            recycle_memory=spec.recycle_memory, inputs=tuple((one.name, one.source) for one in spec.inputs),
            outputs=spec.outputs, collected=str(job_directory / "outputs"), store=str(job_directory / "store"),
            scratch=str(job_directory / "scratch"), checkpoints=str(job_directory / "checkpoints"), key=seal_key,
            wrapper=wrapper,
        )  # fmt: skip

    def argv(self, down: int, wake: int) -> list[str]:
        """The command line of a slot: the file, not the directory, which spares it the loading of runpy."""
        return [*self.wrapper, self.python, str(SLOT / "__main__.py"), str(down), str(wake)]

    def words(self) -> dict[str, Any]:
        """The boot frame, but for what differs from slot to slot."""
        cwd = self.cwd or str(Path.cwd())
        return {
            "kind": self.entry.kind, "target": self.entry.target, "command": list(self.entry.command), "cwd": cwd,
            "path": list(self.path), "timeout": self.timeout.total_seconds() if self.timeout else None,
            "grace": self.grace.total_seconds(), "memory": self.resources.memory or 0,
            "isolate": self.isolate, "exact": self.exact,
            "seed_door": self.seed_door, "worker": _plain(self.worker), "recycle_tasks": self.recycle_tasks,
            "recycle_memory": self.recycle_memory, "inputs": [list(one) for one in self.inputs],
            "outputs": list(self.outputs), "collected": self.collected, "store": self.store, "scratch": self.scratch,
            "checkpoints": self.checkpoints, "key": self.key, "packages": _lent(),
            "parent": 0 if self.wrapper else os.getpid(),
        }  # fmt: skip


def _plain(value: Any) -> Any:
    """Only what marshal can carry: mappings as dict, other things as their text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or type(value) in (str, int, float, bool, bytes) else str(value)
