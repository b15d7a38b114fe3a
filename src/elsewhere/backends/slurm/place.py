"""A cluster under Slurm: its verbs, as its own commands do them on this host or on a login node."""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from elsewhere.backends.base import Finding, Ground, Launch, NativeId, Sighting, Traits
from elsewhere.backends.boxes import RUNTIMES, Boxed
from elsewhere.backends.newcomers import Suggestion, Threshold
from elsewhere.backends.seats import Seat
from elsewhere.backends.slurm import books, boxing, caps, doors, fitting, newcomer, request, text
from elsewhere.backends.slurm.newcomer import Newcomer
from elsewhere.backends.slurm.refusals import refusal
from elsewhere.backends.slurm.settings import WITHIN, SlurmSettings
from elsewhere.config import seated
from elsewhere.config.home import home
from elsewhere.errors import AccessDenied, NotFound, PlaceError, QuotaExceeded, Refused, Unreachable, UsageError
from elsewhere.hosts import Here, Host, Ran
from elsewhere.hosts.openssh import OpenSsh
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources

LIMIT = timedelta(seconds=60)
"""For one command; what has not answered by then may have had its effect."""
PATIENCE = timedelta(seconds=40)
"""For a submission, or a look at the queue: less than jobs wait for work, which nobody hands out meanwhile."""
AGAIN = 5.0
"""Seconds in which the end of a job is not asked for a second time."""
_NATIVE = re.compile(r"\d+(?:_\d+)?")
_LAUNCH = re.compile(r"[A-Za-z0-9._=-]{1,200}")
_CHUNK = 500
"""Jobs that one command names."""
NO_PROGRAM = 127
"""The status of a command that is not there."""
_ASKED = "asked"
_KNOWN = 'cat "$1/natives" 2>/dev/null && exit; [ ! -e "$1/script" ] || echo asked; shift; umask 077; mkdir -p -- "$@"'
"""What is known of a launch: its jobs, or that it was asked for; the directories that it needs are made."""
_MINE = 'exec "$@" --user="$(id -un)"'


