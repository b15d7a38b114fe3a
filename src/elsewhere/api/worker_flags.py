"""The flags of a worker file and their environment variables: RMS_CLOUD_TASKS_..., the flag wins.

Words to values, and what they mean for a job. Nothing is read but the command line and the environment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from elsewhere.model.resources import Resources
from elsewhere.model.task import RetryPolicy

PREFIX = "RMS_CLOUD_TASKS_"
GIVEN = "_given"
"""The fields that a flag or a variable has set; the others have their defaults."""
ENDLESS = 10**9
"""More tries than anybody waits for."""
_TRUE, _FALSE = ("1", "true", "yes", "on", "y", "t"), ("0", "false", "no", "off", "n", "f")


class Flag(NamedTuple):
    """`kind` None: a pair --flag and --no-flag. `variable`: without the prefix."""

    name: str
    variable: str
    kind: Callable[[str], Any] | None
    default: Any
    help: str

    @property
    def field(self) -> str:
        return FIELDS.get(self.name, self.name.replace("-", "_"))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _some(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e10:
        raise ValueError(text)
    return number


_count.__name__, _some.__name__, _positive.__name__ = "count", "count of 1 or more", "number"

FIELDS = {"memory": "memory_gb", "local-ssd": "local_ssd_gb", "boot-disk": "boot_disk_gb", "price": "price_per_hour"}

FLAGS = (
    Flag("provider", "PROVIDER", str, None, "aws or gcp: shown in worker_data"),
    Flag("project-id", "PROJECT_ID", str, None, "shown in worker_data"),
    Flag("job-id", "JOB_ID", str, None, "the job's name"),
    Flag("queue-name", "QUEUE_NAME", str, None, "shown in worker_data; the job id if not given"),
    Flag("exactly-once-queue", "EXACTLY_ONCE_QUEUE", None, False, "shown in worker_data"),
    Flag("event-log-file", "EVENT_LOG_FILE", str, "events.log", "where events go, one JSON object a line"),
    Flag("event-log-to-file", "EVENT_LOG_TO_FILE", None, None, "write that file (yes for a task list)"),
    Flag("event-log-to-queue", "EVENT_LOG_TO_QUEUE", None, None, "shown in worker_data"),
    Flag("keepalive-interval", "KEEPALIVE_INTERVAL", float, 60.0, "shown in worker_data"),
    Flag("instance-type", "INSTANCE_TYPE", str, None, "shown in worker_data"),
    Flag("num-cpus", "INSTANCE_NUM_VCPUS", _some, None, "CPUs of this machine"),
    Flag("memory", "INSTANCE_MEM_GB", float, None, "memory of this machine in GB"),
    Flag("local-ssd", "INSTANCE_SSD_GB", float, None, "local disk of this machine in GB"),
    Flag("boot-disk", "INSTANCE_BOOT_DISK_GB", float, None, "boot disk of this machine in GB"),
    Flag("is-spot", "INSTANCE_IS_SPOT", None, False, "shown in worker_data"),
    Flag("price", "INSTANCE_PRICE", float, None, "dollars an hour, shown in worker_data"),
    Flag("num-simultaneous-tasks", "NUM_TASKS_PER_INSTANCE", _some, None, "tasks at a time (--num-cpus, or 1)"),
    Flag("max-runtime", "MAX_RUNTIME", _positive, 3600.0, "seconds that a task may run"),
    Flag("max-memory-allowed-per-task", "MAX_MEMORY_ALLOWED_PER_TASK", _positive, None, "GB that a task may use"),
    Flag("shutdown-grace-period", "SHUTDOWN_GRACE_PERIOD", _positive, 30.0, "seconds between asking and killing"),
    Flag("tasks-to-skip", "TO_SKIP", _count, None, "leave out so many tasks at the beginning"),
    Flag("max-num-tasks", "MAX_NUM_TASKS", _count, None, "take at most so many tasks"),
    Flag("retry-on-exit", "RETRY_ON_EXIT", None, None, "try again when a task's process ends by itself"),
    Flag("retry-on-exception", "RETRY_ON_EXCEPTION", None, None, "try again when a task raises"),
    Flag("retry-on-timeout", "RETRY_ON_TIMEOUT", None, None, "try again when a task runs too long"),
    Flag("simulate-spot-termination-after", "SIMULATE_SPOT_TERMINATION_AFTER", float, None, "shown in worker_data"),
    Flag("simulate-spot-termination-delay", "SIMULATE_SPOT_TERMINATION_DELAY", float, None, "shown in worker_data"),
)


def parse(args: Sequence[str] | None, parser: argparse.ArgumentParser | None) -> argparse.Namespace:
    """What the command line and the environment say; the caller's own options are in it too.

    Hyphens and underscores in flags are the same; what was said at all is kept under GIVEN. A wrong flag or variable:
    usage on standard error, SystemExit(2).
    """
    parser = parser or argparse.ArgumentParser()
    parser.allow_abbrev = False
    _add(parser)
    words = sys.argv[1:] if args is None else list(args)
    if args is None and "ipykernel" in sys.modules:
        words = []
    found = parser.parse_args([_hyphens(word, parser) for word in words])
    given = {flag.field for flag in FLAGS if getattr(found, flag.field) is not None}
    for flag in FLAGS:
        if flag.field not in given:
            given |= {flag.field} if _variable(flag) else set()
            setattr(found, flag.field, _from_environment(flag, parser))
    if found.task_file is None:
        found.task_file = os.environ.get(PREFIX + "TASK_FILE") or None
    found.queue_name = found.queue_name or found.job_id
    setattr(found, GIVEN, frozenset(given))
    return found


def _add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("worker")
    group.add_argument(
        "--tasks", "--task-file", dest="task_file", metavar="FILE", help="the task list: .json, .yaml, ..."
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    for flag in FLAGS:
        if flag.kind is None:
            group.add_argument(
                f"--{flag.name}", dest=flag.field, default=None, action=argparse.BooleanOptionalAction, help=flag.help
            )
        else:
            group.add_argument(f"--{flag.name}", dest=flag.field, type=flag.kind, default=None, help=flag.help)


def _hyphens(word: str, parser: argparse.ArgumentParser) -> str:
    name, equals, value = word.partition("=")
    if not name.startswith("--") or "_" not in name or name in parser._option_string_actions:
        return word
    return name.replace("_", "-") + equals + value


def _from_environment(flag: Flag, parser: argparse.ArgumentParser) -> Any:
    """The variable's value, or the default."""
    text = _variable(flag)
    if not text:
        return flag.default
    try:
        return _truth(text) if flag.kind is None else flag.kind(text)
    except ValueError:
        wanted = "a boolean" if flag.kind is None else f"a {flag.kind.__name__}"
        parser.error(f"{PREFIX}{flag.variable} is {text!r}, which is not {wanted}")


