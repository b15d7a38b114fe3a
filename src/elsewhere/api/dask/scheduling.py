"""A Dask scheduler on a thread of its own, and what it knows of its workers and of tasks that wait for one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import dask
from distributed import Scheduler, SchedulerPlugin, Security

from elsewhere.errors import UsageError
from elsewhere.ship.certificates import Papers
from elsewhere.ship.dask_worker import CUT

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """One look. `busy`: for each worker by its name, the tasks it has in hand. `waiting`, `tasks`: for each tag those
    that no worker can take, and all that are ready to run or run. `paused`: workers that begin nothing, for want of
    memory."""

    busy: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    paused: Collection[str] = ()


def security(papers: Papers) -> Security:
    """Both ends show the cluster's certificate, and nothing is said in the clear."""
    roles = ("client", "scheduler", "worker")
    own = {f"tls_{role}_{part}": value for role in roles
           for part, value in (("cert", papers.certificate), ("key", papers.key))}  # fmt: skip
    return Security(require_encryption=True, tls_ca_file=papers.authority, **own)


class _Door(SchedulerPlugin):  # type: ignore[misc]
    """Tells who comes and who goes."""

    name = "elsewhere"

    def __init__(self, came: Callable[[str, Mapping[str, Any]], None], went: Callable[[], None]) -> None:
        self.came, self.went = came, went

    def add_worker(self, scheduler: Any, worker: str) -> None:
        state = scheduler.workers[worker]
        self.came(str(state.name), state.versions)

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        self.went()


class Scheduling:
    """A running scheduler. Its methods may be called from any thread but its own.

    `network`: what Dask's Scheduler is told of where to listen: {"host": ...} or {"interface": ...}. UsageError: it
    cannot listen there.
    """

    def __init__(
        self, network: Mapping[str, str], papers: Papers, came: Callable[[str, Mapping[str, Any]], None],
        went: Callable[[], None],
    ) -> None:  # fmt: skip
        patient()
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._door = _Door(came, went)
        self._thread = threading.Thread(
            target=self._run, args=(network, security(papers)), name="elsewhere scheduler", daemon=True
        )
        self._thread.start()
        self._up.wait()
        if self._error is not None:
            raise UsageError(f"the Dask scheduler cannot start: {self._error}") from self._error

    def _run(self, network: Mapping[str, str], trust: Security) -> None:
        try:
            asyncio.run(self._serve(network, trust))
        except BaseException as error:
            self._error = error
        finally:
            self._up.set()

    async def _serve(self, network: Mapping[str, str], trust: Security) -> None:
        self._loop = asyncio.get_running_loop()
        async with Scheduler(
            protocol="tls", port=0, security=trust, dashboard_address="127.0.0.1:0", **network
        ) as scheduler:
            self._scheduler = scheduler
            scheduler.add_plugin(self._door)
            self.address = str(scheduler.address)
            ports = scheduler.identity()["services"]
            shown = "dashboard" in ports and find_spec("bokeh") is not None
            self.dashboard = f"http://127.0.0.1:{ports['dashboard']}/status" if shown else ""
            self._up.set()
            await scheduler.finished()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def door(self) -> str:
        """By which a client on this machine reaches it."""
        return self.address

    over = ""
    """Why it is not there any more, while the cluster is: never so."""

    def handle(self, name: str, handler: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        """What is asked of it by this name, from now on; it answers on its own thread."""
        self._scheduler.handlers[name] = handler

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it on its own thread."""
        return self._begun(what).result(_PATIENCE)

    def facts(self) -> Facts:
        """What is so just now; nothing, once it is closed."""
        return self._asked(self.look()) or Facts()

    async def look(self) -> Facts:
        """The same, for its own thread."""
        return await _look(self._scheduler)

    def retire(self, names: Sequence[str]) -> None:
        """Workers of these names hand on what they keep, and leave. Does not wait."""
        if self.alive:
            self._begun(self._scheduler.retire_workers(names=list(names), close_workers=True, remove=True))

    def turn_away(self, name: str) -> None:
        """A worker of this name is sent home. Does not wait."""
        if self.alive:
            self._begun(self._sent_home(name))

    async def _sent_home(self, name: str) -> None:
        for address in [ws.address for ws in self._scheduler.workers.values() if str(ws.name) == name]:
            await self._scheduler.remove_worker(address, stimulus_id="elsewhere-turned-away", close=True)

    def close(self) -> None:
        """Its workers are told to leave. Twice: harmless."""
        if self.alive:
            with contextlib.suppress(Exception):
                self._begun(self._scheduler.close(reason="the cluster is closed")).result(_PATIENCE)
        self._thread.join(_PATIENCE)

    def _begun(self, what: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    def _asked(self, what: Coroutine[Any, Any, Facts]) -> Facts | None:
        try:
            found: Facts = self._begun(what).result(_PATIENCE)
        except Exception:
            what.close()
            return None
        return found


async def _look(scheduler: Any) -> Facts:
    busy = {str(state.name): len(state.processing) for state in scheduler.workers.values()}
    waiting = Counter(tag for task in scheduler.unrunnable for tag in task.resource_restrictions or ())
    tasks = Counter(waiting)
    for state in scheduler.workers.values():
        tasks.update(tag for task in state.processing for tag in task.resource_restrictions or ())
    paused = [str(state.name) for state in scheduler.workers.values() if state.status.name == "paused"]
    return Facts(busy, dict(waiting), dict(tasks), paused)


def patient() -> None:
    """From now on connections of Dask in this process outlast a cut as those of workers do, unless its configuration
    says something else than Dask does by itself."""
    if dask.config.get("distributed.comm.timeouts.tcp", "") == "30s":
        dask.config.set({"distributed.comm.timeouts.tcp": f"{CUT}s"})


def quiet(level: str) -> None:
    """From now on Dask says in this process only what is at least of this level."""
    logging.getLogger("distributed").setLevel(level.upper())
    for name in ("scheduler", "core", "comm", "batched", "utils", "utils_comm"):
        logging.getLogger(f"distributed.{name}").setLevel(level.upper())
