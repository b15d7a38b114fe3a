"""Puts together a job on machines that are reached from here: freight, pool, and a connection to each agent.

The connection itself says who is at its ends; it is made again whenever it is lost. What a place must be able to do
for it stands in `Dialled` (backends/base.py); no place is named here.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from elsewhere.backends.base import Backend, Condition, Dialled, Launch, NativeId
from elsewhere.channels.carried import Sending
from elsewhere.channels.outputs import Outputs
from elsewhere.channels.pipe import Pipe
from elsewhere.channels.streams import Stream
from elsewhere.config import secret
from elsewhere.controller import freight
from elsewhere.controller.afar import HEARING, Afar
from elsewhere.controller.aside import Aside
from elsewhere.controller.ending import ANSWER
from elsewhere.controller.files import JobFiles
from elsewhere.controller.printed import Printed
from elsewhere.errors import PlaceError, UsageError
from elsewhere.ledger.ledger import Ledger
from elsewhere.model.job import JobSpec
from elsewhere.pool import reaper
from elsewhere.pool.capacity import Ask, Bounds
from elsewhere.pool.pool import Pool
from elsewhere.ship.bundle import Bundle
from elsewhere.ship.charter import Charter, pack
from elsewhere.ship.script import Bare, BootText, render
from elsewhere.ship.trees import Tree
from elsewhere.stores import DirectoryStore

ADDRESS = "door:"
IDLE = timedelta(minutes=1)
LEASE = timedelta(hours=12)
"""Silence decides nothing here: what a host that cannot be reached has in hand stays there until it is seen gone."""
FLIGHT = timedelta(minutes=2)
GREET = 30.0
"""Seconds in which an agent that was dialled says hello: the dial waits there for one that boots, and no longer."""
AGAIN = (0.25, 15.0)
"""Seconds between two tries: the first, and the most."""
BRING = 2.0
STOCK = 1200.0
"""Seconds of work that are handed out: agents have half of it with them, for times in which they are not reached."""
LEAVE = 30.0
"""Seconds in which machines may leave by themselves."""
GOING = (0.3, 0.02)
"""Seconds in which agents say their last words, once they know that all is over; and the first of the pauses, each
twice as long as the one before, in which their machines are gone, too."""


def dialled(files: JobFiles, ledger: Ledger, epoch: int, selector: selectors.BaseSelector, backend: Backend) -> Afar:
    """The crew of such a job, opened."""
    spec = ledger.spec
    if not spec.machines:
        raise UsageError(
            f"no machine was chosen for {spec.place}", hint="`elsewhere places check` shows what there is."
        )
    where = freight.target(spec)
    found, trees = freight.packed(spec, where, (), inputs=False), freight.laid(spec)
    load = freight.described(spec, where, found, trees)
    store = DirectoryStore(files.directory / "far", sync=False)
    told = replace(spec, env={**spec.env, **secret.revealed(spec.secrets)}, hidden=tuple(spec.secrets), secrets={})
    pipe = Pipe(charter=pack(Charter(told, "", files.seal_key(), load.roots, load.software)), store=store)
    bounds = _bounds(spec, backend)
    order = _order(spec, bounds, cast(Dialled, backend), load, found, trees)
    pool = Pool(backend, ledger, bounds, epoch, order, calls=Aside())
    outputs = Outputs(store, files.outputs) if spec.outputs else None
    line = Sending(cast(Any, pipe), store, files.store, spec.entry.kind == "call", outputs)
    crew = Dialling(ledger, cast(Any, line), pool, pipe.order, selector, epoch)
    crew.pipe, crew.printed, crew.place = pipe, Printed(store, files.slots, files.boots), cast(Dialled, backend)
    crew.lines = {}
    crew.open()
    return crew


@dataclass
class _Line:
    """The way to one machine. `stream`: while there is one."""

    process: subprocess.Popen[bytes] | None = None
    stream: Stream | None = None
    began: float = 0.0
    due: float = 0.0
    wait: float = AGAIN[0]

    def end(self) -> None:
        if self.stream is not None:
            self.stream.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = self.stream = None


class Dialling(Afar):
    """Between turns each machine that is there, or was just had, and is not connected is dialled; what was printed
    comes by the way."""

    pipe: Pipe
    printed: Printed
    place: Dialled
    lines: dict[NativeId, _Line]
    ahead, asked_before = STOCK, True
    _brought = 0.0

    def turn(self, wait: float) -> None:
        self._connect()
        if self.clock() - self._brought >= BRING:
            self._brought = self.clock()
            self.printed.bring()
            self.printed.bring_pages()
        super().turn(min(wait, AGAIN[0]) if self._unconnected() else wait)

    def _look(self) -> None:
        super()._look()

    def _seen(self) -> None:
        super()._seen()
        self._connect()  # whoever was just had is dialled while it boots

    def _unconnected(self) -> frozenset[NativeId]:
        return self.pool.expected - self.pipe.connected()

    def _connect(self) -> None:
        alive, connected, now = self.pool.expected, self.pipe.connected(), self.clock()
        for native in [native for native in self.lines if native not in alive]:
            self.lines.pop(native).end()
        for native in alive:
            line = self.lines.setdefault(native, _Line())
            if native in connected:
                line.wait = AGAIN[0]
            elif line.stream is not None:
                if line.stream.closed or now - line.began > GREET:
                    line.end()
                    line.due, line.wait = now + line.wait, min(line.wait * 2, AGAIN[1])
            elif now >= line.due:
                self._dial(native, line)

    def _dial(self, native: NativeId, line: _Line) -> None:
        line.began = self.clock()
        try:
            found = self.place.dial(native)
        except PlaceError:
            line.due, line.wait = line.began + line.wait, min(line.wait * 2, AGAIN[1])
            return
        line.process = found.process
        if found.process.stdin is None or found.process.stdout is None:
            raise TypeError("a connection has no streams")
        reader, writer = os.dup(found.process.stdout.fileno()), os.dup(found.process.stdin.fileno())
        found.process.stdout.close()
        found.process.stdin.close()
        line.stream = self.pipe.attach(reader, writer, found.begins)

    def _have_said(self, waited: float) -> bool:
        """Who is not connected may have some of it in hand: a copy would be run beside it."""
        return super()._have_said(waited) and (not self._unconnected() or waited >= HEARING)

    def fetch(self) -> None:
        self.printed.bring()

    def _end(self) -> None:
        """Machines are told that all is over and go by themselves, their output sent; who does not is stopped."""
        self.over = True
        natives = [a.native for a in self.pool.state.allocations.values() if a.native]
        deadline, pauses = self.clock() + LEAVE, _pauses()
        while self.clock() < deadline and self.line.attempt(self._tell):
            self._serve(next(pauses))
            if not self._are_there(natives):
                break
        super()._end()
        for line in self.lines.values():
            line.end()
        forget: Callable[[list[NativeId]], None] | None = getattr(self.pool.backend, "forget", None)
        if forget is not None and self.ledger.counts.over:
            self.line.attempt(lambda: forget(natives))

    def _serve(self, seconds: float) -> None:
        """Hear the last words of agents, and keep what they send; not as long as that, if the last of them goes."""
        end, some = self.clock() + seconds, bool(self.pipe.connected())
        while (left := end - self.clock()) > 0 and (self.pipe.connected() or not some):
            self._connect()
            self.line.collect(self.line.unrecorded + 1)  # else the first word here would be the last that is heard
            for key, _ in self.selector.select(min(left, 0.05)):
                key.data()

    def _are_there(self, natives: list[NativeId]) -> bool:
        try:
            seen = self.pool.status(natives, ANSWER)
        except PlaceError:
            return True
        return any(one.condition in (Condition.PENDING, Condition.RUNNING) for one in seen.values())


def _pauses() -> Iterator[float]:
    most, pause = GOING
    yield most
    while True:
        yield pause
        pause = min(2 * pause, most)


def _bounds(spec: JobSpec, backend: Backend) -> Bounds:
    lag = backend.traits.lag
    return Bounds(spec.id, most=len(spec.machines), shapes=spec.machines, lag=lag, flight=FLIGHT,
                  pause=timedelta(seconds=1), linger=IDLE + spec.linger)  # fmt: skip


def _order(
    spec: JobSpec, bounds: Bounds, place: Dialled, load: freight.Freight, found: Mapping[str, Bundle],
    trees: Mapping[str, Tree],
) -> Callable[[Ask], Launch]:  # fmt: skip
    ground, owner = place.ground(), reaper.me()
    bare = Bare(ground.name, ground.fetch, load.python, load.archives, load.bringer, cache=ground.cache,
                whole=load.whole)  # fmt: skip
    files, laid = {one.key: one.path for one in found.values()}, {one.key: one for one in trees.values()}

    def order(ask: Ask) -> Launch:
        text = BootText(ADDRESS, f"{ground.directory}/jobs/{spec.id}", "", ask.term, ask.start_by, slots=ask.slots,
                        lease=LEASE, idle=bounds.linger, end=ground.end, bare=bare, now=ground.now)  # fmt: skip
        labels = reaper.labels(bounds.job, ask.launch, owner, ask.start_by + ask.term)
        return Launch(ask.launch, ask.count, render(text), spec.resources, ask.term, ask.start_by, labels,
                      ask.offer, files, laid, dialled=True)  # fmt: skip

    return order
