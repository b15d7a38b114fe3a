"""Builds an environment on machines that stay, without a job: each is launched with a boot text that furnishes it as it
would for a job's first task, and that is all.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from elsewhere.backends.base import Backend, Condition, Dialled, Launch, NativeId
from elsewhere.controller import freight
from elsewhere.model.job import JobSpec
from elsewhere.pool import reaper
from elsewhere.ship import bundle
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.runtime import last_lines
from elsewhere.ship.script import Archive, Bare, BootText, render

LIMIT = timedelta(hours=1)
LOOK = 0.3
LAST = 12
CHARTER = "charter"
_OVER = (Condition.STOPPED, Condition.FAILED)


@dataclass(frozen=True, slots=True)
class Built:
    """How it went on one machine; `said`: the builder's last lines."""

    machine: str
    ok: bool
    said: str = ""


def build(spec: JobSpec, backend: Backend, told: Callable[[Built], None]) -> None:
    """On each of `spec.machines`; returns when all have ended. PlaceError: one cannot be reached, or said no.

    Twice: what is there is used. ConfigError: the software cannot be put together; nothing was started.
    """
    spec = replace(spec, cwd="", path=())
    load, files = _packed(spec)
    text = _text(spec, cast(Dialled, backend), load)
    natives: dict[NativeId, str] = {}
    try:
        for number, shape in enumerate(spec.machines):
            launch = _launch(spec, f"{spec.id}-{number}", text, files)
            natives.update(dict.fromkeys(backend.submit(replace(launch, offer=shape.offer)), shape.offer.name))
        for one in _ended(backend, natives):
            told(one)
    finally:
        backend.cancel(natives)
        forget: Callable[[list[NativeId]], None] | None = getattr(backend, "forget", None)
        if forget is not None:
            forget(list(natives))


def _packed(spec: JobSpec) -> tuple[freight.Freight, dict[str, Path]]:
    where = freight.target(spec)
    found = freight.packed(spec, where, ())
    load = freight.described(spec, where, found)
    charter = _charter(Charter(spec, "", b"", load.roots, load.software))
    archives = (*load.archives, Archive(charter.key, charter.digest, CHARTER))
    files = {one.key: one.path for one in (*found.values(), charter)}
    return replace(load, archives=archives), files


def _charter(charter: Charter) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CHARTER
        path.write_bytes(pack(charter))
        return bundle.pack({CHARTER: path})


def _text(spec: JobSpec, place: Dialled, load: freight.Freight) -> BootText:
    ground = place.ground()
    bare = Bare(ground.name, ground.fetch, load.python, load.archives, load.bringer, whole=load.whole)
    return BootText("", f"{ground.directory}/jobs/{spec.id}", "", LIMIT, datetime.now(UTC) + LIMIT, boot=LIMIT,
                    end=ground.end, bare=bare, builds=True)  # fmt: skip


def _launch(spec: JobSpec, name: str, text: BootText, files: dict[str, Path]) -> Launch:
    labels = reaper.labels(spec.id, name, reaper.me(), text.start_by + text.term)
    return Launch(name, 1, render(text), spec.resources, text.term, text.start_by, labels, None, files)


def _ended(backend: Backend, natives: dict[NativeId, str]) -> Iterator[Built]:
    left: dict[NativeId, Any] = dict(natives)
    end = time.monotonic() + LIMIT.total_seconds()
    while left and time.monotonic() < end:
        seen = backend.status(list(left))
        for native in [native for native, one in seen.items() if one.condition in _OVER]:
            good = seen[native].condition is Condition.STOPPED
            said = "" if good else last_lines(backend.logs(native).decode("utf-8", "replace"), LAST)
            yield Built(left.pop(native), good, said)
        time.sleep(LOOK)
    for native, machine in left.items():
        yield Built(machine, False, last_lines(backend.logs(native).decode("utf-8", "replace"), LAST))