class Slurm:
    """Jobs of the user who asks, found again by their names and comments."""

    Settings: ClassVar[type[SlurmSettings]] = SlurmSettings
    traits: Traits = Traits(
        shared_files=True, arrays=True, outlives_client=True, lag=timedelta(seconds=5), waits=timedelta(days=30),
        seldom=timedelta(seconds=15),
        channels=("spool",),
    )  # fmt: skip

    def __init__(self, settings: SlurmSettings | None = None, host: Host | None = None) -> None:
        given = self.settings = settings or SlurmSettings()
        self.host: Host = host or (OpenSsh(given.login, given.config) if given.login not in ("", WITHIN) else Here())
        self.traits = replace(Slurm.traits, max_walltime=given.length, shared_files=not given.login)
        self._asked: dict[NativeId, float] = {}
        self._keeps_books = True  # accounting is not known to be switched off

    @functools.cached_property
    def base(self) -> str:
        """The directory, as Slurm's host and nodes know it, in which everything of ours is."""
        if self.settings.work_dir or not self.settings.login:
            return self.settings.work_dir or str(home() / "slurm")
        return self._said(["sh", "-c", 'echo "$HOME"'], "say where your home is").strip() + "/.elsewhere/slurm"

    # --- what there is

    def offers(self, need: Resources) -> Sequence[Offer]:
        """The kinds of nodes of its partition that have what a task needs, each at no price."""
        rows = [row for row in self.rows() if fitting.fits(row, need)]
        return [Offer(fitting.named(row), fitting.resources(row), price=Decimal(0)) for row in rows]

    def shapes(self, need: Resources, slots: int = 0) -> Sequence[Shape]:
        """One: a job of Slurm with room for so many tasks, and how many such jobs. UsageError, PlaceError: why not."""
        self._check_base()
        size = fitting.size(self.rows(), need, self.settings, slots)
        caps.check(self.caps(), self.settings, size.offer.resources)
        return [replace(size, most=self._allowed(size))]

    def spread(self, shapes: Sequence[Shape], tasks: int) -> Sequence[Shape]:
        if not fitting.is_array(self.settings, tasks):
            return shapes
        limit = request.MOST
        if not 0 < tasks <= self.settings.max_jobs:
            limit = min(text.array_limit(self._said(text.CONFIG, "say how large an array may be")) or limit, limit)
        wide = [(shape, fitting.as_array(shape, tasks, limit)) for shape in shapes]
        return [fitting.as_array(shape, tasks, min(limit, self._allowed(one))) for shape, one in wide]

    def _allowed(self, shape: Shape) -> int:
        """So many of its jobs, or as many as the user's account may have in the queue. Slurm is asked whether it would
        take them, and nothing is submitted. PlaceError: why it would not."""
        count = min(shape.most or 1, request.MOST)
        try:
            self._try(shape.offer.resources, count)
        except QuotaExceeded:
            limit = books.queue_limit(books.in_use(self._accounts(), self.settings))
            if not 0 < limit < count:
                raise
            self._try(shape.offer.resources, count := limit)
        return count

    def boxed(self, image: str = "") -> Sequence[Boxed]:
        """Of nodes whose files are not ours: where they are, the image is had, and its runtime found, before that."""
        offer = self.settings.partition or self.rows()[0].partition
        if not self.settings.login:
            return [Boxed(offer, tuple(RUNTIMES.values()), False)]
        return boxing.boxed(self.host, self.base, self.settings, offer)

    def rows(self) -> list[text.Nodes]:
        return fitting.of_partition(self._all_rows(), self.settings.partition)

    def _all_rows(self) -> list[text.Nodes]:
        return text.nodes(self._said(text.SINFO, "say what nodes there are"))

    def _try(self, shape: Resources, count: int = 1) -> None:
        """Would Slurm take so many such jobs? Nothing is submitted."""
        launch = Launch("check", 1, "", shape, self.settings.length, datetime.now(UTC))
        words = request.words(self.settings, launch, min(count, request.MOST), self.base)
        done = self._run(["sbatch", "--test-only", *words], b"#!/bin/sh\ntrue\n")
        if not done.ok:
            raise fitting.explained(refusal(_err(done), "take such a job"), self.settings, self._known)

    def caps(self) -> Sequence[caps.Cap]:
        """What its account and its QOS let one job have, where that is kept."""
        mine = self._accounts()
        done = self._told(caps.QOS) if mine else None
        said = done.out.decode("utf-8", "replace") if done and done.ok else ""
        return caps.caps(said, books.in_use(mine, self.settings), self.settings)

    def _known(self, option: str) -> Sequence[str]:
        """What it may name; empty: that is not to be known here."""
        if option == "constraint":
            return [word for row in self.rows() for word in row.features]
        if option == "partition":
            return [row.partition for row in self._all_rows()]
        if option == "gres":
            return [f"gpu:{kind}".rstrip(":") for row in self.rows() for kind, _ in row.gpus]
        mine = self._accounts()
        return [word for one in mine for word in (one.qos if option == "qos" else [one.name])]

    def _accounts(self) -> list[books.Account]:
        """The user's; none, where nothing of that is kept."""
        done = self._told(books.ACCOUNTS)
        return books.accounts(done.out.decode("utf-8", "replace")) if done.ok else []

    # --- jobs

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        if not _LAUNCH.fullmatch(launch.id):
            raise Refused(f"{launch.id!r} cannot be the id of a launch")
        folder, count = f"{self.base}/launches/{launch.id}", min(launch.count, request.MOST)
        asked = self._run(["sh", "-c", _KNOWN, "mkdir", folder, f"{self.base}/logs", f"{self.base}/jobs"])
        if not asked.ok:
            raise Refused(f"no directory can be made in {self.base}: {text.last_words(_err(asked))}")
        known = asked.out.decode().split()
        if known and known != [_ASKED]:
            return known
        if known and (jobs := self._found(launch.id)):
            return self._first(folder, str(min(jobs)), count)
        self._bring(launch.freight)
        # written before it is asked for: who finds it there looks for the jobs first
        self.host.put(f"{folder}/script", request.script(self.settings, launch, self.base).encode(), 0o700)
        while True:
            words = request.words(self.settings, launch, count, self.base)
            order = ["sbatch", *words, f"{folder}/script"]  # it hands on all the variables that it has
            done = self._run(seated.alone(order) if self.settings.login == WITHIN else order, limit=PATIENCE)
            if done.ok:
                break
            error = refusal(_err(done), "take the job")
            if count == 1 or not isinstance(error, QuotaExceeded):
                raise error
            count //= 2  # an array is refused whole, though there may be room for some of it
        try:
            job = text.submitted(done.out.decode("utf-8", "replace"))
        except ValueError as error:
            raise Unreachable(str(error)) from None
        return self._first(folder, job, count)

    def _first(self, folder: str, job: str, count: int) -> Sequence[NativeId]:
        """Of several submissions of a launch, as a lost answer may lead to, that counts which says so first: this one,
        unless another has begun. The others' scripts see that, and end."""
        done = self._run(["sh", "-c", 'ln -s "$1" "$2" 2>/dev/null; readlink "$2"', "sh", job, f"{folder}/begun"])
        first = done.out.decode("utf-8", "replace").strip()
        natives = text.natives(first if first.isdigit() else job, count)
        self.host.put(f"{folder}/natives", "\n".join(natives).encode())
        return natives

    def rendered(self, launch: Launch) -> tuple[Sequence[str], str]:
        words = request.words(self.settings, launch, min(launch.count, request.MOST), self.base)
        return ["sbatch", *words], request.script(self.settings, launch, self.base)

    def _bring(self, freight: Mapping[str, Path]) -> None:
        """What is not there yet of what boot texts fetch, under its digest, for all jobs."""
        for key, path in freight.items():
            if not self._run(["test", "-e", f"{self.base}/cache/{key}"]).ok:
                self.host.put(f"{self.base}/cache/{key}", path.read_bytes())

    def _found(self, launch: str) -> set[int]:
        """The submissions of a launch whose answer was lost."""
        return {int(one.native.partition("_")[0]) for one in self.owned() if one.labels.get("launch") == launch}

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        wanted = set(ids)
        seen = {one.native: one for one in self.owned() if one.native in wanted} if wanted else {}
        return {**seen, **self.recall(wanted - seen.keys())}

    def recall(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        named = sorted({native for native in ids if _NATIVE.fullmatch(native)})
        found: dict[NativeId, Sighting] = {}
        for at in range(0, len(named) if self._keeps_books else 0, _CHUNK):
            wanted = named[at : at + _CHUNK]
            try:
                done = self._told([*books.SACCT, f"--jobs={','.join(wanted)}"], text.TELLING)
            except Unreachable:
                break  # the books may be away for a while, and nothing waits for them
            if not done.ok:
                self._keeps_books = done.status != NO_PROGRAM and not books.is_off(_err(done))
                break
            said = books.remembered(done.out.decode("utf-8", "replace"))
            found.update({one.native: one for one in said if one.native in wanted})
        return found

    def owned(self) -> Iterable[Sighting]:
        here = isinstance(self.host, Here)  # where we know who asks without two programs more
        words = [*text.SQUEUE, f"--user={os.getuid()}"] if here else ["sh", "-c", _MINE, "sh", *text.SQUEUE]
        done = self._run(words, env=text.TELLING, limit=PATIENCE)
        if not done.ok:
            raise refusal(_err(done), "say what jobs there are")
        return text.sightings(done.out.decode("utf-8", "replace"))

    def cancel(self, ids: Collection[NativeId]) -> None:
        now = time.monotonic()
        self._asked = {native: when for native, when in self._asked.items() if now - when < AGAIN}
        named = [native for native in ids if _NATIVE.fullmatch(native) and native not in self._asked]
        for at in range(0, len(named), _CHUNK):
            chunk = named[at : at + _CHUNK]
            done = self._run(["scancel", "--quiet", *chunk])
            said = _err(done)
            if not done.ok and isinstance(error := refusal(said, "end these jobs"), Unreachable | AccessDenied):
                raise error
            self._asked.update(dict.fromkeys(chunk, now))  # what is refused besides is gone, or never was

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        if not _NATIVE.fullmatch(native_id):
            raise NotFound(f"{native_id} is no job of Slurm")
        done = self._run(["tail", "-c", f"+{start + 1}", f"{self.base}/logs/{native_id}"])
        if done.ok:
            return done.out
        if native_id not in self.status([native_id]):
            raise NotFound(f"Slurm knows of no job {native_id} of ours")
        return b""

    def shared(self) -> Path | None:
        """Where its nodes see what we write; None: they see our own directories."""
        return Path(self.base) if self.settings.work_dir and not self.settings.login else None

    def lodging(self) -> tuple[Host, str] | None:
        return (self.host, self.base) if self.settings.login else None

    def seat(self, host: str = "") -> Seat:
        if not isinstance(self.host, OpenSsh):
            raise NotFound("this machine is the login node", hint="leave out what names another")
        there = {**asdict(self.settings), "login": "", "config": "", "work_dir": self.base}
        return Seat(self.host, self.base, self.architecture(), there)

    def architecture(self) -> str:
        """Of the login node's processors, and so of the nodes', as far as is known."""
        machine = self._said(["uname", "-m"], "say what machine it is").strip()
        return {"aarch64": "arm64"}.get(machine, machine)

    def within(self) -> Mapping[str, object]:
        return {"login": WITHIN, "config": "", "work_dir": self.base} if self.settings.login else {}

    def hires(self, architecture: str) -> tuple[Slurm, timedelta]:
        from elsewhere.backends.slurm import seating

        return seating.hires(self)

    def bring(self, host: str, freight: Mapping[str, Path]) -> None:
        self._bring(freight)

    def ground(self) -> Ground:
        fetch = f'fetch() {{ cp {shlex.quote(self.base)}/cache/"$1" "$2"; }}'
        return Ground(': "${ELSEWHERE_MACHINE:?}"', fetch, directory=self.base)

    # --- whether it may be used

    def check(self) -> Iterable[Finding]:
        before = list(self._asked_about())
        yield from before
        if not before[0].ok:
            return
        try:
            self._check_base()
            yield Finding("work-dir", True, self.base)
        except PlaceError as error:
            yield Finding("work-dir", False, error.message, error.hint)
            return
        yield self._a_job()
        if found := newcomer.seen(self._told(["cat", f"{self.base}/{newcomer.SEEN}"])):
            yield found

    def _asked_about(self) -> Iterable[Finding]:
        """What Slurm says of itself and of its partitions."""
        try:
            version = self._said(["sinfo", "--version"], "say its version").strip()
            rows = self._all_rows()
        except PlaceError as error:
            yield Finding("Slurm", False, error.message, error.hint)
            return
        yield Finding("Slurm", True, version)
        yield from fitting.findings(rows, self.settings)
        yield from books.findings(self._accounts(), self.settings)

    def _a_job(self) -> Finding:
        try:
            self._try(Resources())
            return Finding("a job", True, "Slurm would take one with these settings; none was submitted")
        except (PlaceError, UsageError) as error:
            return Finding("a job", False, error.message, error.hint)

    # --- for somebody who is new there

    def greet(self) -> None:
        doors.greet(self.host)

    def suggest(self, key: str) -> Suggestion:
        return self._newcomer().suggest(key)

    def ready(self) -> Iterable[Finding]:
        new = self._newcomer()
        for step in (self._asked_about, lambda: [self._a_job()], lambda: [new.made()], lambda: [new.probed()]):
            for finding in step():
                yield finding
                if not finding.ok:
                    return

    def _newcomer(self) -> Newcomer:
        return Newcomer(self.settings, self.host, lambda: self.base, self._all_rows, self._told)

    def threshold(self) -> Threshold:
        if not self.settings.login:
            return Threshold(None, self.base, python=sys.executable)
        return Threshold(self.host, self.base, self.settings.work_dir or ".")

    def shell(self, native_id: NativeId, zone: str = "") -> Sequence[str]:
        """Beside what runs there, on what its job has."""
        if not _NATIVE.fullmatch(native_id):
            raise UsageError(f"{native_id} is no job of Slurm", hint="`elsewhere machines` lists them.")
        return doors.carried(self.host, ["srun", f"--jobid={native_id}", "--overlap", "--pty", "sh", "-l"], True)

    def enter(self, words: Sequence[str], terminal: bool, shape: Resources | None = None) -> Sequence[str]:
        inner = words if shape is None else doors.entering(self.settings, words, terminal, shape)
        return doors.carried(self.host, inner, terminal)

    # --- within

    def _check_base(self) -> None:
        if self.settings.work_dir:  # else it is made when it is needed
            doors.check_base(self.host.name, self.base, self._run)

    def _said(self, words: Sequence[str], what: str) -> str:
        done = self._run(words)
        if not done.ok:
            raise refusal(_err(done), what)
        return done.out.decode("utf-8", "replace")

    def _told(self, words: Sequence[str], env: Mapping[str, str] = {}) -> Ran:
        """As `_run`, where no such program is an answer, too."""
        try:
            return self.host.run(words, timeout=LIMIT, env=env)
        except NotFound as error:
            return Ran(NO_PROGRAM, b"", error.message.encode())

    def _run(
        self, words: Sequence[str], given: bytes = b"", env: Mapping[str, str] = {}, limit: timedelta = LIMIT
    ) -> Ran:
        try:
            return self.host.run(words, given, limit, env)
        except NotFound as error:
            where = "here" if self.host.name == "here" else f"on {self.host.name}"
            if self.host.name != "here" and words[0] not in error.message:
                raise
            raise NotFound(f"there is no Slurm {where}: no program {words[0]}",
                           hint="run this on a login node, or name one: `login: alice@cluster`") from error  # fmt: skip


def _err(done: Ran) -> str:
    return (done.err or done.out).decode("utf-8", "replace")
