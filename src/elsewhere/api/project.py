"""`Project.load("elsewhere.yaml").run()`: the jobs of a file, run from Python as `elsewhere run NAME` runs them."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from elsewhere import session
from elsewhere.api import entries
from elsewhere.api.entries import PYTHON, Work
from elsewhere.api.interrupts import interrupts
from elsewhere.api.jobs import Job
from elsewhere.api.options import Options
from elsewhere.api.terms import OfMany, given
from elsewhere.config import load as settings
from elsewhere.config import matrix
from elsewhere.config.files import NAMES
from elsewhere.errors import InvalidTask, UnknownJob, UsageError
from elsewhere.model.job import Entry
from elsewhere.model.task import NewTask

_HERE = threading.RLock()
"""A process has one working directory, and a job is made in its file's."""


class Project:
    """A directory with an elsewhere.yaml. Nothing is kept of the file: each job is made of what it says by then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def load(cls, path: str | os.PathLike[str] = "elsewhere.yaml") -> Project:
        """The project of this file, or of this directory. UsageError: there is none; ConfigError: all its faults."""
        found = Path(path).absolute()
        file = found if not found.is_dir() else next((f for name in NAMES if (f := found / name).is_file()), None)
        if file is None or not file.is_file() or file.name not in NAMES:
            raise UsageError(f"there is no {NAMES[0]} at {os.fspath(path)}", hint="`elsewhere init` writes one.")
        project = cls(file.parent)
        project._settings()
        return project

    @property
    def jobs(self) -> list[str]:
        """The names of its jobs, sorted."""
        return self._settings().names("jobs")

    def run(self, *names: str, **terms: Unpack[OfMany]) -> dict[str, Job]:
        """Run these jobs, or all, one after another, and wait; each by its name. Terms: see `remote`; they win.

        All are looked at before the first begins. UnknownJob names the nearest; UsageError: nothing was run.
        """
        files = {name: self._make(name, terms) for name in self._named(names)}
        found = {}
        for name, one in files.items():
            with interrupts() as stop:
                session.run_here(one, stop=stop)
            found[name] = Job(one)
        return found

    def submit(self, *names: str, **terms: Unpack[OfMany]) -> dict[str, Job]:
        """The same, in the background and all at once: they outlive this process."""
        files = {name: self._make(name, terms) for name in self._named(names)}
        for one in files.values():
            session.detach(one)
        return {name: Job(one) for name, one in files.items()}

    def _settings(self) -> settings.Settings:
        return settings.current(self.directory)

    def _named(self, names: tuple[str, ...]) -> list[str]:
        from elsewhere.config.faults import nearest

        known = self.jobs
        for name in names:
            if name not in known:
                raise UnknownJob(f"there is no job {name!r} in {self.directory}{nearest(name, known)}")
        wanted = list(dict.fromkeys(names)) or known
        found = self._settings()
        for name in wanted:
            entries.of(found.job(name))
        return wanted

    def _make(self, name: str, terms: OfMany) -> session.JobFiles:
        typed = given(terms, OfMany)
        entry = self._settings().job(name, typed.get("profile") or "")
        work = entries.of(entry)
        with _HERE, contextlib.chdir(work.directory):
            options = Options.of(typed, name)
            if work.words:
                return _commands(work, options, typed)
            return _listed(work, options, entry.what)


def _commands(work: Work, options: Options, typed: dict[str, Any]) -> session.JobFiles:
    over = set(typed)
    if work.matrix:
        if work.count > matrix.LIMIT:
            raise UsageError(f"the matrix of {work.name} makes {work.count:,} tasks, and {matrix.LIMIT:,} are the most",
                             hint=f"`elsewhere run {work.name} --yes` runs them.")  # fmt: skip
        files: dict[str, Any] = {key: work.files(key) for key in ("inputs", "outputs")
                                 if key not in over and key in work.own}  # fmt: skip
        options = replace(options, env=tuple(one for one in options.env if one[0] not in work.varying), **files)
    if work.words[0] == PYTHON and options.environment is None:
        options = replace(options, python=_interpreter(options).path)
    entry = Entry("command", command=() if work.matrix else work.words, name=work.label)
    spec = options.spec(entry, name=work.name, tasks=work.count)
    return session.create(spec, _tasks(work, options, over, typed))


def _tasks(work: Work, options: Options, over: set[str], typed: dict[str, Any]) -> Iterator[NewTask]:
    """With what all of them carry, under what each does."""
    common = json.loads(options.own or b"{}")
    if not work.matrix:
        yield NewTask("1", b"null", options.own)
        return
    for task in work.tasks(over, typed.get("env") or {}):
        own = json.loads(task.options or b"{}")
        env = {**own.get("env", {}), **common.get("env", {})}
        yield task._replace(options=json.dumps({**common, **own, **({"env": env} if env else {})}).encode())


def _listed(work: Work, options: Options, what: Any) -> session.JobFiles:
    from elsewhere.config import tasks
    from elsewhere.config.fit import Parameters
    from elsewhere.ship import environment

    if "entry" not in what or "each_line" in what:
        raise UsageError(f"{work.name} is no job that Python can run", hint=f"elsewhere run {work.name}")
    found = _interpreter(options)
    elsewhere = options.environment is not None
    entry, signature = environment.check_entry(what["entry"], found, elsewhere=elsewhere)
    spec = replace(options, python=found.path).spec(entry, name=work.name)
    source = Path(what["tasks"])
    fit = session.fit_of(spec, Parameters.of(entry.name, signature))
    read = tasks.read(source, fit)
    try:
        return session.create(spec, read)
    except InvalidTask as error:
        raise tasks.located(error, source) from None


def _interpreter(options: Options) -> Any:
    from elsewhere.ship import environment

    return environment.interpreter(options.python)
