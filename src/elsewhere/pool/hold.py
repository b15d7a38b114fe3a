"""Launches that carry a given text, kept to a wanted number: replaced when they die, ended at close.

What they do there is their own affair: a hold knows a text, a shape, and what the place shows of them. Each bears our
full signature, so that what a crash left is found by its labels.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from elsewhere.backends import registry
from elsewhere.backends.base import Backend, Condition, Launch, NativeId, Sighting
from elsewhere.errors import ElsewhereError, NoCapacity, PlaceError, QuotaExceeded, Unreachable
from elsewhere.model.place import Limits, Offer, Place
from elsewhere.model.resources import Resources
from elsewhere.pool import reaper
from elsewhere.pool.berths import berth

START_BY = timedelta(days=7)
"""So long a launch may wait for its place; one that starts later ends at once."""
TRIES = 3
"""Launches of a kind that end before they arrive, in a row; then no more are made until somebody asks again."""
_AGAIN = 10.0
"""Seconds after which the end of what was to end is asked for again, and a launch after a refusal that may pass."""
_LONGEST = 60.0
_FULL = 2.0
"""Seconds after which room is looked for again."""
_SHUN = 30.0
"""Seconds for which nothing is launched on a machine that could not be reached, where there are others."""
_SOLD_OUT = 120.0
"""Seconds for which an offer is not asked for of which the place has none left."""
_HOUR = 3600
_LIVES = (Condition.PENDING, Condition.RUNNING)


@dataclass(frozen=True, slots=True)
class Text:
    """What launches of one kind carry. `render`: the boot text of the n-th of them, which must start by then, on the
    machine of that name (empty: the place chooses one); `term`: how long each may live."""

    render: Callable[[int, datetime, str], str]
    shape: Resources
    term: timedelta
    freight: Callable[[int], Mapping[str, Path]] = lambda _: {}
    """What the n-th of them fetches, of a place that brings it (Launch.freight)."""
    machine: Offer | None = None
    """The one on which they are launched, beside what has its share of it; None: where there is room."""
    only: Collection[str] = ()
    """Machines on which they can be launched, by name; none: on all."""
    offers: Sequence[Offer] = ()
    """Of a place that sells machines: each launch is one of these, the first of which the place has some left."""
    starts: timedelta = START_BY
    """In which each must have begun; else it ends at once."""


@dataclass(slots=True)
class Member:
    """One launch. `arrived`: it has begun its work; `leaves`: from then on its end is asked for, None: it stays."""

    kind: str
    number: int
    launch: Launch
    native: NativeId = ""
    condition: Condition = Condition.PENDING
    reason: str = ""
    arrived: bool = False
    leaves: float | None = None
    unseen: float | None = None
    since: float | None = None
    """When the place took it."""

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.number}"


@dataclass(slots=True)
class _Kind:
    text: Text
    wanted: int = 0
    numbers: int = 0
    failures: int = 0
    not_before: float = 0.0
    trouble: str = ""
    note: str = ""


def at(place: Place, job: str, last_words: Callable[[Member], str]) -> Hold:
    """A hold at this place. Errors as in `registry.build`."""
    return Hold(registry.build(place), job, last_words)


class Hold:
    """Of one owner. Not for several threads at a time: whoever has it keeps a lock.

    `job`: the id by which its launches are known at the place. `last_words`: what a member had said; asked once, when
    it has ended.
    """

    def __init__(self, backend: Backend, job: str, last_words: Callable[[Member], str] = lambda _: "") -> None:
        self.backend, self.job, self.last_words = backend, job, last_words
        self.members: list[Member] = []
        self.machines: Sequence[Offer] = ()
        """Of a place that has so many and no more: launches go where there is room. None: the place sees to that."""
        self.absent: dict[str, str] = {}
        """Machines of such a place that are not used just now, and why, in a sentence."""
        self.seldom = backend.traits.seldom
        """How seldom the place is looked at while nothing stirs."""
        self.grace = 0.0
        """Seconds that its launches have at close, to end by themselves, before their end is asked for."""
        self.limits = Limits()
        """Of the place: no more than this is asked for."""
        self._owner = reaper.me()
        self._kinds: dict[str, _Kind] = {}
        self._pause, self._next_look = 0.0, 0.0
        self._shunned: dict[str, float] = {}
        self._spent = Decimal(0)

    # --- what is wanted

    def declare(self, kind: str, text: Text) -> None:
        """Later launches of this kind carry this text. Twice: what runs is left as it is."""
        if kind in self._kinds:
            self._kinds[kind].text = text
        else:
            self._kinds[kind] = _Kind(text)

    def want(self, kind: str, count: int) -> None:
        """From the next step on so many are kept. What had gone wrong is forgotten: it is tried again."""
        found = self._kinds[kind]
        found.wanted, found.failures, found.not_before, found.trouble = count, 0, 0.0, ""
        self.stir()

    def wanted(self, kind: str) -> int:
        return self._kinds[kind].wanted

    def trouble(self, kind: str) -> str:
        """Why no more are launched; empty: nothing is wrong."""
        return self._kinds[kind].trouble

    def note(self, kind: str) -> str:
        """Why some are missing that will be launched all the same."""
        return self._kinds[kind].note

    def spoil(self, kind: str, why: str) -> None:
        """Launch no more of this kind: whatever comes of its text is of no use."""
        self._kinds[kind].trouble = why

    def staying(self, kind: str) -> list[Member]:
        return [member for member in self.members if member.kind == kind and member.leaves is None]

    def arrive(self, name: str) -> Member | None:
        """A member has begun its work; None: it is none of ours."""
        for member in self.members:
            if member.name == name:
                member.arrived = True
                self._kinds[member.kind].failures = 0
                return member
        return None

    def release(self, members: Collection[Member], now: float, grace: float = 0.0) -> None:
        """These end, and are not replaced; within the grace they may do so by themselves."""
        for member in members:
            member.leaves = now + grace

    # --- what is done about it

    def step(self, now: float, raising: bool = False) -> None:
        """Look once, and launch and end what follows from it. `raising`: what the place refuses for good is raised.

        A place that wants to be asked seldom is looked at ever more seldom, until something stirs.
        """
        if now >= self._next_look:
            self._look(now)
            self._pause = min(self._pause * 1.5 + 1.0, self.seldom.total_seconds())
            self._next_look = now + self._pause
        for name, kind in self._kinds.items():
            staying = self.staying(name)
            if len(staying) > kind.wanted:
                order = sorted(staying, key=lambda member: (member.arrived, -member.number))
                self.release(order[: len(staying) - kind.wanted], now)
            self._fill(name, kind, now, raising)
        leaving = [member for member in self.members if member.leaves is not None and now >= member.leaves]
        self._end(leaving, now)

    def stir(self) -> None:
        """Something has happened: the next step looks."""
        self._pause, self._next_look = 0.0, 0.0

    def close(self, patience: float = 20.0) -> list[NativeId]:
        """End all that bears our job's label; those that are not seen to have gone within so many seconds.

        Each is asked again only after a while: many programs take a second word for an order to drop everything.
        A place whose answers lag has more time.
        """
        asks = time.monotonic() + self.grace
        until, pause = time.monotonic() + patience + self.grace + 15 * self.backend.traits.lag.total_seconds(), 0.1
        asked: dict[NativeId, float] = {}
        while True:
            left, now = [seen.native for seen in self.owned()], time.monotonic()
            if not left or now >= until:
                return left
            due = [native for native in left if now >= asks and now - asked.get(native, -_AGAIN) >= _AGAIN]
            with contextlib.suppress(PlaceError):  # asked again
                if due:
                    self.backend.cancel(due)
                asked.update(dict.fromkeys(due, now))
            time.sleep(min(pause, max(until - time.monotonic(), 0.0)))
            pause = min(pause * 1.5, 2.0)

    def owned(self) -> list[Sighting]:
        """All that lives at the place under our job's label, also what is not known here."""
        return [
            seen for seen in self.backend.owned() if seen.labels.get("job") == self.job and seen.condition in _LIVES
        ]

    def spent(self, now: float) -> Decimal:
        """Dollars that its launches have cost so far: their prices for as long as we knew them to be there."""
        return self._spent + sum((_cost(member, now) for member in self.members), Decimal(0))

    @property
    def price(self) -> Decimal:
        """Dollars an hour of those that are there."""
        return sum((offer.price for one in self.members if one.native and (offer := one.launch.offer)), Decimal(0))

    def _look(self, now: float) -> None:
        asked = {member.native: member for member in self.members if member.native}
        if not asked:
            return
        try:
            seen = self.backend.status(list(asked))
        except PlaceError:
            return  # it says nothing about them
        for native, member in asked.items():
            found = seen.get(native)
            if found is None:
                self._missed(member, now)
            elif found.condition in _LIVES:
                member.condition, member.reason, member.unseen = found.condition, found.reason, None
            else:
                self._ended(member, found.reason, now)

    def _missed(self, member: Member, now: float) -> None:
        """Two answers without it, further apart than the place's answers lag, say that it is gone."""
        if member.unseen is None:
            member.unseen = now
        elif now - member.unseen > self.backend.traits.lag.total_seconds():
            self._ended(member, "it has vanished", now)

    def _ended(self, member: Member, reason: str, now: float) -> None:
        self._forget(member, now)
        member.reason = reason
        kind, words = self._kinds[member.kind], self.last_words(member)
        if member.arrived or member.leaves is not None:
            return
        kind.failures += 1
        kind.not_before = now + min(2.0**kind.failures, _LONGEST)
        kind.note = f"{member.name} ended before it arrived ({reason})" + (f": {words}" if words else "")
        if kind.failures >= TRIES:
            kind.trouble = kind.note

    def _forget(self, member: Member, now: float) -> None:
        self._spent += _cost(member, now)
        self.members.remove(member)

    def _fill(self, name: str, kind: _Kind, now: float, raising: bool) -> None:
        for member in [one for one in self.staying(name) if not one.native]:
            if now >= kind.not_before:
                self._ask(member, kind, now, raising)
        while not kind.trouble and now >= kind.not_before and len(self.staying(name)) < kind.wanted:
            able = self._able(kind.text, now)
            room = next(iter(able), None) if kind.text.offers else berth(able, self._held(), kind.text.shape)
            machine = kind.text.machine or room
            if machine is None and (self.machines or kind.text.offers):
                full = "there is no room for more on its machines"
                kind.note, kind.not_before = full if able else kind.note, now + _FULL
                return
            if limit := self._limit(machine, now):
                kind.note, kind.not_before = limit, now + _FULL
                return
            kind.numbers += 1
            member = Member(name, kind.numbers, self._launch(name, kind, machine))
            self.members.append(member)
            self._ask(member, kind, now, raising)

    def _limit(self, machine: Offer | None, now: float) -> str:
        """What keeps this from being asked for besides; empty: nothing."""
        most, dearest, budget = self.limits.machines, self.limits.price_per_hour, self.limits.budget
        if budget is not None and self.spent(now) >= budget:
            return f"the place's budget of ${budget:f} is spent"
        if most is not None and len(self.members) >= most:
            return f"the place allows {most} machines, and so many are there"
        if dearest is not None and machine is not None and self.price + machine.price > dearest:
            return f"the place allows ${dearest:f} an hour, and another ${machine.price:f} would be more"
        return ""

    def _able(self, text: Text, now: float) -> list[Offer]:
        return [one for one in text.offers or self.machines if now >= self._shunned.get(_mark(text, one), now)
                and (not text.only or one.name in text.only)]  # fmt: skip

    def _held(self) -> list[tuple[str, Resources]]:
        """What has its share of a machine."""
        launches = [one.launch for one in self.members if self._kinds[one.kind].text.machine is None]
        return [(launch.offer.name, launch.shape) for launch in launches if launch.offer is not None]

    def _launch(self, name: str, kind: _Kind, machine: Offer | None) -> Launch:
        number, text = kind.numbers, kind.text
        launch, start_by = f"{self.job}-{name}-{number}", datetime.now(UTC) + text.starts
        labels = reaper.labels(self.job, launch, self._owner, start_by + text.term)
        script = text.render(number, start_by, machine.name if machine else "")
        return Launch(launch, 1, script, text.shape, text.term, start_by, labels, machine, text.freight(number))

    def _ask(self, member: Member, kind: _Kind, now: float, raising: bool) -> None:
        try:
            natives = self.backend.submit(member.launch)
            if not natives:
                raise NoCapacity("the place has none left just now")
        except Unreachable as error:
            kind.note = error.notice
            if (machine := member.launch.offer) is None or kind.text.machine is not None or kind.text.offers:
                kind.not_before = now + _AGAIN  # the same launch is asked for again
            else:
                self._shunned[machine.name] = now + _SHUN
                self.members.remove(member)  # if it was launched after all, it arrives as none of ours
        except ElsewhereError as error:
            self.members.remove(member)
            kind.note, kind.not_before = error.message, now + _AGAIN
            if kind.text.offers and isinstance(error, NoCapacity | QuotaExceeded):
                assert member.launch.offer is not None
                self._shunned[_mark(kind.text, member.launch.offer)] = now + _SOLD_OUT
                kind.not_before = now  # the next of them
            elif not getattr(error, "transient", False):
                kind.trouble = error.message
                if raising:
                    raise
        else:
            member.native, member.since, kind.note = natives[0], now, ""

    def _end(self, members: Collection[Member], now: float) -> None:
        for member in members:
            member.leaves = now + _AGAIN
            if not member.native:
                self._forget(member, now)  # if it was launched after all, its labels tell at close
        if natives := [member.native for member in members if member.native]:
            with contextlib.suppress(PlaceError):  # asked again
                self.backend.cancel(natives)


def _mark(text: Text, offer: Offer) -> str:
    """What is shunned: a machine by its name, of what is sold each offer."""
    return offer.key if text.offers else offer.name


def _cost(member: Member, now: float) -> Decimal:
    offer = member.launch.offer
    if offer is None or member.since is None:
        return Decimal(0)
    return offer.price * Decimal(max(now - member.since, 0.0)) / _HOUR
