"""A file of containers, as `elsewhere cluster up` reads it: a mapping of tags, with every mistake at once, by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.api.dask.containers import written_as
from elsewhere.config import files, kinds
from elsewhere.config.faults import nearest
from elsewhere.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from elsewhere.api.cluster import Cluster

_OF_CONTAINERS: Mapping[str, kinds.Kind] = {
    "image": kinds.TEXT, "environment": kinds.TEXT, "python": kinds.TEXT, "cpus": kinds.ABOVE_ZERO,
    "memory": kinds.SIZE, "gpus": kinds.GPUS, "threads": kinds.POSITIVE, "mounts": kinds.MOUNTS, "env": kinds.VARIABLES,
    "runtime": kinds.RUNTIME, "runtime_options": kinds.WORDS,
}  # fmt: skip
_BOUNDS: Mapping[str, kinds.Kind] = {"minimum": kinds.COUNT, "maximum": kinds.COUNT}
_KINDS = {**_OF_CONTAINERS, "workers": kinds.COUNT, "adapt": kinds.MAPPING}


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry. `container`: words of `add_container`; `adapt`: of `adapt`; None: workers do not follow the work."""

    name: str
    container: Mapping[str, Any]
    workers: int = 0
    adapt: Mapping[str, int] | None = None

    def add(self, cluster: Cluster) -> None:
        """To a cluster; its workers are asked for."""
        cluster.add_container(self.name, **self.container)
        if self.adapt is not None:
            cluster.adapt(self.name, **self.adapt)
        elif self.workers:
            cluster.add_workers(self.name, self.workers)


def read(path: Path) -> list[Tag]:
    """ConfigError: all that is wrong with it, each with file and line."""
    faults: list[str] = []
    source = files.read(path, str(path), faults)
    found = [] if source is None else [_tag(source, tag, entry, faults) for tag, entry in source.tree.items()]
    if source is not None and not found:
        faults.append(f"{path}:1: names no container, such as `model: {{cpus: 4, workers: 2}}`")
    if faults:
        message = faults[0] if len(faults) == 1 else f"{path} has {len(faults)} faults"
        raise ConfigError(message, hint="Nothing was started.", faults=tuple(faults))
    return found


def _tag(source: files.Source, tag: Any, entry: Any, faults: list[str]) -> Tag:
    line = source.line(source.tree, tag)
    try:
        tag = written_as(tag)
    except UsageError as error:
        faults.append(f"{source.name}:{line}: {error.message}")
    if not isinstance(entry, dict):
        faults.append(f"{source.name}:{line}: {tag} must be a mapping such as {{cpus: 4, workers: 2}}")
        return Tag(str(tag), {})
    values = _values(source, str(tag), entry, _KINDS, faults)
    container = {key: value for key, value in values.items() if key in _OF_CONTAINERS}
    adapt = None
    if "adapt" in values:
        adapt = _values(source, f"{tag}: adapt", values["adapt"], _BOUNDS, faults)
        if "workers" in values:
            faults.append(f"{source.name}:{line}: {tag} has workers and adapt, which are one too many")
    return Tag(str(tag), container, values.get("workers", 0), adapt)


def _values(
    source: files.Source, whose: str, entry: Mapping[str, Any], known: Mapping[str, kinds.Kind], faults: list[str]
) -> dict[str, Any]:
    found = {}
    for key, value in entry.items():
        name, where = str(key).replace("-", "_"), f"{source.name}:{source.line(entry, key)}: {whose}"
        if name not in known:
            faults.append(f"{where}: unknown key {key!r}{nearest(name, known)}")
            continue
        try:
            found[name] = known[name].read(value)
        except ValueError as error:
            faults.append(f"{where}: {key} {error}")
    return found
