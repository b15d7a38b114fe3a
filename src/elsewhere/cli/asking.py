"""From options to a JobSpec: what `run` and `demo` ask for, checked before anything is made."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from elsewhere.cli.grammar import Option
from elsewhere.cli.read import count, cpus, duration, gpus, positive, secret, share, size, variable, whole
from elsewhere.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def recycle(text: str) -> tuple[str, int]:
    """`1000`: after so many tasks; `512MiB`: when larger than that."""
    if text.isdigit():
        return "recycle_tasks", positive(text)
    try:
        return "recycle_memory", size(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a count of tasks nor a size; write for example 100 or 2GiB") from None


def named(text: str) -> str:
    """A job's name: letters, digits, `.`, `_` and `-`; nothing that could be an id."""
    if not _NAME.fullmatch(text) or text.startswith("job-"):
        raise ValueError(f"{text!r} cannot name a job: letters, digits, '.', '_' and '-', up to 100, and not job-...")
    return text


OPTIONS = (
    Option("--entry", "-e", value="MODULE:FUNCTION", group="What to run",
           help="The function that does a task of the list: module:function, or path.py:function."),
    Option("--startup-script", value="FILE", group="What to run",
           help="A script for bash that machines boot instead of our agent: it installs what tasks need and starts a "
           "worker, whose function does them."),
    Option("--each-line", value="FILE", group="What to run",
           help="One command for each line of FILE (- for standard input); {} stands for the line."),
    Option("--name", value="NAME", parse=named, group="What to run", help="What to call the job."),
    Option("--on", value="PLACE", group="Where", help="The place to run in. [local]"),
    Option("--channel", value="CHANNEL", choices=("calls", "pipe", "spool"), group="Where",
           help="How agents are reached; by default as the place prefers."),
    Option("--slots", "-s", value="N", parse=positive, group="Where",
           help="How many tasks run at a time; by default one for each CPU this process may use."),
    Option("--python", value="PATH", group="Where",
           help="The interpreter that runs tasks; by default the virtual environment that is active or nearest."),
    Option("--environment", value="NAME", group="Where",
           help="The software that tasks need: an entry of `environments:` in the settings."),
    Option("--image", value="IMAGE", group="Where",
           help="The container image that tasks run in: a name, docker-archive:FILE, oci-archive:FILE or FILE.sif."),
    Option("--env", value="NAME=VALUE", parse=variable, many=True, group="Where",
           help="A variable for the tasks; NAME alone passes on the one that is set here."),
    Option("--secret", value="NAME[=REFERENCE]", parse=secret, many=True, group="Where",
           help="A variable for the tasks whose value is never written down: NAME as it is set here, or where it is "
           "kept, env:OTHER, file:PATH or keyring:SERVICE/USER."),
    Option("--input", value="PATH|URL", many=True, group="Where",
           help="A file, a directory or a URL (s3, gs, http) that each task finds, under its name, where it runs."),
    Option("--output", value="GLOB", many=True, group="Where",
           help="Files that each task leaves where it runs, and that come home: results JOB --files."),
    Option("--isolate", group="Where", help="A fresh process for each task."),
    Option("--recycle", value="N|SIZE", parse=recycle, group="Where",
           help="Replace a slot's process after N tasks, or when it is larger than SIZE."),
    Option("--cpus", value="N", parse=cpus, group="Each task",
           help="CPUs that a task needs; no more run at a time than there are CPUs for. [1]"),
    Option("--memory", value="SIZE", parse=size, group="Each task",
           help="Memory that a task may use; more is reported as out of memory."),
    Option("--gpus", value="[TYPE:]N", parse=gpus, group="Each task",
           help="GPUs that a task needs; CUDA_VISIBLE_DEVICES tells it which it has."),
    Option("--walltime", value="TIME", parse=duration, group="Each task",
           help="How long a job of a batch system may live, over what the place says: 2h."),
    Option("--how", value="array|pilots", choices=("array", "pilots"), group="Where",
           help="Of a batch system: a list as one array, or as a few jobs that share it; by default by its length."),
    Option("--timeout", "-t", value="TIME", parse=duration, group="Each task", help="How long a task may run: 30s."),
    Option("--grace", value="TIME", parse=duration, group="Each task", help="Between SIGTERM and SIGKILL. [5s]"),
    Option("--retries", "-r", value="N", parse=count, group="Each task",
           help="How often a task is tried again after an error. [0]"),
    Option("--max-failures", value="N|P%", parse=share, group="The job", help="Stop after more failures."),
    Option("--keep-on-failure", value="TIME", parse=duration, group="The job",
           help="Keep a machine for so long, once it has no more work, if a task failed on it for good or it could not "
           "boot; within its budget."),
    Option("--priority", value="N", parse=whole, group="The job", help="Higher gets more slots beside other jobs."),
    Option("--profile", value="NAME", group="The job",
           help="With this profile of the settings (elsewhere.yaml); options win over it."),
    Option("--yes", "-y", group="The job", help="Do not ask; places that cost money want this or a budget."),
)  # fmt: skip


