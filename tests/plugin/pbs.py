"""A place under a batch system like PBS, as somebody outside would add it: this file and an entry point, no more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from elsewhere.backends.base import Condition, Finding, Launch, NativeId, Sighting, Traits
from elsewhere.errors import NotFound, Refused, Unreachable
from elsewhere.hosts import private_directory
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources

NODE = Resources(cpus=8, memory=16 << 30)
STATES = {"Q": Condition.PENDING, "H": Condition.PENDING, "R": Condition.RUNNING, "E": Condition.RUNNING}
LABELS, INDEX = "ELSEWHERE_LABELS", "ELSEWHERE_INDEX"


@dataclass(frozen=True, slots=True)
class PbsSettings:
    """`directory`: one that all nodes see."""

    directory: str = ""
    queue: str = "workq"
    walltime: timedelta = timedelta(hours=1)
    max_jobs: int = 4


class Pbs:
    Settings: ClassVar[type[PbsSettings]] = PbsSettings
    traits: Traits = Traits(
        shared_files=True, outlives_client=True, max_walltime=timedelta(hours=1), lag=timedelta(seconds=1),
        waits=timedelta(days=30), seldom=timedelta(seconds=15), channels=("spool",),
    )  # fmt: skip

    def __init__(self, settings: PbsSettings | None = None) -> None:
        self.settings = settings or PbsSettings()
        self.base = Path(self.settings.directory)

    def offers(self, need: Resources) -> Sequence[Offer]:
        return [Offer("node", NODE)] if need.cpus <= NODE.cpus and (need.memory or 0) <= (NODE.memory or 0) else []

    def shapes(self, need: Resources, slots: int = 0) -> Sequence[Shape]:
        most = min(self.settings.max_jobs, slots or self.settings.max_jobs)
        return [Shape(Offer("node", need), 1, most)] if self.offers(need) else []

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        private_directory(self.base / "logs")
        there = {one.labels.get(INDEX): one.native for one in self.owned() if one.labels.get("launch") == launch.id}
        return [there.get(str(k)) or self._submit(launch, k) for k in range(launch.count)]

    def _submit(self, launch: Launch, k: int) -> NativeId:
        labels = urlencode({"launch": launch.id, **launch.labels, INDEX: str(k)})
        seconds = int(self.settings.walltime.total_seconds())
        said = _said(["qsub", "-N", "elsewhere", "-q", self.settings.queue, "-l", f"walltime={seconds}", "-j", "oe",
                      "-o", str(self.base / "logs"), "-v", f"{LABELS}={labels}"],
                     "#!/bin/sh\nexport ELSEWHERE_MACHINE=$PBS_JOBID\n" + launch.script)  # fmt: skip
        return said.strip()

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        return {one.native: one for one in self.owned() if one.native in ids}

    def owned(self) -> Iterable[Sighting]:
        jobs: dict[str, Any] = json.loads(_said(["qstat", "-x", "-f", "-F", "json"]))["Jobs"]
        return [_sighting(native, job) for native, job in jobs.items() if LABELS in job["Variable_List"]]

    def cancel(self, ids: Collection[NativeId]) -> None:
        known = {one.native for one in self.owned() if one.ended is None} if ids else set()
        if named := sorted(known & set(ids)):
            _said(["qdel", *named])

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        try:
            return (self.base / "logs" / f"{native_id}.OU").read_bytes()[start:]
        except FileNotFoundError:
            if self.status([native_id]):
                return b""  # it has said nothing yet
            raise NotFound(f"PBS has no job {native_id} of ours") from None

    def check(self) -> Iterable[Finding]:
        yield Finding("PBS", True, _said(["qstat", "--version"]).strip())


def _sighting(native: str, job: Mapping[str, Any]) -> Sighting:
    condition = STATES.get(
        job["job_state"], Condition.STOPPED if job.get("Exit_status") in (0, 271) else Condition.FAILED
    )
    began, ended = (_instant(job.get(key)) for key in ("stime", "obittime"))
    return Sighting(native, condition, dict(parse_qsl(job["Variable_List"][LABELS])), began, ended)


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _said(words: Sequence[str], given: str = "") -> str:
    try:
        done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{words[0]} gave no answer: {error}") from error
    if done.returncode:
        raise Refused(f"PBS: {done.stderr.strip()}")
    return done.stdout
