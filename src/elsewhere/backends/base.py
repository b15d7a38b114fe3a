"""PROVISION: the contract of a backend, the only code that talks to a compute API.

A backend takes a script and a shape and gives back handles. Everything else is done by others.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from elsewhere.backends.sent import Sent
from elsewhere.model.catalog import Catalog, Image
from elsewhere.model.place import Offer, Shape
from elsewhere.model.resources import Resources

if TYPE_CHECKING:
    import subprocess

    from elsewhere.hosts import Host

NativeId = str


@dataclass(frozen=True, slots=True)
class Traits:
    """What is true of every place of this backend. Data, so that nobody needs to ask which backend it is."""

    prices: bool = False
    interruptible: bool = False
    shared_files: bool = False
    """Its machines see this machine's files."""
    arrays: bool = False
    max_walltime: timedelta | None = None
    """So long a machine may live, and no longer whatever is asked of it."""
    outlives_client: bool = False
    lag: timedelta = timedelta(0)
    """How long after a change its answers may still show the old state."""
    waits: timedelta = timedelta(0)
    """How long what it has accepted may wait for its turn."""
    seldom: timedelta = timedelta(0)
    """How seldom it is asked while nothing changes: it serves many people, and each question costs it something."""
    channels: tuple[str, ...] = ("calls",)
    """In order of preference."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One request for machines. The same `id` always means the same set, also when it is asked for again."""

    id: str
    count: int
    script: str
    """The boot text; it holds no secret."""
    shape: Resources
    term: timedelta
    """Time bought: the machine ends itself this long after its own start."""
    start_by: datetime
    """A boot text that starts later ends the machine at once."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """job, launch, owner, expiry: set in the create call itself."""
    offer: Offer | None = None
    freight: Mapping[str, Path] = field(default_factory=dict)
    """What the boot text fetches, by key: files here, for a place that brings them to its machines by itself."""
    trees: Mapping[str, Sent] = field(default_factory=dict)
    """What such a place lays out in the caches of its machines, by a file that is there once it is."""
    dialled: bool = False
    """Whoever asks will dial these machines at once."""
    abreast: int = 0
    """So many of them run at a time, if the place can see to that; 0: all."""


class Condition(enum.Enum):
    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    PREEMPTED = "preempted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One machine as the place shows it just now."""

    native: NativeId
    condition: Condition
    labels: Mapping[str, str] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    starved: bool = False
    """It ended because what ran there used more memory than it had."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `places check`: what was looked at, whether it is well, and what to do if not."""

    what: str
    ok: bool
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a boot text stands on where machines do not see our files: POSIX shell text, the place's own, no secret."""

    name: str
    """Sets ELSEWHERE_MACHINE to the native id of the machine it runs on."""
    fetch: str
    """Defines `fetch KEY FILE`: an object of the place's deposit, whole, into a file; its status says whether.
    And `send FILE KEY`, the other way round."""
    end: str = ""
    """Ends the machine itself; empty: the end of its processes is enough."""
    directory: str = ".elsewhere"
    """Ours there, below the home of whoever boots."""
    cache: str = ""
    """A directory that later jobs find there again, as a word for the shell; empty: a machine is of one job."""
    now: str = "$(date +%s)"
    """The seconds since the epoch; of a place whose machines' clocks may be off: as ours are here."""
    architecture: str = ""
    """Of its machines' processors: x86_64 or arm64; empty: as was asked for, or as here."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """Where what travels lies: a store's URL, and the words that make a channel, such as {"region": "eu-west-1"}."""

    url: str
    """For example s3://bucket/prefix; archives lie in it by digest, and what belongs to one job under `jobs/JOB`."""
    channel: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connection:
    """A process of ours whose standard streams lead to an agent. `begins`: what its own first byte comes after."""

    process: subprocess.Popen[bytes]
    begins: bytes


class Dialled(Protocol):
    """A place whose machines do not see our files, and are reached from here by a connection to each."""

    def ground(self) -> Ground:
        """As of a place that is distant; `fetch` finds what `Launch.freight` named."""
        ...

    def dial(self, native: NativeId) -> Connection:
        """Begin to connect to that machine's agent. Does not wait. Who has the connection ends its process."""
        ...


@runtime_checkable
class Fleet(Protocol):
    """A place of so many machines and no more, all of which may be used at once, at no price."""

    def shapes(self, need: Resources, slots: int = 0) -> Sequence[Shape]:
        """Those that have what a task needs, each with how many such tasks at a time. Waits for their answers.

        `slots`: so many tasks at a time are wanted in all; 0: as many as it is good for. Creates nothing.
        PlaceError: none of them can be used. UsageError: what is asked cannot be had.
        """
        ...


@runtime_checkable
class Spreads(Protocol):
    """A fleet of which a list may have a machine for each task or few, all asked for at once, or some that share it."""

    def spread(self, shapes: Sequence[Shape], tasks: int) -> Sequence[Shape]:
        """What `shapes` said, for a list of so many tasks; 0: they are not all known. Twice: the same. Creates nothing.

        Waits for the place's answer, if it must be asked; PlaceError: it gave none.
        """
        ...


@runtime_checkable
class Lodges(Protocol):
    """A place whose machines share a directory with each other, which we reach through a host of its own."""

    def lodging(self) -> tuple[Host, str] | None:
        """That host, and the directory as both it and the machines know it. None: they see our own files.

        Unreachable: the host does not answer. Twice: the same.
        """
        ...

    def ground(self) -> Ground:
        """As of a place that is distant; `fetch` finds what `Launch.freight` named. `directory` is a whole path."""
        ...


