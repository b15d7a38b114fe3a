"""PROVISION on a Dask cluster that is there: an agent is a long call on one of its workers.

What is known of agents lies in a directory that its workers see (`launches/ID/N`); the scheduler is asked only which of
them it still has. A worker's end is its agents' end, and so is that of its scheduler, which a worker does not outlive.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from elsewhere.backends.base import Condition, Finding, Launch, NativeId, Sighting, Traits
from elsewhere.config.home import home
from elsewhere.errors import ConfigError, MissingExtra, NotFound, Refused, Unreachable, UsageError
from elsewhere.hosts import private_directory, write_whole
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources

LIMIT = 10.0
"""Seconds in which a scheduler answers."""
KEEP = 7 * 86400.0
"""Seconds for which the records of a launch stay."""
_NATIVE = re.compile(r"([A-Za-z0-9_=-][A-Za-z0-9._=-]*)\.(\d+)")
_WAITS = {"waiting": "", "queued": "no worker is free", "no-worker": "there is no worker"}
_HAS = ("processing", *_WAITS)

# Dask runs a call again elsewhere when its worker has died: `mkdir` lets only the first begin. The agent is in a group
# of its own, and this shell beside it looks whether it is still wanted, and whether the worker above still lives.
_RUN = """umask 077; cd "$1" && mkdir begun 2>/dev/null || exit 0
[ -e cancelled ] && { echo 143 >ended; exit 0; }
above=$PPID
orphan() {
  while read -r key value; do [ "$key" = PPid: ] && { [ "$value" != "$above" ]; return; }; done </proc/$$/status
}
ELSEWHERE_MACHINE=$2 setsid sh ../boot </dev/null >>log 2>&1 &
agent=$!; asked=0
while kill -0 "$agent" 2>/dev/null; do
  if [ -e cancelled ] || orphan; then
    asked=$((asked + 1))
    [ $asked -eq 1 ] && kill -s TERM -- "-$agent" 2>/dev/null
    [ $asked -gt 20 ] && kill -s KILL -- "-$agent" 2>/dev/null
  fi
  sleep 0.5
