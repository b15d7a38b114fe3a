"""A job: tasks that somebody asked for, one environment, one or more places. Its state is derived, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from elsewhere.model.place import Limits, Shape
from elsewhere.model.resources import Resources
from elsewhere.model.task import RetryPolicy


@dataclass(frozen=True, slots=True)
class Environment:
    """The software that tasks need, as an entry of `environments:` says it; here, as a value.

    python   a minor version such as "3.12"; empty: the one that runs here
    pip      requirements, as pip reads them, or the path of a file of them
    conda    packages of conda, or the path of an environment.yml, or of a list of their addresses
    channels where they come from; empty: those of that file, else conda-forge
    logins   to channels that ask for one: a host -> a reference to `user:password`, or to a token (env:NAME, ...)
    julia    a version of Julia, or the directory of a project: its packages are instantiated
    prefix   instead of these: the path there of a virtual environment or one of conda, which stays as it is
    apt      packages of Debian and Ubuntu, installed where we are root
    setup    lines for `sh -e`, run once on each machine, in the directory of the code
    capture  also what the interpreter here has, at the same versions; what it has as source travels as code
    offline  machines ask nobody but us: whatever they would have to fetch themselves is refused
    name     of the entry; for people
    image    instead of all these: the container image that tasks run in
    mounts   of the container: a path here, or an absolute one there -> where tasks find it, `/data` or `/data:ro`
    runtime  podman, docker, apptainer, singularity or charliecloud; empty: the first of them that is there
    runtime_options  words for its command line
    """

    python: str = ""
    pip: str | tuple[str, ...] = ()
    conda: str | tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    logins: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    julia: str = ""
    apt: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    capture: bool = False
    offline: bool = False
    image: str = ""
    mounts: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    runtime: str = ""
    runtime_options: tuple[str, ...] = ()
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.mounts, Mapping):
            object.__setattr__(self, "mounts", tuple(self.mounts.items()))
        if isinstance(self.logins, Mapping):
            object.__setattr__(self, "logins", tuple((host, str(text)) for host, text in self.logins.items()))
        for name in ("pip", "conda", "channels", "apt", "setup", "runtime_options"):
            value = getattr(self, name)
            if isinstance(value, str) and name not in ("pip", "conda"):
                value = tuple(value.splitlines()) if name == "setup" else (value,)
            if not isinstance(value, str):
                if not all(isinstance(one, str) for one in value):
                    raise ValueError(f"{name} must be text, or a list of it, not {value!r}")
                object.__setattr__(self, name, tuple(value))


@dataclass(frozen=True, slots=True)
class Entry:
    """What a task of this job does.

    kind        target                          the body of a task is
    function    `module:function` or            the mapping `data`: called as f(**data), or as
                `path.py:function`              f(task_id, task_data, worker_data) if those are its parameters
                (empty)                         the same, of the worker that the job's startup script starts
    call        the digest of a sealed pickle   {"args": [...], "kwargs": {...}}, or a pickle of them
                in the job's store
    command     (none)                          null; the command stands in the task's options, or in `command`
    """

    kind: str
    target: str = ""
    command: tuple[str, ...] = ()
    name: str = ""
    """For people: the function's qualified name, or the command's first words."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that each task finds in its working directory, under `name`; `source` is a path, or a URL."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Mount:
    """`source`: a path here that travels (`sent`), or one of the machine itself. `target`: in the container."""

    source: str
    target: str
    writable: bool = True
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a machine makes of a box: which runtime it has, and what is in the image."""

    kind: str
    program: str
    """Its path."""
    image: str
    """As that runtime is told."""
    python: str = ""
    """The path of an interpreter in the image; empty: it has none, and can run commands only."""
    version: str = ""
    """That interpreter's minor version."""
    root: bool = False
    """In the container we are root, which is us outside: the runtime maps us, or we are root."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The image's own variables, where the runtime does not set them itself."""


@dataclass(frozen=True, slots=True)
class Box:
    """The container in which tasks run. `image`: of a registry, or a file or directory here, which travels."""

    image: str
    mounts: tuple[Mount, ...] = ()
    runtime: str = ""
    options: tuple[str, ...] = ()
    found: Found | None = None
    """None: not looked for yet."""


@dataclass(frozen=True, slots=True)
class Julia:
    """`version`: empty: any. `project`: the directory of its Project.toml. `address`: `URL#SHA-256` of what is brought
    where there is none; empty: nothing is."""

    version: str = ""
    project: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Everything a controller, here or elsewhere, now or later, needs to know to run the job. Immutable."""

    id: str
    name: str
    entry: Entry
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    place: str = "local"
    backend: str = ""
    """Of a place that the settings define; empty: the place's own name. What they said then holds for the whole job."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """That place's settings."""
    channel: str = ""
    """Empty: the first that the place prefers."""
    slots: int = 1
    machines: tuple[Shape, ...] = ()
    """What was chosen to run on, in order of preference; empty: what the place has."""
    limits: Limits = field(default_factory=Limits)
    software: tuple[str, ...] = ()
    """Requirements, resolved, of tasks on machines that do not see our files."""
    conda: tuple[str, ...] = ()
    """The same of conda's packages: `URL#SHA-256` of each."""
    prefix: str = ""
    """An environment that is there already: its path."""
    julia: Julia | None = None
    environment: str = ""
    """What the settings call it; for people."""
    offline: bool = False
    """Machines ask nobody but us."""
    apt: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    """Of the environment, besides software: packages of the system, and lines that are run once on each machine."""
    setup_mark: str = ""
    """Of those lines, with what they name (ship/kept.py); empty: not known."""
    box: Box | None = None
    """None: tasks run on the machine as it is."""
    python: str = ""
    """The interpreter of the slots."""
    python_version: str = ""
    """Its minor version, `3.12`: what machines that do not see our files need; empty: our own."""
    cwd: str = ""
    path: tuple[str, ...] = ()
    """Directories that are importable in slots, first of all."""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    """Globs of files that a task leaves in its working directory, and that come home. With inputs or outputs each
    attempt has a directory of its own."""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables whose values are never written down: name -> where the value is kept (config/secret.py)."""
    hidden: tuple[str, ...] = ()
    """Variables whose values are secret, on a machine that was given them and not the references."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=5)
    """Between SIGTERM and SIGKILL."""
    resources: Resources = field(default_factory=Resources)
    isolate: bool = False
    max_failures: int | Decimal | None = None
    """A count, or a share of the tasks that ended; beyond it the job stops."""
    priority: int = 0
    recycle_tasks: int = 100_000
    recycle_memory: int = 1 << 30
    """A slot is replaced after so many tasks, or when it is larger than so many bytes between two tasks."""
    exact: bool = False
    """Results keep their Python types: what JSON would change is pickled. Of calls; task lists take what JSON gives."""
    seed_door: bool = False
    """The manners of the worker of task lists (compat): None becomes {}, results must be JSON, retries have no end."""
    worker: Mapping[str, object] = field(default_factory=dict)
    """What `worker_data` shows (api/tasks.py)."""
    startup: str = ""
    """The user's own script, which machines boot in place of our agent: it starts a worker, which becomes the agent."""
    linger: timedelta = timedelta(0)
    """How long a job to which tasks may be added stays, and its machines with it, when all that it has have ended."""
    keep: timedelta = timedelta(days=30)
    keep_on_failure: timedelta | None = None
    """So long a machine stays, to be looked at, once it has no more work, if a task failed there for good or it could
    not boot. Within its term."""
    command_line: tuple[str, ...] = ()
    """As typed, for people."""
