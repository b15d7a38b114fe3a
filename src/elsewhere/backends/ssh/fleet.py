"""PROVISION on hosts that a user can reach by SSH: each is a machine, and a boot text becomes a process group of it.

Everything about a machine is in a directory of its own on its host; a small shell text there starts, lists and ends.
A host that cannot be reached shows what it showed last: that is not the same as gone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from elsewhere.backends import boxes, sheds
from elsewhere.backends.base import (
    Condition,
    Connection,
    Finding,
    Ground,
    Kept,
    Launch,
    NativeId,
    Sighting,
    Traits,
)
from elsewhere.backends.seats import Seat
from elsewhere.backends.ssh import texts
from elsewhere.backends.ssh.laying import lay
from elsewhere.backends.ssh.said import (
    FACTS,
    HAS_FOR_TASKS,
    facts,
    findings,
    fits,
    mark,
    recalled,
    remember,
    sightings,
    spread,
    unseen,
    usable,
)
from elsewhere.errors import ConfigError, NotFound, PlaceError, Refused, UsageError
from elsewhere.hosts import Ran
from elsewhere.hosts.openssh import OpenSsh
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources

LIMIT = timedelta(seconds=30)
"""For one command there; a file may take longer."""
_NATIVE = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SshSettings:
    """`hosts`: as you would type them behind ssh; `node[1-3,7]` stands for four. `slots`: tasks at a time on each host,
    or `cpus`. `config`: a file to use in place of ~/.ssh/config. `directory`: ours there, below the home directory.
    `keep_days`: archives and environments that nothing has used for so long are removed there when a job ends.
    `interface`: the network interface over which processes of a Dask cluster talk there, as in eth1."""

    hosts: Sequence[str] | str = field(default=(), metadata={"ask": "hosts, as you would type them behind ssh: a,b"})
    slots: int | str = "cpus"
    config: str = ""
    directory: str = ".elsewhere"
    keep_days: int = 30
    interface: str = ""


class Ssh:
    """Hosts, by the user's own OpenSSH."""

    Settings: ClassVar[type[SshSettings]] = SshSettings
    traits: ClassVar[Traits] = Traits(outlives_client=True, channels=("door",))

    def __init__(self, settings: SshSettings | None = None) -> None:
        given = settings or SshSettings()
        named = [given.hosts] if isinstance(given.hosts, str) else list(given.hosts)
        names = [name for word in named for name in spread(word)]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"the host {twice} is named twice", hint="each host is one machine")
        if not re.fullmatch(r"[A-Za-z0-9._/-]+", given.directory) or ".." in given.directory:
            raise ConfigError(f"{given.directory!r} is no directory below a home", hint="for example .elsewhere")
        self.settings = given
        self.hosts = {mark(name): OpenSsh(name, given.config) for name in names}
        self._known: dict[str, dict[NativeId, Sighting]] = {}
        self._open: dict[NativeId, Connection] = {}
        """To machines that were dialled as they were started, until they are asked for."""

    def offers(self, need: Resources) -> Sequence[Offer]:
        """Each host that has what a task needs is an offer. PlaceError: not one can be used, as the first says."""
        return [shape.offer for shape in self.shapes(need)]

    def shapes(self, need: Resources, slots: int = 0) -> Sequence[Shape]:
        told = self._each(lambda host: facts(usable(host.name, self._run(host, HAS_FOR_TASKS + "exit 0"))))
        good = {key: found for key, found in told.items() if not isinstance(found, PlaceError)}
        if not good:
            raise self._none(told)
        return [
            Shape(Offer(self.hosts[key].name, has, price=Decimal(0)), self._slots(has, need), 1, machine)
            for key, (has, machine) in good.items() if fits(has, need)
        ]  # fmt: skip

    def boxed(self, image: str = "") -> Sequence[boxes.Boxed]:
        words = boxes.words(image)
        told = self._each(lambda host: boxes.read(host.name, self._run(host, boxes.LOOK, *words).out))
        found = [one for one in told.values() if not isinstance(one, PlaceError)]
        if not found:
            raise self._none(told)
        return found

    def _slots(self, has: Resources, need: Resources) -> int:
        asked = self.settings.slots
        return max(1, int(has.cpus / need.cpus)) if asked == "cpus" else int(asked)

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        key = mark(launch.offer.name) if launch.offer is not None else next(iter(self.hosts), "")
        if key not in self.hosts:
            raise NotFound(f"there is no host {launch.offer.name if launch.offer else 'at all'} at this place")
        host, natives = self.hosts[key], [f"{launch.id}-{k}.{key}" for k in range(launch.count)]
        if not all(_NATIVE.fullmatch(native) for native in natives):
            raise Refused(f"{launch.id!r} cannot be the id of a launch")
        labels = {"launch": launch.id, **launch.labels}
        for native in natives:
            job, fetched = launch.labels.get("job", "") if launch.dialled else "", (*launch.freight, *launch.trees)
            words = (native, json.dumps(labels), str(int(time.time())), launch.script, job, *fetched)
            if isinstance(asked := self._begun(host, native, words), Ran) and asked.status == 66:
                self._bring(host, launch, asked)
                asked = self._begun(host, native, words)
            if isinstance(asked, Ran):
                _checked(host, asked)
        fresh = {native: Sighting(native, Condition.PENDING, labels) for native in natives}
        self._remember(key, {**self._recalled(key), **fresh})
        return natives

    def _begun(self, host: OpenSsh, native: NativeId, words: Sequence[str]) -> Ran | None:
        """Start a machine; None: it is being dialled, too, and whoever dials it finds that."""
        if not words[4]:
            return self._run(host, texts.START, *words)
        told = ["sh", "-c", texts.BASE + texts.START + texts.DIAL, "sh", self.settings.directory, *words]
        asked = host.begin(told, "begun", LIMIT)
        if isinstance(asked, Ran):
            return asked
        if (before := self._open.pop(native, None)) is not None:
            before.process.kill()
            before.process.wait()
        self._open[native] = Connection(asked, b"")
        return None

    def bring(self, host: str, freight: Mapping[str, Path]) -> None:
        """What that host has not, into the cache that all jobs there share."""
        there = self.hosts[mark(host)]
        base, *has = self._done(there, texts.HAS, *freight).out.decode("utf-8", "surrogateescape").split("\n")
        for name, path in freight.items():
            if name not in has:
                there.put(f"{base}/cache/{name}", path.read_bytes())

    def seat(self, host: str = "") -> Seat:
        if host:
            if mark(host) not in self.hosts:
                raise NotFound(f"there is no host {host} at this place")
            return Seat(self.hosts[mark(host)], self.settings.directory)
        first = self.shapes(Resources(cpus=0.01))[0]
        return Seat(self.hosts[mark(first.offer.name)], self.settings.directory, first.architecture)

    def greet(self) -> None:
        found = self._each(lambda host: self._run(host, "exit 0"))
        for key, said in found.items():
            if isinstance(said, PlaceError) and self.hosts[key].may_ask(said):
                self.hosts[key].ask()

    def _bring(self, host: OpenSsh, launch: Launch, asked: Ran) -> None:
        """What that host lacks, as it has said, into the cache that all jobs there share."""
        base, *lacks = asked.out.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")
        for name in lacks:
            if name in launch.trees:
                lay(host, f"{base}/cache", launch.trees[name])
            else:
                host.put(f"{base}/cache/{name}", launch.freight[name].read_bytes())

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        wanted = {native.rpartition(".")[2] for native in ids}
        found = {sighting.native: sighting for sighting in self._listed(wanted)}
        return {native: found[native] for native in ids if native in found}

    def owned(self) -> Iterable[Sighting]:
        return self._listed(set(self.hosts))

    def cancel(self, ids: Collection[NativeId]) -> None:
        by_host: dict[str, list[NativeId]] = {}
        for native in ids:
            if (key := native.rpartition(".")[2]) in self.hosts and _NATIVE.fullmatch(native):
                by_host.setdefault(key, []).append(native)
        self._answers(lambda host: self._done(host, texts.STOP, *by_host[mark(host.name)]), by_host)

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        host = self._host(native_id)
        done = self._run(host, texts.LOG, native_id, str(start + 1))
        if done.status == 66:
            raise NotFound(f"there is no machine {native_id} on {host.name}")
        return done.out

    def check(self) -> Iterable[Finding]:
        for key, found in self._each(lambda host: self._run(host, FACTS)).items():
            name = self.hosts[key].name
            if isinstance(found, PlaceError):
                yield Finding(name, False, found.message, str(found.hint or ""))
                continue
            yield from findings(name, found)
        if not self.hosts:
            yield Finding("hosts", False, "none is named", "places: {lab: {backend: ssh, hosts: [alice@node1]}}")

    def ground(self) -> Ground:
        cache = f'"${{HOME:-/root}}/{self.settings.directory}/cache"'
        fetch = f'fetch() {{ cp {cache}/"$1" "$2"; }}'
        now = "$(($(date +%s) - ${ELSEWHERE_AHEAD:-0}))"  # a host's clock may be off
        return Ground(': "${ELSEWHERE_MACHINE:?}"', fetch, directory=self.settings.directory, cache=cache, now=now)

    def dial(self, native: NativeId) -> Connection:
        host = self._host(native)
        if (found := self._open.pop(native, None)) is not None:
            return found
        words = ["sh", "-c", texts.BASE + texts.DIAL, "sh", self.settings.directory, self._job(native)]
        return Connection(*host.stream(words))

    def forget(self, ids: Collection[NativeId]) -> None:
        """Remove what is left of machines that have ended, and of jobs that have none. Twice: harmless."""
        by_host: dict[str, list[NativeId]] = {}
        for native in ids:
            by_host.setdefault(native.rpartition(".")[2], []).append(native)
        days = str(self.settings.keep_days)
        self._each(lambda host: self._done(host, sheds.AGE + texts.FORGET, days, *by_host[mark(host.name)]), by_host)

    def environments(self) -> Sequence[Kept]:
        found = self._answers(lambda host: list(sheds.read(host.name, self._done(host, sheds.LIST).out)))
        return [kept for one in found for kept in one]

    def discard(self, kept: Collection[Kept]) -> None:
        by_host: dict[str, list[str]] = {}
        for one in kept:
            by_host.setdefault(mark(one.machine), []).append(one.mark)
        self._answers(lambda host: self._done(host, sheds.DISCARD, *by_host[mark(host.name)]), by_host)

    def shell(self, native_id: NativeId, zone: str = "") -> Sequence[str]:
        """`native_id` may be a host's name, or empty where there is only one: the terminal begins in its home."""
        named = {host.name: host for host in self.hosts.values()}
        if (not native_id and len(named) == 1) or native_id in named:
            host, there = named.get(native_id) or next(iter(named.values())), "."
        elif native_id and _NATIVE.fullmatch(native_id) and native_id.rpartition(".")[2] in self.hosts:
            host, there = self._host(native_id), f"{self.settings.directory}/machines/{native_id}"
        else:
            raise UsageError(f"{native_id or 'the place'} is no host of it", hint=f"Its hosts: {', '.join(named)}.")
        return host.terminal(f'exec sh -c \'cd "$HOME/{there}" 2>/dev/null; exec "${{SHELL:-sh}}" -l\'')

    # --- within

    def _host(self, native: NativeId) -> OpenSsh:
        key = native.rpartition(".")[2]
        if key not in self.hosts or not _NATIVE.fullmatch(native):
            raise NotFound(f"{native} is on no host of this place")
        return self.hosts[key]

    def _job(self, native: NativeId) -> str:
        last = self._recalled(native.rpartition(".")[2]).get(native)
        return last.labels.get("job", "") if last else ""

    def _run(self, host: OpenSsh, text: str, *words: str, given: bytes = b"") -> Ran:
        return host.run(["sh", "-c", texts.BASE + text, "sh", self.settings.directory, *words], given, LIMIT)

    def _done(self, host: OpenSsh, text: str, *words: str, given: bytes = b"") -> Ran:
        return _checked(host, self._run(host, text, *words, given=given))

    def _each(self, call: Callable[[OpenSsh], T], keys: Collection[str] | None = None) -> dict[str, T | PlaceError]:
        """Of these hosts (None: all) at once. What went wrong with one stands for its answer."""

        def one(key: str) -> T | PlaceError:
            try:
                return call(self.hosts[key])
            except PlaceError as error:
                return error

        wanted = [key for key in self.hosts if keys is None or key in keys]
        if len(wanted) > 1:
            with suppress(RuntimeError), ThreadPoolExecutor(min(16, len(wanted)), "ssh") as pool:
                return dict(zip(wanted, pool.map(one, wanted), strict=True))
        return {key: one(key) for key in wanted}  # so also at a program's exit, when no thread can be begun any more

    def _answers(self, call: Callable[[OpenSsh], T], keys: Collection[str] | None = None) -> list[T]:
        """The same, where each of them must answer. PlaceError: the first that did not."""
        found = []
        for answer in self._each(call, keys).values():
            if isinstance(answer, PlaceError):
                raise answer
            found.append(answer)
        return found

    def _listed(self, keys: Collection[str]) -> list[Sighting]:
        found: list[Sighting] = []
        answers = self._each(lambda host: list(sightings(self._done(host, texts.LIST).out, time.time())), keys)
        for key, answer in answers.items():
            if isinstance(answer, PlaceError):
                found += [unseen(one, answer) for one in self._recalled(key).values()]
            else:
                self._remember(key, {one.native: one for one in answer})
                found += answer
        if answers and all(isinstance(answer, PlaceError) for answer in answers.values()) and not found:
            raise self._none(answers)
        return found

    def _none(self, answers: Mapping[str, Any]) -> PlaceError:
        if not answers:
            return NotFound("this place names no host", hint="places: {lab: {backend: ssh, hosts: [alice@node1]}}")
        error: PlaceError = next(iter(answers.values()))
        return error

    def _recalled(self, key: str) -> dict[NativeId, Sighting]:
        if key not in self._known:
            self._known[key] = recalled(key)
        return self._known[key]

    def _remember(self, key: str, found: dict[NativeId, Sighting]) -> None:
        remember(key, self._recalled(key), found)
        self._known[key] = found


def _checked(host: OpenSsh, done: Ran) -> Ran:
    if not done.ok:
        last = done.err.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.status}"]
        raise Refused(f"{host.name}: {last[0]}", hint=f"is there room, and may you write, on {host.name}?")
    return done
