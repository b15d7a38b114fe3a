"""Commands: `run` waits, as subprocess.run does; `submit` and `submit_all` give a Job that outlives this process.

A command is a list of words. A string goes through a shell, and only when `shell=True` says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from elsewhere import session
from elsewhere.api.interrupts import interrupts
from elsewhere.api.jobs import Job
from elsewhere.api.options import Options, job_name
from elsewhere.api.terms import OfMany, OfOne, given
from elsewhere.config import rows
from elsewhere.errors import InvalidTask, TaskFailed, UsageError
from elsewhere.model.job import Entry
from elsewhere.model.task import NewTask

if TYPE_CHECKING:
    from elsewhere.config.fit import Fit

Command = Sequence[str | os.PathLike[str]] | str
_NULL = b"null"


def run(
    command: Command,
    *,
    check: bool = False,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    **terms: Unpack[OfOne],
) -> Job:
    """Run one command and wait: the finished Job, with `ok`, `exit_code`, `stdout` and `stderr`. Terms: see `remote`.

    `check`: TaskFailed (or TaskTimedOut, ...) if it did not succeed. UsageError: nothing was run. An interrupt lets it
    finish and is raised then; a second one stops it.
    """
    files = _one(command, shell, cwd, terms)
    with interrupts() as stop:
        session.run_here(files, stop=stop)
    job = Job(files)
    if check and not job.ok:
        raise job.error() or TaskFailed(f"job {job.id} is {job.state}")
    return job


def submit(
    command: Command,
    *,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    **terms: Unpack[OfOne],
) -> Job:
    """Run one command in the background: its Job at once; it outlives this process. UsageError: nothing was run."""
    files = _one(command, shell, cwd, terms)
    session.detach(files)
    return Job(files)


def submit_all(
    commands: Iterable[Command | Mapping[str, Any]],
    *,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    **terms: Unpack[OfMany],
) -> Job:
    """Many commands as one Job, in the background, `slots` at a time.

    Each is a command, or a mapping with `command` and, as in a task file, `task_id`, `timeout`, `retries`, `resources`,
    `env`. InvalidTask names those that are wrong, and then nothing is run.
    """
    options = Options.of(given(terms, OfMany))
    if isinstance(commands, str | bytes | Mapping):
        raise UsageError("submit_all takes many commands, each a list of words", hint="submit takes one.")
    spec = options.spec(Entry("command", name=terms.get("name") or "commands"), name="commands", cwd=_directory(cwd))
    files = session.create(spec, _tasks(commands, shell, options.own, session.fit_of(spec)))
    session.detach(files)
    return Job(files)


def _one(command: Command, shell: bool, cwd: str | os.PathLike[str] | None, terms: OfOne) -> session.JobFiles:
    options = Options.of({**given(terms, OfOne), "slots": 1})
    words = _words(command, shell)
    path = {**dict(options.env), **(terms.get("env") or {})}.get("PATH")
    if not shell and options.environment is None and shutil.which(words[0], path=path) is None:
        raise UsageError(f"there is no program {words[0]!r}" + ("" if "/" in words[0] else " in PATH"))
    label = str(command).split()[0] if shell and str(command).split() else words[0]
    entry = Entry("command", command=tuple(words), name=Path(label).name)
    spec = options.spec(entry, name=job_name(Path(label).name), cwd=_directory(cwd))
    return session.create(spec, [NewTask("1", _NULL, options.own)])


def _directory(cwd: str | os.PathLike[str] | None) -> str:
    if cwd is None:
        return ""
    if not Path(cwd).is_dir():
        raise UsageError(f"cwd: there is no directory {os.fspath(cwd)}")
    return str(Path(cwd).absolute())


def _words(command: Command, shell: bool) -> list[str]:
    if shell:
        if not isinstance(command, str) or not command.strip():
            raise UsageError(f"with shell=True a command is a string, not {type(command).__name__}")
        return ["/bin/sh", "-c", command]
    if isinstance(command, str | bytes):
        raise UsageError(
            f"a command is a list of words, such as {str(command).split()!r}", hint="A string needs shell=True."
        )
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in command]
    if not words or not all(isinstance(word, str) for word in words):
        raise UsageError(f"a command is a list of one or more strings, not {command!r}")
    if any("\0" in word for word in words):
        raise UsageError("a command holds a NUL, which an argument cannot")
    return words


def _tasks(commands: Iterable[Any], shell: bool, own: bytes | None, fit: Fit) -> Iterator[NewTask]:
    """Read as they come; what is wrong with one is said with its place."""
    import json

    common = json.loads(own) if own else {}
    for number, command in enumerate(commands, 1):
        problems: list[str] = []
        row = dict(command) if isinstance(command, Mapping) else {"command": command}
        try:
            row["command"] = _words(row.get("command", ()), shell)
        except (UsageError, TypeError) as error:
            problems.append(str(error))
        row = {"task_id": str(number), **row}
        task = rows.new_task(row, lambda data: json.dumps(data).encode(), problems) if not problems else None
        if task is not None:
            task = task._replace(options=json.dumps({**common, **json.loads(task.options or b"{}")}).encode())
            problems += [problem for _, problem in fit([task])]
        if task is None or problems:
            raise InvalidTask(f"command {number}: {'; '.join(problems)}", faults=tuple(problems))
        yield task
