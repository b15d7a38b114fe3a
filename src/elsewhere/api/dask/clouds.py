"""A cluster on machines that are started for it: each member on one of its own, behind a door that the place names.

All of us, with Dask as it is here, and the project are brought to each (guest.py); who it is it proves before it is
told anything (letterbox.py). Scheduler and workers listen at their private addresses, which nobody else reaches; we
reach the scheduler where we stand in that network, else by the place's own way in.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from elsewhere.api.dask import afar, apart, containers, furnished, guest, letterbox, market, post, records, travel
from elsewhere.api.dask.containers import Container
from elsewhere.api.dask.quarters import last_line
from elsewhere.api.dask.scheduling import security
from elsewhere.backends.base import Distant
from elsewhere.backends.gathers import Gathers, Way
from elsewhere.controller import freight
from elsewhere.controller import seat as seats
from elsewhere.errors import PlaceError, Unreachable, UsageError
from elsewhere.model.place import Place, life
from elsewhere.model.resources import Resources
from elsewhere.pool.hold import Hold, Member, Text
from elsewhere.ship import runtime, seal, seat, visit
from elsewhere.ship.certificates import Papers
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive, Bare, BootText, render
from elsewhere.stores.objects import open_store

if TYPE_CHECKING:
    from elsewhere.api.dask.quarters import Came
    from elsewhere.api.dask.records import Record
    from elsewhere.backends.base import Backend, NativeId
    from elsewhere.ship.bundle import Bundle

SHAPE = Resources(cpus=1, memory=2 << 30)
"""Of the scheduler's machine."""
TERM = timedelta(days=7)
"""How long a machine may live where nobody said; it leaves with its scheduler, and that with whoever asks it."""
BEGINS = timedelta(minutes=20)
"""In which a machine that was asked for must have begun."""
QUIET, UNATTENDED = 120.0, 12 * 3600.0
"""Seconds without a word from the cluster's process, after which its scheduler leaves; of one that is to stay."""
_SELDOM = timedelta(seconds=10)
_LOOK, _CONNECT = 0.5, 2.0
_OPENS, _AGAIN = 300.0, 3.0
"""Seconds in which a way to the scheduler's machine must open; between two tries."""
_GRACE = 8.0
"""Seconds in which a worker that its scheduler sends home says its last, and its machine ends by itself."""


def is_for(backend: Backend) -> bool:
    """May machines of that place listen for each other?"""
    return isinstance(backend, Gathers)


def check(backend: Backend) -> None:
    """UsageError: its door is none for this, or what leads us in is missing here. Waits for the place's answer."""
    gathers = cast(Gathers, backend)
    gathers.gathering()
    gathers.forwards()


