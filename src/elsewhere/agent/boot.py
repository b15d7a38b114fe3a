"""Everything a slot must know before its first task, and how its process is started.

Facts only; no process is started here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import elsewhere.slot
from elsewhere.model.job import Box, Entry, JobSpec, Mount
from elsewhere.model.resources import Resources
from elsewhere.slot.keeper import MARK

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
    home: str = ""
    """The job's directory, in which all of these lie."""
    ends: float = 0.0
    """When tasks are told to end since the machine will, in seconds since the epoch by its own clock; 0: not known."""
    hidden: tuple[str, ...] = ()
    """Variables whose values are secret: struck out of what an attempt that fails says."""
    box: Box | None = None
    """The container in which tasks run; what it is on this machine has been found out."""

    @classmethod
    def of(cls, spec: JobSpec, job_directory: Path, seal_key: bytes) -> Boot:
        """That of a job whose files lie in `job_directory`. ConfigError: a secret is not where the job says."""
        env = spec.env
        if spec.secrets:
            from elsewhere.config.secret import revealed

            env = {**env, **revealed(spec.secrets)}
        return cls(
            entry=spec.entry, python=_python(spec), cwd=spec.cwd, path=spec.path,
            env=env,
            timeout=spec.timeout, grace=spec.grace, resources=spec.resources, isolate=spec.isolate, exact=spec.exact,
            seed_door=spec.seed_door, worker=spec.worker, recycle_tasks=spec.recycle_tasks,
            recycle_memory=spec.recycle_memory, inputs=tuple((one.name, one.source) for one in spec.inputs),
            outputs=spec.outputs, collected=str(job_directory / "outputs"), store=str(job_directory / "store"),
            scratch=str(job_directory / "scratch"), checkpoints=str(job_directory / "checkpoints"), key=seal_key,
            home=str(job_directory), hidden=tuple({*spec.hidden, *spec.secrets}), box=spec.box,
        )  # fmt: skip

    @property
    def within(self) -> bool:
        """Does the slot itself run in the container? Otherwise it is here, and each command has one of its own."""
        return self.box is not None and self.box.found is not None and bool(self.box.found.python)

    def argv(self, down: int, wake: int, directory: Path, number: int) -> list[str]:
        """The command line of a slot: the file, not the directory, which spares it the loading of runpy."""
        main, pipes = str(SLOT / "__main__.py"), [str(down), str(wake)]
        if not self.within:
            return [*self._python, main, *pipes]
        door = str(directory / f"{number}.door")
        order = {**self.plan(), "inside": [*self._python, main, "boxed", door], "socket": door,
                 "page": str(directory / f"{number}.page")}  # fmt: skip
        return [sys.executable, main, "keep", json.dumps(order), *pipes]

    @property
    def _python(self) -> list[str]:
        """Where nothing but commands is started, no package of the user's is looked for."""
        return [self.python, *(["-S"] if self.entry.kind == "command" else [])]

    def plan(self) -> dict[str, Any]:
        """How something is run in the container. UsageError: it cannot mount what must be in it."""
        box = self.box
        if box is None or box.found is None:
            return {}
        from elsewhere.ship import containers

        mounts = [Mount(path, path, writable) for path, writable in self._in_sight()]
        if box.found.kind == "charliecloud":
            containers.make_targets(Path(box.found.image), containers.least([*box.mounts, *mounts]))
        return containers.plan(box, mounts, {*self.env, MARK}, bool(self.resources.gpus))

    def _in_sight(self) -> Iterator[tuple[str, bool]]:
        """(path, whether it may be written to) of what a task must find under the same name as out here."""
        yield self.home, True
        yield self.cwd or str(Path.cwd()), True
        file, _, _ = self.entry.target.rpartition(":")
        code = [str(Path(file).parent)] if self.entry.kind == "function" and file.endswith(".py") else []
        for path in (*self.path, *code, *(source for _, source in self.inputs), *_lent().values()):
            if Path(path).exists():
                yield path, False

    def words(self) -> dict[str, Any]:
        """The boot frame, but for what differs from slot to slot."""
        cwd = self.cwd or str(Path.cwd())
        return {
            "kind": self.entry.kind, "target": self.entry.target,
            "ends": self.ends, "command": list(self.entry.command), "cwd": cwd,
            "path": list(self.path), "timeout": self.timeout.total_seconds() if self.timeout else None,
            "grace": self.grace.total_seconds(), "memory": self.resources.memory or 0,
            "isolate": self.isolate, "exact": self.exact,
            "seed_door": self.seed_door, "worker": _plain(self.worker), "recycle_tasks": self.recycle_tasks,
            "recycle_memory": self.recycle_memory, "inputs": [list(one) for one in self.inputs],
            "outputs": list(self.outputs), "collected": self.collected, "store": self.store, "scratch": self.scratch,
            "checkpoints": self.checkpoints, "key": self.key, "packages": _lent(),
            "hidden": list(self.hidden), "parent": 0 if self.within else os.getpid(),
            "box": {} if self.within else self.plan(),
        }  # fmt: skip


def _python(spec: JobSpec) -> str:
    found = spec.box.found if spec.box is not None else None
    if found is not None:
        return found.python or sys.executable
    return spec.python or sys.executable


def _plain(value: Any) -> Any:
    """Only what marshal can carry: mappings as dict, other things as their text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or type(value) in (str, int, float, bool, bytes) else str(value)
