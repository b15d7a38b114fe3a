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
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from elsewhere.api.dask import afar, apart, meeting, post
from elsewhere.api.dask.containers import Container, refused, shape_of, written_as
from elsewhere.api.dask.quarters import TERM, last_line
from elsewhere.backends.base import Fleet
from elsewhere.backends.seats import Seats
from elsewhere.errors import ElsewhereError, NotFound, PlaceError, Unreachable, UsageError
from elsewhere.hosts import private_directory
from elsewhere.hosts.tunnel import Tunnel
from elsewhere.model.place import Place, Shape
from elsewhere.model.resources import Resources
from elsewhere.pool.berths import berth
from elsewhere.pool.hold import Hold, Member, Text
from elsewhere.ship import bundle, codec, runtime, seat, visit
from elsewhere.ship.certificates import Papers
from elsewhere.ship.dask_worker import log_of
from elsewhere.ship.runtime import Target, own
from elsewhere.ship.script import Archive

if TYPE_CHECKING:
    from elsewhere.api.dask.quarters import Came
    from elsewhere.api.dask.records import Record
    from elsewhere.backends.base import Backend, Sighting
    from elsewhere.controller.away import Away
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
        self._shapes: Mapping[str, Shape] = {}
        self._seated: Mapping[str, afar.Seated] = {}
        self._addresses: Mapping[str, str] = {}
        self._settled: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._asked: dict[str, Mapping[str, Any]] = {}
        self._tunnels: dict[str, Tunnel] = {}
        self._parcels: dict[str, Bundle] = {}
        """By their keys: what each launch brings for itself alone."""

    @property
    def _stay(self) -> Stay:
        return cast("Stay", self._hold.backend)

    # --- the scheduler, and what must be there before it

    def scheduler(self, where: str, papers: Papers, came: Came, went: Callable[[], None]) -> apart.Apart:
        root = Path.cwd()
        if root in (Path("/"), Path.home()):
            raise UsageError(f"all of {root} would travel to the hosts", hint="Run this from your project.")
        self._project = bundle.code({visit.PROJECT: root})
        self._shapes = {shape.offer.name: shape for shape in self._stay.shapes(_LITTLE)}
        self._hold.machines = [shape.offer for shape in self._shapes.values()]
        needs = afar.needs()
        for kind in {shape.architecture for shape in self._shapes.values()}:
            runtime.whole(Target(own().python, kind or own().architecture), needs)  # once, for all of them
        self._seated = self._each(lambda name: afar.Seated(self._settle_in(name, needs)))
        self._addresses = meeting.meet(
            [meeting.Comer(one.host, _words(one.away)) for one in self._seated.values()], self._interface
        )
        first = self._hold.machines[0]
        listens = {"host": self._addresses[first.name]}
        told = apart.told(listens, certificates_there(papers), self._quiet)
        text = Text(partial(self._text, apart.KIND, apart.__name__, papers, told), _LITTLE, TERM,
                    partial(self._freight, apart.KIND), first)  # fmt: skip
        way = partial(self._way, first.name)
        return apart.post(self._hold, self._record.name, text, self._said, papers, came, went, way)

    def _settle_in(self, name: str, needs: list[str]) -> Away:
        from elsewhere.controller import seat as seats

        there = replace(self._stay.seat(name), architecture=self._shapes[name].architecture)
        return seats.take(self.place, self._stay, there, needs)

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

    # --- workers

    def settle(self, tag: str, words: Mapping[str, Any]) -> Container:
        written = written_as(tag)
        asked = post.plain({**words, "environment": _environment(words["environment"], self.place)})
        shape = shape_of(written, post.asked(asked))
        able = [offer.name for offer in self._hold.machines if berth([offer], (), shape)]
        if not able:
            raise refused(written, self.place, shape)
        answers = self._each(lambda name: self._settled_at(name, written, asked), able)
        found = {name: answer for name, answer in answers.items() if not isinstance(answer, Unreachable)}
        if not found:
            raise answers[able[0]]
        self._settled[written], self._asked[written] = found, asked
        first = next(iter(found.values()))
        return Container(written, shape, asked["threads"], first["python"], first["env"], first["software"])

    def _settled_at(self, name: str, tag: str, asked: Mapping[str, Any]) -> Mapping[str, Any] | Unreachable:
        """That of a host which is not reached just now is left out."""
        try:
            found: Mapping[str, Any] = self._seated[name].ask("container", tag=tag, words=asked)
        except Unreachable as error:
            return error
        except ElsewhereError as error:
            raise type(error)(f"{name}: {error.message}", hint=error.hint) from None
        return found

    def text(self, found: Container, papers: Papers, address: str, walltime: timedelta | None) -> Text:
        asked, settled = self._asked[found.tag], self._settled[found.tag]
        told = {
            "cluster": self._record.name, "tag": found.tag, "scheduler": address, "words": asked, "path": _path(),
            "lifetime": walltime.total_seconds() if walltime else 0.0,
        }  # fmt: skip

        def render(number: int, start_by: datetime, machine: str) -> str:
            own = {"number": number, "start_by": start_by.isoformat(), "host": self._addresses[machine],
                   "settled": settled[machine]}  # fmt: skip
            return self._text(found.tag, post.__name__, papers, {**told, **own}, number, start_by, machine)

        return Text(render, found.shape, walltime or TERM, partial(self._freight, found.tag),
                    only=tuple(settled))  # fmt: skip

    def _text(
        self, kind: str, module: str, papers: Papers, told: Mapping[str, Any], number: int, start_by: datetime,
        machine: str,
    ) -> str:  # fmt: skip
        ground, away = self._stay.ground(), self._seated[machine].away
        project = Archive(self._project.key, self._project.digest, visit.CODE)
        there = visit.Visit(self._record.name, ground.fetch, ground.cache, ground.now, away.directory, away.we, project,
                            _path())  # fmt: skip
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
        _keep(self._record, f"{member.kind}-{member.number}", data)
        return last_line(data.decode("utf-8", "replace"))

    def leave(self) -> None:
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