class Clouds:
    """As of Quarters."""

    def __init__(self, place: Place, hold: Hold, record: Record, interface: str, stays: bool) -> None:
        self.place, self._hold, self._record = place, hold, record
        self._interface = interface
        self._quiet = UNATTENDED if stays else QUIET
        hold.seldom, hold.limits = _SELDOM, place.limits
        self._told: dict[tuple[str, int], Mapping[str, str]] = {}
        """What each machine learns by its letter."""
        self._sold: dict[str, market.Sold] = {}
        self._asked: dict[str, Mapping[str, Any]] = {}
        self._archives: dict[str, Sequence[Archive]] = {}
        self._ways: dict[str, Way] = {}
        self._scheduler: Member | None = None
        self._looked = 0.0

    @property
    def _backend(self) -> Backend:
        return self._hold.backend

    # --- the scheduler, and what must be there before it

    def scheduler(self, where: str, papers: Papers, came: Came, went: Callable[[], None]) -> apart.Apart:
        project = travel.project()
        deposit = cast(Distant, self._backend).deposit()
        self._regions = tuple(filter(None, [deposit.channel.get("region", "")]))
        sold = market.sold(self.place, self._backend, SHAPE, self._regions, plain=True)
        self._say(f"its scheduler runs on {sold.said}")
        self._store = open_store(deposit.url)
        self._letters = letterbox.Letterbox(self._backend, self._record.id, self._letter_to)
        self._target = Target(own().python, sold.architecture or own().architecture)
        needs = sorted({*afar.needs(), *seats.needs_of(self.place)})
        we, uv = runtime.whole(self._target, needs), runtime.bringer(self._target)
        self._we = self._put(we, f"{seat.HERE}/{seat.folder('we', we.digest)}")
        self._uv = None if uv is None else self._put(uv, f"{seat.HERE}/{seat.folder('uv', uv.digest)}")
        self._project = self._put(project, visit.CODE)
        self._corner = {**deposit.channel, "cluster": self._record.id, "store": self._letters.url,
                        "key": seal.public().hex()}  # fmt: skip
        told = apart.told({}, travel.certificates(papers), self._quiet, f"../../{guest.STANDS}", inward=True)
        text = self._text(apart.KIND, apart.__name__, papers, told, SHAPE, TERM, sold)
        made = apart.post(self._hold, self._record.name, text, self._said, papers, came, went,
                          partial(self._way, papers))  # fmt: skip
        self._hold.grace = _GRACE
        return made

    def _said(self, member: Member) -> Mapping[str, Any] | None:
        self.turn()
        if (now := time.monotonic()) - self._looked < _LOOK:
            return None
        self._looked, self._scheduler = now, member
        return self._letters.said(member.native)

    def _way(self, papers: Papers, target: str) -> str:
        """Where we reach this address of the scheduler's machine."""
        if not self._ways and _is_reached(target, papers):
            return target
        assert self._scheduler is not None
        if target not in self._ways:
            self._ways[target] = self._opened(self._scheduler, int(target.rpartition(":")[2]))
        return f"127.0.0.1:{self._ways[target].port}"

    def _opened(self, member: Member, port: int) -> Way:
        """A machine that has just begun may not be led to yet."""
        zone, end = member.launch.offer.zone if member.launch.offer else "", time.monotonic() + _OPENS
        while True:
            try:
                return cast(Gathers, self._backend).forward(member.native, port, zone)
            except Unreachable:
                if time.monotonic() >= end:
                    raise
                time.sleep(_AGAIN)

    # --- workers

    def settle(self, tag: str, words: Mapping[str, Any]) -> Container:
        written = containers.written_as(tag)
        asked = post.plain(words)
        about = post.asked(asked)
        shape = containers.shape_of(written, about)
        try:
            sold = market.sold(self.place, self._backend, shape, self._regions, architecture=self._target.architecture)
        except UsageError as error:
            raise UsageError(f"{written}: {error.message}", hint=error.hint) from None
        software, archives, more = about.python or f"Python {self._target.python}", [], {}
        environment = containers.environment_of(about)
        _refuse(written, [*about.mounts, *(dict(environment.mounts) if environment else ())])
        if environment is not None and environment.image:
            containers.look_at(environment, self.place)
            asked, software = {**asked, "image": "", **post.plain({"environment": environment})}, environment.image
        elif environment is not None:
            software = environment.name or "an environment"
            found = furnished.charter(environment, self.place, self._record.id, written, self._target.architecture)
            archives = [self._put(one, folder) for folder, one in freight.software(found.spec, self._target).items()]
            asked, more = {**asked, "environment": ""}, {"charter": furnished.told(found)}
        self._say(f"each worker of {written} runs on {sold.said}")
        self._asked[written], self._sold[written] = {"words": asked, **more}, sold
        self._archives[written] = archives
        return Container(written, shape, about.threads, "", {}, software)

    def text(self, found: Container, papers: Papers, address: str, walltime: timedelta | None) -> Text:
        term = walltime or TERM
        told = {"cluster": self._record.name, "tag": found.tag, "scheduler": address, **self._asked[found.tag],
                "path": travel.path(), "lifetime": life(term).total_seconds()}  # fmt: skip
        return self._text(found.tag, post.__name__, papers, told, found.shape, term, self._sold[found.tag])

    def _text(
        self, kind: str, module: str, papers: Papers, told: Mapping[str, Any], shape: Resources, term: timedelta,
        sold: market.Sold,
    ) -> Text:  # fmt: skip
        machine = self._machine(self._archives.get(kind, []))
        secret = {Path(path).name: Path(path).read_text() for path in asdict(papers).values()}

        def rendered(number: int, start_by: datetime, _machine: str) -> str:
            own = {"module": module, "kind": kind, "number": number, "start_by": start_by.isoformat(),
                   "interface": self._interface}  # fmt: skip
            self._told[kind, number] = {**secret, guest.TOLD: json.dumps({**told, **own})}
            return render(replace(machine, term=term, start_by=start_by))

        return Text(rendered, shape, term, offers=sold.offers, starts=BEGINS)

    def _machine(self, software: Sequence[Archive]) -> BootText:
        """All that the boot texts of a tag have in common."""
        ground, we = cast(Distant, self._backend).ground(), self._we.folder.rpartition("/")[2]
        boots = f"{letterbox.folder(self._record.id)}/{letterbox.BOOTS}"
        brought = (self._we, self._project, *software)
        bare = Bare(ground.name, ground.fetch, self._target.python, brought, self._uv, boots)
        return BootText(urlencode({**self._corner, "we": we}), ground.directory, "", TERM, datetime.now(UTC),
                        end=ground.end, bare=bare, program=guest.__name__)  # fmt: skip

    def _put(self, one: Bundle, folder: str) -> Archive:
        """Into the deposit, unless it is there."""
        freight.put(self._store, one)
        return Archive(one.key, one.digest, folder)

    # --- those who come

    def turn(self) -> None:
        for why in self._letters.look([one.native for one in self._hold.members if one.native]):
            self._say(f"a machine was turned away: {why}")

    def _letter_to(self, machine: NativeId) -> Mapping[str, str]:
        [member] = [one for one in self._hold.members if one.native == machine]
        return self._told[member.kind, member.number]

    # --- its end

    def last_words(self, member: Member) -> str:
        self._told.pop((member.kind, member.number), None)
        name = f"{member.kind}-{member.number}"
        try:
            data = letterbox.log(self._letters.store, name, member.native)
        except PlaceError:
            return ""
        if data:
            travel.keep(self._record, name, data)
        lines = data.decode("utf-8", "replace").splitlines()
        return last_line("\n".join(line for line in lines if not line.startswith(guest.ENDS)))

    def leave(self) -> None:
        try:
            clear(self._hold, self._record)
        finally:
            for way in self._ways.values():
                way.close()

    def _say(self, what: str) -> None:
        records.say(f"{self._record.name}: {what}")


def clear(hold: Hold, record: Record) -> None:
    """What a cluster that is over has said comes here, and its corner there goes. Twice: harmless."""
    for name, data in letterbox.clear(letterbox.store_of(hold.backend, record.id)).items():
        travel.keep(record, name, data)


def fetch_log(backend: Backend, record: Record, tag: str, number: str) -> None:
    """As of quarters."""
    if data := letterbox.log(letterbox.store_of(backend, record.id), f"{tag}-{number}"):
        travel.keep(record, f"{tag}-{number}", data)


def _refuse(tag: str, mounts: Sequence[str]) -> None:
    """UsageError: it asks for files of a machine that has none yet."""
    if mounts:
        raise UsageError(f"{tag}: a machine that is started for it has no {mounts[0]} to mount",
                         hint="Your project is there, in the present directory; fetch others.")  # fmt: skip


def _is_reached(target: str, papers: Papers) -> bool:
    """Do we stand in that network? Whoever answers must have the cluster's certificate: networks share addresses."""
    host, _, port = target.rpartition(":")
    trust = security(papers).get_connection_args("client")["ssl_context"]
    try:
        with socket.create_connection((host, int(port)), _CONNECT) as line, trust.wrap_socket(line):
            return True
    except OSError:
        return False