def _variable(flag: Flag) -> str:
    """Its text; empty if it is not set. Unset booleans arrive as the word None."""
    text = os.environ.get(PREFIX + flag.variable, "").strip()
    return "" if text == "None" else text


def _truth(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise ValueError(text)


def slots(found: argparse.Namespace) -> int:
    return int(found.num_simultaneous_tasks or found.num_cpus or 1)


def terms(found: argparse.Namespace) -> dict[str, Any]:
    """The fields of a job that the flags set."""
    memory = found.max_memory_allowed_per_task
    return {
        "slots": slots(found),
        "timeout": timedelta(seconds=found.max_runtime),
        "grace": timedelta(seconds=found.shutdown_grace_period),
        "resources": Resources(memory=int(memory * (1 << 30)) if memory else None),
        "retry": _retry(found),
    }


def _retry(found: argparse.Namespace) -> RetryPolicy:
    """Nothing is tried again unless asked for; what the task itself asks for has no end."""
    exits, exceptions = bool(found.retry_on_exit), bool(found.retry_on_exception)
    return RetryPolicy(
        retries=ENDLESS if exits or exceptions else 0,
        timeouts=ENDLESS if found.retry_on_timeout else 0,
        memory=0,
        losses=ENDLESS if exits else 3,
        asks=None,
        exit_codes=None if exits else (),
        exceptions=exceptions,
        delay=timedelta(milliseconds=100),
        max_delay=timedelta(seconds=30),
    )


_NOT_SHOWN = frozenset(("task_file", "verbose", "tasks_to_skip", "max_num_tasks"))


def worker_data(found: argparse.Namespace) -> dict[str, Any]:
    """What `worker_data` shows in each task: plain values only, for they travel as JSON."""
    ours = {flag.field for flag in FLAGS} - _NOT_SHOWN
    words: Mapping[str, Any] = vars(found)
    shown = {name: words[name] for name in sorted(ours)}
    shown["num_simultaneous_tasks"] = slots(found)
    shown["event_log_queue_name"] = f"{found.queue_name}-events" if found.queue_name else None
    shown["args"] = {name: _plain(value) for name, value in words.items() if name != GIVEN}
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
