"""The worker of a task list: a file that describes its tasks' function runs the list itself.

Loaded in every slot that runs such a file: nothing but the names may be imported at the top.
"""

from __future__ import annotations

import os
import sys

from elsewhere.slot.task import WorkerData

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from elsewhere.api.jobs import Job
    from elsewhere.config.fit import Fit
    from elsewhere.model.job import JobSpec
    from elsewhere.model.task import NewTask

__all__ = ["Worker", "WorkerData"]

INVITED = "ELSEWHERE_AGENT_ADDRESS"
"""Exported by the boot text of a machine whose startup script starts a worker (ship/startup.py)."""


class Worker:
    """Runs a function over a task list, here: `await Worker(process_task, args=sys.argv[1:]).start()`.

    The function is called as f(task_id, task_data, worker_data) and returns (success, result): True ends the task with
    that result, which must be JSON (None becomes {}), False asks for another try, as often as it takes. It may return
    Done, Again or Fail instead.

    `task_source`, a file or a function that gives an iterator of tasks, goes before --tasks. `args`: the command line
    without its first word; None: that of this process. `argparser`: the caller's own options, which tasks find in
    worker_data.args.
    """

    def __init__(
        self,
        user_worker_function: Callable[[str, dict[str, Any], WorkerData], Any],
        *,
        task_source: str | os.PathLike[str] | Callable[[], Iterable[Any]] | None = None,
        args: Sequence[str] | None = None,
        argparser: argparse.ArgumentParser | None = None,
    ) -> None:
        """A wrong command line ends the process with usage on standard error and status 2. UsageError: the function."""
        from elsewhere.api import worker_flags

        self._function = user_worker_function
        self._target = target_of(user_worker_function)
        self._words = worker_flags.parse(args, argparser)
        self._source = task_source if task_source is not None else self._words.task_file
        self._hosts = self._source is None and INVITED in os.environ
        if self._words.event_log_to_file is None:
            self._words.event_log_to_file = not self._hosts

    async def start(self) -> Job | None:
        """Run every task; the finished Job (`ok`, `exit_code`, `results()`). Progress is shown on standard error.

        On a machine of a job, started there by its startup script without a task list, this worker takes that job's
        tasks until there are no more; None.

        An interrupt lets running tasks finish, a second stops them; then the process ends with status 130, and the last
        lines say how to go on. A task list with faults ends it with status 2, and nothing was run.
        """
        from elsewhere.api import worker_run
        from elsewhere.errors import ElsewhereError, InvalidTask, UsageError

        try:
            if self._hosts:
                from elsewhere.api import hosting

                await hosting.host(self._target, self._words)
                return None
            return await worker_run.start(spec := self._spec(), self._tasks(spec), self._words)
        except InvalidTask as error:
            from elsewhere.config import tasks

            worker_run.complain(tasks.located(error, self._source))
            raise SystemExit(error.exit_status) from None
        except ElsewhereError as error:
            if not self._hosts and not isinstance(error, UsageError):
                raise
            worker_run.complain(error)
            raise SystemExit(error.exit_status) from None

    def _spec(self) -> JobSpec:
        from pathlib import Path

        from elsewhere.api import worker_flags
        from elsewhere.api.options import job_name
        from elsewhere.model import ids
        from elsewhere.model.job import Entry, JobSpec
        from elsewhere.ship.codec import import_path

        name = self._words.job_id or Path(self._target.rpartition(":")[0]).stem
        return JobSpec(
            id=ids.new("job"), name=job_name(name), entry=Entry("function", self._target, name=self._target),
            python=sys.executable, cwd=str(Path.cwd()), path=import_path(), seed_door=True,
            worker=worker_flags.worker_data(self._words), command_line=tuple(sys.argv),
            **worker_flags.terms(self._words),
        )  # fmt: skip

    def _tasks(self, spec: JobSpec) -> Iterator[NewTask]:
        from itertools import islice

        from elsewhere.config.fit import Parameters
        from elsewhere.errors import UsageError
        from elsewhere.session import fit_of
        from elsewhere.slot import check, entry

        if self._source is None:
            raise UsageError("say which tasks to run", hint=f"python3 {sys.argv[0] or 'worker.py'} --tasks tasks.json")
        first = self._words.tasks_to_skip or 0
        most = self._words.max_num_tasks
        function = entry.plain(self._function)
        known = None if entry.is_seed(function) else check.parameters(function)
        fit = fit_of(spec, Parameters.of(function.__qualname__, known))
        return islice(_read(self._source, fit), first, None if most is None else first + most)


def target_of(function: Callable[..., Any]) -> str:
    """How a slot finds the function: `path.py:function` for the file that is being run, else `module:function`.

    UsageError: it has no name that another process could find.
    """
    from pathlib import Path

    from elsewhere.errors import UsageError

    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not callable(function) or not name or "<" in name:
        raise UsageError(
            f"a worker's function must be defined by `def` at the top of a file, not {function!r}",
            hint="Its tasks run in processes of their own, which find it by its name.",
        )
    file = getattr(sys.modules.get(module), "__file__", None)
    if module != "__main__":
        return f"{module}:{name}"
    if not file or not Path(file).exists():
        raise UsageError(f"{name} stands in no file that a task's process could load", hint="Put it into a .py file.")
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"{spec.name}:{name}" if spec is not None and spec.name != "__main__" else f"{Path(file).absolute()}:{name}"


def _read(source: Any, fit: Fit) -> Iterator[NewTask]:
    from pathlib import Path

    from elsewhere.config import tasks

    if callable(source):
        return iter(tasks.read(source(), fit))
    if hasattr(source, "retrieve"):  # a FileCache path: fetched if it is far away
        source = source.retrieve()
    if source == "-":
        return iter(tasks.read(sys.stdin.buffer, fit))
    path: Path = Path(source)
    return iter(tasks.read(path, fit))
