"""The configuration file of rms-cloud-tasks and the flags over it, as one set of checked values.

Flags win over the provider's section, that over `run:`, that over the top of the file. All faults are told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elsewhere.api import startup
from elsewhere.compat.cloud_tasks.words import KNOWN, PROVIDERS
from elsewhere.config import files
from elsewhere.config.faults import article, nearest
from elsewhere.errors import ConfigError, UsageError

TOP = ("provider", "run", *PROVIDERS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for. `origins`: where each value comes from, `myconfig.yml:4` or a flag."""

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path()
    """Of the file: paths in it are seen from there."""

    def get(self, name: str, default: Any = None) -> Any:
        found = self.values.get(name)
        return default if found is None else found

    @property
    def job(self) -> str:
        """The job's name. UsageError: nobody said it."""
        if not self.get("job_id"):
            raise UsageError(
                "the job's name is missing", hint="Write job_id: my-job into the file, or --job-id my-job."
            )
        return str(self.get("job_id"))

    @property
    def notes(self) -> list[str]:
        """What was asked for and has no effect here, a line each."""
        return [f"{self.origins[name]}: {name} has no effect here: {KNOWN[name].idle}"
                for name in self.values if KNOWN[name].idle]  # fmt: skip

    def script(self) -> tuple[str, str]:
        """(text, name) of the startup script; empty if none is named. UsageError: two are, or it is none."""
        text, file = self.get("startup_script"), self.get("startup_script_file")
        if text and file:
            raise UsageError(
                f"{self.origins['startup_script']}: startup_script and startup_script_file are one too many",
                hint="Nothing was started.",
            )
        if text:
            return startup.checked(text, f"in {self.origins['startup_script']}"), "the startup script"
        if file:
            typed = self.origins["startup_script_file"].startswith("--")
            path = Path(file).expanduser()
            return startup.read(path if typed else self.directory / path), path.name
        return "", ""


def read(path: Path | None, flags: Mapping[str, Any]) -> Asked:
    """The file's values with the flags over them. ConfigError: every fault of both, with its line and the nearest key.

    `flags`: by the names of their keys; None: not typed.
    """
    faults: list[str] = []
    source = None if path is None else files.read(path, str(path), faults)
    typed = {name: value for name, value in flags.items() if value is not None}
    provider = typed.pop("provider", None)
    reader = _Reader(source, faults)
    if path is not None and source is None:
        raise _error(faults)
    _check_provider(provider or reader.provider(), "--provider" if provider else reader.at(reader.tree, "provider"))
    reader.file()
    for name, value in typed.items():
        reader.take(name, value, KNOWN[name].flag, name)
    faults += list(_crossed(reader.values, reader.origins))
    if faults:
        raise _error(faults)
    return Asked(reader.values, reader.origins, Path() if path is None else path.parent)


class _Reader:
    """Takes values from the weakest to the strongest."""

    def __init__(self, source: files.Source | None, faults: list[str]) -> None:
        self.source, self.faults = source, faults
        self.tree: dict[str, Any] = {} if source is None else source.tree
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def provider(self) -> Any:
        return self.tree.get("provider")

    def at(self, mapping: Any, key: str) -> str:
        return "" if self.source is None else f"{self.source.name}:{self.source.line(mapping, key)}"

    def file(self) -> None:
        """The top, `run:`, and the section of aws; those of others are left alone."""
        top = {key: value for key, value in self.tree.items() if _plain(key) not in TOP}
        self.section(top, self.tree, (*KNOWN, *TOP))
        for name in ("run", "aws"):
            section = self.tree.get(name)
            if isinstance(section, dict):
                self.section(section, section, tuple(KNOWN))
            elif section is not None:
                self.faults.append(f"{self.at(self.tree, name)}: {name} must be a mapping, not {article(section)}")

    def section(self, given: Mapping[str, Any], lines: Any, known: tuple[str, ...]) -> None:
        for key, value in given.items():
            name, origin = _plain(key), self.at(lines, key)
            if name not in KNOWN:
                self.faults.append(f"{origin}: unknown key {key}{nearest(name, known)}")
            elif value is not None:
                self.take(name, value, origin, key)

    def take(self, name: str, value: Any, origin: str, key: str) -> None:
        word = KNOWN[name]
        try:
            if word.refused:
                raise ValueError(word.refused)
            self.values[name], self.origins[name] = word.kind.read(value), origin
        except ValueError as error:
            self.faults.append(f"{origin}: {key} {error}" if not origin.startswith("--") else f"{origin} {error}")


def _plain(key: str) -> str:
    return key.replace("-", "_").lower()


def _check_provider(provider: Any, origin: str) -> None:
    where = f"{origin}: " if origin else ""
    if provider is None:
        raise UsageError(
            "the provider is missing", hint="Write provider: aws at the top of the file, or --provider aws."
        )
    name = str(provider).lower()
    if name not in PROVIDERS:
        raise UsageError(f"{where}provider {provider!r} is not known{nearest(name, PROVIDERS)}",
                         hint="Nothing was started.")  # fmt: skip
    if name != "aws":
        raise UsageError(
            f"{where}machines of {name} cannot be had by this version yet; aws can",
            hint="Write provider: aws, and what is asked of machines into its section aws:.",
        )


def _crossed(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[str]:
    for name, least in values.items():
        most = values.get(f"max_{name[4:]}") if name.startswith("min_") else None
        if most is not None and least > most:
            yield f"{origins[name]}: {name} ({least}) is more than max_{name[4:]} ({most})"


def _error(faults: list[str]) -> ConfigError:
    message = faults[0] if len(faults) == 1 else f"there are {len(faults)} faults"
    return ConfigError(message, hint="Nothing was started.", faults=tuple(faults))
