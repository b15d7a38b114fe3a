"""What may be set of a Slurm place, and what of it cannot be. Data; nothing is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from elsewhere.config import kinds
from elsewhere.config.kinds import Kind
from elsewhere.errors import ConfigError
from elsewhere.model import units

_OPTION = re.compile(r"[a-z][a-z0-9-]*")
_OURS = {
    "array", "chdir", "comment", "error", "export-file", "input", "job-name", "open-mode", "output", "parsable",
    "quiet", "test-only", "time", "wait", "wrap",
}  # fmt: skip
"""Options of sbatch that say who a job is and where it speaks: set by us, or by a key of their own."""


def _walltime(value: Any) -> str:
    """In seconds, so that it can be written down."""
    length = kinds.DURATION.read(value)
    if length < timedelta(minutes=1):
        raise ValueError(f"must be 1m or more, not {length.total_seconds():g} s: Slurm counts in minutes")
    return f"{length.total_seconds():.0f}s"


HOW = ("array", "pilots")
"""A list as one array, a few tasks to each of its elements; or a few jobs that share it."""


def _how(value: Any) -> str:
    if value not in ("", *HOW):
        raise ValueError(f"must be array or pilots, not {value!r}")
    return str(value)


WALLTIME = Kind("a duration", _walltime, kinds.DURATION.schema)

SCHEDULERS = ("", "job", "login", "here")


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """`login`: the host where Slurm's commands are, as you would type it behind ssh; empty: here. `config`: a file to
    use in place of ~/.ssh/config. `work_dir`: a directory that all nodes see. `how`: array, pilots, or empty: by the
    size of the list. `slurm`: further options of sbatch. `scheduler`: where that of a Dask cluster runs: job, login or
    here."""

    login: str = field(default="", metadata={"ask": "the host to log in to, as you would type it behind ssh"})
    config: str = ""
    partition: str = field(default="", metadata={"ask": "partition"})
    account: str = field(default="", metadata={"ask": "account"})
    qos: str = ""
    walltime: str = field(default="1h", metadata={"kind": WALLTIME, "ask": "how long each Slurm job may live"})
    work_dir: str = field(default="", metadata={"ask": "a directory that all nodes see, for everything of ours"})
    max_jobs: int = 20
    tasks_per_job: int = 1
    how: str = field(default="", metadata={"kind": Kind("array or pilots", _how, {"enum": list(HOW)})})
    slurm: Mapping[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    prologue: tuple[str, ...] = field(default=(), metadata={"kind": kinds.LINES})
    scheduler: str = ""

    def __post_init__(self) -> None:
        for name, kind in kinds.of_fields(type(self)).items():
            try:
                object.__setattr__(self, name, kind.read(getattr(self, name)))
            except ValueError as error:
                raise ConfigError(f"{name.replace('_', '-')} {error}") from None
        for name in ("max_jobs", "tasks_per_job"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name.replace('_', '-')} must be 1 or more, not {value}")
        if self.work_dir and not self.work_dir.startswith("/"):
            raise ConfigError(f"work-dir must be a whole path, which begins with /, not {self.work_dir!r}")
        if self.scheduler not in SCHEDULERS:
            raise ConfigError(f"scheduler must be job, login or here, not {self.scheduler!r}")
        options(self.slurm)

    @property
    def length(self) -> timedelta:
        """The walltime."""
        return units.duration(self.walltime)


def options(given: Mapping[str, Any]) -> list[str]:
    """`{constraint: fast, exclusive: true}` as sbatch takes it. ConfigError names what it cannot take."""
    words = []
    for key, value in given.items():
        name = str(key).replace("_", "-").removeprefix("--")
        if not _OPTION.fullmatch(name):
            raise ConfigError(f"slurm: {key!r} is no long option of sbatch", hint="for example constraint: fast")
        if name in _OURS:
            hint = "write it as `walltime:`" if name == "time" else "leave it out: it is set for each job"
            raise ConfigError(f"slurm: {name} cannot be set there", hint=hint)
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, str | int | float) and value is not False:
            words.append(f"--{name}={value}")
        elif value is not None and value is not False:
            raise ConfigError(f"slurm: {name} must be text, a number, true or a list of them")
    return words
