"""The keys of rms-cloud-tasks' configuration file: one table, from which its flags, checks and help are made.

What keys about machines mean stands in choose/seed_names.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from elsewhere.config import kinds
from elsewhere.config.faults import article
from elsewhere.config.kinds import Kind

JOB, POOL, TYPES, AWS = "The job", "The pool", "Machines", "The account"


class Word(NamedTuple):
    """A key, and the flag of the same name. `text`: how a flag's text becomes the value that a file would hold."""

    name: str
    kind: Kind
    group: str
    help: str
    text: Callable[[str], Any] | None = str
    """None: a pair --flag and --no-flag."""
    idle: str = ""
    """Why it is understood and has no effect here; said when it is given."""
    refused: str = ""
    """Why it cannot be obeyed: said as a fault."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"must be text or a list of texts, not {article(value)}")
    return tuple(value)


def _patterns(value: Any) -> tuple[str, ...]:
    for pattern in (found := _names(value)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"must be regular expressions; {pattern!r} is none: {error}") from None
    return found


def _gigabytes(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"must be a number of GB, 0 or more, not {article(value)}")
    return value


def _architecture(value: Any) -> str:
    if str(value).lower() not in ("x86_64", "arm64"):
        raise ValueError(f"must be X86_64 or ARM64, not {article(value)}")
    return str(value)


def _job(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(f"must be letters, digits, '.', '_' and '-', at most 100, not {article(value)}")
    if value.startswith("job-"):
        raise ValueError(f"must not begin with job-, as ids of jobs do: {value}")
    return value


def number(text: str) -> int | float:
    """As YAML would read it."""
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


NAMES = Kind("text, or a list of texts", _names, {})
PATTERNS = Kind("regular expressions", _patterns, {})
GB = Kind("a number of GB", _gigabytes, {})
ARCHITECTURE = Kind("X86_64 or ARM64", _architecture, {})
JOB_ID = Kind("a job's name", _job, {})
_N, _S = number, str
_GCP = "is of gcp, and this is aws"


def _bounds(name: str, kind: Kind, group: str, what: str) -> tuple[Word, Word]:
    return (Word(f"min_{name}", kind, group, f"at least so {what}", _N),
            Word(f"max_{name}", kind, group, f"at most so {what}", _N))  # fmt: skip


WORDS = (
    Word("job_id", JOB_ID, JOB, "the job's name", _S),
    Word("queue_name", kinds.TEXT, JOB, "shown to tasks; the job's name if not given", _S),
    Word("region", kinds.TEXT, JOB, "where machines are started; that of the zone, or of the account, if not given"),
    Word("zone", NAMES, JOB, "only these zones", _S),
    Word("exactly_once_queue", kinds.FLAG, JOB, "shown to tasks", None,
         idle="each task's end is recorded once in any case"),
    Word("db_file", kinds.TEXT, JOB, "", idle="a job's records are in the state directory"),
    *_bounds("instances", kinds.COUNT, POOL, "many machines"),
    *_bounds("total_cpus", kinds.COUNT, POOL, "many CPUs of all machines"),
    Word("cpus_per_task", kinds.ABOVE_ZERO, POOL, "CPUs that a task needs; how many run on a machine follows", _N),
    Word("allow_cpu_wasting", kinds.FLAG, POOL, "give tasks more CPUs where they need the memory of more", None),
    *_bounds("tasks_per_instance", kinds.COUNT, POOL, "many tasks at a time on one machine"),
    *_bounds("simultaneous_tasks", kinds.COUNT, POOL, "many tasks at a time on all machines"),
    *_bounds("total_price_per_hour", kinds.MONEY, POOL, "many dollars an hour for all machines"),
    Word("budget", kinds.MONEY, POOL, "dollars for the whole job (10 if not given)", _N),
    Word("startup_script", kinds.TEXT, POOL, "", None),
    Word("startup_script_file", kinds.TEXT, POOL, "the script that machines boot; it starts the worker", _S),
    Word("image", kinds.TEXT, POOL, "an AMI's id or name, or an SSM parameter; the newest Ubuntu LTS if not given"),
    Word("max_runtime", kinds.ABOVE_ZERO, POOL, "seconds that a task may run (3600)", _N),
    Word("max_memory_allowed_per_task", kinds.ABOVE_ZERO, POOL, "GB that a task may use", _N),
    Word("retry_on_exit", kinds.FLAG, POOL, "try again when a task's process ends by itself", None),
    Word("retry_on_exception", kinds.FLAG, POOL, "try again when a task raises", None),
    Word("retry_on_timeout", kinds.FLAG, POOL, "try again when a task runs too long", None),
    Word("keepalive_interval", kinds.NUMBER, POOL, "shown to tasks", _N),
    *(Word(name, kinds.NUMBER, POOL, "has no effect", _N, idle=why) for name, why in (
        ("keepalive_startup_timeout", "a machine whose worker has not spoken within 25 minutes is replaced"),
        ("keepalive_timeout", "what runs on a machine is under a lease that its worker renews"),
        ("scaling_check_interval", "the pool is looked at every second or so"),
        ("instance_termination_delay", "a machine without work ends after 60 seconds"),
    )),
    Word("architecture", ARCHITECTURE, TYPES, "X86_64 or ARM64 (X86_64)", _S),
    *_bounds("cpu", kinds.COUNT, TYPES, "many CPUs of a machine"),
    *_bounds("total_memory", GB, TYPES, "much memory of a machine, in GB"),
    *_bounds("memory_per_cpu", GB, TYPES, "much memory for each CPU, in GB"),
    *_bounds("memory_per_task", GB, TYPES, "much memory for each task, in GB"),
    *_bounds("local_ssd", GB, TYPES, "large local disks, in GB"),
    *_bounds("local_ssd_per_cpu", GB, TYPES, "large local disks for each CPU, in GB"),
    *_bounds("local_ssd_per_task", GB, TYPES, "large local disks for each task, in GB"),
    *(Word(name, GB, TYPES, "cannot be obeyed", _N, refused="is not known here; say it by min_local_ssd")
      for name in ("local_ssd_base_size",)),
    Word("cpu_family", PATTERNS, TYPES, "processors: a regular expression that matches from the beginning", _S),
    *(Word(name, kinds.COUNT, TYPES, "cannot be obeyed", _N,
           refused="is not known here: name processors by cpu_family, or types by instance_types")
      for name in ("min_cpu_rank", "max_cpu_rank")),
    Word("instance_types", PATTERNS, TYPES, "types: regular expressions that match from the beginning", _S),
    Word("boot_disk_types", NAMES, TYPES, "gp3, gp2, io2, io1 or standard; the first is taken", _S),
    *(Word(name, kinds.NUMBER, TYPES, "cannot be obeyed", _N, refused="is not known here: disks are as their type is")
      for name in ("boot_disk_iops", "boot_disk_throughput")),
    Word("total_boot_disk_size", GB, TYPES, "so large a boot disk, in GB (20)", _N),
    Word("boot_disk_base_size", GB, TYPES, "or, where that is more, so large and the next two", _N),
    Word("boot_disk_per_cpu", GB, TYPES, "so much more for each CPU", _N),
    Word("boot_disk_per_task", GB, TYPES, "so much more for each task", _N),
    Word("use_spot", kinds.FLAG, TYPES, "only spot machines", None),
    *(Word(name, kinds.TEXT, AWS, "cannot be obeyed",
           refused="is a secret, which belongs into no file and on no command line: log in as for every tool of AWS")
      for name in ("access_key", "secret_key")),
    *(Word(name, kinds.TEXT, AWS, "of gcp", refused=_GCP) for name in (
        "project_id", "credentials_file", "service_account", "worker_service_account", "runner_service_account",
    )),
)  # fmt: skip
KNOWN = {word.name: word for word in WORDS}
PROVIDERS = ("aws", "gcp", "azure")
