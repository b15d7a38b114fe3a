"""A worker on a machine of a job: started by the user's own startup script, it becomes the machine's agent.

What it must know was exported by the boot text (ship/startup.py); what its flags say wins.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from elsewhere.agent.join import Process
from elsewhere.agent.meeting import Joining
from elsewhere.agent.serve import serve
from elsewhere.api import worker_flags
from elsewhere.api.worker_run import say
from elsewhere.errors import UsageError
from elsewhere.hosts import private_directory
from elsewhere.model.job import Entry
from elsewhere.ship.charter import Charter
from elsewhere.ship.codec import import_path
from elsewhere.ship.startup import AGENT, MARK

BOOT = timedelta(minutes=20)
"""A startup script has not run for longer: the dead man's switch would have ended it. So a clock that was set while it
ran can do little harm."""
_OF_LISTS = ("tasks_to_skip", "max_num_tasks")
_RETRIES = ("retry_on_exit", "retry_on_exception", "retry_on_timeout")


async def host(target: str, words: argparse.Namespace) -> None:
    """Take this job's tasks and run them with the function `target` until there is no more work.

    UsageError: a worker runs here already, or flags mean nothing here; Unreachable, Refused: the job cannot be joined.
    """
    given = getattr(words, worker_flags.GIVEN)
    for name in _OF_LISTS:
        if name in given:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is of a task list", hint="Which tasks a job has is said when it is loaded.")
    if words.event_log_to_file:
        say("no event log is written here: `elsewhere compat cloud_tasks monitor_event_queue` tells all events")
    joining = _joining(words, _taken(os.environ))
    loop = asyncio.get_running_loop()

    def heed(process: Process) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
                loop.add_signal_handler(number, process.stop)

    def ready(process: Process) -> None:
        loop.call_soon_threadsafe(heed, process)

    def work() -> str:
        return serve(joining, ready, lambda charter: mine(charter, target, words))

    say(f"this worker is the agent of {joining.agent}: {joining.slots} at a time")
    with _alone(joining.directory):
        why = await loop.run_in_executor(None, work)
    say(f"the agent of {joining.agent} has ended: {why}")


def mine(charter: Charter, target: str, words: argparse.Namespace) -> Charter:
    """The job as this worker does it: its function, its interpreter, its directory, and what its flags say."""
    found, spec, given = worker_flags.terms(words), charter.spec, getattr(words, worker_flags.GIVEN)
    chosen: dict[str, Any] = {}
    for flag, name in (("max_runtime", "timeout"), ("shutdown_grace_period", "grace")):
        if flag in given:
            chosen[name] = found[name]
    if "max_memory_allowed_per_task" in given:
        chosen["resources"] = replace(spec.resources, memory=found["resources"].memory)
    if any(name in given for name in _RETRIES):
        chosen["retry"] = found["retry"]
    spec = replace(
        spec, entry=Entry("function", target, name=target), python=sys.executable, cwd=str(Path.cwd()),
        path=import_path(), seed_door=True, worker=worker_flags.worker_data(words), **chosen,
    )  # fmt: skip
    return replace(charter, spec=spec)


def _taken(environ: MutableMapping[str, str]) -> Mapping[str, str]:
    """What the boot text exported for an agent. It is taken out: a task that starts a worker of its own is no agent."""
    names = [name for name in environ if name.startswith(AGENT)]
    return {name.removeprefix(AGENT): environ.pop(name) for name in names}


def _joining(words: argparse.Namespace, told: Mapping[str, str]) -> Joining:
    try:
        passed = timedelta(seconds=time.time() - float(told["BORN"]))
        term, lease, idle = (timedelta(seconds=float(told[name])) for name in ("TERM", "LEASE", "IDLE"))
        directory = Path(told["DIRECTORY"])
        joining = Joining(told["ADDRESS"], told["AGENT"], directory, worker_flags.slots(words), term, lease, idle,
                          age=min(max(passed, timedelta(0)), BOOT))  # fmt: skip
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"the variables {AGENT}... are not those of a machine of ours: {error}",
            hint="Unset them to run a task list here.",
        ) from None
    private_directory(joining.directory)
    return joining


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """While inside, the boot text sees that a worker is under way. UsageError: another one is."""
    mark = directory / MARK
    with contextlib.suppress(OSError, ValueError):
        pid = int(mark.read_text())
        if pid != os.getpid() and Path(f"/proc/{pid}").exists():
            raise UsageError(f"a worker runs here already: process {pid}", hint="One worker runs many tasks at a time.")
    mark.write_text(f"{os.getpid()}\n")
    yield
