"""What a call may ask for, checked once: options as people write them -> a job's spec and a task's own terms.

Errors name the option. Nothing is started here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from elsewhere import machine
from elsewhere.config import rows
from elsewhere.errors import UnknownPlace, UsageError
from elsewhere.model import ids
from elsewhere.model.job import Entry, Environment, JobSpec
from elsewhere.model.place import Place
from elsewhere.model.resources import Resources
from elsewhere.model.task import RetryPolicy

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_JOB = (
    "on",
    "slots",
    "python",
    "isolate",
    "priority",
    "name",
    "channel",
    "spot",
    "budget",
    "environment",
    "image",
    "inputs",
    "outputs",
    "walltime",
    "how",
)
_NEEDS = ("cpus", "memory", "gpus", "gpu_type", "disk")
_TASK = ("timeout", "retries", "env", *_NEEDS)
_TERMS = ("grace", "keep", "keep_on_failure", "max_failures", "recycle_tasks", "recycle_memory")
"""What only settings files and variables say, of the job as a whole."""


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
    walltime: str | float | timedelta = ""
    """Of places that ask for it: how long a machine may live, over what the place says."""
    how: str = ""
    """Of places that have the choice: how a list is spread over its machines, `array` or `pilots`."""
    spot: str = ""
    """Of places that sell machines: `spot` (nothing else), `prefer` or `on-demand`; empty: as settings say."""
    budget: Decimal | None = None
    """Dollars for the whole job."""
    wants: tuple[tuple[str, Any], ...] = ()
    """What settings ask of machines besides."""
    environment: Environment | None = None
    """The software that tasks need."""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """Paths and URLs that each task finds where it runs; globs of what it leaves there."""
    own: bytes | None = None
    terms: tuple[tuple[str, Any], ...] = ()
    """Other fields of the job, from the settings."""
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    """Variables of all tasks, from the settings; and references to secret ones. Plain ones of a call stand in `own`."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], job: str = "") -> Options:
        """What the settings files, variables and a profile say, and over it what the call does. `job`: of its settings.

        UsageError names every option that is wrong; ConfigError, UnknownPlace: so are the files, or the profile.
        """
        given, settled = _over_settings(dict(settings), job)
        problems: list[str] = []
        known = {f.name for f in fields(cls)} - {"own", "retry", "terms", "wants"} | {"image", *_TASK}
        for name in given.keys() - known:
            near = difflib.get_close_matches(name, known, 1)
            problems.append(f"unknown option {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        settled = {**settled, **_secrets(given, settled, problems)}
        made = cls(own=_own(given, problems), **settled, **_ours(given, problems))
        if not problems and made.own is not None and any(name in given for name in _NEEDS):
            problems += made._short(json.loads(made.own))
        if problems:
            raise UsageError("; ".join(problems), hint="help(elsewhere.remote) explains the options.")
        return made

    def _short(self, own: Mapping[str, Any]) -> list[str]:
        """What a task needs that this machine lacks, if it is to run here."""
        if place_of(self.on).backend != "local":
            return []
        return machine.shortfall(Resources().own(own), self.slots)

    def spec(
        self, entry: Entry, *, name: str, path: tuple[str, ...] = (), cwd: str = "", exact: bool = False, tasks: int = 0
    ) -> JobSpec:
        """A job of these options, in this process's directory and interpreter. UnknownPlace names the nearest.

        `tasks`: how many it will have, if that is known: what a place that sells machines is asked for.
        """
        place = place_of(self.on)
        if self.walltime:
            from elsewhere.backends import registry

            place = registry.lasting(place, self.walltime)
        if self.how:
            from elsewhere.backends import registry

            place = registry.spreading(place, self.how)
        if self.secrets:
            from elsewhere.config import secret

            secret.revealed(dict(self.secrets))  # that they are there is seen before anything is made
        if self.on != "local":
            from elsewhere.api import greeting

            greeting.greet(place)
        directory = Path(cwd or Path.cwd())
        plain = self.environment is None and not self.inputs and not self.outputs
        python, more, fields = ("", (), {}) if plain else self._furnished(place, entry, directory)
        spec = JobSpec(
            id=ids.new("job"), name=self.name or name, entry=entry, place=place.name, channel=self.channel,
            backend="" if place.backend == place.name else place.backend, settings=dict(place.settings),
            slots=self.slots or machine.default_slots()[0], python=python or self.python or sys.executable,
            cwd=str(directory), path=(*path, *more),
            retry=self.retry, isolate=self.isolate, priority=self.priority, exact=exact,
            secrets=dict(self.secrets), **{"env": dict(self.env), **fields}, **dict(self.terms),
        )  # fmt: skip
        if self.on == "local":
            return spec
        from elsewhere.api import choosing

        need = Resources().own(json.loads(self.own or b"{}"))
        asked = {"spot": self.spot or None, "budget": self.budget}
        given = {**place.wants, **dict(self.wants), **{key: value for key, value in asked.items() if value is not None}}
        return choosing.of_call(spec, place, need, self.slots, given, tasks)

    def _furnished(self, place: Place, entry: Entry, directory: Path) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """What environment, inputs and outputs come to: the interpreter, paths, and fields of the job."""
        from elsewhere.api import furnishing

        files = furnishing.files(self.inputs, self.outputs, place, directory, self.environment)
        if self.environment is None:
            return "", (), files
        python = self.environment.python
        if entry.kind == "call" and python not in ("", furnishing.minor()):
            raise UsageError(
                f"calls go to a Python of this one's minor version ({furnishing.minor()}), not to {python}",
                hint="Leave `python` out of the environment, or run this script with that Python.",
            )
        architecture = str({**place.wants, **dict(self.wants)}.get("architecture", ""))
        interpreter = self.python or sys.executable
        made = furnishing.furnish(self.environment, place, directory, interpreter, "", architecture)
        furnishing.check_kind(made, entry.kind)
        if entry.kind == "call" and made.minor not in ("", furnishing.minor()):
            raise UsageError(
                f"calls go to a Python of this one's minor version ({furnishing.minor()}), not to conda's {made.minor}",
                hint=f"conda: [python={furnishing.minor()}, ...]",
            )
        return made.python, made.path, {**files, **made.fields, "env": {**made.env, **dict(self.env)}}

    @property
    def pool(self) -> Options:
        """What warm slots have in common: everything but what each task carries by itself. Machines that are asked for
        are as large as the calls want them, so those share them that want the same."""
        if self.own is None:
            return self
        own = json.loads(self.own) if self.on != "local" else {}
        needs = {name: own[name] for name in _NEEDS if name in own}
        return replace(self, own=json.dumps(needs).encode() if needs else None)


def job_name(text: str) -> str:
    """A job's name made of whatever is at hand: letters, digits, `.`, `_` and `-`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60]
    return name if _NAME.fullmatch(name) and not name.startswith("job-") else "job"


def _over_settings(given: dict[str, Any], job: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`given` over what the settings say, and the fields of Options that only settings fill.

    In a slot nothing is read: what runs there was asked for elsewhere.
    """
    from elsewhere.api.remote import inside

    profile = given.pop("profile", None) or ""
    if inside():
        return given, {}
    from elsewhere.config import load

    found = load.current()
    whole = found.spec(profile, job)
    below = {name: value for name, value in found.options(profile, job).items() if name not in _TERMS}
    typed = given.get("env") or {}
    settled = {
        "terms": tuple((name, whole[name]) for name in _TERMS if name in whole),
        "wants": tuple(found.wants(profile, job).items()),
        "env": tuple(below.pop("env", {}).items()),
        "secrets": tuple((name, kept) for name, kept in below.pop("secrets", {}).items() if name not in typed),
    }
    count, policy = given.get("retries"), below.get("retries")
    if isinstance(policy, RetryPolicy) and type(count) is int and count >= 0:
        given["retries"] = replace(policy, retries=count)
    return {**below, **given}, settled


def place_of(name: str) -> Place:
    """An unknown place is an error, never a silent run here."""
    from elsewhere.config import load

    if name in (found := load.current().places()):
        return found[name]
    if name == "local":
        return Place(name, name)
    from elsewhere.backends import registry

    names = [*registry.names(), *found]
    if (place := registry.addressed(name)) is not None:
        return place
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise UnknownPlace(
            f"there is no place {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            hint="`elsewhere places` lists them.",
        )
    return Place(name, name)


def _ours(given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    found = {name: given[name] for name in _JOB if name in given}
    for key, kind, said in (
        ("on", str, "a place's name"),
        ("slots", int, "a whole number of 1 or more"),
        ("python", str | os.PathLike, "a path"),
        ("isolate", bool, "True or False"),
        ("priority", int, "a whole number"),
        ("channel", str, "a channel's name"),
        ("how", str, "'array' or 'pilots'"),
        ("name", str, "a job's name: letters, digits, '.', '_' and '-'"),
        ("image", str, "the name of an image"),
        ("environment", str | Environment, "an Environment, or the name of one of the settings"),
    ):
        if key in found and (not isinstance(found[key], kind) or (kind is int and isinstance(found[key], bool))):
            problems.append(f"{key} must be {said}, not {found.pop(key)!r}")
    if found.get("slots", 1) < 1:
        problems.append(f"slots must be 1 or more, not {found['slots']}")
    if "name" in found and (not _NAME.fullmatch(name := found["name"]) or name.startswith("job-")):
        problems.append(f"{name!r} cannot name a job: letters, digits, '.', '_' and '-', up to 100, and not job-...")
    _paid(found, problems)
    _named_environment(found)
    for key in ("inputs", "outputs"):
        if key in found:
            found[key] = _words(key, found[key], problems)
    if "python" in found:
        found["python"] = os.fspath(found["python"])
    if isinstance(given.get("retries"), RetryPolicy):
        found["retry"] = given["retries"]
    return found


def _words(key: str, given: Any, problems: list[str]) -> tuple[str, ...]:
    words = [given] if isinstance(given, str | os.PathLike) else list(given)
    if not all(isinstance(word, str | os.PathLike) for word in words):
        problems.append(f"{key} must be a list of strings, not {given!r}")
        return ()
    return tuple(os.fspath(word) for word in words)


def _secrets(given: Mapping[str, Any], settled: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """References of a call over those of the settings; a name alone refers to the variable of that name here."""
    from elsewhere.config.secret import is_reference

    asked = given.get("secrets") or {}
    asked = {asked: f"env:{asked}"} if isinstance(asked, str) else asked
    found = dict(asked) if isinstance(asked, Mapping) else {name: f"env:{name}" for name in asked}
    for name, reference in found.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            problems.append("secrets must be names of variables, or a mapping of names to references")
        elif not isinstance(reference, str) or not is_reference(reference):
            problems.append(f"secrets: {name} wants a reference, env:NAME, file:PATH or keyring:service/name, "
                            "for the secret itself would be written down")  # fmt: skip
        elif name in (given.get("env") or {}):
            problems.append(f"{name} stands in env and in secrets; one of them is enough")
    if not found:
        return {}
    return {"secrets": tuple({**dict(settled.get("secrets", ())), **found}.items()),
            "env": tuple((name, value) for name, value in settled.get("env", ()) if name not in found)}  # fmt: skip


def _named_environment(found: dict[str, Any]) -> None:
    """A name is that of an entry of the settings; an image goes into it. UnknownPlace names the nearest."""
    if isinstance(found.get("environment"), str):
        from elsewhere.config import load

        found["environment"] = load.current().environment(found["environment"])
    if image := found.pop("image", ""):
        from elsewhere.api.furnishing import with_image

        found["environment"] = with_image(found.get("environment"), image)


def _paid(found: dict[str, Any], problems: list[str]) -> None:
    """What concerns places that sell machines."""
    if isinstance(found.get("spot"), bool):
        found["spot"] = "spot" if found["spot"] else "on-demand"
    if found.get("spot", "") not in ("", "spot", "prefer", "on-demand"):
        problems.append(f"spot must be True, False or 'prefer', not {found['spot']!r}")
    if "budget" in found:
        try:
            found["budget"] = Decimal(str(found["budget"]).removeprefix("$"))
        except InvalidOperation:
            problems.append(f"budget must be an amount of dollars, not {found.pop('budget')!r}")


def _own(given: Mapping[str, Any], problems: list[str]) -> bytes | None:
    terms: dict[str, Any] = {name: given[name] for name in ("timeout", "env", "command") if given.get(name) is not None}
    if isinstance(terms.get("timeout"), timedelta):
        terms["timeout"] = terms["timeout"].total_seconds()
    if not isinstance(given.get("retries"), RetryPolicy | None):
        terms["retries"] = given["retries"]
    if sizes := {name: given[name] for name in _NEEDS if given.get(name) is not None}:
        terms["resources"] = sizes
    return rows.options(terms, problems)
