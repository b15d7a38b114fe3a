"""PROVISION on this machine: a boot text becomes a process group of its own, with its labels in its environment.

It is for agents in processes of their own (spool, pipe), and for trying everything that a cloud does, here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from elsewhere.backends import sheds
from elsewhere.backends.base import Condition, Finding, Kept, Launch, NativeId, Sighting, Traits
from elsewhere.config.home import home
from elsewhere.errors import AccessDenied, NotFound, Refused, StateError
from elsewhere.hosts import private_directory, write_whole
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

MACHINE, LABELS = "ELSEWHERE_MACHINE", "ELSEWHERE_LABELS"
_GRACE = 10.0
"""Seconds between the first asking for a machine's end and its killing, if it is asked for again."""
_NAME = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*")

# `ln` is the one step that decides who starts it: of two askings for the same launch one finds the name taken.
# A signal to the group is for the agent: both shells stay until it has ended, so that the switch goes with them.
# Whoever stops a machine first leaves word and then looks for the pid; here it is the other way round, and word is
# looked for again behind the fork, where a signal is no longer kept from anybody.
_START = """umask 077; cd "$1" || exit 73
echo $$ >pid.$$; ln pid.$$ pid 2>/dev/null; first=$?; rm -f pid.$$; [ $first -eq 0 ] || exit 0
trap : TERM INT HUP
sh -c '[ -e cancelled ] && exit 143; exec sh ../boot' </dev/null >>log 2>&1; echo $? >ended"""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`directory`: where the records of machines lie; empty: `machines` in the state directory."""

    directory: str = ""


class Local:
    """Machines that are process groups of this machine. The same record directory shows the same machines to all."""

    Settings: ClassVar[type[LocalSettings]] = LocalSettings
    traits: ClassVar[Traits] = Traits(shared_files=True, arrays=True, channels=("calls", "spool", "pipe"))

    def __init__(self, settings: LocalSettings | None = None) -> None:
        given = (settings or LocalSettings()).directory
        self.directory = Path(given).absolute() if given else home() / "machines"
        self._asked: dict[NativeId, float] = {}
        self._children: dict[NativeId, int] = {}

    def offers(self, need: Resources) -> Sequence[Offer]:
        import psutil

        here = Resources(cpus=os.cpu_count() or 1, memory=psutil.virtual_memory().total)
        fits = need.cpus <= here.cpus and (need.memory or 0) <= (here.memory or 0) and not need.gpus
        return [Offer("here", here, price=Decimal(0))] if fits else []

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        if not _NAME.fullmatch(launch.id):
            raise Refused(f"{launch.id!r} cannot be the id of a launch")
        base = self.directory / launch.id
        labels = {"launch": launch.id, **launch.labels}
        try:
            private_directory(base)
            if not (base / "launch.json").exists():
                write_whole(base / "boot", launch.script.encode(), 0o700)
                # the record is whole before anything starts, and says how many: asked again, the first word holds
                write_whole(base / "launch.json", json.dumps({"count": launch.count, "labels": labels}).encode())
            record = json.loads((base / "launch.json").read_bytes())
            natives = [f"{launch.id}.{i}" for i in range(record["count"])]
            for native in natives:
                self._start(native, record["labels"])
        except PermissionError as error:
            raise AccessDenied(f"{error.filename} may not be used: {error.strerror}") from error
        except OSError as error:
            raise StateError(f"no machine can be started under {self.directory}: {error.strerror or error}") from error
        return natives

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        found = {native: self._see(native) for native in ids}
        return {native: sighting for native, sighting in found.items() if sighting is not None}

    def cancel(self, ids: Collection[NativeId]) -> None:
        for native in ids:
            place = self._place(native)
            if place is None or not place.is_dir():
                self._sweep(native)  # its record is gone, it may not be
                continue
            (place / "cancelled").touch(mode=0o600)
            with contextlib.suppress(FileExistsError):
                (place / "pid").touch(mode=0o600, exist_ok=False)  # what has not begun never will
            first = self._asked.setdefault(native, time.monotonic())
            pid = _pid(place, native)
            if pid:
                hard = time.monotonic() - first > _GRACE
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL if hard else signal.SIGTERM)
                if hard:
                    self._sweep(native)

    def owned(self) -> Iterable[Sighting]:
        seen = set()
        for native in self._recorded():
            seen.add(native)
            sighting = self._see(native)
            if sighting is not None:
                yield sighting
        for native, labels, started in _processes():
            if native not in seen:
                seen.add(native)
                yield Sighting(native, Condition.RUNNING, labels, started, reason="its record is gone")

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        place = self._place(native_id)
        if place is None or not place.is_dir():
            raise NotFound(f"there is no machine {native_id} here")
        try:
            with (place / "log").open("rb") as file:
                file.seek(start)
                return file.read()
        except FileNotFoundError:
            return b""

    def check(self) -> Iterable[Finding]:
        shell = shutil.which("sh")
        yield Finding("a shell", shell is not None, shell or "", "" if shell else "install a POSIX shell as sh")
        above = next(path for path in [self.directory, *self.directory.parents] if path.exists())
        writable = os.access(above, os.W_OK)
        yield Finding("records", writable, str(self.directory), "" if writable else f"make {above} writable")

    def forget(self, ids: Collection[NativeId]) -> None:
        """Remove the records of launches whose machines have all ended. Twice, or never known: harmless."""
        for launch in {native.rpartition(".")[0] for native in ids}:
            machines = [native for native in self._recorded() if native.rpartition(".")[0] == launch]
            if all(s is None or s.ended for s in map(self._see, machines)):
                shutil.rmtree(self.directory / launch, ignore_errors=True)

    def environments(self) -> Sequence[Kept]:
        return list(sheds.here(home() / "environments"))

    def discard(self, kept: Collection[Kept]) -> None:
        sheds.remove(kept)

    # --- within

    def _start(self, native: NativeId, labels: Mapping[str, str]) -> None:
        place = self._place(native)
        if place is None or (place / "pid").exists() or (place / "cancelled").exists():
            return
        place.mkdir(mode=0o700, exist_ok=True)
        environment = {**os.environ, MACHINE: native, LABELS: json.dumps(dict(labels))}
        argv = ["sh", "-c", _START, "sh", str(place)]
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        pid = os.posix_spawnp("sh", argv, environment, file_actions=null, setsid=True)
        self._children[native] = pid

    def _see(self, native: NativeId) -> Sighting | None:
        place = self._place(native)
        if place is None or not place.is_dir():
            return None
        self._bury(native)
        labels = _labels(place)
        started, ended = _time(place / "pid"), _time(place / "ended")
        if started is None:
            return Sighting(native, Condition.PENDING, labels)
        if not (place / "pid").stat().st_size:
            return Sighting(native, Condition.STOPPED, labels, reason="stopped before it began")
        if ended is None and _pid(place, native):
            return Sighting(native, Condition.RUNNING, labels, started)
        ended = _time(place / "ended")  # it may have ended between the two looks
        if ended is not None:
            status = (place / "ended").read_text().strip()
            condition = Condition.STOPPED if status == "0" or (place / "cancelled").exists() else Condition.FAILED
            return Sighting(native, condition, labels, started, ended, f"ended with status {status}")
        stopped = (place / "cancelled").exists()
        when = _time(place / "cancelled") or _time(place / "log") or started
        reason = "stopped" if stopped else "killed"
        return Sighting(native, Condition.STOPPED if stopped else Condition.FAILED, labels, started, when, reason)

    def _bury(self, native: NativeId) -> None:
        """Take note of the death of a child of ours; those of other processes are theirs to bury."""
        child = self._children.get(native)
        if child is not None:
            try:
                gone, _ = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                gone = child
            if gone:
                del self._children[native]

    def _place(self, native: NativeId) -> Path | None:
        launch, _, number = native.rpartition(".")
        return self.directory / launch / number if _NAME.fullmatch(launch) and number.isdigit() else None

    def _recorded(self) -> Iterator[NativeId]:
        try:
            launches = sorted(path for path in self.directory.iterdir() if (path / "launch.json").exists())
        except FileNotFoundError:
            return
        for launch in launches:
            yield from (f"{launch.name}.{path.name}" for path in sorted(launch.iterdir()) if path.name.isdigit())

    def _sweep(self, native: NativeId) -> None:
        """Kill whatever bears its mark, in whatever session."""
        import psutil

        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MACHINE) == native:
                    process.kill()


def _pid(place: Path, native: NativeId) -> int:
    """The living leader of its group; 0 if it is dead. A pid that another process has by now bears no mark of ours."""
    import psutil

    try:
        pid = int((place / "pid").read_text())
        process = psutil.Process(pid)
        return pid if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MACHINE) == native else 0
    except (OSError, ValueError, psutil.Error):
        return 0


def _processes() -> Iterator[tuple[NativeId, Mapping[str, str], datetime]]:
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            environment = process.environ()
            if MACHINE in environment and LABELS in environment and process.status() != psutil.STATUS_ZOMBIE:
                started = datetime.fromtimestamp(process.create_time(), UTC)
                yield environment[MACHINE], json.loads(environment[LABELS]), started


def _labels(place: Path) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = json.loads((place.parent / "launch.json").read_bytes())["labels"]
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
