"""A tag's container as Scalable finds it: config_dict.yaml, containers/TAG_container.sif, targets of the Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elsewhere.config import files, load
from elsewhere.errors import ConfigError, UsageError

CONFIG = "config_dict.yaml"
_TARGET = re.compile(r"\s*FROM\s+\S+\s+AS\s+(\S+)", re.IGNORECASE)
_KEYS = {"CPUs": "cpus", "Memory": "memory", "Path": "image", "Dirs": "mounts"}


def of_tag(tag: str, path: str | None, directory: Path) -> dict[str, Any]:
    """Words of `add_container`: what config_dict.yaml says of the tag, and the image, or an environment of its name.

    UsageError: neither is there; it says what was looked for.
    """
    found = _configured(tag, directory)
    usual = f"containers/{tag}_container.sif"
    image = path or found.pop("image", "") or usual
    if ":" in image or (directory / image).is_file():
        return {**found, "image": image if ":" in image else str(directory / image)}
    if tag in load.current(directory).names("environments"):
        return {**found, "environment": tag}
    hint = f"Build it there, or name an environment {tag} in elsewhere.yaml."
    if tag in targets(directory):
        hint = f"The Dockerfile has it: docker build --target {tag} -t {tag} . ; apptainer build {usual} docker-daemon:{tag}:latest"  # noqa: E501
    raise UsageError(f"there is no container of {tag}: {image} is not there", hint=hint)


def targets(directory: Path) -> list[str]:
    """Those of the Dockerfile, in small letters; none, if there is no such file."""
    try:
        lines = (directory / "Dockerfile").read_text("utf-8").splitlines()
    except OSError:
        return []
    return [match[1].lower() for line in lines if (match := _TARGET.match(line))]


def _configured(tag: str, directory: Path) -> dict[str, Any]:
    path, faults = directory / CONFIG, list[str]()
    if not path.is_file():
        return {}
    source = files.read(path, CONFIG, faults)
    if source is None:
        raise ConfigError(faults[0], faults=tuple(faults))
    entries: Mapping[str, Any] = {str(key).lower(): value for key, value in source.tree.items()}
    entry = entries.get(tag) or {}
    return {_KEYS[key]: value for key, value in entry.items() if key in _KEYS and value}
