"""What a call may ask for, checked once: options as people write them -> a job's spec and a task's own terms.

Errors name the option. Nothing is started here.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from elsewhere.api.machine import default_slots
from elsewhere.config import rows
from elsewhere.errors import UnknownPlace, UsageError
from elsewhere.model import ids
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import RetryPolicy

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TASK = ("timeout", "retries", "cpus", "memory", "gpus", "env")


@dataclass(frozen=True, slots=True)
class Options:
    """As `remote` explains them. `own` is what each task of these options carries (UTF-8 JSON, or None)."""

    on: str = "local"
    slots: int = 0
    """0: the CPUs that this process may use."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    python: str = ""
    isolate: bool = False
    priority: int = 0
    name: str = ""
    channel: str = ""
    own: bytes | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Options:
        """UsageError names every option that is wrong."""
        given = dict(settings)
        if profile := given.pop("profile", None):
            given = {**_profile(profile), **given}
        problems: list[str] = []
        known = {f.name for f in fields(cls)} - {"own", "retry"} | set(_TASK)
        for name in given.keys() - known:
            near = difflib.get_close_matches(name, known, 1)
            problems.append(f"unknown option {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        made = cls(own=_own(given, problems), **_ours(given, problems))
        if problems:
            raise UsageError("; ".join(problems), hint="help(elsewhere.remote) explains the options.")
        return made

    def spec(
        self, entry: Entry, *, name: str, path: tuple[str, ...] = (), cwd: str = "", exact: bool = False
    ) -> JobSpec:
        """A job of these options, in this process's directory and interpreter. UnknownPlace names the nearest."""
        _check_place(self.on)
        return JobSpec(
            id=ids.new("job"), name=self.name or name, entry=entry, place=self.on, channel=self.channel,
            slots=self.slots or default_slots()[0], python=self.python or sys.executable, cwd=cwd or os.getcwd(),  # noqa: PTH109
            path=path, retry=self.retry, isolate=self.isolate, priority=self.priority, exact=exact,
        )  # fmt: skip

    @property
    def pool(self) -> Options:
        """What warm slots have in common: everything but what each task carries by itself."""
        return replace(self, own=None)


def job_name(text: str) -> str:
    """A job's name made of whatever is at hand: letters, digits, `.`, `_` and `-`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60]
    return name if _NAME.fullmatch(name) and not name.startswith("job-") else "job"


def _check_place(name: str) -> None:
    """An unknown place is an error, never a silent run here."""
    if name == "local":
        return
    from elsewhere.backends import registry

    names = registry.names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise UnknownPlace(
            f"there is no place {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            hint="`elsewhere places` lists them.",
        )


def _ours(given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    found = {name: given[name] for name in ("on", "slots", "python", "isolate", "priority", "name") if name in given}
    for key, kind, said in (
        ("on", str, "a place's name"),
        ("slots", int, "a whole number of 1 or more"),
        ("python", str | os.PathLike, "a path"),
        ("isolate", bool, "True or False"),
        ("priority", int, "a whole number"),
        ("name", str, "a job's name: letters, digits, '.', '_' and '-'"),
    ):
        if key in found and (not isinstance(found[key], kind) or (kind is int and isinstance(found[key], bool))):
            problems.append(f"{key} must be {said}, not {found.pop(key)!r}")
    if found.get("slots", 1) < 1:
        problems.append(f"slots must be 1 or more, not {found['slots']}")
    if "name" in found and (not _NAME.fullmatch(name := found["name"]) or name.startswith("job-")):
        problems.append(f"{name!r} cannot name a job: letters, digits, '.', '_' and '-', up to 100, and not job-...")
    if "python" in found:
        found["python"] = os.fspath(found["python"])
    if isinstance(given.get("retries"), RetryPolicy):
        found["retry"] = given["retries"]
    return found


def _own(given: Mapping[str, Any], problems: list[str]) -> bytes | None:
    from datetime import timedelta

    terms: dict[str, Any] = {name: given[name] for name in ("timeout", "env", "command") if given.get(name) is not None}
    if isinstance(terms.get("timeout"), timedelta):
        terms["timeout"] = terms["timeout"].total_seconds()
    if not isinstance(given.get("retries"), RetryPolicy | None):
        terms["retries"] = given["retries"]
    if sizes := {name: given[name] for name in ("cpus", "memory", "gpus") if given.get(name) is not None}:
        terms["resources"] = sizes
    return rows.options(terms, problems)


def _profile(name: str) -> dict[str, Any]:
    from elsewhere.config import settings  # type: ignore[attr-defined,unused-ignore]

    found: dict[str, Any] = settings.profile(name)
    return found
