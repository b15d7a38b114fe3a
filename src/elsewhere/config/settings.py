"""What can be set in elsewhere.yaml, in [tool.elsewhere] of pyproject.toml, in your own file and by ELSEWHERE_*.

The keys stand in these dataclasses; messages, JSON schemas and the reference page are made from them. None: not set.
load.py finds and merges the files. Nothing heavy may be imported here.
"""

# ruff: noqa: RUF009  (`key` makes a dataclass field)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

from elsewhere.config import asked_kinds as asked
from elsewhere.config import kinds, matrix
from elsewhere.config.kinds import Kind
from elsewhere.config.secret import Secret
from elsewhere.model.spans import Span

CHANNEL = kinds.choice("calls", "pipe", "spool")


def key(kind: Kind, about: str) -> Any:
    """A key that may be left out."""
    return field(default=None, metadata={"kind": kind, "about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How jobs run: under `default:`, in a profile, in a job, or at the top of a file. Options of a call win."""

    on: str | None = key(kinds.TEXT, "The place to run in.")
    channel: str | None = key(CHANNEL, "How agents are reached.")
    slots: int | None = key(kinds.POSITIVE, "How many tasks run at a time.")
    python: str | None = key(kinds.TEXT, "The interpreter that runs tasks; a path is seen from the file's directory.")
    env: Mapping[str, str | Secret] | None = key(kinds.VARIABLES, "Variables for tasks; env:, file:, keyring: refer.")
    secrets: Mapping[str, Secret] | None = key(kinds.SECRETS, "Variables that must refer: env:, file: or keyring:.")
    resources: Mapping[str, Any] | None = key(kinds.MAPPING, "What one task needs: the keys of Needs.")
    environment: str | None = key(kinds.TEXT, "An entry of `environments:`, the software that tasks need.")
    image: str | None = key(kinds.TEXT, "The container image that tasks run in, over that of the environment.")
    inputs: tuple[str, ...] | None = key(kinds.WORDS, "Files, directories and URLs that each task finds where it runs.")
    outputs: tuple[str, ...] | None = key(kinds.WORDS, "Globs of files that each task leaves, and that come home.")
    timeout: timedelta | None = key(kinds.LIMIT, "How long a task may run.")
    grace: timedelta | None = key(kinds.DURATION, "Between SIGTERM and SIGKILL.")
    retries: int | Mapping[str, Any] | None = key(kinds.MAPPING, "A count, or a mapping of the keys of Retries.")
    isolate: bool | None = key(kinds.FLAG, "A fresh process for each task.")
    max_failures: int | Decimal | None = key(kinds.SHARE, "The job stops after more failures than this count or share.")
    priority: int | None = key(kinds.INTEGER, "Jobs of a higher one get more slots.")
    recycle: int | str | None = key(kinds.RECYCLE, "One of the next two: a bare number is of tasks, else a size.")
    recycle_tasks: int | None = key(kinds.POSITIVE, "A slot's process is replaced after so many tasks.")
    recycle_memory: int | None = key(kinds.SIZE, "A slot's process is replaced when it is larger than this.")
    keep: timedelta | None = key(kinds.DURATION, "How long a job that is over is kept.")
    keep_on_failure: timedelta | None = key(kinds.LIMIT, "How long a machine on which something failed is kept.")
    max_state: int | None = key(kinds.SIZE, "How large all kept jobs together may be.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """`resources:`, what one task needs. These keys may also stand without `resources:` around them."""

    cpus: float | None = key(kinds.ABOVE_ZERO, "CPUs.")
    memory: int | None = key(kinds.SIZE, "Memory; a task that takes more is ended as out of memory.")
    gpus: str | int | None = key(kinds.GPUS, "GPUs: a count, or TYPE:N.")
    gpu_type: str | None = key(kinds.TEXT, "Their type.")
    disk: int | None = key(kinds.SIZE, "Room for files.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What is asked of machines that a place sells: as the options of `run` of these names. Beside every key of Run,
    and in a place, where it holds unless a job says otherwise. `min-` and `max-` before the key of a span set one end
    of it."""

    task_time: timedelta | None = key(kinds.LIMIT, "About how long one task takes.")
    spot: str | None = key(asked.SPOT, "Only spot machines; prefer: on demand where there is none.")
    region: tuple[str, ...] | None = key(asked.PATTERNS, "Only these regions.")
    zone: tuple[str, ...] | None = key(asked.PATTERNS, "Only these zones.")
    machine_types: tuple[str, ...] | None = key(asked.PATTERNS, "Only types of these names: globs, or re: before one.")
    architecture: str | None = key(asked.ARCHITECTURE, "Of their processors.")
    cpu_family: tuple[str, ...] | None = key(asked.PATTERNS, "Only these processors.")
    machine_cpus: Span | None = key(asked.COUNTS, "CPUs of each machine.")
    machine_memory: Span | None = key(asked.SIZES, "Memory of each.")
    memory_per_cpu: Span | None = key(asked.SIZES, "Its memory for each CPU.")
    memory_per_task: Span | None = key(asked.SIZES, "Its memory for each task that runs on it at a time.")
    machine_gpus: Span | None = key(asked.GPUS, "GPUs of each machine.")
    gpu_types: tuple[str, ...] | None = key(asked.PATTERNS, "Only these GPUs.")
    local_disk: Span | None = key(asked.SIZES, "Local disks of each machine.")
    local_disk_per_cpu: Span | None = key(asked.SIZES, "The same for each CPU.")
    local_disk_per_task: Span | None = key(asked.SIZES, "The same for each task.")
    boot_disk: int | None = key(kinds.SIZE, "At least so large a boot disk.")
    boot_disk_base: int | None = key(kinds.SIZE, "Or, where that is more, so large and the next two.")
    boot_disk_per_cpu: int | None = key(kinds.SIZE, "So much more for each CPU.")
    boot_disk_per_task: int | None = key(kinds.SIZE, "So much more for each task.")
    tasks_per_machine: Span | None = key(asked.UPTO, "Tasks at a time on one machine.")
    simultaneous: Span | None = key(asked.UPTO, "Tasks at a time on all machines.")
    machines: Span | None = key(asked.UPTO, "How many machines.")
    total_cpus: Span | None = key(asked.UPTO, "CPUs of all machines.")
    max_price_per_hour: Decimal | None = key(kinds.MONEY, "Dollars, of all machines together.")
    min_price_per_hour: Decimal | None = key(kinds.MONEY, "Dollars, of all machines together.")
    max_price_per_task: Decimal | None = key(kinds.MONEY, "Dollars, of one task; wants task-time.")
    budget: Decimal | None = key(kinds.MONEY, "Dollars for the whole job.")


SAME = {"instances": "machines", "instance_types": "machine_types", "regions": "region", "zones": "zone"}
"""Other names of some of these keys."""
OTHERS = {"upload": "inputs"}
"""The same, of keys of Run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """`retries:` as a mapping. As a number it is the first of these keys."""

    retries: int | None = key(kinds.COUNT, "Tries after the first that follow an error.")
    timeouts: int | None = key(kinds.COUNT, "Tries that follow a timeout; else they count as errors.")
    memory: int | None = key(kinds.COUNT, "Tries that follow want of memory; else they count as errors.")
    losses: int | None = key(kinds.COUNT, "Tries that follow the death of its process from outside.")
    asks: int | None = key(kinds.COUNT, "Tries that the task itself may ask for.")
    exit_codes: tuple[int, ...] | None = key(kinds.STATUSES, "Of commands: only these exit statuses are tried again.")
    delay: timedelta | None = key(kinds.DURATION, "Before the first new try.")
    factor: float | None = key(kinds.ABOVE_ZERO, "How the delay grows from try to try.")
    max_delay: timedelta | None = key(kinds.DURATION, "What it grows to.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An entry of `environments:`, what `environment:` names: the software that tasks need."""

    python: str | None = key(kinds.TEXT, 'A minor version such as "3.12"; by default the one that runs here.')
    pip: str | tuple[str, ...] | None = key(kinds.REQUIREMENTS, "Requirements, or a file of them.")
    conda: str | tuple[str, ...] | None = key(kinds.REQUIREMENTS, "Packages of conda, or an environment.yml.")
    channels: tuple[str, ...] | None = key(kinds.WORDS, "Where they come from; by default conda-forge.")
    logins: Mapping[str, Secret] | None = key(kinds.SECRETS, "To channels that ask: host -> env:, file: or keyring:.")
    julia: str | None = key(kinds.TEXT, 'A version such as "1.10", or the directory of a Project.toml.')
    prefix: str | None = key(kinds.TEXT, "Instead: the path there of a virtual environment, or one of conda.")
    apt: tuple[str, ...] | None = key(kinds.WORDS, "Packages of Debian and Ubuntu, where we are root.")
    setup: tuple[str, ...] | None = key(kinds.LINES, "Lines for `sh -e`, run once on each machine.")
    capture: bool | None = key(kinds.FLAG, "Also what the interpreter here has, at the same versions.")
    offline: bool | None = key(kinds.FLAG, "Machines fetch nothing themselves.")
    image: str | None = key(kinds.TEXT, "Instead of all these: the container image that tasks run in.")
    mounts: Mapping[str, str] | None = key(kinds.MOUNTS, "Of the container: path -> where it is there, `/data:ro`.")
    runtime: str | None = key(kinds.RUNTIME, "What runs the container; by default the first that is there.")
    runtime_options: tuple[str, ...] | None = key(kinds.WORDS, "Words for its command line.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An entry of `jobs:`: what `elsewhere run NAME` runs. It may also hold every key of Run."""

    tasks: str | None = key(kinds.TEXT, "Its task list, seen from the file's directory.")
    entry: str | None = key(kinds.TEXT, "The function that does a task: module:function, or path.py:function.")
    command: tuple[str, ...] | None = key(kinds.COMMAND, "The command it runs, or runs for each line.")
    script: str | None = key(kinds.TEXT, "A script with its words (.py, .jl, .R, .sh), or lines for `sh -e`.")
    matrix: Mapping[str, Any] | None = key(matrix.KIND, "One task for each combination of its values: {name}.")
    each_line: str | None = key(kinds.TEXT, "One command for each line of this file.")
    startup_script: str | None = key(kinds.TEXT, "Of a task list without an entry: the script that its machines boot.")
    name: str | None = key(kinds.TEXT, "What to call it, if not as here.")
    about: str | None = key(kinds.TEXT, "For people.")
    profile: str | None = key(kinds.TEXT, "A profile whose settings it begins with.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An entry of `places:`. Every other key is one of its backend's."""

    backend: str | None = key(kinds.TEXT, "Which kind of place; without it the entry's own name.")
    limits: Mapping[str, Any] | None = key(kinds.MAPPING, "Its ceilings: the keys of Ceilings.")
    startup_script: str | None = key(kinds.TEXT, "What its machines boot for task lists without an entry.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """`limits:` of a place."""

    machines: int | None = key(kinds.COUNT, "Machines at a time.")
    price_per_hour: Decimal | None = key(kinds.MONEY, "Dollars an hour, of all machines.")
    budget: Decimal | None = key(kinds.MONEY, "Dollars in all.")
    regions: tuple[str, ...] | None = key(kinds.WORDS, "Only these.")


LATER = ("mounts", "needs", "places", "machine")
"""Keys of jobs that are kept as they stand: what they mean is not built yet."""
SECTIONS = ("default", "profiles", "places", "environments", "jobs")


def keys(kind: type) -> dict[str, Kind]:
    """The keys of one of these dataclasses."""
    return {found.name: found.metadata["kind"] for found in fields(kind) if "kind" in found.metadata}


def profile(name: str) -> dict[str, Any]:
    """A profile's settings by the names of a call's options. UnknownPlace names the nearest; ConfigError as in load."""
    from elsewhere.config import load

    return load.current().options(name)