def certificates_there(papers: Papers) -> Papers:
    """As they are found from the project there."""
    return Papers(*(f"../../{visit.PAPERS}/{Path(path).name}" for path in asdict(papers).values()))


def clear(hold: Hold, record: Record) -> None:
    """What a cluster that is over has said comes here, and is removed there. Twice: harmless. Unreachable: a host does
    not answer, and something of it stays there."""
    stay = cast("Stay", hold.backend)
    seen = [one for one in hold.backend.owned() if one.labels.get("job") == hold.job]
    for one in seen:
        with contextlib.suppress(PlaceError):
            _keep(record, _name(one, record), hold.backend.logs(one.native))
    if seen:
        stay.forget([one.native for one in seen])


def fetch_log(record: Record, tag: str, number: str) -> None:
    """What a worker there has said until now, into the file where it will be. It is of none: nothing is done."""
    from elsewhere.backends import registry

    backend = registry.build(Place(record.place, record.backend, record.settings))
    for one in backend.owned():
        if one.labels.get("job") == record.id and _name(one, record) == f"{tag}-{number}":
            _keep(record, f"{tag}-{number}", backend.logs(one.native))


def _name(seen: Sighting, record: Record) -> str:
    """`TAG-N`, as its launch is called."""
    return seen.labels.get("launch", "").removeprefix(f"{record.id}-")


def _keep(record: Record, name: str, data: bytes) -> None:
    tag, _, number = name.rpartition("-")
    path = log_of(record.directory, tag, number)
    private_directory(path.parent)
    path.write_bytes(data)


def _words(away: Away) -> list[str]:
    return seat.asking(away.directory, away.we, meeting.__name__)


def _environment(named: Any, place: Place) -> Any:
    """As it is in the settings of here, its software resolved here: each host builds the same. UsageError, ConfigError:
    it cannot be."""
    from elsewhere.api import furnishing
    from elsewhere.api.dask import versions

    if isinstance(named, str) and named:
        from elsewhere.config import load

        named = load.current().environment(named)
    if not named or named.image or named.prefix:
        return named
    pip = tuple(Path(named.pip).read_text().splitlines()) if isinstance(named.pip, str) else named.pip
    ours = versions.here()
    whole = replace(named, pip=(*pip, f"distributed=={ours.dask}"), python=named.python or ours.python)
    found, _ = furnishing.resolved(whole, place, Path.cwd(), sys.executable)
    return replace(whole, pip=found.pins, conda=found.conda, channels=(), capture=False)


def _path() -> list[str]:
    """Those directories of our path that travel, as they are seen from the project."""
    root = Path.cwd().resolve()
    return [str(Path(one).relative_to(root)) for one in codec.import_path() if Path(one).is_relative_to(root)]