@runtime_checkable
class Recalls(Protocol):
    """A place whose listing forgets what has ended after a while, and which keeps books besides."""

    def recall(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        """How those of these ended that the books know to have ended. One call for many; twice: there may be more.
        Absent: not to be known here, or not yet. Waits for the place's answer; one that it does not give is none."""
        ...


@runtime_checkable
class Renders(Protocol):
    """A place that is asked by a command with a text."""

    def rendered(self, launch: Launch) -> tuple[Sequence[str], str]:
        """The words of the command, and the text. Creates nothing."""
        ...


@runtime_checkable
class Shares(Protocol):
    """A place whose machines see files of ours, though perhaps not those where jobs are kept."""

    def shared(self) -> Path | None:
        """The directory that they see; None: they see them all. Asks nobody."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """An environment that jobs share on a machine of a place (ship/kept.py). `about`: what is in it."""

    machine: str
    mark: str
    about: Mapping[str, Any]
    bytes: int
    used: datetime
    """When a job last began to use it."""
    busy: bool = False
    """A job that is there may be using it."""
    path: str = ""
    """Of it, where the machine is this one."""


@runtime_checkable
class Keeps(Protocol):
    """A place whose machines stay, and keep environments for the jobs to come."""

    def environments(self) -> Sequence[Kept]:
        """All of them. Twice: may differ. Waits for the machines' answers; PlaceError: one of them gave none."""
        ...

    def discard(self, kept: Collection[Kept]) -> None:
        """Remove these, but for those that a job has begun to use meanwhile. Twice, or already gone: harmless.

        Unreachable: some may be gone. Waits.
        """
        ...


class Distant(Protocol):
    """A place whose machines do not see our files."""

    def deposit(self) -> Deposit:
        """Made if it is not there. Twice: the same. AccessDenied, or Refused if it is somebody else's. Waits."""
        ...

    def ground(self) -> Ground:
        """Pure text, the same each time."""
        ...


class Attests(Protocol):
    """A place that can say which of its machines speaks."""

    def identify(self, proof: bytes, claim: bytes) -> NativeId:
        """The machine that made this proof, over this claim. Refused if it is none. Twice: the same, until it is old.

        Unreachable: the place did not answer; ask again.
        """
        ...


class Backend(Protocol):
    """Built with an instance of its own `Settings`."""

    Settings: ClassVar[type[Any]]
    """A frozen dataclass: the source of its config keys, flags and reference page."""

    @property
    def traits(self) -> Traits:
        """What is true of this place: what stands at the class holds for all of its backend."""
        ...

    def offers(self, need: Resources) -> Sequence[Offer]:
        """The shapes that meet `need`, cheapest first. Twice: may differ. Waits for the place's answer."""
        ...

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        """Ask for `launch.count` machines. Fewer is a partial yes. The same launch.id gives the same set, never more.

        Lost reply (Unreachable): ask again under the same id. Does not wait for the machines to run.
        PlaceError: the place said no, and nothing was created by this call.
        """
        ...

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        """One call for many. Absent from the answer means: not seen in this answer, which is not the same as gone."""
        ...

    def cancel(self, ids: Collection[NativeId]) -> None:
        """Ask for their end; returns when asked, not when gone. Already gone, or never known: success."""
        ...

    def owned(self) -> Iterable[Sighting]:
        """All that bears our labels, also what we forgot."""
        ...

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        """What the machine printed while booting, from byte `start`. NotFound if it is not known."""
        ...

    def check(self) -> Iterable[Finding]:
        """May I use it, what is missing, what quota is left. Creates nothing."""
        ...


@runtime_checkable
class Inventory(Protocol):
    """What a backend may have besides: lists of what its place sells. Asked for once, in `session`.

    Each may be called again, creates nothing, and waits for the place's answer, or gives one that it kept.
    """

    traits: ClassVar[Traits]

    def regions(self) -> Sequence[str]:
        """Names of the regions that this account may use, sorted."""
        ...

    def catalog(self, regions: Sequence[str], fresh: bool = False) -> Catalog:
        """Types, zones and prices of these regions; of none: of the place's own. `fresh`: what was kept is not used.

        Unreachable, AccessDenied: the place did not tell. NotFound names a region that there is not.
        """
        ...

    def images(self) -> Sequence[Image]:
        """What a machine may start from there, newest first."""
        ...


@runtime_checkable
class Networks(Protocol):
    """What a backend may have besides: networks of the account, in one of which its machines stand."""

    def networks(self) -> Collection[str]:
        """Their ids, in the place's own region. Twice: asked again; creates nothing. Unreachable, AccessDenied."""
        ...


@runtime_checkable
class Shells(Protocol):
    """A place that opens a terminal on its machines, by a program of the user's own."""

    def shell(self, native_id: NativeId, zone: str = "") -> Sequence[str]:
        """The words to run for it; `zone`: where it is, if that is known. Asks nobody.

        UsageError: what is missing here, and how to install it.
        """
        ...


@runtime_checkable
class Greets(Protocol):
    """A place that a person may have to let us into: by a password, a passphrase, a second factor."""

    def greet(self) -> None:
        """Let them be asked on their terminal, one machine after another, where we are not let in without. Once is
        enough for a while. AccessDenied: they were asked, and it was wrong."""
        ...


@runtime_checkable
class Rings(Protocol):
    """A place that reaches its running machines besides their channel, at no price."""

    def ring(self, ids: Collection[NativeId]) -> None:
        """Their agents look at their orders within seconds. Twice: they look twice; one that is gone: no matter.

        Waits for the place's answer, not for the agents. After a lost reply nothing is known, and nothing is lost.
        """
        ...


@runtime_checkable
class Permissions(Protocol):
    """A place whose rights are written as a document."""

    def policy(self, who: str = "user") -> Mapping[str, Any]:
        """The least rights that suffice: of the `user` who launches, of a `machine`, or of that of a `controller`."""
        ...
