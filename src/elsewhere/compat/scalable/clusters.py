"""Scalable's cluster: the words of its SlurmCluster, for a cluster of ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from elsewhere.api.cluster import Cluster
from elsewhere.api.dask.containers import written_as
from elsewhere.compat.scalable import images
from elsewhere.model.place import Place

MEMORY = "8G"
"""Of a worker, where nobody said."""
_WITHOUT_EFFECT = frozenset((
    "comm_port", "logs_location", "suppress_logs", "config_overwrite", "security", "use_run_scripts",
    "run_scripts_path", "shared_temp_directory",
    "scheduler_options", "protocol", "death_timeout", "local_directory", "worker_extra_args",
    "preload_script", "asynchronous", "loop",
))  # fmt: skip
"""What its cluster is told and ours does by itself, or does not need."""


class SlurmCluster(Cluster):
    """A cluster on Slurm. `queue`: the partition; `account`: who pays; `on`: another place, instead of these.

    `silence_logs`: the least level of Dask's own words that are shown, or False: all that matter.
    """

    def __init__(
        self, queue: str | None = None, account: str | None = None, walltime: str | timedelta | None = None,
        interface: str | None = None, name: str | None = None, silence_logs: str | bool = "error",
        on: str | Place | None = None, **others: Any,
    ) -> None:  # fmt: skip
        if strange := sorted(set(others) - _WITHOUT_EFFECT):
            raise TypeError(f"SlurmCluster has no {strange[0]!r}")
        settings = {key: value for key, value in (("partition", queue), ("account", account)) if value}
        level = silence_logs if isinstance(silence_logs, str) else "error" if silence_logs else "info"
        super().__init__(
            on or Place("slurm", "slurm", settings), name=name or "", walltime=walltime, interface=interface or "",
            silence_logs=level,
        )  # fmt: skip

    def add_container(  # type: ignore[override]
        self, tag: str, dirs: Mapping[str, str] | None = None, path: str | None = None, cpus: float | None = None,
        memory: str | int | None = None, preload_script: str | None = None,
    ) -> None:  # fmt: skip
        """Say what workers of a tag are. `dirs`: a directory here -> where the container has it; /tmp is always there.

        UsageError: no container of that name is found, and where it was looked for.
        """
        written = written_as(tag)
        found = {"cpus": 1, "memory": MEMORY, **images.of_tag(written, path, Path.cwd())}
        found |= {key: value for key, value in (("cpus", cpus), ("memory", memory), ("mounts", dirs)) if value}
        if "image" in found and "/tmp" not in (mounts := found.get("mounts", {})).values():
            found["mounts"] = {**mounts, "/tmp": "/tmp"}
        super().add_container(written, **found)

    def add_workers(self, tag: str | None = None, n: int = 0) -> None:
        """Ask for so many more. UsageError: no container of this tag was added."""
        super().add_workers(tag or "", n)

    add_worker = add_workers

    def remove_workers(self, tag: str | None = None, n: int = 0) -> None:
        """Let so many go, idle ones first."""
        super().remove_workers(tag or "", n)

    def close(self, timeout: float | None = None) -> None:
        """End it; nothing of it is left. Twice: harmless."""
        super().close()
