"""A cluster on hosts that do not see our files and stay when we go, each of which we reach: those behind SSH.

All of us, with Dask as it is here, is brought to each of them as it is for a controller (controller/seat.py), and there
software is settled as it is for whoever sits there. Scheduler and workers are launches as everywhere; each brings the
project and the cluster's certificates along, and takes them away again. They listen on the hosts' own network; what we
ask goes through our own OpenSSH.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from elsewhere.api.dask import afar, apart, meeting, outfit, post, travel
from elsewhere.api.dask.containers import Container, refused, shape_of, written_as
from elsewhere.api.dask.late import Late
from elsewhere.api.dask.quarters import TERM, last_line
from elsewhere.backends.base import Fleet
from elsewhere.backends.seats import Seats
from elsewhere.errors import ElsewhereError, NotFound, PlaceError, Refused, Unreachable
from elsewhere.hosts.tunnel import Tunnel
from elsewhere.model.place import Place, Shape
from elsewhere.model.resources import Resources
from elsewhere.pool.berths import berth
from elsewhere.pool.hold import Hold, Member, Text
from elsewhere.ship import bundle, runtime, seat, visit
from elsewhere.ship.certificates import Papers
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive

if TYPE_CHECKING:
    from elsewhere.api.dask.quarters import Came
    from elsewhere.api.dask.records import Record
    from elsewhere.backends.base import Backend, Sighting
    from elsewhere.controller.away import Away
    from elsewhere.model.job import JobSpec
    from elsewhere.ship.bundle import Bundle

QUIET = 120.0
UNATTENDED = 12 * 3600.0
"""Seconds without a word from the cluster's process, after which its scheduler leaves, and the workers with it; of one
that was put up to stay."""
_SELDOM = timedelta(seconds=5)
"""Dask sees sooner than its host who is gone."""
_LITTLE = Resources(cpus=0.01)


class Stay(Fleet, Seats, Protocol):
    """What a place must be able to do for it."""

    absent: Mapping[str, PlaceError]
    """Hosts that could not be used when `shapes` asked last, and why."""

    def forget(self, ids: list[str]) -> None: ...


def is_for(backend: Backend) -> bool:
    """Are these hosts of that kind?"""
    return not backend.traits.shared_files and isinstance(backend, Fleet) and isinstance(backend, Seats)


class Hosts:
    """As of Quarters."""

    def __init__(self, place: Place, hold: Hold, record: Record, interface: str, stays: bool) -> None:
        self.place, self._hold, self._record = place, hold, record
        self._interface = interface or str(place.settings.get("interface") or "")
        self._quiet = UNATTENDED if stays else QUIET
        hold.seldom = _SELDOM
        self._shapes: dict[str, Shape] = {}
        self._needs: list[str] = []
        self._seated: dict[str, afar.Seated] = {}
        self._addresses: dict[str, str] = {}
        self._settled: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._asked: dict[str, Mapping[str, Any]] = {}
        self._tunnels: dict[str, Tunnel] = {}
        self._late, self._one = Late(self._look), threading.Lock()
        """The lock: tags and hosts are added one at a time."""
        self._parcels: dict[str, Bundle] = {}
        """By their keys: what each launch brings for itself alone."""

    @property
    def _stay(self) -> Stay:
        return cast("Stay", self._hold.backend)

    # --- the scheduler, and what must be there before it

    def scheduler(self, where: str, papers: Papers, came: Came, went: Callable[[], None]) -> apart.Apart:
        self._project = travel.project()
        self._shapes = {shape.offer.name: shape for shape in self._stay.shapes(_LITTLE)}
        self._needs = afar.needs()
        for kind in {shape.architecture for shape in self._shapes.values()}:
            runtime.whole(Target(own().python, kind or own().architecture), self._needs)  # once, for all of them
        found = self._each(self._seated_at)
        self._seated = {name: one for name, one in found.items() if isinstance(one, afar.Seated)}
        if not self._seated:
            raise next(iter(found.values()))
        self._addresses = self._met(self._seated)
        for name, error in {**self._stay.absent, **found}.items():
            if isinstance(error, PlaceError):
                self._miss(name, error)
        self._hold.machines = [self._shapes[name].offer for name in self._seated]
        first = self._hold.machines[0]
        listens = {"host": self._addresses[first.name]}
        told = apart.told(listens, travel.certificates(papers), self._quiet)
        text = Text(partial(self._text, apart.KIND, apart.__name__, papers, told), _LITTLE, TERM,
                    partial(self._freight, apart.KIND), first)  # fmt: skip
        way = partial(self._way, first.name)
        return apart.post(self._hold, self._record.name, text, self._said, papers, came, went, way)

    def _seated_at(self, name: str) -> afar.Seated | PlaceError:
        try:
            return afar.Seated(self._settle_in(self._shapes[name]))
        except PlaceError as error:
            return error

    def _settle_in(self, shape: Shape) -> Away:
        from elsewhere.controller import seat as seats

        there = replace(self._stay.seat(shape.offer.name), architecture=shape.architecture)
        return seats.take(self.place, self._stay, there, self._needs)

    def _met(self, seated: Mapping[str, afar.Seated]) -> dict[str, str]:
        """By which address each is reached by the others. Errors as of `meet`."""
        comers = [meeting.Comer(one.host, _words(one.away)) for one in seated.values()]
        return dict(meeting.meet(comers, self._interface))

    def _said(self, member: Member) -> Mapping[str, Any] | None:
        try:
            return apart.heard(self._hold.backend.logs(member.native))
        except NotFound:
            return None  # it has only just been asked for

    def _way(self, name: str, target: str) -> str:
        """A port here that leads to this address as that host sees it."""
        if target not in self._tunnels:
            self._tunnels[target] = self._seated[name].tunnel(target)
        return f"127.0.0.1:{self._tunnels[target].port}"

    # --- hosts that are not there at its start

    def _miss(self, name: str, error: PlaceError) -> None:
        """It is left out, which is said once, until it answers."""
        if name not in self._hold.absent:
            sys.stderr.write(f"elsewhere: {self._record.name} goes on without {name}: {error.message}\n")
        self._hold.absent[name] = error.message
        self._late.begin()

    def _look(self) -> None:
        """Take in who can be used by now."""
        with self._one, contextlib.suppress(PlaceError):
            for shape in self._stay.shapes(_LITTLE) if self._hold.absent else ():
                if (name := shape.offer.name) in self._hold.absent:
                    try:
                        self._take_in(name, shape)
                        del self._hold.absent[name]
                    except ElsewhereError as error:
                        self._hold.absent[name] = error.message
            self._hold.absent.update({name: error.message for name, error in self._stay.absent.items()
                                      if name in self._hold.absent})  # fmt: skip

    def _take_in(self, name: str, shape: Shape) -> None:
        """From now on it has workers, too. Twice: harmless."""
        if name not in self._seated:
            seated = {**self._seated, name: afar.Seated(self._settle_in(shape))}
            found = self._met(seated)
            if moved := [one for one, where in self._addresses.items() if found[one] != where]:
                raise Refused(f"{name} does not reach {moved[0]} at {self._addresses[moved[0]]}")
            self._shapes[name], self._seated, self._addresses = shape, seated, found
        for tag, asked in self._asked.items():
            if name not in self._settled[tag] and berth([shape.offer], (), shape_of(tag, post.asked(asked))):
                answer = self._settled_at(name, tag, asked, self._packed(asked, [name]))
                if isinstance(answer, Unreachable):
                    raise answer
                self._settled[tag][name] = answer
        if shape.offer not in self._hold.machines:
            self._hold.machines = [*self._hold.machines, shape.offer]

    # --- workers

    def settle(self, tag: str, words: Mapping[str, Any]) -> Container:
        written = written_as(tag)
        asked = post.plain({**words, "environment": travel.environment(words["environment"], self.place)})
        shape = shape_of(written, post.asked(asked))
        with self._one:
            first = self._settled_on(written, asked, shape)
        return Container(written, shape, asked["threads"], first["python"], first["env"], first["software"])

    def _settled_on(self, written: str, asked: Mapping[str, Any], shape: Resources) -> Mapping[str, Any]:
        """On all hosts that have room for it; what the first says of it."""
        able = [offer.name for offer in self._hold.machines if berth([offer], (), shape)]
        if not able:
            raise refused(written, self.place, shape)
        spec = self._packed(asked, able)
        answers = self._each(lambda name: self._settled_at(name, written, asked, spec), able)
        found = {name: answer for name, answer in answers.items() if not isinstance(answer, Unreachable)}
        if not found:
            raise answers[able[0]]
        for name in answers.keys() - found.keys():
            self._miss(name, answers[name])
        self._settled[written], self._asked[written] = found, asked
        return next(iter(found.values()))

    def _packed(self, asked: Mapping[str, Any], names: list[str]) -> JobSpec | None:
        """The environment that is built on these hosts; None: each has what is asked for, or makes it."""
        found = post.asked(asked).environment
        if isinstance(found, str) or found is None or found.image or found.prefix or found.setup:
            return None
        return outfit.packed(found, self.place, [self._shapes[name] for name in names])

    def _settled_at(
        self, name: str, tag: str, asked: Mapping[str, Any], spec: JobSpec | None
    ) -> Mapping[str, Any] | Unreachable:  # fmt: skip
        """That of a host which is not reached just now is left out."""
        try:
            if spec is not None:
                built = outfit.build(spec, self._hold.backend, self._shapes[name], self._stay.ground().directory)
                asked = post.plain({**asked, "environment": built})
            found: Mapping[str, Any] = self._seated[name].ask("container", tag=tag, words=asked)
        except Unreachable as error:
            return error
        except ElsewhereError as error:
            raise type(error)(f"{name}: {error.message}", hint=error.hint) from None
        return found

    def text(self, found: Container, papers: Papers, address: str, walltime: timedelta | None) -> Text:
        asked, settled = self._asked[found.tag], self._settled[found.tag]
        told = {
            "cluster": self._record.name, "tag": found.tag, "scheduler": address, "words": asked, "path": travel.path(),
            "lifetime": walltime.total_seconds() if walltime else 0.0,
        }  # fmt: skip

        def render(number: int, start_by: datetime, machine: str) -> str:
            own = {"number": number, "start_by": start_by.isoformat(), "host": self._addresses[machine],
                   "settled": settled[machine]}  # fmt: skip
            return self._text(found.tag, post.__name__, papers, {**told, **own}, number, start_by, machine)

        return Text(render, found.shape, walltime or TERM, partial(self._freight, found.tag),
                    only=settled.keys())  # fmt: skip

    def _text(
        self, kind: str, module: str, papers: Papers, told: Mapping[str, Any], number: int, start_by: datetime,
        machine: str,
    ) -> str:  # fmt: skip
        ground, away = self._stay.ground(), self._seated[machine].away
        project = Archive(self._project.key, self._project.digest, visit.CODE)
        there = visit.Visit(self._record.name, ground.fetch, ground.cache, ground.now, away.directory, away.we, project,
                            travel.path())  # fmt: skip
        key = self._key(kind, number)
        self._parcels[key] = packed = _packed(papers, told)
        return visit.render(there, f"{kind}/{number}", Archive(key, packed.digest, visit.PAPERS), module, start_by)

    def _freight(self, kind: str, number: int) -> Mapping[str, Path]:
        key = self._key(kind, number)
        return {self._project.key: self._project.path, key: self._parcels[key].path}

    def _key(self, kind: str, number: int) -> str:
        return f"{self._record.id}-{kind}-{number}.tar.gz"

    # --- its end

    def last_words(self, member: Member) -> str:
        if (parcel := self._parcels.pop(self._key(member.kind, member.number), None)) is not None:
            parcel.path.unlink(missing_ok=True)
        try:
            data = self._hold.backend.logs(member.native)
        except PlaceError:
            return ""
        travel.keep(self._record, f"{member.kind}-{member.number}", data)
        return last_line(data.decode("utf-8", "replace"))

    def turn(self) -> None:
        """Nothing."""

    def leave(self) -> None:
        self._late.end()
        try:
            clear(self._hold, self._record)
        finally:
            for tunnel in self._tunnels.values():
                tunnel.close()
            for parcel in self._parcels.values():
                parcel.path.unlink(missing_ok=True)
            self._parcels.clear()

    def _each(self, call: Callable[[str], Any], names: list[str] | None = None) -> dict[str, Any]:
        """For each of these hosts (None: all) at once, by its name. The first error of them."""
        wanted = list(self._shapes) if names is None else names
        with ThreadPoolExecutor(min(16, len(wanted)), "hosts") as pool:
            return dict(zip(wanted, pool.map(call, wanted), strict=True))


def _packed(papers: Papers, told: Mapping[str, Any]) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        word = Path(folder) / visit.WORD
        word.write_text(json.dumps(told))
        return bundle.pack({word.name: word, **{Path(path).name: Path(path) for path in asdict(papers).values()}})


def clear(hold: Hold, record: Record) -> None:
    """What a cluster that is over has said comes here, and is removed there. Twice: harmless. Unreachable: a host does
    not answer, and something of it stays there."""
    stay = cast("Stay", hold.backend)
    seen = [one for one in hold.backend.owned() if one.labels.get("job") == hold.job]
    for one in seen:
        with contextlib.suppress(PlaceError):
            travel.keep(record, _name(one, record), hold.backend.logs(one.native))
    if seen:
        stay.forget([one.native for one in seen])


def fetch_log(backend: Backend, record: Record, tag: str, number: str) -> None:
    """As of quarters."""
    for one in backend.owned():
        if one.labels.get("job") == record.id and _name(one, record) == f"{tag}-{number}":
            travel.keep(record, f"{tag}-{number}", backend.logs(one.native))


def _name(seen: Sighting, record: Record) -> str:
    """`TAG-N`, as its launch is called."""
    return seen.labels.get("launch", "").removeprefix(f"{record.id}-")


def _words(away: Away) -> list[str]:
    return seat.asking(away.directory, away.we, meeting.__name__)
