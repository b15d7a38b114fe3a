"""The live jobs of this process: one for each set of options, opened by its first call, warm until the process ends.

Nothing here outlives a fork: a child opens its own. At exit what was submitted is finished, as concurrent.futures does;
after an interrupt only what runs is.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from elsewhere import session
from elsewhere.api.options import Options, job_name
from elsewhere.errors import UsageError
from elsewhere.model.job import Entry
from elsewhere.model.reports import Ended
from elsewhere.model.task import NewTask
from elsewhere.ship import codec

Key = tuple[Options, str, tuple[str, ...]]


class Pool:
    """A live job and its warm slots. Its methods may be called from any thread."""

    def __init__(self, options: Options, name: str, path: tuple[str, ...]) -> None:
        _same_minor(options.python)
        spec = options.spec(Entry("call", name=name), name=name, path=path, exact=True)
        self.slots = spec.slots
        self.live = session.hold(spec)
        self.files = self.live.files
        self.codec = codec.Codec(self.files.store, self.files.seal_key())
        self._numbers: dict[str, count[int]] = {}

    def send(
        self, function: str, label: str, args: Sequence[Any], kwargs: dict[str, Any], own: bytes | None,
        done: Callable[[Ended], None],
    ) -> tuple[str, int]:  # fmt: skip
        """Add a call of a function the codec has written. (its task's id, its size); PayloadError: nothing was added.

        `done` is called on the controller's thread, once, when the task has ended for good.
        """
        body, size, stored = self.codec.call(function, args, kwargs)
        numbers = self._numbers.get(label) or self._numbers.setdefault(label, count(1))
        name = f"{label}-{next(numbers)}"
        self.live.submit(NewTask(name, body, own), self._forgetting(stored, done) if stored else done)
        return name, size

    def _forgetting(self, stored: str, done: Callable[[Ended], None]) -> Callable[[Ended], None]:
        """Arguments in the store are kept only for as long as the call may have to be made again."""

        def ended(report: Ended) -> None:
            if report.outcome == 0:
                self.codec.forget(stored)
            done(report)

        return ended

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel these tasks; the running ones are stopped. Already ended: nothing happens."""
        if ids and self.alive:
            if self.live.is_its_thread:  # it cannot ask itself and wait for the answer
                threading.Thread(target=session.cancel, args=(self.files, ids), daemon=True).start()
            else:
                with contextlib.suppress(UsageError):
                    session.cancel(self.files, ids)

    @property
    def alive(self) -> bool:
        return self.live.alive

    def close(self, wait: bool = True, drop: bool = False) -> None:
        """Take no more; finish what was sent. `drop`: only what runs, the rest is cancelled. Twice: harmless."""
        if drop and self.alive:
            self.live.stop.soft()
        self.live.close(wait)
        if drop and not self.files.open().count().over:
            session.cancel(self.files)


_pools: dict[Key, Pool] = {}
_lock = threading.Lock()
LEFT = "Running calls are left to finish, the others are cancelled; Ctrl-C again stops now."
_inherited: list[Any] = []
"""A forked child must neither use nor close its parent's: it keeps them out of the garbage collector's reach."""


def label_of(function: Callable[..., Any]) -> str:
    """What a function's tasks are called: its name, without where it was defined."""
    return job_name(codec.name_of(function).rpartition(".")[2].strip("<>"))


def pool(options: Options) -> Pool:
    """The live job of these options in this directory, opened if need be."""
    key = (options.pool, os.getcwd(), tuple(sys.path))  # noqa: PTH109
    found = _pools.get(key)
    if found is not None and found.alive:
        return found
    with _lock:
        found = _pools.get(key)
        if found is None or not found.alive:
            found = _pools[key] = Pool(options, options.name or program(), codec.import_path())
        return found


def own_pool(options: Options, name: str) -> Pool:
    """One that is shared with nobody, for an executor; closed at exit like the others."""
    made = Pool(options, name, codec.import_path())
    with _lock:
        _pools[options, made.files.id, ()] = made
    return made


def close(made: Pool, drop: bool = False) -> None:
    """Close an own pool and forget it."""
    made.close(drop=drop)
    with _lock:
        for key in [key for key, each in _pools.items() if each is made]:
            del _pools[key]


def program() -> str:
    """What the calls of this process are called together: the script's name, `notebook` or `python`."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if "ipykernel" in sys.modules:
        return "notebook"
    return job_name(Path(file).stem) if file else "python"


@functools.lru_cache(maxsize=16)
def _same_minor(python: str) -> None:
    """Pickled functions hold bytecode, which only the same minor version reads."""
    if not python or Path(python).resolve() == Path(sys.executable).resolve():
        return
    import subprocess

    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        said = subprocess.run(
            [python, "-c", ask], capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"the interpreter {python} cannot be run: {error}") from error
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if said != here:
        raise UsageError(
            f"{python} is Python {said}, and this is Python {here}: functions travel between equal versions only",
            hint="Use an interpreter of this version, or a task list with --entry, which takes any from 3.9.",
        )


def close_all() -> None:
    """Finish everything; after an interrupt only what runs, and with a second interrupt nothing."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    drop = getattr(sys, "last_type", None) is KeyboardInterrupt
    if drop and any(each.live.unfinished for each in pools):
        sys.stderr.write(LEFT + "\n")
    try:
        for each in pools:
            each.close(drop=drop)
    except KeyboardInterrupt:
        for each in pools:
            each.close(wait=False)


def _forget_parent() -> None:
    global _lock
    _inherited.append(dict(_pools))
    _pools.clear()
    _lock = threading.Lock()


atexit.register(close_all)
os.register_at_fork(after_in_child=_forget_parent)