done
wait "$agent"; echo $? >ended"""


@dataclass(frozen=True, slots=True)
class DaskSettings:
    """`address`: of the scheduler, HOST:PORT, with tls:// before it where that is spoken. `work_dir`: a directory that
    its workers see; empty: one below our state directory. `tls_*`: files; empty: as Dask itself is configured."""

    address: str = ""
    work_dir: str = ""
    max_agents: int = 1000
    tls_ca_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"([a-z]+://)?[^/\s]+:\d+", self.address):
            raise ConfigError(f"address must be HOST:PORT of a Dask scheduler, not {self.address!r}",
                              hint="for example --on dask://10.0.0.1:8786")  # fmt: skip
        if self.work_dir and not self.work_dir.startswith("/"):
            raise ConfigError(f"work-dir must be a whole path, which begins with /, not {self.work_dir!r}")
        if self.max_agents < 1:
            raise ConfigError(f"max-agents must be 1 or more, not {self.max_agents}")


class Dask:
    """Agents are found again by their records; `address` is that of the scheduler which has them."""

    Settings: ClassVar[type[DaskSettings]] = DaskSettings
    traits: ClassVar[Traits] = Traits(
        shared_files=True, outlives_client=True, lag=timedelta(seconds=2), waits=timedelta(days=30),
        seldom=timedelta(seconds=5), channels=("spool",),
    )  # fmt: skip

    def __init__(self, settings: DaskSettings) -> None:
        self.settings = settings
        scheme = "tls://" if settings.tls_ca_file else "tcp://"
        self.address = settings.address if "://" in settings.address else scheme + settings.address
        self.base = Path(settings.work_dir) if settings.work_dir else home() / "dask"

    # --- what there is

    def offers(self, need: Resources) -> Sequence[Offer]:
        """The kinds of its workers that have what a task needs, each at no price."""
        kinds = {(worker["nthreads"], worker["memory_limit"]) for worker in self._workers() if _fits(worker, need)}
        return [Offer(f"worker-{threads}", Resources(cpus=threads, memory=memory or None), price=Decimal(0))
                for threads, memory in sorted(kinds)]  # fmt: skip

    def shapes(self, need: Resources, slots: int = 0) -> Sequence[Shape]:
        """One: an agent for one task at a time, and how many such agents its workers have room for."""
        workers = self._workers()
        if not workers:
            raise Refused(f"the Dask cluster at {self.address} has no workers", hint="Start some, and run this again.")
        fit = [worker for worker in workers if _fits(worker, need)]
        if not fit:
            most = max(worker["nthreads"] for worker in workers)
            raise UsageError(f"a task needs {need.cpus:g} CPUs and what else was asked, and no worker has that",
                             hint=f"The largest worker has {most} threads.")  # fmt: skip
        self._check_versions()
        self._check_sight()
        room = sum(worker["nthreads"] // max(1, math.ceil(need.cpus)) for worker in fit)
        most = min(room, self.settings.max_agents, slots or room)
        return [Shape(Offer("worker", need, price=Decimal(0)), 1, most)]

    def shared(self) -> Path | None:
        return self.base if self.settings.work_dir else None

    def _workers(self) -> list[Mapping[str, Any]]:
        return list(self._ask("identity")["workers"].values())

    def _check_versions(self) -> None:
        """Refused: its Python is another than ours."""
        ours = "{}.{}".format(*sys.version_info)
        told = {"scheduler": self._ask("versions"), **self._ask("broadcast", msg={"op": "versions"})}
        for who, versions in told.items():
            theirs = ".".join(str(versions.get("host", {}).get("python", "")).split(".")[:2])
            if theirs and theirs != ours:
                what = "the scheduler" if who == "scheduler" else f"the worker {who}"
                raise UsageError(f"{what} has Python {theirs}, and this is Python {ours}: they must be the same",
                                 hint=f"Run this with Python {theirs}, or the cluster with {ours}.")  # fmt: skip

    def _check_sight(self) -> None:
        """Refused: its workers do not see our files, or not the Python that runs this."""
        private_directory(self.base / "launches")
        for path in (str(self.base / "launches"), sys.executable):
            told = self._with(partial(_seen, path))
            if blind := [who for who, sees in told.items() if not sees]:
                raise Refused(f"the worker {blind[0]} does not see {path}",
                              hint="Its workers must see this machine's files; set `work-dir:` to a directory that "
                              "they share with it.")  # fmt: skip

    # --- agents

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        natives = [f"{launch.id}.{k}" for k in range(launch.count)]
        if not all(map(_NATIVE.fullmatch, natives)):
            raise Refused(f"{launch.id!r} cannot be the id of a launch")
        folder = self.base / "launches" / launch.id
        if not (folder / "asked").exists():
            self._prune()
            for k in range(launch.count):
                private_directory(folder / str(k))
            labels = {"launch": launch.id, **launch.labels}
            write_whole(folder / "boot", launch.script.encode(), 0o700)
            write_whole(folder / "launch.json", json.dumps(labels).encode())
            self._with(lambda client: self._submitted(client, natives))
            (folder / "asked").touch()
        return natives

    def _submitted(self, client: Any, natives: Sequence[NativeId]) -> None:
        from distributed import fire_and_forget

        futures = [
            client.submit(subprocess.call, ["sh", "-c", _RUN, "sh", str(self._folder(native)), native],
                          key=_key(native), pure=False)
            for native in natives
        ]  # fmt: skip
        fire_and_forget(futures)
        keys, until = [_key(native) for native in natives], time.monotonic() + LIMIT
        while time.monotonic() < until:  # what was sent has come when what was sent last has
            known = client.sync(client.scheduler.get_task_status, keys=keys)
            if all(known.values()) or all(self._has(native, "begun") for native in natives):
                return
            time.sleep(0.02)
        raise Unreachable(f"the Dask scheduler at {self.address} does not say that it has what it was given")

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        known = [native for native in ids if self._labels(native) is not None]
        return {one.native: one for one in self._sightings(known)}

    def owned(self) -> Iterable[Sighting]:
        found = [f"{folder.parent.name}.{folder.name}" for folder in (self.base / "launches").glob("*/*/")
                 if folder.name.isdigit()]  # fmt: skip
        return self._sightings([native for native in sorted(found) if self._labels(native) is not None])

    def _sightings(self, natives: Sequence[NativeId]) -> list[Sighting]:
        asked = [native for native in natives if not self._has(native, "ended")]
        states = self._ask("get_task_status", keys=[_key(native) for native in asked]) if asked else {}
        return [self._see(native, states.get(_key(native))) for native in natives]

    def _see(self, native: NativeId, state: str | None) -> Sighting:
        labels, folder = self._labels(native) or {}, self._folder(native)
        began, ended = _time(folder / "begun"), _time(folder / "ended")
        cancelled = (folder / "cancelled").exists()
        if ended is not None:
            said = (folder / "ended").read_text().strip()
            fine = said == "0" or cancelled
            return Sighting(native, Condition.STOPPED if fine else Condition.FAILED, labels, began, ended,
                            f"ended with status {said}")  # fmt: skip
        if state in _HAS:
            running = state == "processing" and began is not None
            return Sighting(native, Condition.RUNNING if running else Condition.PENDING, labels, began,
                            reason=_WAITS.get(str(state), ""))  # fmt: skip
        now = _time(folder / "log") or began or datetime.now(UTC)
        if began is None and cancelled:
            return Sighting(native, Condition.STOPPED, labels, now, now, "stopped before it began")
        return Sighting(native, Condition.FAILED, labels, began or now, now, "Dask does not have it any more")

    def cancel(self, ids: Collection[NativeId]) -> None:
        known = [native for native in ids if self._labels(native) is not None and not self._has(native, "ended")]
        for native in known:
            (self._folder(native) / "cancelled").touch()
        if waiting := [_key(native) for native in known if not self._has(native, "begun")]:
            self._with(lambda client: _forgotten(client, waiting))

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        if self._labels(native_id) is None:
            raise NotFound(f"there is no agent {native_id} on this Dask cluster")
        try:
            return (self._folder(native_id) / "log").read_bytes()[start:]
        except FileNotFoundError:
            return b""

    def check(self) -> Iterable[Finding]:
        try:
            workers = self._workers()
            yield Finding("scheduler", True, self.address)
            threads = sum(worker["nthreads"] for worker in workers)
            yield Finding("workers", bool(workers), f"{len(workers)}, with {threads} threads in all",
                          "" if workers else "start some")  # fmt: skip
            self._check_versions()
            self._check_sight()
            yield Finding("work-dir", True, f"{self.base}, which its workers see")
        except (UsageError, Refused, Unreachable) as error:
            yield Finding("use", False, error.message, error.hint)

    # --- within

    def _folder(self, native: NativeId) -> Path:
        launch, _, number = native.rpartition(".")
        return self.base / "launches" / launch / number

    def _has(self, native: NativeId, name: str) -> bool:
        return (self._folder(native) / name).exists()

    def _labels(self, native: NativeId) -> Mapping[str, str] | None:
        """None: there is no such agent of ours."""
        if not _NATIVE.fullmatch(native) or not self._folder(native).is_dir():
            return None
        try:
            found: Mapping[str, str] = json.loads((self._folder(native).parent / "launch.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def _prune(self) -> None:
        for path in (self.base / "launches").glob("*/launch.json"):
            agents = [one for one in path.parent.iterdir() if one.name.isdigit()]
            if time.time() - path.stat().st_mtime > KEEP and all((one / "ended").exists() for one in agents):
                shutil.rmtree(path.parent, ignore_errors=True)

    def _security(self) -> Any:
        _require()
        from distributed import Security

        given = self.settings
        if not given.tls_ca_file:
            return Security()
        return Security(require_encryption=True, tls_ca_file=given.tls_ca_file, tls_client_cert=given.tls_cert,
                        tls_client_key=given.tls_key)  # fmt: skip

    def _ask(self, op: str, **words: Any) -> Any:
        """One question to the scheduler. Unreachable: no answer."""
        security = self._security()

        async def asked() -> Any:
            from distributed.core import rpc

            line = rpc(self.address, connection_args=security.get_connection_args("client"), timeout=LIMIT)
            try:
                return await asyncio.wait_for(getattr(line, op)(**words), LIMIT)
            finally:
                await line.close_rpc()

        return self._answered(lambda: asyncio.run(asked()))

    def _with(self, what: Callable[[Any], Any]) -> Any:
        """The same, for what wants a client of Dask's."""
        security = self._security()

        def done() -> Any:
            from distributed import Client

            with Client(self.address, security=security, timeout=LIMIT, set_as_default=False) as client:
                return what(client)

        return self._answered(done)

    def _answered(self, asked: Callable[[], Any]) -> Any:
        try:
            return asked()
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"no Dask scheduler answers at {self.address}",
                              hint=f"Is it up, and reached from here? ({type(error).__name__})") from error  # fmt: skip


def _seen(path: str, client: Any) -> Any:
    return client.run(os.path.exists, path)


def _forgotten(client: Any, keys: Sequence[str]) -> None:
    from distributed import Future

    client.cancel([Future(key, client) for key in keys], force=True)


def _require() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise MissingExtra("lists on a Dask cluster need distributed, which is not installed",
                           hint="pip install 'elsewhere[dask]'") from error  # fmt: skip


def _fits(worker: Mapping[str, Any], need: Resources) -> bool:
    short = need.memory and worker["memory_limit"] and need.memory > worker["memory_limit"]
    return worker["nthreads"] >= need.cpus and not short and not need.gpus


def _key(native: NativeId) -> str:
    return f"elsewhere-{native}"


def _time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