def settings(asked: SimpleNamespace) -> dict[str, Any]:
    """The fields of a JobSpec that options set, over those that the settings do (cli/projects.py put them there)."""
    from dataclasses import replace

    from elsewhere.model.resources import Resources
    from elsewhere.model.task import RetryPolicy

    found = dict(getattr(asked, "defaults", {}))
    plain = ("slots", "timeout", "grace", "max_failures", "priority", "channel", "keep_on_failure")
    found.update({name: getattr(asked, name) for name in plain if getattr(asked, name) is not None})
    if asked.recycle:
        found[asked.recycle[0]] = asked.recycle[1]
    if asked.isolate:
        found["isolate"] = True
    typed = dict(asked.secret)
    if both := typed.keys() & dict(asked.env).keys():
        raise UsageError(f"--env {min(both)} and --secret {min(both)} are one too many", hint="Leave one of them out.")
    found["env"] = {name: value for name, value in variables(asked).items() if name not in typed}
    kept = {name: kept for name, kept in found.get("secrets", {}).items() if name not in found["env"]}
    found["secrets"] = {**kept, **typed}
    if asked.retries is not None:
        found["retry"] = replace(found.get("retry") or RetryPolicy(), retries=asked.retries)
    given = {name: getattr(asked, name) for name in ("cpus", "memory", "gpus") if getattr(asked, name) is not None}
    if given:
        found["resources"] = replace(found.get("resources") or Resources(), **given)
    return found


def variables(asked: SimpleNamespace) -> dict[str, str]:
    """The variables of tasks: those of the environment, of the settings, and over them those that were typed."""
    return {**getattr(asked, "furnished_env", {}), **getattr(asked, "defaults", {}).get("env", {}), **dict(asked.env)}


def name_from(text: str) -> str:
    """A job's name made of a file's stem or a command's first word."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:60]
    if not name or not name[0].isalnum() or name.startswith("job-"):
        return "job" if not name else f"x-{name}"
    return name


def find_command(words: list[str], env: dict[str, str]) -> None:
    """That the command's program is there and may be run. CannotRun, with the shell's 127 or 126, if not."""
    import shutil

    program = words[0]
    if not program:  # the interpreter that runs tasks, which was found by other means
        return
    path = env.get("PATH", os.environ.get("PATH", os.defpath))
    if shutil.which(program, path=path):
        return
    found = Path(program) if "/" in program else None
    if found is not None and found.exists():
        kind = "is a directory" if found.is_dir() else "may not be executed (chmod +x makes it so)"
        raise CannotRun(f"{program} {kind}", 126)
    if " " in program and shutil.which(shlex.split(program)[0] if _splits(program) else program, path=path):
        raise CannotRun(f"there is no program {program!r}", 127, hint=f"Leave out the quotes: -- {program}")
    raise CannotRun(f"there is no program {program!r}" + ("" if "/" in program else " in PATH"), 127)


def _splits(text: str) -> bool:
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


class CannotRun(UsageError):
    """A program that is not there (127) or may not be run (126), as shells number it."""

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_status = status
